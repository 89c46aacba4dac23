package volume_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/journal"
	"holdfast/layout"
	"holdfast/volume"
)

var wholeSweep = flag.Bool("sweep", false, "damage every sector in use, not a share of them")

// facts are what a tree shows: by path and aspect ("#attr", "#list", "#data", "#xattr"). What is
// refused because of damage is refusedFact.
type facts map[string]string

const refusedFact = "EIO"

// factsOf looks at everything in a tree.
func factsOf(v *volume.Volume) facts {
	f := facts{}
	var walk func(ino volume.Ino, path string, depth int)
	set := func(key string, value string, err error) bool {
		switch {
		case err == nil:
			f[key] = value
		case errors.Is(err, layout.ErrCorrupt) || errors.Is(err, volume.ErrIO):
			f[key] = refusedFact
		default:
			f[key] = "error: " + err.Error()
		}
		return err == nil
	}
	walk = func(ino volume.Ino, path string, depth int) {
		a, err := v.Getattr(ino)
		if !set(path+"#attr", fmt.Sprintf("%o %d %d %d %d", a.Mode, a.Links, a.UID, a.Size, a.Mtime.UnixNano()), err) || depth > 20 {
			return
		}
		names, err := v.Listxattr(ino)
		list := ""
		for _, n := range names {
			value, verr := v.Getxattr(ino, n)
			err = errors.Join(err, verr)
			list += fmt.Sprintf("%s=%x ", n, sha256.Sum256(value))
		}
		set(path+"#xattr", list, err)
		switch a.Mode & layout.ModeType {
		case layout.ModeLink:
			target, err := v.Readlink(ino)
			set(path+"#data", target, err)
		case layout.ModeFile:
			p := make([]byte, a.Size)
			for off := 0; off < len(p) && err == nil; {
				var n int
				n, err = v.Read(ino, p[off:], int64(off))
				off += n
				if n == 0 && err == nil {
					err = errors.New("short read")
				}
			}
			set(path+"#data", fmt.Sprintf("%x", sha256.Sum256(p)), err)
		case layout.ModeDir:
			var entries []volume.DirEntry
			err := v.ReadDir(ino, 0, func(e volume.DirEntry) bool { entries = append(entries, e); return len(entries) < 10_000 })
			var words []string
			for _, e := range entries {
				words = append(words, e.Name)
				// By its name, as a user comes to it: that reads the index.
				if x, err := v.Lookup(ino, e.Name); err == nil {
					walk(x.Ino, path+"/"+e.Name, depth+1)
				} else {
					set(path+"/"+e.Name+"#attr", "", err)
				}
			}
			sort.Strings(words)
			set(path+"#list", strings.Join(words, " "), err)
		}
	}
	walk(volume.Root, "", 0)
	return f
}

// differ is the first way in which what a tree shows is neither right nor refused; refused counts
// what is refused, and what cannot be seen for that.
func (f facts) differ(want facts) (wrong string, refused int) {
	for key, value := range f {
		w, ok := want[key]
		switch {
		case value == refusedFact:
			refused++
		case !ok:
			return fmt.Sprintf("%s: %s, and there is no such thing", key, value), refused
		case value != w:
			return fmt.Sprintf("%s: %s, want %s", key, value, w), refused
		}
	}
	for key := range want {
		if _, ok := f[key]; ok {
			continue
		}
		path, _, _ := strings.Cut(key, "#")
		hidden := false
		for p := path; ; p = p[:strings.LastIndexByte(p, '/')] { // above it something is refused
			hidden = hidden || f[p+"#attr"] == refusedFact || f[p+"#list"] == refusedFact
			if p == "" {
				break
			}
		}
		if !hidden {
			return key + " is missing", refused
		}
		refused++
	}
	return "", refused
}

