package disk

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMakeRoom: the room for a long write is made where nothing was written, takes no more than the write does, and
// changes no content; of a host that cannot it is asked once.
func TestMakeRoom(t *testing.T) {
	const size = 4 << 20
	name := filepath.Join(t.TempDir(), "f")
	f, err := CreateFile(name, size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	room := func() int64 {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	want := make([]byte, size)
	write := func(off, n int, b byte) {
		p := bytes.Repeat([]byte{b}, n)
		copy(want[off:], p)
		if _, err := f.WriteAt(p, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	write(5000, 5000, 1)
	before := room()
	f.behind.before(f.f, longWrite-1, 0)
	if got := room(); got != before {
		t.Errorf("for a short write %d bytes of room are made", got-before)
	}
	f.behind.before(f.f, longWrite, 0)
	if got := room() - before; got < longWrite-16<<10 && !f.behind.cannot.Load() {
		t.Errorf("%d bytes of room for %d", got, longWrite)
	}
	write(1000, longWrite+3333, 2)
	write(1<<20, 2<<20, 3)
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := room(); got > 3<<20 {
		t.Errorf("%d bytes of room for %d", got, 2<<20+longWrite)
	}
	got := make([]byte, size)
	if err := ReadFull(f, got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the content is another one (%v)", err)
	}

	f.behind.before(f.f, longWrite, -1)
	if !f.behind.cannot.Load() {
		t.Error("the host cannot, and is asked again")
	}
}

// TestMakeRoomBlockDevice: a block device, opened or made an image, is not asked for room.
func TestMakeRoomBlockDevice(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", name).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %v: %s", err, out)
	}
	loop := strings.TrimSpace(string(out))
	defer func() {
		if out, err := exec.Command("losetup", "--detach", loop).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}()
	for way, open := range map[string]func() (*File, error){
		"opened": func() (*File, error) { return OpenFile(loop, FileOptions{}) },
		"made":   func() (*File, error) { return CreateFile(loop, 1<<20, 0o600, false) },
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		if !f.behind.cannot.Load() {
			t.Errorf("%s: it is asked", way)
		}
		if _, err := f.WriteAt(make([]byte, longWrite), 0); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
