package main

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/volume"
	"holdfast/workload"
)

var seed = flag.Uint64("workload-seed", 0, "first seed of the random workloads (0: by the clock)")

// TestRandomWorkloads: random operations equal the model one by one, fsck is clean after them,
// and every crash state opens as a prefix no shorter than the last sync.
func TestRandomWorkloads(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	n := 150
	if testing.Short() {
		n = 10
	}
	for i := range n {
		s := first + uint64(i)
		script := workload.Generate(workload.FromSeed(s), workload.GenerateOptions{})
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			x, err := play(fmt.Sprintf("seed %d", s), script.String(), "")
			if err != nil {
				t.Fatalf("-workload-seed=%d: %v\n%s", s, err, script)
			}
			explore(t, x)
			image := disk.MemoryFrom(append([]byte(nil), x.trace.Base...))
			for _, e := range x.trace.Events {
				if e.Kind == disk.EventWrite {
					if _, err := image.WriteAt(e.Data, e.Off); err != nil {
						t.Fatal(err)
					}
				}
			}
			r, err := fsck.Check(image, fsck.Options{})
			if err != nil || !r.Clean() {
				t.Errorf("fsck: %v %+v", err, r)
			}
			if t.Failed() {
				t.Logf("-workload-seed=%d\n%s", s, script)
			}
		})
	}
}

// FuzzOpen: no image, however damaged, makes opening, walking or checking panic or hang.
func FuzzOpen(f *testing.F) {
	s, err := play("seed", "image size=1m block=1k sector=512\nmkdir a\ncreate a/f\nwrite a/f 0 3000 1\nln -s x a/l\n---\nrepeat 45 { \ncreate a/g$i\n}\nsync\nrm a/f\nsync\n", "")
	if err != nil {
		f.Fatal(err)
	}
	image := append([]byte(nil), s.trace.Base...)
	for _, e := range s.trace.Events {
		if e.Kind == disk.EventWrite {
			copy(image[e.Off:], e.Data)
		}
	}
	f.Add(uint32(4096), []byte{1}, uint16(0))
	f.Add(uint32(600<<10), []byte("abcdefgh"), uint16(500))
	f.Fuzz(func(t *testing.T, at uint32, damage []byte, cut uint16) {
		p := append([]byte(nil), image...)
		p = p[:len(p)-int(cut)*512%len(p)]
		if len(p) == 0 {
			return
		}
		copy(p[int(at)%len(p):], damage)
		_, _, _ = check(disk.MemoryFrom(append([]byte(nil), p...)), fsck.Options{})
		v, err := volume.Open(disk.MemoryFrom(p), volume.Options{})
		if err != nil {
			return
		}
		_, _ = workload.Digest(v)
		_ = v.Close()
	})
}
