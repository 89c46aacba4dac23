//go:build linux

package fusefs_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A peer is something mounted that the mount is measured beside.
type peer struct {
	name string
	dir  string
	pid  int                  // of the server, 0: the kernel's own
	only map[string]bool      // what it can do; nil: all
	took map[string][]float64 // seconds of each round
	cpu  map[string][]float64 // seconds of the server
}

// peers are what there is of: the mount, go-fuse's loopback example with the kernel's shortcut for data and with
// data served ("served"), fuse2fs on an ext4 image, and a server that throws all data away ("nothing"), for streams:
// with it the kernel's part alone is measured, which no server that data goes through can write faster than. It is no
// bound on reading.
func peers(b *testing.B, s *server) []*peer {
	list := []*peer{{name: "holdfast", dir: s.dir, pid: s.cmd.Process.Pid}}
	only := os.Getenv("FUSEFS_PEERS") // "": all
	mounted := func(name, bin string, args func(dir string) []string) {
		if only != "" && !strings.Contains(only, name) {
			return
		}
		dir := openDir(b)
		c := exec.Command(bin, args(dir)...)
		if err := c.Start(); err != nil {
			b.Logf("%s: %v", name, err)
			return
		}
		b.Cleanup(func() {
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
			_ = c.Process.Kill() // it may never have mounted
			_ = c.Wait()
		})
		var root, up syscall.Stat_t
		for range 500 { // it has no way to say when it is ready
			if syscall.Stat(dir, &root) == nil && syscall.Stat(filepath.Dir(dir), &up) == nil && root.Dev != up.Dev {
				list = append(list, &peer{name: name, dir: dir, pid: c.Process.Pid})
				return
			}
			<-time.After(10 * time.Millisecond)
		}
		b.Logf("%s: not mounted", name)
	}
	if tests := os.Getenv("FUSEFS_OTHER"); tests != "" {
		o := startOf(b, tests, newImage(b, 4<<30))
		list = append(list, &peer{name: "other", dir: o.dir, pid: o.cmd.Process.Pid})
	}
	loopback := filepath.Join(b.TempDir(), "loopback")
	if out, err := exec.Command("go", "build", "-o", loopback, "github.com/hanwen/go-fuse/v2/example/loopback").CombinedOutput(); err != nil {
		b.Logf("no loopback: %v\n%s", err, out)
	} else {
		back := openDir(b)
		mounted("loopback", loopback, func(dir string) []string { return []string{"-q", "-allow-other", dir, back} })
		// Data of the first goes from the kernel to the file, past its server (FUSE passthrough), which no file
		// system that looks at the data can do. The kernel allows it to who has CAP_SYS_ADMIN.
		served := openDir(b)
		mounted("served", "sh", func(dir string) []string { return []string{"-ec", mountFirst, "sh", dir, loopback, served} })
	}
	ext4 := filepath.Join(b.TempDir(), "ext4")
	if err := exec.Command("sh", "-c", "truncate -s 4g "+ext4+" && mke2fs -q -t ext4 -F "+ext4).Run(); err != nil {
		b.Logf("no ext4 image: %v", err)
	} else {
		mounted("fuse2fs", "fuse2fs", func(dir string) []string { return []string{"-f", "-o", "fakeroot", ext4, dir} })
	}
	nothing := filepath.Join(b.TempDir(), "nothing")
	if out, err := exec.Command("go", "build", "-o", nothing, "./testdata/nothing").CombinedOutput(); err != nil {
		b.Fatalf("nothing: %v\n%s", err, out)
	}
	mounted("nothing", nothing, func(dir string) []string { return []string{dir} })
	if p := list[len(list)-1]; p.name == "nothing" {
		p.only = map[string]bool{"write": true, "again": true, "read": true}
	}
	for _, p := range list {
		p.took, p.cpu = map[string][]float64{}, map[string][]float64{}
	}
	return list
}

// mountFirst mounts FUSE on $1 and then runs the loopback example $2 of directory $3 without CAP_SYS_ADMIN.
const mountFirst = `exec 3<>/dev/fuse
mount -i -t fuse.served -o fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,nosuid,nodev served "$1"
exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin "$2" -q -allow-other /dev/fd/3 "$3"`

// A work is something to do in a directory, and how many operations, files or bytes that is.
type work struct {
	name   string
	unit   string
	per    float64 // operations or MiB
	do     func(dir string) error
	before func(dir string) error // not timed; nil: nothing
	after  func(dir string) error
}

