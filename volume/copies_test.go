package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

const copySize = 1 << 20 // bytes of one copy

// twoCopies is a device with a volume of two copies and some files in it, closed.
func twoCopies(t *testing.T) *disk.Memory {
	t.Helper()
	dev := disk.NewMemory(2 * copySize)
	o := volume.FormatOptions{BlockSize: 1024, Copies: 2, UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: time.Unix(1_000_000, 0)}
	if err := volume.Format(dev, o); err != nil {
		t.Fatal(err)
	}
	fill(t, dev)
	return dev
}

// fill puts the files that intact wants on a device.
func fill(t *testing.T, dev disk.Device) {
	t.Helper()
	v, err := volume.Open(dev, volume.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := v.Tree().WriteFile(fmt.Sprintf("f%d", i), content(i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func content(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, 300*i+1) }

// intact opens a device and wants every file back.
func intact(t *testing.T, dev disk.Device, opt volume.Options) {
	t.Helper()
	v, err := volume.Open(dev, opt)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if p, err := v.Tree().ReadFile(fmt.Sprintf("f%d", i)); err != nil || !bytes.Equal(p, content(i)) {
			t.Fatalf("f%d: %v", i, err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCopyLost: a whole half may be lost, the front above all, and what is opened for reading
// only is not written.
func TestCopyLost(t *testing.T) {
	dev := twoCopies(t)
	for _, half := range []int{0, 1} {
		image := bytes.Clone(dev.Bytes())
		clear(image[half*copySize : (half+1)*copySize])
		before := bytes.Clone(image)
		intact(t, disk.MemoryFrom(image), volume.Options{ReadOnly: true})
		if !bytes.Equal(image, before) {
			t.Errorf("half %d: a volume open for reading was written", half)
		}
		d := disk.MemoryFrom(image)
		intact(t, d, volume.Options{})
		volume.CheckDevice(t, d)
		clear(image[(1-half)*copySize:][:layout.FrontBytes])
		intact(t, d, volume.Options{}) // its superblocks have been healed
	}
}

// TestCopyBehindSomething: a device may be a little larger than its two copies.
func TestCopyBehindSomething(t *testing.T) {
	dev := disk.NewMemory(2*copySize + 1500)
	if err := volume.Format(dev, volume.FormatOptions{BlockSize: 1024, Copies: 2}); err != nil {
		t.Fatal(err)
	}
	clear(dev.Bytes()[:64<<10])
	if _, err := volume.Open(dev, volume.Options{}); err != nil {
		t.Error(err)
	}
}

// TestCopyLostWithLog: a half is lost while the log holds what is not home yet. Each half has
// one run of it.
func TestCopyLostWithLog(t *testing.T) {
	dev := twoCopies(t)
	v, err := volume.Open(dev, volume.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Tree().WriteFile("late", content(7), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	for _, half := range []int{0, 1} {
		image := bytes.Clone(dev.Bytes())
		clear(image[half*copySize : (half+1)*copySize])
		d := disk.MemoryFrom(image)
		v, err := volume.Open(d, volume.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Recovery().Replayed == 0 {
			t.Error("nothing was in the log")
		}
		if p, err := v.Tree().ReadFile("late"); err != nil || !bytes.Equal(p, content(7)) {
			t.Errorf("half %d lost: %v", half, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		intact(t, d, volume.Options{})
	}
}

func TestCopiesTruncated(t *testing.T) {
	dev := disk.MemoryFrom(twoCopies(t).Bytes()[:2*copySize-4096])
	if _, err := volume.Open(dev, volume.Options{}); !errors.Is(err, volume.ErrTruncated) {
		t.Errorf("%v", err)
	}
}

// TestFormatOverCopies: what a device held is not found by its middle, whatever becomes of it.
func TestFormatOverCopies(t *testing.T) {
	dev := twoCopies(t)
	if err := volume.Format(dev, volume.FormatOptions{BlockSize: 1024}); err != nil {
		t.Fatal(err)
	}
	clear(dev.Bytes()[:64<<10])
	if _, _, err := volume.Assemble(dev, volume.Assembly{}); !errors.Is(err, layout.ErrNotHoldfast) {
		t.Errorf("%v", err)
	}
}

// TestCleanupAfterCrash: the data of the last transaction reached one copy only. Recovery mends
// the other, so that losing the first afterwards loses nothing.
func TestCleanupAfterCrash(t *testing.T) {
	for _, torn := range []int{0, 1} {
		dev := twoCopies(t)
		rec := disk.NewRecorder(dev, 512)
		v, err := volume.Open(rec, volume.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tr := v.Tree()
		f, err := tr.Create("last")
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte("holdfast"), 128)
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		// All writes but those of the data to one of the copies.
		image := bytes.Clone(rec.Trace().Base)
		left := 0
		for _, e := range rec.Trace().Events {
			if e.Kind != disk.EventWrite {
				continue
			}
			if bytes.Equal(e.Data, data) && e.Off/copySize == int64(torn) {
				left++
				continue
			}
			copy(image[e.Off:], e.Data)
		}
		if left != 1 {
			t.Fatalf("the data was written %d times to copy %d", left, torn)
		}
		d := disk.MemoryFrom(image)
		v, err = volume.Open(d, volume.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Recovery().Dropped {
			t.Fatal("the transaction was dropped")
		}
		if n := bytes.Count(image, data); n != 2 {
			t.Errorf("copy %d torn: the data is there %d times after recovery", torn, n)
		}
	}
}
