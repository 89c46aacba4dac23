package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/volume"
)

// The kernel is the oracle: the same calls on a directory of the host and on an image, by
// paths with all that paths can hold, are answered alike and leave the same tree.
func TestAsLinux(t *testing.T) {
	const work = "x/y/w/" // so deep that no path of the test leaves the directory by ".."
	runs, steps := 24, 600
	if testing.Short() {
		runs = 6
	}
	answers := map[string]int{}
	for seed := range runs {
		host := t.TempDir()
		im := newImage(t, 1024, 16<<20)
		if err := errors.Join(os.MkdirAll(filepath.Join(host, work), 0o755), im.Tree().MkdirAll(work, 0o755)); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		names := []string{"a", "b", "c", "d", "e"}
		path := func() string {
			n := 1 + max(0, r.IntN(5)-2)
			ups := 0
			var parts []string
			for i := range n {
				switch x := r.IntN(40); {
				case x == 0 && ups < 2:
					parts, ups = append(parts, ".."), ups+1
				case x == 1:
					parts = append(parts, ".")
				case x == 2:
					parts = append(parts, "")
				case x == 3 && r.IntN(4) == 0:
					parts = append(parts, tooLong)
				case x == 4 && r.IntN(4) == 0:
					parts = append(parts, long)
				case i < n-1 && x < 34: // mostly directories, see mkdir
					parts = append(parts, names[r.IntN(2)])
				default:
					parts = append(parts, names[r.IntN(len(names))])
				}
			}
			p := strings.TrimPrefix(strings.Join(parts, "/"), "/")
			if r.IntN(8) == 0 {
				p += "/"
			}
			if r.IntN(16) == 0 {
				p += "."
			}
			return work + p
		}
		target := func() string { // never up
			p := names[r.IntN(len(names))]
			switch r.IntN(6) {
			case 0:
				p += "/" + names[r.IntN(len(names))]
			case 1:
				p += "/"
			case 2:
				p = "./" + p
			case 3:
				return "."
			}
			return p
		}
		var log []string
		for range steps {
			p, q := path(), path()
			h, hq := host+"/"+p, host+"/"+q
			tr := im.Tree()
			var call string
			var want, got error
			switch r.IntN(14) {
			case 0, 1:
				if r.IntN(2) == 0 {
					p = work + names[r.IntN(2)]
					h = host + "/" + p
				}
				call = "mkdir " + p
				want, got = syscall.Mkdir(h, 0o755), tr.Mkdir(p, 0o755)
			case 2:
				call = "mknod " + p
				want, got = syscall.Mknod(h, syscall.S_IFREG|0o644, 0), tr.Mknod(p, 0o644, 0, 0)
			case 3:
				to := target()
				call = "symlink " + to + " " + p
				want, got = syscall.Symlink(to, h), tr.Symlink(to, p)
			case 4:
				call = "link " + p + " " + q
				want, got = syscall.Link(h, hq), tr.Link(p, q)
			case 5:
				call = "unlink " + p
				want, got = syscall.Unlink(h), unlinkPath(im.Volume, p)
			case 6:
				call = "rmdir " + p
				want, got = syscall.Rmdir(h), rmdirPath(im.Volume, p)
			case 7, 8:
				call = "rename " + p + " " + q
				want, got = syscall.Rename(h, hq), tr.Rename(p, q)
			case 9:
				call = "rename without replacing " + p + " " + q
				want = unix.Renameat2(unix.AT_FDCWD, h, unix.AT_FDCWD, hq, unix.RENAME_NOREPLACE)
				got = tr.RenameFlags(p, q, volume.RenameNoReplace)
			case 10, 11:
				flags := []struct {
					name         string
					host, volume int
				}{
					{"read", os.O_RDONLY, os.O_RDONLY},
					{"write", os.O_WRONLY, os.O_WRONLY},
					{"create", os.O_RDWR | os.O_CREATE, os.O_RDWR | os.O_CREATE},
					{"create, read", os.O_RDONLY | os.O_CREATE, os.O_RDONLY | os.O_CREATE},
					{"create, exclusive", os.O_RDWR | os.O_CREATE | os.O_EXCL, os.O_RDWR | os.O_CREATE | os.O_EXCL},
					{"truncate", os.O_WRONLY | os.O_TRUNC, os.O_WRONLY | os.O_TRUNC},
					{"nofollow", syscall.O_NOFOLLOW, volume.O_NOFOLLOW},
					{"nofollow, create", os.O_RDWR | os.O_CREATE | syscall.O_NOFOLLOW, os.O_RDWR | os.O_CREATE | volume.O_NOFOLLOW},
					{"directory", syscall.O_DIRECTORY, volume.O_DIRECTORY},
					{"directory, write", os.O_RDWR | syscall.O_DIRECTORY, os.O_RDWR | volume.O_DIRECTORY},
					{"directory, nofollow", syscall.O_DIRECTORY | syscall.O_NOFOLLOW, volume.O_DIRECTORY | volume.O_NOFOLLOW},
				}
				f := flags[r.IntN(len(flags))]
				call = "open, " + f.name + ", " + p
				fd, err := syscall.Open(h, f.host|syscall.O_CLOEXEC, 0o644)
				if want = err; err == nil {
					syscall.Close(fd)
				}
				file, err := tr.OpenFile(p, f.volume, 0o644)
				if got = err; err == nil {
					got = file.Close()
				}
			case 12:
				var st syscall.Stat_t
				var a fs.FileInfo
				if r.IntN(2) == 0 {
					call = "stat " + p
					want = syscall.Stat(h, &st)
					a, got = tr.Stat(p)
				} else {
					call = "lstat " + p
					want = syscall.Lstat(h, &st)
					a, got = tr.Lstat(p)
				}
				if want == nil && got == nil {
					if mode := a.Sys().(volume.Attr).Mode; uint32(mode)&syscall.S_IFMT != st.Mode&syscall.S_IFMT {
						t.Errorf("seed %d: %s is type %#o, want %#o", seed, call, mode, st.Mode)
					}
				}
			case 13:
				call = "readlink, truncate " + p
				buf := make([]byte, 300)
				n, err := syscall.Readlink(h, buf)
				to, gerr := tr.Readlink(p)
				want, got = err, gerr
				if err == nil && to != string(buf[:n]) {
					t.Errorf("seed %d: %s is %q, want %q", seed, call, to, buf[:n])
				}
				if err != nil {
					want, got = syscall.Truncate(h, 5), tr.Truncate(p, 5)
				}
			}
			log = append(log, call)
			var no syscall.Errno
			errors.As(want, &no)
			answers[errno(got)]++
			var e *volume.Error
			switch {
			case want == nil && got == nil:
			case want == nil || got == nil || !errors.As(got, &e) || e.Errno() != no:
				t.Fatalf("seed %d: %s: %v, want %v\nafter\n%s\non\n%s", seed, call, got, want, strings.Join(log, "\n"), im.list())
			}
		}
		im.reopen()
		if got, want := im.list(), hostList(t, host); got != want {
			t.Errorf("seed %d: the tree is\n%swant\n%s", seed, got, want)
		}
	}
	t.Log(answers)
	for _, e := range []*volume.Error{volume.ErrNotExist, volume.ErrExist, volume.ErrNotDir, volume.ErrIsDir, volume.ErrNotEmpty,
		volume.ErrInvalid, volume.ErrPermission, volume.ErrLoop, volume.ErrBusy, volume.ErrNameTooLong} {
		if answers[e.Error()] == 0 {
			t.Errorf("nothing was answered %q: the test does not reach it", e)
		}
	}
	if answers[""]*6 < runs*steps {
		t.Errorf("only %d of %d calls succeeded", answers[""], runs*steps)
	}
}

