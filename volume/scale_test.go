package volume_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

var (
	entries = flag.Int("entries", 100_000, "names of the directory of BenchmarkDirectory")
	spread  = flag.Int("spread", 100, "directories of BenchmarkSpread, of 1000 files each")
)

// scale is a volume in a sparse file, with room for n inodes.
func scale(b *testing.B, n int) (*volume.Volume, func()) {
	b.Helper()
	name := filepath.Join(b.TempDir(), "image")
	size := int64(n)*24<<10 + 64<<20
	f, err := disk.CreateFile(name, size, 0o600, true)
	if err != nil {
		b.Fatal(err)
	}
	if err := volume.Format(f, volume.FormatOptions{}); err != nil {
		b.Fatal(err)
	}
	v, err := volume.Open(f, volume.Options{CacheBytes: 128 << 20})
	if err != nil {
		b.Fatal(err)
	}
	return v, func() {
		if err := v.Close(); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// phase runs fn for 0 to n-1 and reports how many it does in a second. Each tenth says so when it
// ends, so that a run that is cut short has said something: what is flat has the same in all.
func phase(b *testing.B, what string, n int, fn func(i int) error) {
	b.Helper()
	begun, used := time.Now(), cpuTime()
	at, usedAt := begun, used
	for i := range n {
		if err := fn(i); err != nil {
			b.Fatalf("%s %d: %v", what, i, err)
		}
		if tenth := n / 10; tenth > 0 && (i+1)%tenth == 0 {
			now, usedNow := time.Now(), cpuTime()
			b.Logf("%-12s %9d: %6.0f/s, %6.0f in a second of processor time; %d MiB at most", what, i+1, float64(tenth)/now.Sub(at).Seconds(),
				float64(tenth)/(usedNow-usedAt).Seconds(), peakMemory()>>20)
			at, usedAt = now, usedNow
		}
	}
	b.ReportMetric(float64(n)/time.Since(begun).Seconds(), what+"/s")
	b.Logf("%-12s %9d in %.1f s, %.1f s of processor time", what, n, time.Since(begun).Seconds(), (cpuTime() - used).Seconds())
}

// phases makes and lists the names of directories, looks up some of them in mixed order, and removes
// some in order and some in mixed order.
func phases(b *testing.B, dirs, names int) {
	total := dirs * names
	v, done := scale(b, total+dirs)
	defer done()
	at := make([]volume.Ino, dirs)
	for i := range at {
		a, err := v.Create(volume.Root, fmt.Sprintf("dir-%06d", i), volume.NewNode{Mode: layout.ModeDir | 0o755})
		if err != nil {
			b.Fatal(err)
		}
		at[i] = a.Ino
	}
	name := func(i int) string { return fmt.Sprintf("file-%09d", i%names) }
	mixed := func(i int) int { return int(uint64(i) * 7_368_787 % uint64(total)) } // a prime: all, once each
	phase(b, "create", total, func(i int) error {
		_, err := v.Create(at[i/names], name(i), volume.NewNode{Mode: layout.ModeFile | 0o644})
		return err
	})
	if err := v.Sync(); err != nil {
		b.Fatal(err)
	}
	levels, err := v.IndexLevels(at[0])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(levels), "levels")
	phase(b, "lookup", min(total, 1_000_000), func(i int) error {
		i = mixed(i)
		_, err := v.Lookup(at[i/names], name(i))
		return err
	})
	seen := 0
	phase(b, "list", dirs, func(i int) error {
		return v.ReadDir(at[i], 0, func(volume.DirEntry) bool { seen++; return true })
	})
	if seen != total {
		b.Fatalf("%d names listed of %d", seen, total)
	}
	some := min(total/2, 1_000_000)
	phase(b, "remove", some, func(i int) error { return v.Unlink(at[i/names], name(i)) }) // as rm does, in the order of the listing
	next := 0
	phase(b, "mixed-remove", min((total-some)/2, 1_000_000), func(int) error {
		i := mixed(next)
		for next++; i < some; next++ { // gone already
			i = mixed(next)
		}
		return v.Unlink(at[i/names], name(i))
	})
}

// BenchmarkDirectory is one directory with many names.
func BenchmarkDirectory(b *testing.B) {
	for b.Loop() {
		phases(b, 1, *entries)
	}
}

// BenchmarkSpread is many directories of 1000 files each.
func BenchmarkSpread(b *testing.B) {
	for b.Loop() {
		phases(b, *spread, 1000)
	}
}
