package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

var (
	sweepAll  = flag.Bool("sweep", false, "damage every used sector in turn, not a share of them")
	campaigns = flag.Int("campaigns", 0, "random campaigns of mixed errors (default: a few)")
)

// copiesImage is an image of two copies made from a tree on the host, and what is in it.
type copiesImage struct {
	image, older []byte            // now, and before the last changes
	size         int64             // of one copy
	tree         map[string]string // what the host has under each path
	sectors      []int64           // offsets of those in use, within a copy
	uses         []volume.Use
	blockSize    int64
}

const sweepSector = 512

// sweepTree makes a tree of files on the host, the round-th version of it.
func sweepTree(t *testing.T, dir string, round uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, round))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for d := range 12 {
		sub := filepath.Join(dir, fmt.Sprintf("dir%d", d))
		check(os.MkdirAll(sub, 0o755))
		for f := range 20 {
			p := make([]byte, rng.IntN(4000)*rng.IntN(3))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			check(os.WriteFile(filepath.Join(sub, fmt.Sprintf("file-%d-%s", f, strings.Repeat("n", 40))), p, 0o644))
		}
	}
	many := filepath.Join(dir, "many") // a directory with an index
	check(os.MkdirAll(many, 0o755))
	for f := range 120 {
		check(os.WriteFile(filepath.Join(many, fmt.Sprintf("%s%d", strings.Repeat("m", 60), f)), fmt.Appendf(nil, "%d %d", f, round), 0o600))
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse")) // a map with an index
	check(err)
	for i := range 40 {
		_, err := sparse.WriteAt(fmt.Appendf(nil, "island %d of round %d", i, round), int64(i)*40_000)
		check(err)
	}
	check(sparse.Close())
	_ = os.Remove(filepath.Join(dir, "link"))
	check(os.Symlink(strings.Repeat("target", 40), filepath.Join(dir, "link")))
}

