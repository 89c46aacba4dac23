package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"holdfast/layout"
	"holdfast/volume"
)

// The content of a file is what a byte slice says, whatever it is kept in: holes, blocks that
// are allocated but not written, data; and so is what SeekData and SeekHole find.
func TestFallocateModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const bs = 1024
		im := makeImage(rt, bs, 4<<20)
		im.add("f")
		f := im.ino("f")
		zero := uint64(0)
		if _, err := im.Setattr(f, volume.SetAttr{Size: &zero}); err != nil {
			rt.Fatal(err)
		}
		var content []byte
		var data []bool // blocks in which something is written
		grow := func(n int) {
			if n > len(content) {
				content = append(content, make([]byte, n-len(content))...)
			}
		}
		mark := func(from, to int, is bool) { // whole blocks
			for len(data) < to {
				data = append(data, false)
			}
			for i := from; i < to; i++ {
				data[i] = is
			}
		}
		check := func() {
			p := make([]byte, len(content)+1)
			n, err := im.Read(f, p, 0)
			if err != nil || !bytes.Equal(p[:n], content) {
				rt.Fatalf("%d bytes, %v; want %d, equal to the model", n, err, len(content))
			}
			for b := 0; b*bs < len(content); b++ {
				is := b < len(data) && data[b]
				at, err := im.SeekData(f, int64(b*bs))
				if is != (err == nil && at == int64(b*bs)) {
					rt.Fatalf("block %d: data is at %d, %v; the model says %v", b, at, err, is)
				}
				hole, err := im.SeekHole(f, int64(b*bs))
				if err != nil || !is != (hole == int64(b*bs)) {
					rt.Fatalf("block %d: a hole is at %d, %v; the model says data: %v", b, hole, err, is)
				}
			}
			if _, err := im.SeekHole(f, int64(len(content))); !errors.Is(err, volume.ErrNoDevice) {
				rt.Fatalf("a hole behind the end: %v", err)
			}
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			off := rapid.IntRange(0, 40*bs).Draw(rt, "off")
			n := rapid.IntRange(1, 12*bs).Draw(rt, "n")
			if rapid.Bool().Draw(rt, "aligned") {
				off, n = off/bs*bs, max(1, n/bs)*bs
			}
			end := off + n
			switch rapid.IntRange(0, 8).Draw(rt, "what") {
			case 0, 1:
				p := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(rt, "byte"))}, n)
				if _, err := im.Write(f, p, int64(off)); err != nil {
					rt.Fatal(err)
				}
				grow(end)
				copy(content[off:], p)
				mark(off/bs, (end+bs-1)/bs, true)
			case 2, 3:
				mode := uint32(rapid.SampledFrom([]int{0, volume.FallocKeepSize}).Draw(rt, "mode"))
				if err := im.Fallocate(f, mode, int64(off), int64(n)); err != nil {
					rt.Fatal(err)
				}
				if mode == 0 {
					grow(end)
				}
			case 4, 5:
				if err := im.Fallocate(f, volume.FallocPunchHole|volume.FallocKeepSize, int64(off), int64(n)); err != nil {
					rt.Fatal(err)
				}
				if off < len(content) {
					clear(content[off:min(end, len(content))])
				}
				last := end / bs
				if end >= len(content) {
					last = max(last, (len(content)+bs-1)/bs)
				}
				if from := (off + bs - 1) / bs; from < last {
					mark(from, last, false)
				}
			case 6:
				mode := uint32(volume.FallocZeroRange | rapid.SampledFrom([]int{0, volume.FallocKeepSize}).Draw(rt, "mode"))
				if err := im.Fallocate(f, mode, int64(off), int64(n)); err != nil {
					rt.Fatal(err)
				}
				if off < len(content) {
					clear(content[off:min(end, len(content))])
				}
				last := end / bs
				if end >= len(content) {
					last = max(last, (len(content)+bs-1)/bs)
				}
				if from := (off + bs - 1) / bs; from < last {
					mark(from, last, false)
				}
				if mode == volume.FallocZeroRange {
					grow(end)
				}
			case 7:
				size := uint64(off)
				if _, err := im.Setattr(f, volume.SetAttr{Size: &size}); err != nil {
					rt.Fatal(err)
				}
				grow(off)
				content = content[:off:off]
				mark((off+bs-1)/bs, max(len(data), (off+bs-1)/bs), false)
			case 8:
				if rapid.Bool().Draw(rt, "sync") {
					if err := im.Sync(); err != nil {
						rt.Fatal(err)
					}
					im.crash()
				} else {
					im.reopen()
				}
			}
			check()
		}
		im.reopen()
		check()
		if err := im.Close(); err != nil {
			rt.Fatal(err)
		}
		volume.CheckDevice(t, im.dev)
	})
}

