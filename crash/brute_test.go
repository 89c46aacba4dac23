package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/big"
	"slices"
	"testing"

	"github.com/klauspost/crc32"
	"pgregory.net/rapid"

	"holdfast/disk"
)

// The explorer against brute force: random traces, random programs, every concrete state.

const testSector = 512

// rawDisk is a concrete device: bytes, and sectors that cannot be read. It shares nothing with
// the explorer.
type rawDisk struct {
	b       []byte
	bad     map[int64]bool
	decayed map[int64]bool // bad too
	events  []disk.Event
}

func (r *rawDisk) Size() int64 { return int64(len(r.b)) }

func (r *rawDisk) Flush() error {
	r.events = append(r.events, disk.Event{Kind: disk.EventFlush})
	return nil
}

func (r *rawDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(r.b)) {
		return 0, disk.ErrRange
	}
	for at := off / testSector; at*testSector < off+int64(len(p)); at++ {
		if r.bad[at] || r.decayed[at] {
			return 0, disk.ErrBadSector
		}
	}
	return copy(p, r.b[off:]), nil
}

func (r *rawDisk) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(r.b)) {
		return 0, disk.ErrRange
	}
	if len(p) == 0 {
		return 0, nil
	}
	first, last := off/testSector, (off+int64(len(p))-1)/testSector
	whole := make([]byte, (last-first+1)*testSector)
	edges := []int64{}
	if off%testSector != 0 {
		edges = append(edges, first)
	}
	if (off+int64(len(p)))%testSector != 0 {
		edges = append(edges, last)
	}
	for _, s := range edges {
		if r.bad[s] || r.decayed[s] {
			return 0, disk.ErrBadSector
		}
	}
	copy(whole, r.b[first*testSector:])
	copy(whole[off-first*testSector:], p)
	copy(r.b[first*testSector:], whole)
	for s := first; s <= last; s++ {
		delete(r.bad, s)
		delete(r.decayed, s)
	}
	r.events = append(r.events, disk.Event{Kind: disk.EventWrite, Off: first * testSector, Data: whole})
	return len(p), nil
}

func (r *rawDisk) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	return disk.CheckedRead(r, p, c, places...)
}

// bruteState is one concrete state.
type bruteState struct {
	b            []byte
	bad, decayed map[int64]bool
}

// disk is the state as a device of its own.
func (s bruteState) disk() *rawDisk {
	return &rawDisk{b: slices.Clone(s.b), bad: clone(s.bad), decayed: clone(s.decayed)}
}

func clone(m map[int64]bool) map[int64]bool {
	if m == nil {
		return map[int64]bool{}
	}
	return maps.Clone(m)
}

// bruteDecay calls f with s and every set of up to most bad sectors of it.
func bruteDecay(s bruteState, most int, from int64, f func(bruteState)) {
	f(s)
	for at := from; most > 0 && at < int64(len(s.b))/testSector; at++ {
		more := bruteState{s.b, s.bad, clone(s.decayed)}
		more.decayed[at] = true
		bruteDecay(more, most-1, at+1, f)
	}
}

// bruteStates calls f with every concrete state that writes over under leave.
func bruteStates(under bruteState, writes []disk.Event, opt *Options, f func(bruteState)) {
	type version struct {
		data []byte // nil: as before
		bad  bool
	}
	var sectors []int64
	versions := map[int64][]version{}
	if opt.Model != Sectors {
		for set := range 1 << len(writes) {
			if opt.Model == Prefix && set&(set+1) != 0 {
				continue
			}
			s := bruteState{slices.Clone(under.b), clone(under.bad), clone(under.decayed)}
			for i, w := range writes {
				if set>>i&1 != 0 {
					copy(s.b[w.Off:], w.Data)
					for at := w.Off; at < w.Off+int64(len(w.Data)); at += testSector {
						delete(s.bad, at/testSector)
						delete(s.decayed, at/testSector)
					}
				}
			}
			f(s)
		}
		return
	}
	for _, w := range writes {
		for i := 0; i < len(w.Data); i += testSector {
			at := w.Off/testSector + int64(i/testSector)
			if versions[at] == nil {
				sectors = append(sectors, at)
				versions[at] = []version{{}}
				if opt.Bad {
					versions[at] = append(versions[at], version{bad: true})
				}
			}
			versions[at] = append(versions[at], version{data: w.Data[i : i+testSector]})
		}
	}
	digits := make([]int, len(sectors))
	for {
		s := bruteState{slices.Clone(under.b), clone(under.bad), clone(under.decayed)}
		for i, at := range sectors {
			switch v := versions[at][digits[i]]; {
			case v.bad:
				s.bad[at] = true
				delete(s.decayed, at)
			case v.data != nil:
				copy(s.b[at*testSector:], v.data)
				delete(s.bad, at)
				delete(s.decayed, at)
			}
		}
		f(s)
		i := 0
		for ; i < len(digits); i++ {
			if digits[i]++; digits[i] < len(versions[sectors[i]]) {
				break
			}
			digits[i] = 0
		}
		if i == len(digits) {
			return
		}
	}
}

