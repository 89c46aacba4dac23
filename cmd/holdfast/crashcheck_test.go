package main

import (
	"errors"
	"strings"
	"testing"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/volume"
	"holdfast/workload"
)

const checkScript = "image size=1m block=1k sector=512\ncreate a\n---\nwrite a 0 3000 1\nfsync a\nmkdir d\nsync\nrm a\n"

// writeFails is a device on which the writes from the n-th on fail.
type writeFails struct {
	disk.Device
	n *int
}

func (w writeFails) WriteAt(p []byte, off int64) (int, error) {
	if *w.n--; *w.n < 0 {
		return 0, errors.New("the device refuses")
	}
	return w.Device.WriteAt(p, off)
}

// An image that opens and is right, but takes no operation, or does not keep one, is told.
func TestUse(t *testing.T) {
	x, err := play("check.hf", checkScript, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 5} {
		dev := writeFails{disk.MemoryFrom(append([]byte(nil), x.trace.Base...)), &n}
		v, err := volume.Open(dev, x.run.Options())
		if err != nil {
			t.Fatal(err)
		}
		if err := x.use(dev, v, 0); err == nil || !strings.Contains(err.Error(), "refuses") {
			t.Errorf("a device that takes %d writes is usable: %v", n, err)
		}
	}
	dev := disk.MemoryFrom(append([]byte(nil), x.trace.Base...))
	v, err := volume.Open(dev, x.run.Options())
	if err != nil {
		t.Fatal(err)
	}
	if err := x.same(v, 1); err == nil {
		t.Error("the tree after operation 0 is taken for that after operation 1")
	}
	if err := x.use(dev, v, 1); err == nil || !strings.Contains(err.Error(), "+ /a") {
		t.Errorf("another tree than before passes: %v", err)
	}
}

// Each point's last state, judged with what its device is made to do, gets the right class.
func TestVerdictClasses(t *testing.T) {
	x, err := play("check.hf", checkScript, "")
	if err != nil {
		t.Fatal(err)
	}
	points, err := crash.Points(x.trace, x.label)
	if err != nil {
		t.Fatal(err)
	}
	last := points[len(points)-1]
	judge := func(image []byte) error { return x.check(&crash.State{Point: last, Dev: disk.MemoryFrom(image)}) }
	base := func() []byte { return append([]byte(nil), x.trace.Base...) }
	end := base()
	for _, e := range x.trace.Events {
		if e.Kind == disk.EventWrite {
			copy(end[e.Off:], e.Data)
		}
	}
	if err := judge(append([]byte(nil), end...)); err != nil {
		t.Errorf("the image as it was closed: %v", err)
	}
	err = judge(base())
	if v := verdictOf(err, last); v.Class != workload.ErrDurability || v.Is != 0 {
		t.Errorf("the image as it was before: %v", err)
	}
	if v := verdictOf(judge(make([]byte, len(end))), last); v.Class != workload.ErrOpen {
		t.Errorf("an image of zeros: %v", v)
	}
	if v := verdictOf(errors.New("panic: index out of range"), last); v.Class != workload.ErrPanic || v.Progress.Started != 5 {
		t.Errorf("a panic: %v", v)
	}
}
