package disk

import (
	"path/filepath"
	"runtime"
	"testing"
)

// TestNextData: what is before the answer reads as zeros, and where the host knows holes they are
// found, in a part of a file too; a device that does not know them has only data.
func TestNextData(t *testing.T) {
	const size, unit = 16 << 20, 4 << 20
	name := filepath.Join(t.TempDir(), "f")
	whole, err := CreateFile(name, size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{unit, size - 4096} {
		if _, err := whole.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	part, err := OpenFile(name, FileOptions{Offset: unit / 2, Length: unit * 2})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	rest, err := OpenFile(name, FileOptions{Offset: unit * 3, Length: unit, ForceShare: true})
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	knows := runtime.GOOS == "linux" && NextData(part, unit) != unit // the host's file system may not
	t.Logf("holes are known: %v", knows)
	for _, c := range []struct {
		d         Device
		off, want int64
	}{
		{part, 0, unit / 2},
		{part, unit / 2, unit / 2},
		{part, unit, 2 * unit}, // none up to its end
		{rest, 0, unit - 4096},
		{rest, unit - 4096, unit - 4096},
	} {
		want := c.want
		if !knows {
			want = c.off
		}
		if got := NextData(c.d, c.off); got != want {
			t.Errorf("next data behind %d: %d, want %d", c.off, got, want)
		}
	}
	if got := NextData(NewMemory(size), 4096); got != 4096 {
		t.Errorf("in memory: %d, want 4096", got)
	}
}
