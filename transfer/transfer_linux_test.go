package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/volume"
)

// hostList describes a tree of the host as image.list does a volume's, by lstat(2) alone.
func hostList(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir)
		fmt.Fprintf(&b, "%s %v %d:%d %v", rel, volume.FileMode(uint16(st.Mode)), st.Uid, st.Gid, time.Unix(st.Mtim.Unix()).UTC().Format(time.RFC3339Nano))
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x", st.Size, sum(data))
		case unix.S_IFLNK:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		case unix.S_IFCHR, unix.S_IFBLK:
			fmt.Fprintf(&b, " %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if f, ok := first[st.Ino]; ok && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			fmt.Fprintf(&b, " = %s", f)
		} else {
			first[st.Ino] = rel
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// zoo makes one of everything. What only root can make is there if root makes it.
func zoo(t *testing.T, dir string) {
	t.Helper()
	root := os.Geteuid() == 0
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("file"), strings.Repeat("content", 9999))
	write(t, at("empty"), "")
	write(t, at("setid"), "privileged")
	write(t, at("closed"), "nobody may read this")
	write(t, at("dir/sub/deep"), "deep")
	must(os.Mkdir(at("void"), 0o711))
	must(os.Symlink("dir/sub", at("link")))
	must(os.Symlink("/"+strings.Repeat("nowhere/", 100), at("dangling")))
	must(os.Link(at("file"), at("dir/other-name")))
	must(os.Link(at("link"), at("dir/other-link")))
	must(unix.Mkfifo(at("fifo"), 0o620))
	must(unix.Mknod(at("socket"), unix.S_IFSOCK|0o640, 0))
	sparse, err := os.Create(at("sparse"))
	must(err)
	must(sparse.Truncate(50 << 20))
	_, err = sparse.WriteAt([]byte("island"), 20<<20+17)
	must(err)
	must(sparse.Close())
	if root {
		must(unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		must(unix.Mknod(at("disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
		must(os.Lchown(at("setid"), 1234, 4_000_000_000))
		must(os.Lchown(at("link"), 77, 78))
		must(os.Lchown(at("dir"), 5, 6))
	}
	must(os.Chmod(at("setid"), 0o755|fs.ModeSetuid|fs.ModeSetgid))
	must(os.Chmod(at("closed"), 0o400))
	must(os.Chmod(at("dir"), 0o750|fs.ModeSetgid|fs.ModeSticky))
	for i, n := range []string{"dir/sub/deep", "dir/sub", "link", "dangling", "fifo", "socket", "file", "dir", "void", "."} {
		ts := []unix.Timespec{{Sec: int64(1000 * i), Nsec: 999_999_999}, {Sec: int64(1_000_000_000*i) - 5, Nsec: int64(i + 1)}}
		must(unix.UtimesNanoAt(unix.AT_FDCWD, at(n), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// All that cp -a keeps is kept, in the volume and back on the host, holes included.
func TestRoundTrip(t *testing.T) {
	for _, bs := range []int{1024, 4096} {
		t.Run(fmt.Sprint(bs), func(t *testing.T) {
			src := filepath.Join(t.TempDir(), "src")
			if err := os.Mkdir(src, 0o755); err != nil {
				t.Fatal(err)
			}
			zoo(t, src)
			want := hostList(t, src)
			im := newImage(t, bs, 16<<20)
			s := im.fromDir(t, src, Options{Preserve: true})
			if s.Files != 6 || s.Dirs != 4 || s.Links != 2 || s.HardLinks != 2 || s.Others < 2 || s.Bytes > 200_000 {
				t.Errorf("%+v", s)
			}
			im.reopen(t)
			if got := im.list(t); got != want {
				t.Errorf("the volume has\n%s\nthe host\n%s", got, want)
			}
			dst := filepath.Join(t.TempDir(), "dst")
			out, err := ToDir(im.Volume, volume.Root, dst, Options{Preserve: true})
			if err != nil || len(out.Warnings) > 0 {
				t.Fatal(err, out.Warnings)
			}
			if out.Files != s.Files || out.Links != s.Links || out.HardLinks != s.HardLinks || out.Others != s.Others || out.Dirs != s.Dirs {
				t.Errorf("in %+v, out %+v", s, out)
			}
			if got := hostList(t, dst); got != want {
				t.Errorf("back on the host\n%s\nwant\n%s", got, want)
			}
			var st unix.Stat_t
			if err := unix.Lstat(filepath.Join(dst, "sparse"), &st); err != nil || st.Blocks*512 > 1<<20 {
				t.Errorf("the sparse file has %d bytes allocated (%v)", st.Blocks*512, err)
			}
			if err := unix.Lstat(filepath.Join(dst, "fifo"), &st); err != nil || st.Atim != (unix.Timespec{Sec: 4000, Nsec: 999_999_999}) {
				t.Errorf("access time %v (%v)", st.Atim, err)
			}
			// Once more over what is there: nothing changes.
			if _, err := ToDir(im.Volume, volume.Root, dst, Options{Preserve: true}); err != nil {
				t.Fatal(err)
			}
			if got := hostList(t, dst); got != want {
				t.Errorf("the second time\n%s\nwant\n%s", got, want)
			}
			if s, err := FromDir(im.Volume, src, Options{Preserve: true}); err != nil || s.HardLinks != 2 {
				t.Fatal(s, err)
			}
			if got := im.list(t); got != want {
				t.Errorf("the second time the volume has\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Without Preserve permissions come without set-ID bits and less the umask, and all belongs to
// who copies.
func TestPlainCopy(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o027))
	src := filepath.Join(t.TempDir(), "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	zoo(t, src)
	im := newImage(t, 4096, 16<<20)
	im.fromDir(t, src, Options{})
	dst := filepath.Join(t.TempDir(), "dst")
	if _, err := ToDir(im.Volume, volume.Root, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"setid": 0o750, "closed": 0o400, "void": fs.ModeDir | 0o710, "dir": fs.ModeDir | 0o750, "fifo": fs.ModeNamedPipe | 0o600} {
		info, err := os.Lstat(filepath.Join(dst, name))
		if err != nil || info.Mode() != want&^0o027 && info.Mode() != want {
			t.Errorf("%s: %v, want %v (%v)", name, info.Mode(), want, err)
			continue
		}
		if st := statOf(info); int(st.uid) != os.Geteuid() {
			t.Errorf("%s belongs to %d", name, st.uid)
		}
		if time.Since(info.ModTime()) > time.Hour {
			t.Errorf("%s has time %v", name, info.ModTime())
		}
	}
	ino, err := im.Tree().Resolve("/setid", false)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := im.Getattr(ino); err != nil || a.Mode != 0o100755 || int(a.UID) != os.Getuid() || !a.Mtime.Equal(testTime) {
		t.Errorf("%+v, %v", a, err)
	}
}

// Who is not root gets what can be had, a word on the rest, and no set-ID bit for somebody else.
func TestUnprivileged(t *testing.T) {
	const key = "HOLDFAST_TRANSFER_TEST_DIR"
	if dir := os.Getenv(key); dir != "" {
		im := newImage(t, 4096, 4<<20)
		for _, n := range []struct {
			name string
			node volume.NewNode
		}{
			{"foreign", volume.NewNode{Mode: 0o104755, UID: 1234, GID: 1234}},
			{"device", volume.NewNode{Mode: 0o020666, Major: 1, Minor: 3}},
			{"fifo", volume.NewNode{Mode: 0o010600, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}},
			{"mine", volume.NewNode{Mode: 0o104755, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}},
		} {
			if _, err := im.Create(volume.Root, n.name, n.node); err != nil {
				t.Fatal(err)
			}
		}
		s, err := ToDir(im.Volume, volume.Root, dir, Options{Preserve: true})
		if err != nil {
			t.Fatal(err)
		}
		warned := strings.Join(s.Warnings, "\n")
		for name, want := range map[string]fs.FileMode{"foreign": 0o755, "fifo": fs.ModeNamedPipe | 0o600, "mine": fs.ModeSetuid | 0o755} {
			if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
				t.Errorf("%s: %v (%v), want %v", name, info.Mode(), err, want)
			}
			if was := strings.Contains(warned, filepath.Join(dir, name)+":"); was != (name == "foreign") {
				t.Errorf("%s: warned %v", name, was)
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, "device")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(warned, filepath.Join(dir, "device")+": the special file could not be kept") {
			t.Errorf("device: %v, %s", err, warned)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Setenv(key, t.TempDir())
		TestUnprivileged(t)
		return
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "holdfast-unprivileged")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(dir, "dst")
	if err := errors.Join(os.Mkdir(dst, 0o755), os.Chown(dst, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "self") // where nobody may run it
	if err := os.WriteFile(binary, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-test.run=^TestUnprivileged$", "-test.v")
	cmd.Dir = dst
	cmd.Env = append(os.Environ(), key+"="+dst, "TMPDIR="+dst)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestUnprivileged") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A FIFO that takes the place of a file does not make the copy wait.
func TestFifoInPlaceOfFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), strings.Repeat("x", 100))
	b := write(t, filepath.Join(dir, "b"), "y")
	im := newImage(t, 4096, 4<<20)
	swap := func(rel string, _ fs.FileInfo) bool { // the last thing before b is opened
		if rel == "b" {
			if err := errors.Join(os.Remove(b), unix.Mkfifo(b, 0o600)); err != nil {
				t.Error(err)
			}
		}
		return false
	}
	done := make(chan error, 1)
	go func() { _, err := FromDir(im.Volume, dir, Options{Exclude: swap}); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), b+":") {
			t.Errorf("err = %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the copy waits for the FIFO")
	}
}
