//go:build unix

package main

import (
	"math"
	"math/big"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/workload"
)

// BenchmarkLeaf is the speed of one worker on golden workloads with a tree of about 20 inodes.
// A leaf opens the image, with recovery, compares the whole tree with the model and checks all
// invariants. leaves/cpu-s counts the processor time of the whole process, the collector's
// included: the speed of a core that does nothing else.
//
//   - lazy: the explorer's leaves; they stand for 10^states legal states together.
//   - whole: the same leaves as `crash explore` judges them: each is opened once more and used.
//   - linear: power-loss replay for comparison. The writes arrive in their order, each prefix of
//     them is one state, copied, opened and judged in the same way: states images stand for
//     nothing but themselves.
func BenchmarkLeaf(b *testing.B) {
	for _, name := range []string{"big_transaction", "rename_other_block", "dir_holes"} {
		file := "../../testdata/workloads/" + name + ".hf"
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		x, err := play(file, string(text), "")
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/lazy", func(b *testing.B) {
			x.benchmark(b, func(s *crash.State) error {
				at, err := progress(s.Point)
				if err == nil {
					_, err = x.judge(s.Dev, at)
				}
				return err
			})
		})
		b.Run(name+"/whole", func(b *testing.B) { x.benchmark(b, x.check) })
		b.Run(name+"/linear", x.linear)
	}
}

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// leafMetrics reports n leaves, of them per exploration, that stand for 10^states states.
func leafMetrics(b *testing.B, n int, states float64, used time.Duration) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "leaves/s")
	b.ReportMetric(float64(n)/used.Seconds(), "leaves/cpu-s")
	b.ReportMetric(float64(n)/float64(b.N), "leaves/op")
	b.ReportMetric(states, "log10(states)")
}

// benchmark explores with one worker and counts leaves.
func (x *session) benchmark(b *testing.B, check crash.Check) {
	b.ReportAllocs()
	begin := cpu(b)
	leaves := 0
	states := new(big.Int)
	for b.Loop() {
		r, err := crash.Explore(x.trace, crash.Options{Bad: true, Workers: 1}, check)
		if err != nil {
			b.Fatal(err)
		}
		if r.Violations > 0 || !r.Complete() {
			b.Fatalf("%d violations, complete: %v", r.Violations, r.Complete())
		}
		leaves += r.Leaves
		states = r.States
	}
	count, _ := new(big.Float).SetInt(states).Float64()
	leafMetrics(b, leaves, math.Log10(count), cpu(b)-begin)
}

// linear replays the writes up to each of them.
func (x *session) linear(b *testing.B) {
	b.ReportAllocs()
	begin := cpu(b)
	images := 0
	for b.Loop() {
		var at workload.Progress
		now := append([]byte(nil), x.trace.Base...)
		for _, e := range x.trace.Events {
			switch e.Kind {
			case disk.EventMark:
				if strings.HasPrefix(e.Mark, scriptMark) {
					continue
				}
				if err := at.Note(e.Mark); err != nil {
					b.Fatal(err)
				}
			case disk.EventWrite:
				copy(now[e.Off:], e.Data)
				if _, err := x.judge(disk.MemoryFrom(append([]byte(nil), now...)), at); err != nil {
					b.Fatal(err)
				}
				images++
			}
		}
	}
	leafMetrics(b, images, math.Log10(float64(images)/float64(b.N)), cpu(b)-begin)
}
