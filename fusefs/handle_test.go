//go:build linux

package fusefs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Handles of files (open_by_handle_at(2), as NFS servers keep them) outlive the server and the kernel's memory:
// after the next mount they mean what they meant, and never a file that has got the number of one removed.
func TestHandlesOutliveTheMount(t *testing.T) {
	canMount(t)
	image := newImage(t, 16<<20)
	s := start(t, image)
	handles := map[string]unix.FileHandle{}
	for _, name := range []string{"stays", "goes", "dir", "dir/below"} {
		path := filepath.Join(s.dir, name)
		var err error
		if name == "dir" {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, []byte(name), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
		if err != nil {
			t.Fatal(err)
		}
		handles[name] = h
	}
	s.stop(t)

	s = start(t, image)
	read := func(name string) (string, error) {
		mount, err := unix.Open(s.dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(mount)
		fd, err := unix.OpenByHandleAt(mount, handles[name], unix.O_RDONLY|unix.O_CLOEXEC)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		buf := make([]byte, 100)
		n, err := unix.Read(fd, buf)
		return string(buf[:max(n, 0)]), err
	}
	for _, name := range []string{"stays", "goes", "dir/below"} {
		if got, err := read(name); got != name || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := read("dir"); !errors.Is(err, unix.EISDIR) {
		t.Errorf("dir: %v", err)
	}
	if err := os.Remove(filepath.Join(s.dir, "goes")); err != nil {
		t.Fatal(err)
	}
	if got, err := read("goes"); !errors.Is(err, unix.ESTALE) {
		t.Errorf("what is removed: %q, %v", got, err)
	}
	for i := range 50 { // one of them gets its number
		if err := os.WriteFile(filepath.Join(s.dir, fmt.Sprint("new", i)), []byte("other"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.stop(t)

	s = start(t, image)
	if got, err := read("goes"); !errors.Is(err, unix.ESTALE) {
		t.Errorf("what is removed, after a new mount: %q, %v", got, err)
	}
	if got, err := read("stays"); got != "stays" || err != nil {
		t.Errorf("stays: %q, %v", got, err)
	}
	s.stop(t)
}