// within is whether each fact is one of either tree, though not of the same path: what the
// documented gap may show is an older version of a structure, and never what never was.
func (f facts) within(trees ...facts) string {
	known := map[string]bool{refusedFact: true}
	for _, t := range trees {
		for key, value := range t {
			_, aspect, _ := strings.Cut(key, "#")
			known[aspect+value] = true
		}
	}
	for key, value := range f {
		_, aspect, _ := strings.Cut(key, "#")
		if value != refusedFact && !known[aspect+value] && aspect == "data" {
			return fmt.Sprintf("%s: %s never was", key, value)
		}
	}
	return ""
}

// sweepImage is an image that is damaged again and again: as it was some time ago, and as it is.
type sweepImage struct {
	older, now []byte
	olderTree  facts
	before     facts // without the last transaction
	tree       facts
	sector     int
	g          layout.Geometry
	used       []usedSector
}

type usedSector struct {
	no  int64
	use volume.Use
}

// newSweep makes the image; live leaves it as a crash would, with a log that recovery needs.
func newSweep(t *testing.T, blockSize, sector int, live bool) *sweepImage {
	t.Helper()
	dev := disk.NewMemory(6 << 20)
	im := &image{tb: t, dev: dev, now: 1_000_000}
	o := volume.FormatOptions{BlockSize: blockSize, SectorSize: sector, UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: time.Unix(1_000_000, 0)}
	if err := volume.Format(dev, o); err != nil {
		t.Fatal(err)
	}
	im.open()
	random := rand.New(rand.NewPCG(uint64(blockSize), uint64(sector)))
	write := func(name string) {
		p := make([]byte, random.IntN(6000))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		if err := im.Tree().WriteFile(name, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	im.fillMixed(50)
	for i := range 60 {
		write(fmt.Sprintf("d/f%d", i))
	}
	if err := im.Tree().WriteFile("big", make([]byte, 100_000), 0o600); err != nil { // shorter: the sweep is long enough
		t.Fatal(err)
	}
	im.reopen()
	s := &sweepImage{sector: sector, g: geometry(t, dev), older: bytes.Clone(dev.Bytes()), olderTree: factsOf(im.Volume)}
	for i := range 60 {
		name := fmt.Sprintf("d/f%d", i)
		var err error
		switch i % 6 {
		case 0, 1:
			write(name)
		case 2:
			err = im.Tree().Rename(name, fmt.Sprintf("d/e/g%d", i))
		case 3:
			err = im.Tree().Remove(name)
		case 4:
			err = im.Tree().Truncate(name, int64(i*7))
		case 5:
			write(fmt.Sprintf("h%d", i))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"small", "sparse"} {
		if err := im.Setxattr(im.ino(n), "user.other", make([]byte, 2500), 0); err != nil {
			t.Fatal(err)
		}
	}
	if !live {
		im.reopen()
	} else if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	s.before = factsOf(im.Volume)
	if live {
		write("d/last")
		write("d/f0")
		if err := im.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	s.tree, s.now = factsOf(im.Volume), bytes.Clone(dev.Bytes())
	uses := map[uint64]volume.Use{}
	err := im.Uses(func(u volume.Use) bool {
		for i := range u.Count {
			uses[u.Block+i] = u
		}
		return true
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := journal.Scan(disk.MemoryFrom(s.now), &s.g, layout.NewSeeds([16]byte{7}))
	if err != nil || live != (r.Replayed > 0) {
		t.Fatalf("%+v, %v", r, err)
	}
	per := blockSize / sector
	for pos := r.Tail; pos < r.Head; pos++ {
		for run := range 2 {
			at := pos % (s.g.RunBlocks * uint64(per))
			u := volume.Use{Purpose: volume.PurposeLog, Block: s.g.LogRun(run) + at/uint64(per), Count: 1, Copy: run}
			s.used = append(s.used, usedSector{int64(s.g.LogRun(run))*int64(per) + int64(at), u})
		}
	}
	for _, no := range slices.Sorted(maps.Keys(uses)) {
		n := per
		if p := uses[no].Purpose; p == volume.PurposeSuperblock || p == volume.PurposeLogHead {
			n = 1 // what lies behind them holds nothing
		}
		for i := range n {
			s.used = append(s.used, usedSector{int64(no)*int64(per) + int64(i), uses[no]})
		}
	}
	_ = im.Close() // the device has been copied
	return s
}

// outcome is what became of one damage.
type outcome string

const (
	outcomeSame    outcome = "nothing changed"
	outcomeHealed  outcome = "healed"
	outcomeNamed   outcome = "named, and refused"
	outcomeUseless outcome = "stale, and of no consequence"
	outcomeDropped outcome = "gap: the last commit dropped, reported"
	outcomeGap     outcome = "gap: consistent older metadata"
)

// strike damages one sector and holds what comes of it to the promise. The error is a breach.
func (s *sweepImage) strike(x usedSector, how string, random *rand.Rand) (outcome, error) {
	dev := disk.NewFaulty(disk.NewOverlay(disk.MemoryFrom(s.now), s.sector), s.sector, disk.FaultOptions{})
	off := x.no * int64(s.sector)
	p := bytes.Clone(s.now[off : off+int64(s.sector)])
	switch how {
	case "zero":
		clear(p)
	case "flip":
		limit := s.sector
		switch x.use.Purpose {
		case volume.PurposeSuperblock:
			limit = layout.SuperblockSize
		case volume.PurposeLogHead:
			limit = layout.LogHeadSize
		}
		p[random.IntN(limit)] ^= byte(1 << random.IntN(8))
	case "older":
		copy(p, s.older[off:])
	}
	switch {
	case how == "bad":
		dev.Decay(x.no)
	case bytes.Equal(p, s.now[off:off+int64(s.sector)]):
		return outcomeSame, nil
	default:
		if _, err := dev.WriteAt(p, off); err != nil {
			return "", err
		}
	}
	v, err := volume.Open(dev, volume.Options{})
	if err != nil {
		if !errors.Is(err, layout.ErrCorrupt) || x.use.Purpose != volume.PurposeTotals || !strings.Contains(err.Error(), fmt.Sprintf("volume totals (block %d", x.use.Block)) {
			return "", fmt.Errorf("open: %w", err)
		}
		return outcomeNamed, nil
	}
	recovery := v.Recovery()
	got := factsOf(v)
	r, err := v.Scrub(context.Background(), volume.ScrubOptions{Workers: 1})
	if err != nil {
		return "", fmt.Errorf("scrub: %w", err)
	}
	wrong, refused := got.differ(s.tree)
	if err := v.Close(); err != nil {
		return "", fmt.Errorf("close: %w", err)
	}
	verdict, err := fsck.Check(dev, fsck.Options{})
	if err != nil {
		return "", fmt.Errorf("fsck: %w", err)
	}
	left := r.Damaged - r.Healed
	older := how == "older" && x.use.Kind == layout.KindInodes && x.use.Purpose == volume.PurposeInodes ||
		how == "older" && s.sector == s.g.BlockSize && x.use.Kind != layout.KindInodes
	switch {
	case left > 0 && verdict.Clean():
		return "", fmt.Errorf("the scrub names %v, and fsck finds nothing", r.Damage)
	case refused > 0 && left == 0:
		return "", fmt.Errorf("%d things are refused, and the scrub names nothing", refused)
	case wrong != "" && recovery.Dropped:
		if other, _ := got.differ(s.before); other != "" {
			return "", fmt.Errorf("a commit was dropped, and the tree is not the one before it: %s", other)
		}
		return outcomeDropped, nil
	case wrong != "" && older:
		if never := got.within(s.tree, s.olderTree); never != "" {
			return "", errors.New(never)
		}
		if left > 0 {
			return outcomeNamed, nil
		}
		return outcomeGap, nil
	case wrong != "":
		return "", fmt.Errorf("wrong, and not refused: %s (%d damaged, %d healed)", wrong, r.Damaged, r.Healed)
	case left > 0:
		// An older checksum table is whole: what is named is the data that it does not know.
		if !older && !slices.ContainsFunc(r.Damage, func(d volume.Damage) bool {
			return d.Use.Block == x.use.Block || d.Use.Block*uint64(s.g.BlockSize) <= uint64(off) && uint64(off) < (d.Use.Block+d.Use.Count)*uint64(s.g.BlockSize)
		}) {
			return "", fmt.Errorf("the scrub names %v, and not what was damaged", r.Damage)
		}
		return outcomeNamed, nil
	case !verdict.Clean():
		if older {
			return outcomeGap, nil
		}
		return "", fmt.Errorf("everything is served, the scrub is content, and fsck finds %v", verdict.Findings)
	}
	if x.use.Purpose == volume.PurposeLog && recovery.Replayed > 0 {
		return outcomeHealed, nil // all of it is at home, and the log is done with that sector
	}
	// Nothing is left, and all is right: what was damaged is good again, or what it says is stale.
	now := make([]byte, s.sector)
	if err := disk.ReadFull(dev, now, off); err != nil {
		return "", fmt.Errorf("everything is served, the scrub is content, and not all can be read: %w", err)
	}
	if r.Healed > 0 || recovery.Replayed > 0 || !bytes.Equal(now, p) {
		return outcomeHealed, nil
	}
	switch {
	case how == "older" && (x.use.Purpose == volume.PurposeSuperblock || x.use.Purpose == volume.PurposeLogHead || older):
		return outcomeUseless, nil
	}
	return "", errors.New("nobody has noticed it")
}

// TestSweepOneCopy is what one copy promises at rest: each sector in use, one at a time, is
// zeroed, gets a bit flipped, can no longer be read, or goes back to an older version, with an empty log and with one that
// recovery needs. Each case is healed, or named and refused, or exactly a gap that docs/CRASH.md
// lists; wrong data is never served as right. All sectors take -sweep; else it is a share.
func TestSweepOneCopy(t *testing.T) {
	share := 13 // one in so many
	if testing.Short() {
		share = 101
	}
	if *wholeSweep {
		share = 1
	}
	seed := rand.Uint64()
	for _, c := range []struct {
		block, sector int
		live          bool
	}{{1024, 512, false}, {1024, 512, true}, {4096, 512, true}, {4096, 4096, false}, {4096, 4096, true}} {
		t.Run(fmt.Sprintf("block=%d,sector=%d,log=%v", c.block, c.sector, c.live), func(t *testing.T) {
			t.Logf("seed %d, one sector in %d", seed, share)
			random := rand.New(rand.NewPCG(seed, 2))
			s := newSweep(t, c.block, c.sector, c.live)
			tally := map[string]int{}
			n, breaches := 0, 0
			for i, x := range s.used {
				front := x.use.Purpose == volume.PurposeSuperblock || x.use.Purpose == volume.PurposeLogHead || x.use.Purpose == volume.PurposeTotals
				if !front && (uint64(i)+seed)%uint64(share) != 0 {
					continue
				}
				for _, how := range []string{"zero", "flip", "bad", "older"} {
					n++
					o, err := s.strike(x, how, random)
					if err != nil {
						if breaches++; breaches < 10 {
							t.Errorf("sector %d (block %d, %v), %s: %v", x.no, x.use.Block, x.use, how, err)
						}
						continue
					}
					tally[fmt.Sprintf("%-15s %-6s %s", x.use.Purpose, how, o)]++
					switch {
					case o == outcomeGap && how != "older", o == outcomeDropped && (!c.live || x.use.Purpose == volume.PurposeLog):
						t.Errorf("sector %d (block %d, %v), %s: %s", x.no, x.use.Block, x.use, how, o)
					}
				}
			}
			t.Logf("%d cases on %d sectors in use", n, len(s.used))
			for _, k := range slices.Sorted(maps.Keys(tally)) {
				t.Logf("%6d %s", tally[k], k)
			}
		})
	}
}