// hostContent is what is under each path of a directory of the host.
func hostContent(t *testing.T, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, rerr := filepath.Rel(dir, path)
		if err = errors.Join(err, rerr); err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir():
			tree[rel] = "directory"
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			tree[rel] = "-> " + to
			return err
		default:
			p, err := os.ReadFile(path)
			tree[rel] = sumOf(p)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func sumOf(p []byte) string {
	return fmt.Sprintf("%d bytes, %08x", len(p), crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
}

// lost stands for what cannot be read, and says so.
const lost = "lost"

// volumeContent is what is under each path of a volume; any error but one of the medium is one.
func volumeContent(v *volume.Volume) (map[string]string, error) {
	tree := map[string]string{}
	var walk func(rel string) error
	walk = func(rel string) error {
		tree[rel] = "directory"
		list, err := v.Tree().ReadDir(rel)
		if err != nil {
			if !mediaError(err) {
				return err
			}
			tree[rel] = lost
		}
		for _, e := range list {
			name := e.Name()
			if rel != "." {
				name = rel + "/" + name
			}
			var content string
			switch {
			case e.IsDir():
				if err := walk(name); err != nil {
					return err
				}
				continue
			case e.Type()&fs.ModeSymlink != 0:
				content, err = v.Tree().Readlink(name)
				content = "-> " + content
			default:
				var p []byte
				p, err = v.Tree().ReadFile(name)
				content = sumOf(p)
			}
			if err != nil {
				if !mediaError(err) {
					return fmt.Errorf("%s: %w", name, err)
				}
				content = lost
			}
			tree[name] = content
		}
		return nil
	}
	return tree, walk(".")
}

func makeCopiesImage(t *testing.T) *copiesImage {
	t.Helper()
	dir := t.TempDir()
	host, img := filepath.Join(dir, "tree"), filepath.Join(dir, "a.img")
	sweepTree(t, host, 1)
	do := func(args ...string) {
		t.Helper()
		var out bytes.Buffer
		if status := run(args, strings.NewReader(""), &out, &out); status != 0 {
			t.Fatalf("%v: status %d: %s", args, status, out.String())
		}
	}
	do("mkfs", "-q", "--copies", "2", "--free", "1m", "--from", host, img)
	c := &copiesImage{}
	var err error
	if c.older, err = os.ReadFile(img); err != nil {
		t.Fatal(err)
	}
	sweepTree(t, host, 2)
	do("cp", "-r", host+"/.", img+":/")
	if c.image, err = os.ReadFile(img); err != nil {
		t.Fatal(err)
	}
	c.tree = hostContent(t, host)
	c.size = int64(len(c.image)) / 2

	v, err := volume.Open(disk.MemoryFrom(bytes.Clone(c.image)), volume.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := v.Statfs()
	if err != nil {
		t.Fatal(err)
	}
	c.blockSize = int64(st.BlockSize)
	used := map[int64]bool{}
	err = v.Uses(func(u volume.Use) bool {
		c.uses = append(c.uses, u)
		for b := range u.Count {
			off := int64(u.Block+b) * c.blockSize
			n := c.blockSize
			switch u.Purpose {
			case volume.PurposeSuperblock, volume.PurposeLogHead:
				n = sweepSector
			}
			for s := int64(0); s < n; s += sweepSector {
				used[off+s] = true
			}
		}
		return true
	}, func(u volume.Use, err error) { t.Errorf("%v: %v", u, err) })
	if err != nil {
		t.Fatal(err)
	}
	c.sectors = slices.Sorted(maps.Keys(used))
	got, err := volumeContent(v)
	if err != nil || !maps.Equal(got, c.tree) {
		t.Fatalf("the image is not the tree of the host: %v", err)
	}
	return c
}

// sectorHarm is one way to damage a sector.
type sectorHarm struct {
	name string
	do   func(c *copiesImage, dev *disk.Overlay, at int64) (bad bool, changed bool)
}

func write(dev disk.Device, p []byte, at int64) bool {
	if _, err := dev.WriteAt(p, at); err != nil {
		panic(err)
	}
	return true
}

var sectorHarms = []sectorHarm{
	{"zeroed", func(c *copiesImage, dev *disk.Overlay, at int64) (bool, bool) {
		return false, write(dev, make([]byte, sweepSector), at) && !bytes.Equal(c.image[at:at+sweepSector], make([]byte, sweepSector))
	}},
	{"flipped", func(c *copiesImage, dev *disk.Overlay, at int64) (bool, bool) {
		p := bytes.Clone(c.image[at : at+sweepSector])
		for i := range p {
			p[i] ^= 0xff
		}
		return false, write(dev, p, at)
	}},
	{"unreadable", func(c *copiesImage, dev *disk.Overlay, at int64) (bool, bool) { return true, true }},
	{"older", func(c *copiesImage, dev *disk.Overlay, at int64) (bool, bool) {
		p := c.older[at : at+sweepSector]
		return false, write(dev, p, at) && !bytes.Equal(p, c.image[at:at+sweepSector])
	}},
}

// heals damages one sector and wants everything back: the tree as the host has it, and, once it
// has been scrubbed, the bytes of the sector.
func (c *copiesImage) heals(h sectorHarm, at int64) error {
	over := disk.NewOverlay(disk.MemoryFrom(c.image), sweepSector)
	bad, changed := h.do(c, over, at)
	if !changed {
		return nil
	}
	dev := disk.NewFaulty(over, sweepSector, disk.FaultOptions{})
	if bad {
		dev.Decay(at / sweepSector)
	}
	v, err := volume.Open(dev, volume.Options{})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	got, err := volumeContent(v)
	if err != nil {
		return err
	}
	for path, want := range c.tree {
		if got[path] != want {
			return fmt.Errorf("%s: %s, want %s", path, got[path], want)
		}
	}
	if len(got) != len(c.tree) {
		return fmt.Errorf("%d paths, want %d", len(got), len(c.tree))
	}
	r, err := v.Scrub(context.Background(), volume.ScrubOptions{Workers: 1})
	if err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	if r.Damaged != r.Healed {
		return fmt.Errorf("scrub: %d damaged, %d healed: %+v", r.Damaged, r.Healed, r.Damage)
	}
	if err := v.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	now := make([]byte, sweepSector)
	if err := disk.ReadFull(dev, now, at); err != nil {
		return fmt.Errorf("not healed: %w", err)
	}
	// What follows a superblock and a log header in their sector is nobody's.
	n := sweepSector
	if k := slices.IndexFunc(c.uses, func(u volume.Use) bool { return int64(u.Block)*c.blockSize == at%c.size }); k >= 0 && c.uses[k].Purpose == volume.PurposeLogHead {
		n = layout.LogHeadSize
	}
	if !bytes.Equal(now[:n], c.image[at:at+int64(n)]) {
		return errors.New("not healed on the disk")
	}
	return nil
}

// TestCopiesSweep: every sector in use, of either copy, damaged in every way: nothing is lost,
// and afterwards it is healed. In CI a share of the sectors, each purpose of a block among them.
func TestCopiesSweep(t *testing.T) {
	c := makeCopiesImage(t)
	step := 1
	if !*sweepAll {
		step = max(1, 2*len(c.sectors)/50)
		if testing.Short() {
			step *= 4
		}
	}
	type job struct {
		h  sectorHarm
		at int64
	}
	jobs := make(chan job)
	var done, failed atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for j := range jobs {
				done.Add(1)
				if err := c.heals(j.h, j.at); err != nil && failed.Add(1) <= 20 {
					t.Errorf("copy %d, offset %d (block %d) %s: %v", j.at/c.size, j.at%c.size, j.at%c.size/c.blockSize, j.h.name, err)
				}
			}
		})
	}
	first := c.firsts(t)
	for i, s := range c.sectors {
		for k, h := range sectorHarms {
			for which := range int64(2) {
				if first[s] || (2*i+int(which)+k)%step == 0 {
					jobs <- job{h, which*c.size + s}
				}
			}
		}
	}
	close(jobs)
	wg.Wait()
	t.Logf("%d sectors in use, %d kinds of damage, 2 copies: %d cases", len(c.sectors), len(sectorHarms), done.Load())
}

