package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/volume"
)

// scrubBytes is how much an image holds that is scrubbed.
const scrubBytes = 1 << 30

// BenchmarkScrub scrubs an image that holds 1 GiB in files of 64 MiB, beside cat of the image's
// file to /dev/null: of each the fastest of some runs that take turns, in bytes of the file read. It
// fails where the scrub is slower than half of cat (a scrub of two copies reads both).
func BenchmarkScrub(b *testing.B) {
	for _, copies := range []int{1, 2} {
		b.Run(fmt.Sprintf("copies=%d", copies), func(b *testing.B) {
			name := filepath.Join(b.TempDir(), "image")
			if err := makeFull(name, copies); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				var cat, scrub float64
				for range 5 {
					n, err := catSpeed(name)
					if err != nil {
						b.Fatal(err)
					}
					cat = max(cat, n)
					if n, err = scrubSpeed(name); err != nil {
						b.Fatal(err)
					}
					scrub = max(scrub, n)
				}
				b.ReportMetric(cat/1e6, "cat-MB/s")
				b.ReportMetric(scrub/1e6, "scrub-MB/s")
				b.ReportMetric(scrub/cat, "scrub/cat")
				if scrub < cat/2 {
					b.Errorf("scrub reads %.0f MB/s, cat %.0f", scrub/1e6, cat/1e6)
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// makeFull makes an image that is all but full of data.
func makeFull(name string, copies int) (err error) {
	f, err := disk.CreateFile(name, int64(copies)*(scrubBytes+scrubBytes/16), 0o600, true)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := volume.Format(f, volume.FormatOptions{Copies: copies}); err != nil {
		return err
	}
	v, err := volume.Open(f, volume.Options{CacheBytes: 16 << 20})
	if err != nil {
		return err
	}
	random := rand.NewChaCha8([32]byte{1})
	p := make([]byte, 1<<20)
	for i := range scrubBytes >> 26 {
		w, err := v.Tree().Create(fmt.Sprintf("file-%d", i))
		if err != nil {
			return err
		}
		for range 64 {
			_, _ = random.Read(p)
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return v.Close()
}

// catSpeed is how many bytes a second cat reads of a file.
func catSpeed(name string) (float64, error) {
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	c := exec.Command("cat", name)
	c.Stdout = null
	start := time.Now()
	err = c.Run()
	return float64(st.Size()) / time.Since(start).Seconds(), err
}

// scrubSpeed is how many bytes a second a scrub reads.
func scrubSpeed(name string) (float64, error) {
	im, err := openImage(name, true)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	r, err := im.Scrub(context.Background(), volume.ScrubOptions{})
	took := time.Since(start)
	if err = im.close(err); err != nil {
		return 0, err
	}
	if r.Damaged > 0 || r.Bytes < scrubBytes {
		return 0, fmt.Errorf("%d damaged, %d bytes", r.Damaged, r.Bytes)
	}
	return float64(r.Bytes) / took.Seconds(), nil
}
