package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/volume"
	"holdfast/workload"
)

// TestNullWrites shows what two copies promise for a write that the disk says it has done and has
// not, an ordinary one, which nobody reads back. On one copy it costs nothing, whichever it is and
// whenever the power fails, and a scrub heals it. With its twin lost in the same way, or decayed,
// it is what it is on an image of one copy: data that is not there is noticed, and of metadata an
// older version may be served.
func TestNullWrites(t *testing.T) {
	costs, twins, writes := 0, 0, 0 // pairs whose loss costs something, all of them, writes
	for _, name := range []string{"create", "overwrite", "unlink"} {
		for _, image := range []string{"copies=2", "copies=mirror"} {
			file := "../../testdata/workloads/" + name + ".hf"
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x, err := play(file, string(text), image)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if broken, err := x.sampleDisasters(&out, "phantom"); err != nil || broken > 0 {
				t.Errorf("%s, %s: %v\n%s", name, image, err, out.String())
			}
			points, err := crash.Points(x.trace, x.label)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range points[:len(points)-1] {
				for _, w := range p.InFlight {
					x.healsNull(t, disaster{lost: []int{w.Event}, victim: -1}, points[len(points)-1])
					writes++
					twin := x.twinWrite(w)
					if twin < 0 {
						continue
					}
					twins++
					d := disaster{lost: []int{w.Event, twin}, victim: -1}
					f, verdict, err := x.fate(x.image(d, points[i+1]), points[i+1])
					switch {
					case err != nil:
						t.Fatal(err)
					case f >= earlier && strings.HasPrefix(w.Label, "data of"):
						t.Errorf("%s, %s: %v lost on both, and not noticed: %v", name, image, w, verdict)
					case f != harmless:
						costs++
					}
				}
			}
		}
	}
	t.Logf("%d writes, %d pairs; losing both costs something for %d", writes, twins, costs)
	if 2*twins != writes {
		t.Errorf("%d writes have %d twins", writes, twins)
	}
	if costs == 0 {
		t.Error("losing a write on both copies has cost nothing: the boundary is elsewhere")
	}
}

// twinWrite is the write of the second copy that goes with one of the first, -1 if there is none.
func (x *session) twinWrite(w crash.Write) int {
	size := int64(x.layout.Blocks) * int64(x.layout.BlockSize)
	at := w.Off + size
	a, b := int64(x.layout.LogRun(0))*int64(x.layout.BlockSize), int64(x.layout.LogRun(1))*int64(x.layout.BlockSize)
	if n := int64(x.layout.RunBlocks) * int64(x.layout.BlockSize); w.Off >= a && w.Off < a+n {
		at += b - a
	}
	for i := w.Event + 1; i < len(x.trace.Events) && x.trace.Events[i].Kind != disk.EventFlush; i++ {
		if e := x.trace.Events[i]; e.Kind == disk.EventWrite && e.Off == at && bytes.Equal(e.Data, x.trace.Events[w.Event].Data) {
			return i
		}
	}
	return -1
}

// healsNull scrubs an image with a disaster in it: each copy is whole by itself then.
func (x *session) healsNull(t *testing.T, d disaster, p *crash.Point) {
	t.Helper()
	at, err := progress(p)
	if err != nil {
		t.Fatal(err)
	}
	dev := disk.MemoryFrom(x.image(d, p))
	v, k, err := x.open(dev, x.options(), at)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.Scrub(context.Background(), volume.ScrubOptions{Workers: 1})
	if err != nil || r.Damaged != r.Healed {
		t.Fatalf("%v: %+v, %v", d.lost, r, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := x.twins(dev, workload.Progress{}, k); err != nil {
		t.Errorf("event %d lost, and scrubbed: %v", d.lost[0], err)
	}
}