// TestCopiesBothDamaged: damage in both twins is named and refused, and the rest is served.
func TestCopiesBothDamaged(t *testing.T) {
	c := makeCopiesImage(t)
	step := 17
	if *sweepAll {
		step = 1
	}
	refused, some := 0, 0
	first := c.firsts(t)
	for i, s := range c.sectors {
		if i%step != 0 && !first[s] {
			continue
		}
		over := disk.NewOverlay(disk.MemoryFrom(c.image), sweepSector)
		for which := range int64(2) {
			sectorHarms[1].do(c, over, which*c.size+s)
		}
		v, err := volume.Open(over, volume.Options{})
		if err != nil {
			if !mediaError(err) {
				t.Errorf("offset %d: %v", s, err)
			}
			refused++
			continue
		}
		got, err := volumeContent(v)
		if err != nil {
			t.Errorf("offset %d: %v", s, err)
		}
		gone := 0
		for path, is := range got {
			switch {
			case is == lost:
				gone++
			case is != c.tree[path]:
				t.Errorf("offset %d: %s: %s served for %s", s, path, is, c.tree[path])
			}
		}
		for path := range c.tree {
			if _, ok := got[path]; ok {
				continue
			}
			for up := filepath.ToSlash(filepath.Dir(path)); got[up] != lost; up = filepath.ToSlash(filepath.Dir(up)) {
				if up == "." {
					t.Errorf("offset %d: %s is gone, and nobody says so", s, path)
					break
				}
			}
		}
		if gone > 0 {
			some++
		}
		r, err := v.Scrub(context.Background(), volume.ScrubOptions{Workers: 1})
		if err != nil || r.Damaged == r.Healed && gone > 0 {
			t.Errorf("offset %d: %d lost, and scrub says %+v, %v", s, gone, r, err)
		}
		u := c.useOf(s)
		if u.Purpose == volume.PurposeData && gone != 1 {
			t.Errorf("offset %d, %v: %d paths are lost", s, u, gone)
		}
		_ = v.Close()
	}
	if refused == 0 || some == 0 {
		t.Errorf("%d refused, %d with something lost", refused, some)
	}
	t.Logf("%d refused, %d with something lost", refused, some)
}

// firsts is a sector of each purpose, which a share must not leave out.
func (c *copiesImage) firsts(t *testing.T) map[int64]bool {
	t.Helper()
	seen := map[volume.Purpose]bool{}
	list := map[int64]bool{}
	for _, u := range c.uses {
		if !seen[u.Purpose] {
			seen[u.Purpose] = true
			list[int64(u.Block)*c.blockSize] = true
		}
	}
	if len(seen) < 9 {
		t.Errorf("only %v are in the image", seen)
	}
	return list
}

func (c *copiesImage) useOf(at int64) volume.Use {
	for _, u := range c.uses {
		if b := uint64(at / c.blockSize); b >= u.Block && b < u.Block+u.Count {
			return u
		}
	}
	return volume.Use{}
}