// unlinkPath is unlink(2), which unlike Remove refuses directories.
func unlinkPath(v *volume.Volume, p string) error {
	dir, name, slash := splitPath(p)
	ino, err := v.Tree().Resolve(dir, true)
	if err != nil {
		return err
	}
	if !slash {
		return v.Unlink(ino, name)
	}
	a, err := v.Lookup(ino, name)
	switch {
	case err != nil:
		return err
	case a.Mode&0o170000 == 0o040000:
		return volume.ErrIsDir
	}
	return volume.ErrNotDir
}

func rmdirPath(v *volume.Volume, p string) error {
	dir, name, _ := splitPath(p)
	ino, err := v.Tree().Resolve(dir, true)
	if err != nil {
		return err
	}
	return v.Rmdir(ino, name)
}

func splitPath(p string) (dir, name string, slash bool) {
	q := strings.TrimRight(p, "/")
	i := strings.LastIndexByte(q, '/')
	return q[:i+1], q[i+1:], len(q) < len(p)
}

// hostList is image.list of a directory of the host.
func hostList(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	var walk func(at string)
	walk = func(at string) {
		list, err := os.ReadDir(filepath.Join(dir, at))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			switch {
			case e.IsDir():
				fmt.Fprintf(&b, "%s%s/\n", at, e.Name())
				walk(at + e.Name() + "/")
				continue
			case e.Type()&fs.ModeSymlink != 0:
				target, err := os.Readlink(filepath.Join(dir, at, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "%s%s -> %s\n", at, e.Name(), target)
				continue
			}
			fmt.Fprintf(&b, "%s%s\n", at, e.Name())
		}
	}
	walk("")
	return b.String()
}