// What is allocated can be written when nothing else is free, over crashes too.
func TestFallocateReserves(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("f", "filler")
	f, filler := im.ino("f"), im.ino("filler")
	const n = 300 << 10
	if err := im.Fallocate(f, 0, 0, n); err != nil {
		t.Fatal(err)
	}
	if a := im.attr("f"); a.Size != n || a.Blocks < n/1024 {
		t.Fatalf("%d bytes in %d blocks", a.Size, a.Blocks)
	}
	for off := int64(0); ; off += 4096 {
		if _, err := im.Write(filler, make([]byte, 4096), off); errors.Is(err, volume.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := im.Fallocate(f, volume.FallocKeepSize, n, n); !errors.Is(err, volume.ErrNoSpace) {
		t.Fatalf("allocating when all is full: %v", err)
	}
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	im.crash()
	data := bytes.Repeat([]byte("holdfast"), n/8)
	for off := 0; off < n; off += 7000 { // not in whole blocks
		if _, err := im.Write(f, data[off:min(off+7000, n)], int64(off)); err != nil {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	im.reopen()
	if got, err := im.Tree().ReadFile("f"); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestFallocateErrors(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("f", "d/", "p|")
	f := im.ino("f")
	before := im.attr("f")
	for _, c := range []struct {
		ino    volume.Ino
		mode   uint32
		off, n int64
		want   error
	}{
		{f, 0, -1, 1, volume.ErrInvalid}, {f, 0, 0, 0, volume.ErrInvalid}, {f, 0, 0, -5, volume.ErrInvalid},
		{f, 8, 0, 1, volume.ErrNotSupported}, {f, volume.FallocPunchHole | volume.FallocZeroRange, 0, 1, volume.ErrNotSupported},
		{f, 0, volume.MaxFileSize, 1, volume.ErrFileTooBig}, {f, 0, 1, 1<<63 - 1, volume.ErrFileTooBig},
		{im.ino("d"), 0, 0, 1, volume.ErrIsDir}, {im.ino("p"), 0, 0, 1, volume.ErrInvalid}, {99, 0, 0, 1, volume.ErrStale},
	} {
		if err := im.Fallocate(c.ino, c.mode, c.off, c.n); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if a := im.attr("f"); a != before {
		t.Errorf("refused calls changed the file: %+v", a)
	}
	// A hole of a petabyte is punched at once.
	if err := im.Fallocate(f, volume.FallocPunchHole, 1<<20, 1<<50); err != nil {
		t.Error(err)
	}
	if _, err := im.SeekData(im.ino("d"), 0); !errors.Is(err, volume.ErrIsDir) {
		t.Error(err)
	}
	if a := im.attr("f"); a.Mode&layout.ModeType != layout.ModeFile || a.Size != before.Size {
		t.Errorf("%+v", a)
	}
}

// Only what replaces blocks may use those kept back: a range that is zeroed over a hole takes
// blocks for good, and so leaves overwriting possible in a full image.
func TestZeroRangeKeepsReserve(t *testing.T) {
	const bs = 1024
	im := newImage(t, bs, 4<<20)
	im.add("full", "sparse")
	full, sparse := im.ino("full"), im.ino("sparse")
	if _, err := im.Write(full, make([]byte, 8*bs), 0); err != nil {
		t.Fatal(err)
	}
	for off := int64(8 * bs); ; off += bs {
		if err := im.Fallocate(full, 0, off, bs); errors.Is(err, volume.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for off := int64(bs); ; off += bs {
		if err := im.Fallocate(sparse, volume.FallocZeroRange, off, bs); errors.Is(err, volume.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for off := int64(0); off < 8*bs; off += bs {
		if _, err := im.Write(full, []byte("over"), off); err != nil {
			t.Fatalf("overwriting in a full image, at %d: %v", off, err)
		}
		if err := im.Fallocate(full, volume.FallocZeroRange, off, bs); err != nil {
			t.Fatalf("zeroing in a full image, at %d: %v", off, err)
		}
	}
}

// A page that waits for its block keeps what was reserved for it when its file's map takes the room
// in the inode that it was reckoned with: no commit of accepted writes lacks space.
func TestWaitingPageHasItsIndex(t *testing.T) {
	const bs = 1024
	block := bytes.Repeat([]byte{1}, bs)
	changes := map[string]func(im *image, f volume.Ino, off int64) error{
		"write": func(im *image, f volume.Ino, off int64) error { _, err := im.Write(f, block, off); return err },
		"punch": func(im *image, f volume.Ino, off int64) error {
			return im.Fallocate(f, volume.FallocPunchHole|volume.FallocKeepSize, off, bs)
		},
		"punch part": func(im *image, f volume.Ino, off int64) error {
			return im.Fallocate(f, volume.FallocPunchHole|volume.FallocKeepSize, off+1, 7)
		},
		"zero": func(im *image, f volume.Ino, off int64) error {
			return im.Fallocate(f, volume.FallocZeroRange, off, bs)
		},
		"allocate": func(im *image, f volume.Ino, off int64) error {
			return im.Fallocate(f, volume.FallocKeepSize, 60*bs+off, bs)
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			for room := range 12 { // how much of the inode the other changes take, and one piece of the file
				im := newImage(t, bs, 8<<20)
				im.add("old", "rest")
				old, rest := im.ino("old"), im.ino("rest")
				files := []volume.Ino{old}
				for i := range 6 {
					im.add(fmt.Sprint(i))
					files = append(files, im.ino(fmt.Sprint(i)))
				}
				for _, ino := range files {
					if _, err := im.Write(ino, bytes.Repeat([]byte{3}, 60*bs), 0); err != nil {
						t.Fatal(err)
					}
					if room%2 == 1 {
						if _, err := im.Write(ino, block, 150*bs); err != nil {
							t.Fatal(err)
						}
					}
				}
				im.reopen()
				for _, f := range files[1:] {
					if _, err := im.Write(f, block, 200*bs); err != nil { // waits: it is over a hole
						t.Fatal(err)
					}
					for i := range room / 2 {
						if err := change(im, f, int64(2+7*i)*bs); err != nil {
							t.Fatal(err)
						}
					}
				}
				for size := int64(0); ; size += bs { // all that may be taken
					s, err := im.Statfs()
					if err != nil {
						t.Fatal(err)
					}
					if s.Available == 0 {
						break
					}
					if err := im.Fallocate(rest, 0, size, bs); err != nil {
						t.Fatal(err)
					}
				}
				for off := int64(0); off < 60*bs; off += bs { // and, for a time, what is kept back
					if _, err := im.Write(old, block, off); err != nil {
						t.Fatalf("%d: overwriting at %d: %v", room, off, err)
					}
				}
				if err := im.Sync(); err != nil {
					t.Fatalf("%d: %v", room, err)
				}
			}
		})
	}
}