// instruction is one step of a random program.
type instruction struct {
	op     string // read, checked, run, scan, mend, write, copy, flush, skip
	off    int64
	n      int
	places []int64
	check  disk.Check
	limit  int // checked: accept content whose first byte is at most this; -1: no Accept
	data   []byte
}

// play runs a program; what it returns is all that the program learned.
func play(program []instruction, dev disk.Device) string {
	h := fnv.New64a()
	last := make([]byte, testSector)
	for i := 0; i < len(program); i++ {
		in := &program[i]
		switch in.op {
		case "read":
			p := make([]byte, in.n)
			n, err := dev.ReadAt(p, in.off)
			if err != nil && !errors.Is(err, disk.ErrBadSector) {
				panic(err)
			}
			fmt.Fprintf(h, "read %d %d %v %x;", i, n, err == nil, p[:n])
			copy(last, p[:n])
		case "checked":
			p := make([]byte, in.n)
			c := in.check
			if in.limit >= 0 {
				c.Accept = func(p []byte) bool { return int(p[0]) <= in.limit }
			}
			_, err := dev.ReadChecked(p, c, in.places...)
			if err == nil {
				fmt.Fprintf(h, "checked %d %x;", i, p)
				copy(last, p)
			} else if !errors.Is(err, disk.ErrBadSector) && !errors.Is(err, disk.ErrChecksum) {
				panic(err)
			} else {
				fmt.Fprintf(h, "failed %d;", i)
			}
		case "run": // of sectors, each the one wanted or not
			p := make([]byte, in.n)
			n, err := disk.ReadChecks(dev, p, testSector, func(int) disk.Check { return in.check }, in.off)
			if err != nil && !errors.Is(err, disk.ErrBadSector) && !errors.Is(err, disk.ErrChecksum) {
				panic(err)
			}
			fmt.Fprintf(h, "run %d %d %x;", i, n, p[:n*testSector])
		case "scan": // for the first that is wanted
			p := make([]byte, in.n)
			seen := disk.Peek(dev, p, in.off)
			for at := 0; at < in.n; at += testSector {
				c := in.check
				c.Accept = func(p []byte) bool { return int(p[0]) > in.limit }
				part := p[at : at+testSector]
				if at+testSector <= seen && !c.Accept(part) {
					continue
				}
				if _, err := dev.ReadChecked(part, c, in.off+int64(at)); err == nil {
					fmt.Fprintf(h, "scan %d %d %x;", i, at, part)
					break
				}
			}
		case "mend": // pairs of places
			for k := 0; k+1 < len(in.places); k += 2 {
				p := make([]byte, in.n)
				pair := disk.NewStable(disk.NewStripe(dev, in.places[k], int64(in.n)), disk.NewStripe(dev, in.places[k+1], int64(in.n)))
				if _, err := disk.Mend(pair, p, in.check, 0); err == nil {
					fmt.Fprintf(h, "mended %d %d %x;", i, k, p)
				} else if !errors.Is(err, disk.ErrBadSector) && !errors.Is(err, disk.ErrChecksum) {
					panic(err)
				}
			}
		case "write":
			if _, err := dev.WriteAt(in.data, in.off); err != nil {
				fmt.Fprintf(h, "write %d failed;", i)
			}
		case "copy":
			if _, err := dev.WriteAt(last, in.off); err != nil {
				fmt.Fprintf(h, "copy %d failed;", i)
			}
		case "flush":
			_ = dev.Flush()
		case "skip":
			if h.Sum64()%2 == 0 {
				i += in.n
			}
		}
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

var testTable = crc32.MakeTable(crc32.Castagnoli)

// seal makes the CRC of p from seed the same for all contents of one length (the residue).
func seal(p []byte, seed uint32) []byte {
	n := len(p) - 4
	binary.LittleEndian.PutUint32(p[n:], crc32.Update(seed, testTable, p[:n]))
	return p
}

const residue = 0x48674bc7

// drawContent is n sectors that start and go on with letters of a small alphabet.
func drawContent(t *rapid.T, n int) []byte {
	p := make([]byte, n*testSector)
	for i := 0; i < len(p); i += testSector / 2 {
		p[i] = byte(rapid.IntRange(0, 2).Draw(t, "letter"))
	}
	if rapid.Bool().Draw(t, "sealed") {
		seal(p, uint32(rapid.IntRange(0, 1).Draw(t, "seed")))
	}
	return p
}

const testSectors = 7

func drawTrace(t *rapid.T) *disk.Trace {
	tr := &disk.Trace{SectorSize: testSector, Base: drawContent(t, testSectors)}
	for range rapid.IntRange(1, 7).Draw(t, "events") {
		if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
			tr.Events = append(tr.Events, disk.Event{Kind: disk.EventFlush})
			continue
		}
		n := rapid.IntRange(1, 3).Draw(t, "sectors")
		off := rapid.IntRange(0, testSectors-n).Draw(t, "at")
		tr.Events = append(tr.Events, disk.Event{Kind: disk.EventWrite, Off: int64(off) * testSector, Data: drawContent(t, n)})
	}
	return tr
}

func drawProgram(t *rapid.T, tr *disk.Trace, writing bool) []instruction {
	ops := []string{"read", "checked", "checked", "checked", "run", "scan", "skip"}
	if writing {
		ops = append(ops, "write", "copy", "flush", "checked", "mend")
	}
	size := int64(len(tr.Base))
	// A finished image: what its blocks say is what a CRC may be wanted of.
	final := append([]byte(nil), tr.Base...)
	for _, e := range tr.Events {
		if e.Kind == disk.EventWrite && rapid.IntRange(0, 3).Draw(t, "kept") > 0 {
			copy(final[e.Off:], e.Data)
		}
	}
	var program []instruction
	for range rapid.IntRange(1, 8).Draw(t, "instructions") {
		in := instruction{op: rapid.SampledFrom(ops).Draw(t, "op")}
		switch in.op {
		case "read", "checked":
			if in.n = rapid.IntRange(1, 3).Draw(t, "n") * testSector; rapid.IntRange(0, 4).Draw(t, "part") == 0 {
				in.n = rapid.IntRange(1, 2*testSector).Draw(t, "bytes")
			}
			place := func() int64 {
				off := rapid.Int64Range(0, size-int64(in.n)).Draw(t, "off")
				if rapid.IntRange(0, 4).Draw(t, "aligned") > 0 {
					off -= off % (testSector / 2)
				}
				if rapid.IntRange(0, 4).Draw(t, "whole") > 0 {
					off -= off % testSector
				}
				return off
			}
			in.off = place()
			for range rapid.SampledFrom([]int{1, 1, 2, 2, 3}).Draw(t, "places") {
				in.places = append(in.places, place())
			}
			in.check.Seed = uint32(rapid.IntRange(0, 1).Draw(t, "seed"))
			if in.check.Want = residue; rapid.Bool().Draw(t, "want") {
				off := in.places[len(in.places)-1]
				in.check.Want = crc32.Update(in.check.Seed, testTable, final[off:off+int64(in.n)])
			}
			in.limit = rapid.SampledFrom([]int{-1, -1, 0, 1}).Draw(t, "limit")
		case "run", "scan":
			n := rapid.Int64Range(2, 5).Draw(t, "n")
			in.n, in.off = int(n)*testSector, rapid.Int64Range(0, size/testSector-n).Draw(t, "sector")*testSector
			in.check = disk.Check{Seed: uint32(rapid.IntRange(0, 1).Draw(t, "seed")), Want: residue}
			in.limit = rapid.IntRange(-1, 1).Draw(t, "limit")
		case "mend":
			n := rapid.Int64Range(1, 2).Draw(t, "n")
			in.n = int(n) * testSector
			const half = testSectors / 2
			for len(in.places) < 2*(seenMends+2) {
				in.places = append(in.places, rapid.Int64Range(0, half-n).Draw(t, "first")*testSector,
					rapid.Int64Range(half, testSectors-n).Draw(t, "second")*testSector)
			}
			off := in.places[rapid.IntRange(0, len(in.places)-1).Draw(t, "want")]
			in.check = disk.Check{Seed: 7, Want: crc32.Update(7, testTable, final[off:off+int64(in.n)]), Whole: true}
		case "write":
			n := rapid.IntRange(1, 2).Draw(t, "n")
			in.data = drawContent(t, n)
			if rapid.IntRange(0, 3).Draw(t, "part") == 0 {
				in.data = in.data[:rapid.IntRange(1, n*testSector).Draw(t, "bytes")]
			}
			in.off = rapid.Int64Range(0, size-int64(len(in.data))).Draw(t, "off")
			if rapid.IntRange(0, 3).Draw(t, "aligned") > 0 {
				in.off -= in.off % testSector
			}
		case "copy":
			in.off = rapid.Int64Range(0, testSectors-1).Draw(t, "sector") * testSector
		case "skip":
			in.n = rapid.IntRange(1, 2).Draw(t, "n")
		}
		program = append(program, in)
	}
	return program
}

func drawOptions(t *rapid.T) Options {
	opt := drawModel(t)
	opt.Decay = max(0, rapid.IntRange(-2, maxDecay).Draw(t, "decay"))
	return opt
}

func drawModel(t *rapid.T) Options {
	switch rapid.IntRange(0, 3).Draw(t, "model") {
	case 0:
		return Options{}
	case 3:
		return Options{Model: Prefix}
	case 1:
		return Options{Bad: true}
	}
	return Options{Model: Atomic}
}

// fewStates skips traces that brute force would take too long for.
func fewStates(t *rapid.T, tr *disk.Trace, opt Options, most int64) []*big.Int {
	counts, err := Count(tr, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range counts {
		if n.Cmp(big.NewInt(most)) > 0 {
			t.Skip("too many states")
		}
	}
	return counts
}

// bruteEpochs splits a trace: the image before each epoch, and its writes.
func bruteEpochs(tr *disk.Trace, f func(point int, image []byte, writes []disk.Event)) {
	image := append([]byte(nil), tr.Base...)
	var writes []disk.Event
	point := 0
	for _, e := range append(tr.Events[:len(tr.Events):len(tr.Events)], disk.Event{Kind: disk.EventFlush}) {
		if e.Kind == disk.EventWrite {
			writes = append(writes, e)
		}
		if e.Kind == disk.EventFlush {
			f(point, image, writes)
			for _, w := range writes {
				copy(image[w.Off:], w.Data)
			}
			writes, point = nil, point+1
		}
	}
}

// TestBruteForce: for each outcome of a program, the states of the leaves with that outcome are
// as many as the concrete states with it; and the image that a leaf's ID names has it.
func TestBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrace(t)
		opt := drawOptions(t)
		counts := fewStates(t, tr, opt, 3000)
		program := drawProgram(t, tr, true)
		opt.Keep = 1 << 20
		opt.Workers = rapid.IntRange(1, 3).Draw(t, "workers")

		want := map[string]int64{}
		sound := map[string]bool{} // without decay
		bruteEpochs(tr, func(point int, image []byte, writes []disk.Event) {
			var n int64
			bruteStates(bruteState{b: image}, writes, &opt, func(s bruteState) {
				bruteDecay(s, opt.Decay, 0, func(s bruteState) {
					n++
					seen := fmt.Sprint(point, " ", play(program, s.disk()))
					want[seen]++
					if len(s.decayed) == 0 {
						sound[seen] = true
					}
				})
			})
			if counts[point].Cmp(big.NewInt(n)) != 0 {
				t.Fatalf("point %d: Count says %v, there are %d", point, counts[point], n)
			}
		})

		check := func(s *State) error {
			seen := fmt.Sprint(s.Index, " ", play(program, s.Dev))
			s.Note(seen)
			if s.Decayed() == 0 && !sound[seen] {
				t.Errorf("%s: only decay explains it, and the check met none", seen)
			}
			return errors.New(seen)
		}
		r, err := Explore(tr, opt, check)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Complete() || r.Covered.Cmp(r.States) != 0 {
			t.Fatalf("covered %v of %v states", r.Covered, r.States)
		}
		for _, l := range r.Labels {
			if l.States.Cmp(big.NewInt(want[l.Label])) != 0 {
				t.Errorf("%s: %v states in %d leaves, want %d", l.Label, l.States, l.Leaves, want[l.Label])
			}
			delete(want, l.Label)
		}
		for label, n := range want {
			t.Errorf("%s: missed with its %d states", label, n)
		}
		for _, p := range r.Points {
			for _, v := range p.Kept {
				m, err := Rebuild(tr, v.ID, nil, nil)
				if err != nil {
					t.Fatalf("%s: %v", v.ID, err)
				}
				if _, verdict := m.Judge(check); verdict == nil || verdict.Error() != v.Err.Error() {
					t.Fatalf("%s: rebuilt: %v, explored: %v", v.ID, verdict, v.Err)
				}
				raw := bruteState{b: m.Bytes, bad: sectors(m.Bad), decayed: sectors(v.Decayed)}.disk()
				if got := fmt.Sprint(v.pointIndex(), " ", play(program, raw)); got != v.Label {
					t.Fatalf("%s: on a concrete device: %s, explored: %v", v.ID, got, v.Err)
				}
			}
		}
	})
}

