package crash

import (
	"testing"

	"holdfast/disk"
)

// blocksTrace overwrites n blocks of 4 KiB, each with its own checksum, in one epoch.
func blocksTrace(n int) *disk.Trace {
	tr := &disk.Trace{SectorSize: testSector, Base: make([]byte, n*4096)}
	for i := range n {
		seal(tr.Base[i*4096:(i+1)*4096], 0)
		p := make([]byte, 4096)
		for j := range p {
			p[j] = byte(i + j/100)
		}
		tr.Events = append(tr.Events, disk.Event{Kind: disk.EventWrite, Off: int64(i) * 4096, Data: seal(p, 0)})
	}
	return tr
}

// perLeaf reports the time and the speed per leaf.
func perLeaf(b *testing.B, leaves int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(leaves), "ns/leaf")
	b.ReportMetric(float64(leaves)/b.Elapsed().Seconds(), "leaves/s")
}

func explored(b *testing.B, tr *disk.Trace, opt Options, check Check) {
	b.ReportAllocs()
	leaves := 0
	for b.Loop() {
		r := mustExplore(b, tr, opt, check)
		if !r.Complete() || r.Violations > 0 {
			b.Fatal(r)
		}
		leaves += r.Leaves
	}
	perLeaf(b, leaves)
}

// BenchmarkSectors reads twelve torn sectors one by one: 4,096 leaves of single choices.
func BenchmarkSectors(b *testing.B) {
	tr := plainTrace(12, plainWrite{0, "abcdefghijkl"})
	p := make([]byte, testSector)
	explored(b, tr, Options{}, func(s *State) error {
		for i := range int64(12) {
			if _, err := s.Dev.ReadAt(p, i*testSector); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkBlocks reads eight torn blocks, checked: 6,561 leaves.
func BenchmarkBlocks(b *testing.B) {
	tr := blocksTrace(8)
	p := make([]byte, 4096)
	check := disk.Check{Want: residue}
	explored(b, tr, Options{Bad: true}, func(s *State) error {
		for i := range int64(8) {
			_, _ = s.Dev.ReadChecked(p, check, i*4096)
		}
		return nil
	})
}

// BenchmarkChain is the shape of a journal: the first block that fails ends the run.
func BenchmarkChain(b *testing.B) {
	tr := blocksTrace(256)
	p := make([]byte, 4096)
	check := disk.Check{Want: residue}
	explored(b, tr, Options{Bad: true}, func(s *State) error {
		for i := range int64(256) {
			if _, err := s.Dev.ReadChecked(p, check, i*4096); err != nil {
				return nil
			}
			if p[4095] == tr.Base[4095] && p[0] == 0 && i > 0 {
				return nil // the old content ends it too
			}
		}
		return nil
	})
}

// BenchmarkDecided is a checked read of 4 KiB that nothing is undecided about.
func BenchmarkDecided(b *testing.B) {
	image := seal(make([]byte, 4096), 0)
	check := disk.Check{Want: residue}
	p := make([]byte, 4096)
	b.Run("memory", func(b *testing.B) {
		d := disk.MemoryFrom(image)
		for b.Loop() {
			_, _ = d.ReadChecked(p, check, 0)
		}
	})
	b.Run("lazy", func(b *testing.B) {
		d := concrete(image, nil, nil, testSector)
		for b.Loop() {
			_, _ = d.ReadChecked(p, check, 0)
		}
	})
	b.Run("written", func(b *testing.B) {
		d := concrete(make([]byte, 4096), nil, nil, testSector)
		_, _ = d.WriteAt(image, 0)
		for b.Loop() {
			_, _ = d.ReadChecked(p, check, 0)
		}
	})
}
