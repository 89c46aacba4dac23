package disk

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestReadChecks: a run is what checked reads of its parts give, through everything that reads runs at
// once and through a device that does not: the content, the first damaged part, and the repair.
func TestReadChecks(t *testing.T) {
	const size, n, at = 4096, 8, 3 * 4096
	content := make([]byte, n*size)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(rnd.Uint32())
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	check := func(i int) Check {
		return Check{Want: crc32.Checksum(content[i*size:(i+1)*size], table)}
	}
	file := func(t *testing.T, bad int) *File {
		f, err := CreateFile(filepath.Join(t.TempDir(), "f"), 16*size, 0o600, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		put(t, f, content, at)
		if bad >= 0 {
			put(t, f, []byte("bad"), at+int64(bad)*size+100)
		}
		return f
	}
	overlay := func(d Device, part int) Device {
		o := NewOverlay(d, 512)
		put(t, o, content[part*size:(part+1)*size], at+int64(part)*size)
		return o
	}
	for _, c := range []struct {
		name string
		dev  func(t *testing.T) Device
		good int // parts before the error
	}{
		{"file", func(t *testing.T) Device { return file(t, -1) }, n},
		{"file, damaged", func(t *testing.T) Device { return file(t, 5) }, 5},
		{"file, damaged first", func(t *testing.T) Device { return file(t, 0) }, 0},
		{"stripe", func(t *testing.T) Device { return NewStripe(file(t, 5), 0, 15*size) }, 5},
		{"overlay", func(t *testing.T) Device { return NewOverlay(file(t, 5), 512) }, 5},
		{"overlay, written over", func(t *testing.T) Device { return overlay(file(t, 5), 5) }, n},
		{"overlay, written elsewhere", func(t *testing.T) Device { return overlay(file(t, 5), 2) }, 5},
		{"stable", func(t *testing.T) Device { return NewStable(file(t, 2), file(t, 5)) }, n},
		{"stable, both", func(t *testing.T) Device { return NewStable(file(t, 4), file(t, 4)) }, 4},
		{"counter", func(t *testing.T) Device { return NewCounter(file(t, 5)) }, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, p := c.dev(t), make([]byte, n*size)
			got, err := ReadChecks(d, p, size, check, at)
			if got != c.good || (err != nil) != (c.good < n) || err != nil && !errors.Is(err, ErrChecksum) {
				t.Fatalf("%d parts, %v", got, err)
			}
			if !bytes.Equal(p[:got*size], content[:got*size]) {
				t.Fatal("not the content")
			}
			if s, ok := d.(*Stable); ok && c.good == n {
				if s.Counts().Repaired != 1 {
					t.Fatalf("%+v", s.Counts())
				}
				if _, err := ReadChecks(s.Replica(0), p, size, check, at); err != nil {
					t.Fatalf("not repaired: %v", err)
				}
			}
		})
	}
}

func put(t *testing.T, d Device, p []byte, off int64) {
	t.Helper()
	if _, err := d.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}
