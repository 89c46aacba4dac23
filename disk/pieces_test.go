package disk

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
)

// TestWritePieces: pieces are written as one run, by a file as they are, more than the host takes at
// once, and by another device put together; what lies beside them stays, and the end is kept.
func TestWritePieces(t *testing.T) {
	const size, n = 512, 2500
	f, err := CreateFile(filepath.Join(t.TempDir(), "f"), (n+2)*size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var room []byte
	for _, d := range []Device{f, NewMemory((n + 2) * size)} {
		var pieces [][]byte
		want := make([]byte, size, (n+2)*size)
		for i := range n {
			p := bytes.Repeat([]byte{byte(i%251 + 1)}, size)
			pieces = append(pieces, p)
			want = append(want, p...)
		}
		want = append(want, make([]byte, size)...)
		if room, err = WritePieces(d, pieces, room, size); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if err := ReadFull(d, got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%T: %v, or other content", d, err)
		}
		if room, err = WritePieces(d, pieces, room, 3*size); !errors.Is(err, ErrRange) {
			t.Fatalf("%T: beyond the end: %v", d, err)
		}
	}
}
