//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// streamBytes is how much BenchmarkStream writes and reads.
const streamBytes = 256 << 20

// speed is what moving bytes took.
type speed struct{ wall, cpu time.Duration }

// timed runs f.
func timed(f func() error) (speed, error) {
	start, cpu := time.Now(), cpuTime()
	err := f()
	return speed{time.Since(start), cpuTime() - cpu}, err
}

// cpuTime is what this process has had of processors, the kernel's work for it included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStream writes a file of 256 MiB, to the medium, and reads it back from the page cache: a plain
// file of the host, and in an image of one copy and of two. They take turns, and of each the fastest of
// three is told, and the least processor time, which other work on the machine disturbs less: so it says
// what a second copy costs, and, beside it, what the checksums do that each block gets and is held to.
func BenchmarkStream(b *testing.B) {
	p := make([]byte, 1<<20)
	for i := range p {
		p[i] = byte(i * 7)
	}
	ways := []struct {
		name string
		run  func(name string, p []byte) (write, read speed, err error)
	}{
		{"file", streamPlain},
		{"one-copy", func(name string, p []byte) (write, read speed, err error) { return streamImage(name, p, 1) }},
		{"two-copies", func(name string, p []byte) (write, read speed, err error) { return streamImage(name, p, 2) }},
	}
	sums, err := timed(func() error {
		for range streamBytes / len(p) {
			for at := 0; at < len(p); at += 4096 {
				layout.Sum(uint32(at), p[at:at+4096])
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	best := make([][2]speed, len(ways))
	for b.Loop() {
		for range 3 {
			for i, way := range ways {
				name := filepath.Join(dir, "stream")
				write, read, err := way.run(name, p)
				if err != nil {
					b.Fatal(err)
				}
				for k, s := range []speed{write, read} {
					old := &best[i][k]
					if old.wall == 0 || s.wall < old.wall {
						old.wall = s.wall
					}
					if old.cpu == 0 || s.cpu < old.cpu {
						old.cpu = s.cpu
					}
				}
				if err := os.Remove(name); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for i, way := range ways {
		for k, what := range []string{"write", "read"} {
			b.ReportMetric(streamBytes/1e6/best[i][k].wall.Seconds(), way.name+"-"+what+"-MB/s")
			b.ReportMetric(perGB(best[i][k]), way.name+"-"+what+"-cpu-ms/GB")
		}
	}
	b.ReportMetric(perGB(sums), "checksums-cpu-ms/GB")
	b.ReportMetric(0, "ns/op")
}

// perGB is the processor time of a stream, in milliseconds for 10^9 bytes.
func perGB(s speed) float64 { return s.cpu.Seconds() * 1000 * 1e9 / streamBytes }

// streamPlain is a file of the host.
func streamPlain(name string, p []byte) (write, read speed, err error) {
	write, err = timed(func() error {
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		for range streamBytes / len(p) {
			if _, err := f.Write(p); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err != nil {
		return write, read, err
	}
	read, err = timed(func() error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		for range streamBytes / len(p) {
			if _, err := f.Read(p); err != nil {
				return err
			}
		}
		return nil
	})
	return write, read, err
}

// streamImage is a file in an image.
func streamImage(name string, p []byte, copies int) (write, read speed, err error) {
	f, err := disk.CreateFile(name, int64(copies)*(streamBytes+64<<20), 0o600, true)
	if err != nil {
		return write, read, err
	}
	defer f.Close()
	if err := volume.Format(f, volume.FormatOptions{Copies: copies}); err != nil {
		return write, read, err
	}
	var ino volume.Ino
	write, err = timed(func() error {
		v, err := volume.Open(f, volume.Options{})
		if err != nil {
			return err
		}
		a, err := v.Create(volume.Root, "file", volume.NewNode{Mode: layout.ModeFile | 0o644})
		if err != nil {
			return err
		}
		ino = a.Ino
		for off := int64(0); off < streamBytes; off += int64(len(p)) {
			if _, err := v.Write(ino, p, off); err != nil {
				return err
			}
		}
		return v.Close()
	})
	if err != nil {
		return write, read, err
	}
	read, err = timed(func() error {
		v, err := volume.Open(f, volume.Options{})
		if err != nil {
			return err
		}
		for off := int64(0); off < streamBytes; off += int64(len(p)) {
			if n, err := v.Read(ino, p, off); err != nil || n < len(p) {
				return fmt.Errorf("%d bytes at %d: %w", n, off, err)
			}
		}
		return v.Close()
	})
	return write, read, err
}
