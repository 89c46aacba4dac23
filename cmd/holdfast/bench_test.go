package main

import (
	"fmt"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// durable is one row of the table of DESIGN section 6: an operation and its fsync, what at
// most it may cost in 4 KiB blocks written and flushes per operation, and its preparation.
type durable struct {
	name    string
	blocks  float64
	flushes float64
	prepare func(v *volume.Volume, i int) error
	op      func(v *volume.Volume, i int) error
}

func name(i int) string { return fmt.Sprintf("file-%04d", i) }

var page = make([]byte, 4096)

// create makes a file and writes 4 KiB into it.
func create(v *volume.Volume, n string) (volume.Ino, error) {
	a, err := v.Create(volume.Root, n, volume.NewNode{Mode: layout.ModeFile | 0o644})
	if err != nil {
		return 0, err
	}
	_, err = v.Write(a.Ino, page, 0)
	return a.Ino, err
}

func createOnly(v *volume.Volume, i int) error {
	_, err := create(v, name(i))
	return err
}

var durables = []durable{
	{"create+4K", 2, 1, nil, func(v *volume.Volume, i int) error {
		ino, err := create(v, name(i))
		if err != nil {
			return err
		}
		return v.Fsync(ino)
	}},
	{"rename", 1, 1, createOnly, func(v *volume.Volume, i int) error {
		if err := v.Rename(volume.Root, name(i), volume.Root, "renamed-"+name(i), 0); err != nil {
			return err
		}
		return v.Fsync(volume.Root)
	}},
	{"link", 1, 1, createOnly, func(v *volume.Volume, i int) error {
		a, err := v.Lookup(volume.Root, name(i))
		if err != nil {
			return err
		}
		if _, err := v.Link(a.Ino, volume.Root, "link-"+name(i)); err != nil {
			return err
		}
		return v.Fsync(volume.Root)
	}},
	{"unlink", 1, 1, createOnly, func(v *volume.Volume, i int) error {
		if err := v.Unlink(volume.Root, name(i)); err != nil {
			return err
		}
		return v.Fsync(volume.Root)
	}},
	{"overwrite 4K", 2, 1, createOnly, func(v *volume.Volume, i int) error {
		a, err := v.Lookup(volume.Root, name(i))
		if err != nil {
			return err
		}
		if _, err := v.Write(a.Ino, page, 0); err != nil {
			return err
		}
		return v.Fsync(a.Ino)
	}},
	{"replace", 3, 2, createOnly, func(v *volume.Volume, i int) error {
		ino, err := create(v, "new")
		if err != nil {
			return err
		}
		if err := v.Fsync(ino); err != nil {
			return err
		}
		if err := v.Rename(volume.Root, "new", volume.Root, name(i), 0); err != nil {
			return err
		}
		return v.Fsync(volume.Root)
	}},
}

// allowed is what an operation may cost with so many copies of each block: a second copy costs no
// flush, and at most a block for the data; the log is written twice in any case.
func (d *durable) allowed(copies int) (blocks, flushes float64) {
	return d.blocks + float64(copies-1), d.flushes + 0.05
}

// BenchmarkDurable counts at the device what 1,000 durable operations cost, from the first
// one to the end of Close: checkpoints and attestation are included.
func BenchmarkDurable(b *testing.B) {
	for _, copies := range []int{1, 2} {
		for _, d := range durables {
			b.Run(fmt.Sprintf("%s/copies=%d", d.name, copies), func(b *testing.B) {
				const ops = 1000
				most, mostFlushes := d.allowed(copies)
				for b.Loop() {
					c, err := measureDurable(d, copies, ops)
					if err != nil {
						b.Fatal(err)
					}
					blocks := float64(c.BytesWritten) / 4096 / ops
					flushes := float64(c.Flushes) / ops
					b.ReportMetric(blocks, "blocks/op")
					b.ReportMetric(flushes, "flushes/op")
					b.ReportMetric(most, "blocks-allowed")
					if blocks > most || flushes > mostFlushes {
						b.Errorf("%s: %.2f blocks and %.3f flushes per operation, at most %.1f and %.2f", d.name, blocks, flushes, most, mostFlushes)
					}
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// TestDurableCost holds the counts, which do not depend on the machine, in every test run.
func TestDurableCost(t *testing.T) {
	const ops = 1000
	for _, copies := range []int{1, 2} {
		for _, d := range durables {
			c, err := measureDurable(d, copies, ops)
			if err != nil {
				t.Fatal(err)
			}
			most, mostFlushes := d.allowed(copies)
			blocks, flushes := float64(c.BytesWritten)/4096/ops, float64(c.Flushes)/ops
			t.Logf("%d of each block: %-14s %.2f blocks (at most %.1f), %.3f flushes per operation", copies, d.name, blocks, most, flushes)
			if blocks > most || flushes > mostFlushes {
				t.Errorf("%s: %.2f blocks and %.3f flushes per operation, at most %.1f and %.2f", d.name, blocks, flushes, most, mostFlushes)
			}
		}
	}
}

// measureDurable formats a 256 MiB volume of 4 KiB blocks and 512-byte sectors, prepares ops
// files, syncs and reopens, and counts.
func measureDurable(d durable, copies, ops int) (disk.Counts, error) {
	var zero disk.Counts
	mem := disk.NewMemory(int64(copies) * 256 << 20)
	if err := volume.Format(mem, volume.FormatOptions{Copies: copies}); err != nil {
		return zero, err
	}
	v, err := volume.Open(mem, volume.Options{})
	if err != nil {
		return zero, err
	}
	for i := range ops {
		if d.prepare != nil {
			if err := d.prepare(v, i); err != nil {
				return zero, err
			}
		}
	}
	if err := v.Close(); err != nil {
		return zero, err
	}
	counter := disk.NewCounter(mem)
	if v, err = volume.Open(counter, volume.Options{}); err != nil {
		return zero, err
	}
	for i := range ops {
		if err := d.op(v, i); err != nil {
			return zero, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	err = v.Close()
	return counter.Counts(), err
}