// sectors lists the sectors of ranges.
func sectors(list []disk.Extent) map[int64]bool {
	m := map[int64]bool{}
	for _, e := range list {
		for at := e.Off; at < e.End(); at += testSector {
			m[at/testSector] = true
		}
	}
	return m
}

// pointIndex is the crash point in the ID.
func (v *Violation) pointIndex() int {
	id, err := parseID(v.ID)
	if err != nil {
		panic(err)
	}
	return id.point
}

// TestBruteForceNested: the outcomes of a program after a crash inside it are those of brute
// force, and the IDs of such states rebuild them.
func TestBruteForceNested(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTrace(t)
		opt := drawOptions(t)
		opt.Nested, opt.Keep = 1, 1<<20
		fewStates(t, tr, opt, 100)
		program := drawProgram(t, tr, true)

		want := map[string]bool{}
		runs := 0
		bruteEpochs(tr, func(point int, image []byte, writes []disk.Event) {
			nested := func(s bruteState) {
				first := s.disk()
				play(program, first)
				under := bruteState{slices.Clone(s.b), clone(s.bad), clone(s.decayed)}
				var inFlight []disk.Event
				wrote := false // before that, a crash leaves what the run began with
				for _, e := range append(first.events, disk.Event{Kind: disk.EventFlush}) {
					if e.Kind == disk.EventWrite {
						inFlight, wrote = append(inFlight, e), true
						continue
					}
					if !wrote {
						continue
					}
					bruteStates(under, inFlight, &opt, func(s bruteState) {
						if runs++; runs > 30000 {
							t.Skip("too many states")
						}
						want[fmt.Sprint(point, " ", play(program, s.disk()))] = true
					})
					for _, w := range inFlight {
						copy(under.b[w.Off:], w.Data)
						for at := w.Off; at < w.Off+int64(len(w.Data)); at += testSector {
							delete(under.bad, at/testSector)
							delete(under.decayed, at/testSector)
						}
					}
					inFlight = nil
				}
			}
			bruteStates(bruteState{b: image}, writes, &opt, func(s bruteState) { bruteDecay(s, opt.Decay, 0, nested) })
		})

		got := map[string]bool{}
		check := func(s *State) error {
			seen := fmt.Sprint(s.Index, " ", play(program, s.Dev))
			if s.Depth > 0 {
				got[seen] = true
				return errors.New(seen)
			}
			return nil
		}
		r, err := Explore(tr, opt, check)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Complete() {
			t.Fatalf("covered %v of %v states, %d nested points incomplete", r.Covered, r.States, r.Nested.Incomplete)
		}
		for seen := range want {
			if !got[seen] {
				t.Errorf("%s: missed", seen)
			}
		}
		for seen := range got {
			if !want[seen] {
				t.Errorf("%s: found, but no concrete state has it", seen)
			}
		}
		for _, p := range r.Points {
			for i, v := range p.Kept {
				if i == 20 {
					break
				}
				m, err := Rebuild(tr, v.ID, nil, check)
				if err != nil {
					t.Fatalf("%s: %v", v.ID, err)
				}
				if _, verdict := m.Judge(check); verdict == nil || verdict.Error() != v.Err.Error() {
					t.Fatalf("%s: rebuilt: %v, explored: %v", v.ID, verdict, v.Err)
				}
				raw := bruteState{b: m.Bytes, bad: sectors(m.Bad), decayed: map[int64]bool{}}
				if m.decay != nil {
					for at := range m.decay.truth {
						raw.decayed[at] = true
					}
				}
				if got := fmt.Sprint(v.pointIndex(), " ", play(program, raw.disk())); got != v.Err.Error() {
					t.Fatalf("%s: on a concrete device: %s, explored: %v\n%+v\n%+v", v.ID, got, v.Err, program, raw.decayed)
				}
			}
		}
	})
}
