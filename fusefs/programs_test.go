//go:build linux

package fusefs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sh runs a script in a directory.
func sh(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
}

// TestPrograms runs testdata/programs/*.sh on a mount, each in an empty directory. Lines at the head of a script:
// "# needs PROGRAM..." without which it is skipped, "# long" for one that only runs where FUSEFS_PROGRAMS=all;
// a script may also say "skip: WHY". In the environment: HOST, a directory that is not on the mount,
// and REPOSITORY, a git repository. Where one fails, what it does on the host's file system is shown beside it.
func TestPrograms(t *testing.T) {
	scripts, err := filepath.Glob("testdata/programs/*.sh")
	if err != nil || len(scripts) < 5 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".sh"), func(t *testing.T) {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				switch words := strings.Fields(line); {
				case len(words) > 1 && words[1] == "needs":
					need(t, words[2:]...)
				case line == "# long\n" && (testing.Short() || os.Getenv("FUSEFS_PROGRAMS") != "all"):
					t.Skip("it takes long: make programs")
				}
			}
			s := start(t, newImage(t, 1<<30))
			out, err := program(t, s.dir, string(text))
			if err != nil {
				host, herr := program(t, openDir(t), string(text))
				t.Fatalf("%v\n%s\non the host: %v\n%s", err, out, herr, host)
			}
			if why, ok := strings.CutPrefix(out, "skip: "); ok {
				t.Skip(why)
			}
			if testing.Verbose() {
				t.Log(out)
			}
			s.stop(t)
		})
	}
}

// program runs a script in a directory.
func program(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	repository, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-eu", "-c", "umask 022\n"+script)
	cmd.Dir = dir
	host := openDir(t)
	cmd.Env = append(os.Environ(), "HOST="+host, "REPOSITORY="+repository, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The listing of a directory stays right while names come and go: what is there all the time is seen once.
func TestListingUnderChange(t *testing.T) {
	s := start(t, newImage(t, 64<<20))
	const stay = 3000
	for i := range stay {
		mustWrite(t, filepath.Join(s.dir, "stays", name(i)))
	}
	dir, err := os.Open(filepath.Join(s.dir, "stays"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	seen := map[string]int{}
	for i := 0; ; i++ {
		names, err := dir.Readdirnames(50)
		for _, n := range names {
			seen[n]++
		}
		if err != nil {
			break
		}
		for j := range 20 { // names of other lengths, so that places are used again
			other := filepath.Join(s.dir, "stays", "goes"+strings.Repeat("x", j)+name(i))
			mustWrite(t, other)
			if i%2 == 0 {
				if err := os.Remove(other); err != nil {
					t.Fatal(err)
				}
			}
		}
		if i > stay {
			t.Fatal("the listing does not end")
		}
	}
	for i := range stay {
		if seen[name(i)] != 1 {
			t.Errorf("%s was seen %d times", name(i), seen[name(i)])
		}
	}
	for n, times := range seen {
		if times > 1 {
			t.Errorf("%s was seen %d times", n, times)
		}
	}
	dir.Close()
	s.stop(t)
}

func name(i int) string {
	return "name" + strings.Repeat("-", i%40) + string(rune('a'+i%26)) + strconv.Itoa(i)
}

func mustWrite(t *testing.T, name string) {
	t.Helper()
	_ = os.Mkdir(filepath.Dir(name), 0o755)
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A handle of a file opens it after the kernel has forgotten it, and not another file that has its number later.
func TestHandles(t *testing.T) {
	s := start(t, newImage(t, 64<<20))
	file := filepath.Join(s.dir, "d", "f")
	mustWrite(t, file)
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, file, 0)
	if err != nil {
		t.Fatal(err)
	}
	root, err := unix.Open(s.dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	forget(t)
	fd, err := unix.OpenByHandleAt(root, h, unix.O_RDONLY)
	if err != nil {
		t.Fatalf("open by handle: %v", err)
	}
	unix.Close(fd)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	forget(t)
	for i := range 100 {
		mustWrite(t, filepath.Join(s.dir, "d", name(i)))
	}
	if fd, err := unix.OpenByHandleAt(root, h, unix.O_RDONLY); err != unix.ESTALE {
		unix.Close(fd)
		t.Errorf("the handle of a removed file: %v, want ESTALE", err)
	}
	unix.Close(root)
	s.stop(t)
}

// forget makes the kernel drop the names and inodes that nobody uses.
func forget(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Skip(err)
	}
}

// With the kernel's cache of written pages, what has just been written is no hole.
func TestWriteback(t *testing.T) {
	t.Setenv("FUSEFS_WRITEBACK", "1")
	need(t, "cp", "cmp")
	s := start(t, newImage(t, 64<<20))
	f, err := os.Create(filepath.Join(s.dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 8192)); err != nil {
		t.Fatal(err)
	}
	if off, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_DATA); off != 0 || err != nil {
		t.Errorf("data begins at %d, %v", off, err)
	}
	f.Close()
	sh(t, s.dir, "head -c 300000 /dev/urandom > a; cp a b; cmp a b; mv b c; cat a >> c; tail -c 300000 c | cmp - a")
	s.stop(t)
}

// Space of what is removed comes back, also when the kernel has known it, and a full volume says so.
func TestFull(t *testing.T) {
	s := start(t, newImage(t, 16<<20))
	free := func() uint64 {
		var st unix.Statfs_t
		if err := unix.Statfs(s.dir, &st); err != nil {
			t.Fatal(err)
		}
		return st.Bfree
	}
	before := free()
	data := make([]byte, 1<<20)
	for round := range 3 {
		f, err := os.Create(filepath.Join(s.dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(data)
		}
		if pe, _ := err.(*os.PathError); pe == nil || pe.Err != unix.ENOSPC {
			t.Fatalf("round %d: %v, want ENOSPC", round, err)
		}
		if err := f.Sync(); err != nil { // what was accepted has its room
			t.Fatal(err)
		}
		f.Close()
		if err := os.Remove(filepath.Join(s.dir, "f")); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); free() != before && time.Now().Before(end); { // the kernel lets go of the inode in the background
		runtime.Gosched()
	}
	if after := free(); after != before {
		t.Errorf("%d blocks free, %d before", after, before)
	}
	s.stop(t)
}