func works(tree string, files float64) []work {
	const n, size = 4000, 256
	each := func(do func(dir string, i int) error) func(string) error {
		return func(dir string) error {
			for i := range n {
				if err := do(dir, i); err != nil {
					return err
				}
			}
			return nil
		}
	}
	at := func(dir, kind string, i int) string { return dir + "/d/" + kind + strconv.Itoa(i) }
	block := make([]byte, 1<<20)
	shell := func(script string) func(string) error {
		return func(dir string) error {
			c := exec.Command("sh", "-ec", script)
			c.Dir = dir
			out, err := c.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s: %w: %s", script, err, out)
			}
			return nil
		}
	}
	read := func(dir string) error {
		f, err := os.Open(dir + "/big")
		if err != nil {
			return err
		}
		defer f.Close()
		for range size {
			if _, err := io.ReadFull(f, block); err != nil {
				return err
			}
		}
		return nil
	}
	return []work{
		{name: "create", unit: "op", per: n, do: func(dir string) error {
			if err := os.Mkdir(dir+"/d", 0o755); err != nil {
				return err
			}
			return each(func(dir string, i int) error {
				fd, err := syscall.Open(at(dir, "f", i), syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY, 0o644)
				if err != nil {
					return err
				}
				return syscall.Close(fd)
			})(dir)
		}},
		{name: "stat", unit: "op", per: n, do: each(func(dir string, i int) error { return syscall.Lstat(at(dir, "f", i), &syscall.Stat_t{}) })},
		{name: "readdir", unit: "op", per: n, do: func(dir string) error {
			list, err := os.ReadDir(dir + "/d")
			if err == nil && len(list) != n {
				err = fmt.Errorf("%d names", len(list))
			}
			return err
		}},
		{name: "rename", unit: "op", per: n, do: each(func(dir string, i int) error { return syscall.Rename(at(dir, "f", i), at(dir, "r", i)) })},
		{name: "link", unit: "op", per: n, do: each(func(dir string, i int) error { return syscall.Link(at(dir, "r", i), at(dir, "l", i)) })},
		{name: "unlink", unit: "op", per: n * 2, do: each(func(dir string, i int) error {
			if err := syscall.Unlink(at(dir, "r", i)); err != nil {
				return err
			}
			return syscall.Unlink(at(dir, "l", i))
		})},
		{name: "untar", unit: "file", per: files, do: shell("mkdir t; tar xf " + tree + " -C t")},
		{name: "remove", unit: "file", per: files, do: shell("rm -rf t d")},
		{name: "write", unit: "MiB", per: size, do: func(dir string) error {
			f, err := os.Create(dir + "/big")
			if err != nil {
				return err
			}
			defer f.Close()
			for range size {
				if _, err := f.Write(block); err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "fsync", unit: "MiB", per: size, do: func(dir string) error {
			f, err := os.Open(dir + "/big")
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Sync()
		}},
		{name: "again", unit: "MiB", per: size, do: read}, // what the kernel has kept
		{name: "read", unit: "MiB", per: size, before: dropPages, after: func(dir string) error { return os.Remove(dir + "/big") }, do: read},
	}
}

// dropPages has the kernel drop what it keeps of the file.
func dropPages(dir string) error {
	f, err := os.Open(dir + "/big")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// serverCPU is what a process has used, in seconds.
func serverCPU(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprint("/proc/", pid, "/stat"))
	if err != nil {
		return 0
	}
	words := strings.Fields(string(text[slices.Index(text, 41):]))
	user, _ := strconv.Atoi(words[12])
	system, _ := strconv.Atoi(words[13])
	return float64(user+system) / 100
}

// BenchmarkMount does the same on the mount and on its peers, in turn, and says the median of 3 rounds each,
// and the processor time of the server. Ratios of one run mean something, times alone do not. FUSEFS_PEERS names
// those to run beside the mount ("none": it alone), FUSEFS_PROFILE a file for the profile of its server,
// FUSEFS_OTHER another build of these tests, whose mount is measured too, FUSEFS_WORKS what to do (all).
func BenchmarkMount(b *testing.B) {
	only := strings.Fields(os.Getenv("FUSEFS_WORKS"))
	tree, files := filepath.Join(b.TempDir(), "tree.tar"), 1.0
	if len(only) == 0 || slices.Contains(only, "untar") {
		out, err := exec.Command("sh", "-ec", `tar cf `+tree+` -C "$(go env GOROOT)" src; tar tf `+tree+` | wc -l`).CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		if files, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64); err != nil {
			b.Fatal(err)
		}
	}
	s := start(b, newImage(b, 4<<30))
	all, todo := peers(b, s), works(tree, files)
	if len(only) > 0 {
		todo = slices.DeleteFunc(todo, func(w work) bool { return !slices.Contains(only, w.name) })
	}
	for b.Loop() {
		for range 3 {
			for _, w := range todo {
				for _, p := range all {
					if p.only != nil && !p.only[w.name] {
						continue
					}
					aside := func(fn func(string) error) {
						if fn == nil {
							return
						}
						if err := fn(p.dir); err != nil {
							b.Fatalf("%s: beside %s: %v", p.name, w.name, err)
						}
					}
					aside(w.before)
					c, began := serverCPU(p.pid), time.Now()
					if err := w.do(p.dir); err != nil {
						b.Fatalf("%s: %s: %v", p.name, w.name, err)
					}
					p.took[w.name] = append(p.took[w.name], time.Since(began).Seconds())
					p.cpu[w.name] = append(p.cpu[w.name], serverCPU(p.pid)-c)
					aside(w.after)
				}
			}
		}
	}
	s.stop(b)
	median := func(x []float64) float64 { slices.Sort(x); return x[len(x)/2] }
	fmt.Printf("median of %d:\n", len(all[0].took[todo[0].name])) // of a Log go test shows ten lines
	for _, w := range todo {
		for _, p := range all {
			if p.took[w.name] == nil {
				continue
			}
			fmt.Printf("%-8s %-9s %9.0f %s/s, server %7.1f us/%s\n", w.name, p.name, w.per/median(p.took[w.name]), w.unit, median(p.cpu[w.name])/w.per*1e6, w.unit)
		}
	}
}
