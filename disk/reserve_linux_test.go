package disk

import (
	"bytes"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// room is how many bytes the host has set aside for a file.
func room(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// TestReserve: room is made where nothing was written, through windows and replicas too, and what was not needed is
// given back; no content changes. A file that was there before keeps what it has.
func TestReserve(t *testing.T) {
	const size, n = 8 << 20, 1 << 20
	name := filepath.Join(t.TempDir(), "f")
	f, err := CreateFile(name, size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	before := room(t, name)
	s := NewStable(NewStripe(f, 0, size/2), NewStripe(f, size/2, size/2))
	Reserve(s, n, n)
	if got := room(t, name) - before; got == 0 {
		t.Log("the host makes no room")
	} else if got < 2*n || got > 3*n {
		t.Errorf("%d bytes of room, want %d", got, 2*n)
	}
	data := bytes.Repeat([]byte("data"), 4096)
	if _, err := s.WriteAt(data, n); err != nil {
		t.Fatal(err)
	}
	Unreserve(s, n+int64(len(data)), n-int64(len(data)))
	Reserve(s, size, n) // beyond the device: nothing
	want := make([]byte, size)
	copy(want[n:], data)
	copy(want[size/2+n:], data)
	got := make([]byte, size)
	if err := ReadFull(f, got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the content is another one")
	}
	if err := f.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := room(t, name) - before; got > n/2 {
		t.Errorf("%d bytes of room for %d", got, 2*len(data))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	old, err := OpenFile(name, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	was := room(t, name)
	Reserve(old, 0, n)
	Unreserve(old, n, n)
	if now := room(t, name); now != was {
		t.Errorf("a file that was there before has %d bytes of room, had %d", now, was)
	}
	if err := ReadFull(old, got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("a file that was there before has lost what it had")
	}
}
