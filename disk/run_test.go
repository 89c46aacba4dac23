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

// A run of structures that tell their versions is, of two replicas, the newest of each.
func TestReadChecksVersions(t *testing.T) {
	const size = 512
	table := crc32.MakeTable(crc32.Castagnoli)
	version := func(p []byte) uint64 { return uint64(p[0]) }
	content := func(v byte) []byte { // CRC-32C of the whole is Want for every version
		p := bytes.Repeat([]byte{v}, size)
		copy(p[size-4:], []byte{0, 0, 0, 0})
		sum := crc32.Checksum(p[:size-4], table)
		p[size-4], p[size-3], p[size-2], p[size-1] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		return p
	}
	want := crc32.Checksum(content(1), table)
	file := func(versions ...byte) *File {
		f, err := CreateFile(filepath.Join(t.TempDir(), "f"), int64(len(versions)*size), 0o600, true)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		for i, v := range versions {
			put(t, f, content(v), int64(i)*size)
		}
		return f
	}
	for _, c := range []struct {
		name string
		dev  Device
		want []byte
	}{
		{"file", file(1, 2, 3), []byte{1, 2, 3}},
		{"stable", NewStable(file(1, 2, 3), file(3, 2, 1)), []byte{3, 2, 3}},
		{"stripe of stable", NewStripe(NewStable(file(1, 2, 3), file(3, 2, 1)), 0, 3*size), []byte{3, 2, 3}},
		{"overlay over stable", NewOverlay(NewStable(file(1, 2, 3), file(3, 2, 1)), 512), []byte{3, 2, 3}},
	} {
		p := make([]byte, 3*size)
		if _, err := ReadChecks(c.dev, p, size, func(int) Check { return Check{Want: want, Version: version} }, 0); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i, v := range c.want {
			if p[i*size] != v {
				t.Errorf("%s: structure %d has version %d, want %d", c.name, i, p[i*size], v)
			}
		}
	}
}
