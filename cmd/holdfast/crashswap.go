package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
	"holdfast/workload"
)

// swapFlag is two steps of an operation that change places, as [OP:]I,J; all are counted from 1.
type swapFlag struct{ op, i, j int }

func (s *swapFlag) String() string {
	if s.op == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d,%d", s.op, s.i, s.j)
}

func (s *swapFlag) Type() string { return "[OP:]I,J" }

func (s *swapFlag) Set(text string) error {
	op, pair, ok := strings.Cut(text, ":")
	if !ok {
		op, pair = "1", text
	}
	a, b, ok := strings.Cut(pair, ",")
	var n [3]int
	for k, w := range []string{op, a, b} {
		v, err := strconv.Atoi(w)
		if err != nil || v < 1 || !ok {
			return errors.New("want two steps I,J, or OP:I,J, counted from 1")
		}
		n[k] = v
	}
	if n[1] == n[2] {
		return errors.New("a step cannot change places with itself")
	}
	*s = swapFlag{n[0], min(n[1], n[2]), max(n[1], n[2])}
	return nil
}

// step is the writes of an operation between two flushes.
type step struct{ writes []disk.Event }

// stepsOf finds operation k of a trace: its steps, and where its events begin and end, the marks
// not included.
func stepsOf(t *disk.Trace, k int) (steps []step, from, to int) {
	from, to = -1, -1
	var now step
	end := func() {
		if len(now.writes) > 0 {
			steps = append(steps, now)
		}
		now = step{}
	}
	for i, e := range t.Events {
		switch {
		case e.Kind == disk.EventMark && e.Mark == (workload.Mark{Kind: workload.Started, K: k}).String():
			from = i + 1
		case e.Kind == disk.EventMark && from >= 0 && e.Mark == (workload.Mark{Kind: workload.Finished, K: k}).String():
			end()
			return steps, from, i
		case from < 0:
		case e.Kind == disk.EventFlush:
			end()
		case e.Kind == disk.EventWrite:
			now.writes = append(now.writes, e)
		}
	}
	return nil, -1, -1
}

// swapped is the session with two steps of an operation in each other's place: the trace of a
// program that does the same in another order. What a step does to a block is taken as a change
// (counters by their difference), so that it can be done to another version of the block. Each
// step then ends in a flush.
func (x *session) swapped(s swapFlag) (*session, error) {
	t := x.trace
	steps, from, to := stepsOf(t, s.op)
	if !x.script.Image.None {
		return nil, errors.New("--swap: only without a journal does an operation have steps: give the image journal=none")
	}
	if from < 0 {
		return nil, fmt.Errorf("--swap %s: there are %d operations", &s, len(x.script.Ops))
	}
	if s.j > len(steps) {
		return nil, fmt.Errorf("--swap %s: operation %d, %s, has %s", &s, s.op, x.script.Ops[s.op-1], counted(len(steps), "step", "steps"))
	}
	sb, err := volume.ReadSuperblock(disk.MemoryFrom(t.Base))
	if err != nil {
		return nil, err
	}
	g, err := layout.NewGeometry(sb)
	if err != nil {
		return nil, err
	}
	m := &merger{g: &g, seeds: layout.NewSeeds(sb.UUID)}
	image := slices.Clone(t.Base)
	for _, e := range t.Events[:from] {
		if e.Kind == disk.EventWrite {
			copy(image[e.Off:], e.Data)
		}
	}
	// What each write changes, in the order in which it happened.
	changes := make([][]change, len(steps))
	whole := slices.Clone(image)
	for i, st := range steps {
		for _, w := range st.writes {
			at := whole[w.Off : w.Off+int64(len(w.Data))]
			changes[i] = append(changes[i], change{w.Off, bytes.Clone(at), w.Data})
			copy(at, w.Data)
		}
	}
	order := make([]int, len(steps))
	for i := range order {
		order[i] = i
	}
	order[s.i-1], order[s.j-1] = s.j-1, s.i-1
	events := slices.Clone(t.Events[:from])
	for _, i := range order {
		for _, c := range changes[i] {
			now := image[c.off : c.off+int64(len(c.after))]
			p, err := m.apply(c, now)
			if err != nil {
				return nil, fmt.Errorf("--swap %s: %w", &s, err)
			}
			copy(now, p)
			events = append(events, disk.Event{Kind: disk.EventWrite, Off: c.off, Data: p})
		}
		events = append(events, disk.Event{Kind: disk.EventFlush})
	}
	if at := firstDifference(image, whole, g.BlockSize); at >= 0 {
		return nil, fmt.Errorf("--swap %s: both steps change the same bytes of block %d: no program does them in this order", &s, at)
	}
	trace := &disk.Trace{SectorSize: t.SectorSize, Base: t.Base, Events: append(events, t.Events[to:]...)}
	return newSession(x.text, x.script, x.run, trace)
}

// firstDifference is the first block that two images do not have alike, -1 for none.
func firstDifference(a, b []byte, block int) int {
	for at := 0; at < len(a); at += block {
		end := min(at+block, len(a))
		if !bytes.Equal(a[at:end], b[at:end]) {
			return at / block
		}
	}
	return -1
}

// change is what a write does to a block.
type change struct {
	off           int64
	before, after []byte
}

// merger does changes to other versions of blocks than those that they were made to.
type merger struct {
	g     *layout.Geometry
	seeds layout.Seeds
}

// apply is the block now, changed.
func (m *merger) apply(c change, now []byte) ([]byte, error) {
	no := uint64(c.off) / uint64(m.g.BlockSize)
	if bytes.Equal(c.before, now) {
		return bytes.Clone(c.after), nil
	}
	if strings.HasPrefix(purpose(m.g, no), "inode table") {
		return m.inodes(c, now, no), nil
	}
	seed := m.seeds.Block(no)
	a, b := layout.DecodeHeader(c.before), layout.DecodeHeader(c.after)
	if !layout.Sealed(c.after, seed) || !layout.Sealed(c.before, seed) || a.Kind != b.Kind || a.Owner != b.Owner || a.Index != b.Index {
		return bytes.Clone(c.after), nil // data, or a block of another purpose
	}
	p := bytes.Clone(now)
	seq := max(layout.DecodeHeader(now).Seq, b.Seq)
	switch b.Kind {
	case layout.KindBitmap:
		was, is, s := layout.Stats(c.before), layout.Stats(c.after), layout.Stats(now)
		s.FreeBlocks += is.FreeBlocks - was.FreeBlocks
		s.InodesInit += is.InodesInit - was.InodesInit
		s.InodesFree += is.InodesFree - was.InodesFree
		s.Directories += is.Directories - was.Directories
		body := layout.BlockBody(p)
		for i := range body {
			body[i] ^= layout.BlockBody(c.before)[i] ^ layout.BlockBody(c.after)[i]
		}
		layout.SetStats(p, s)
	case layout.KindTotals:
		t, err := m.totals(c, now)
		if err != nil {
			return nil, err
		}
		layout.EncodeTotals(p, t)
	case layout.KindDirLeaf:
		if err := leaf(c, p); err != nil {
			return nil, fmt.Errorf("the steps cannot change places in directory block %d: %w", no, err)
		}
	default:
		overlay(p, c.before, c.after)
	}
	layout.SealBlock(p, no, seq, m.seeds)
	return p, nil
}

// overlay puts the bytes in which after differs from before into p.
func overlay(p, before, after []byte) {
	for i := range p {
		if before[i] != after[i] {
			p[i] = after[i]
		}
	}
}

// records is the live records of a directory leaf, by their offset.
func records(p []byte) (map[int]layout.Record, error) {
	list := map[int]layout.Record{}
	body := layout.BlockBody(p)
	for off := 0; off < len(body); {
		r, err := layout.GetRecord(body, off)
		if err != nil {
			return nil, err
		}
		if !r.Hole() {
			list[off] = r
		}
		off += r.Len
	}
	return list, nil
}

// leaf takes the entries out of p, which is the leaf now, that the change takes out, and puts
// those in that it puts in; what is between entries is a hole.
func leaf(c change, p []byte) error {
	var list [3]map[int]layout.Record
	for i, b := range [][]byte{c.before, c.after, bytes.Clone(p)} {
		var err error
		if list[i], err = records(b); err != nil {
			return err
		}
	}
	was, is, now := list[0], list[1], list[2]
	same := func(a, b layout.Record) bool {
		return a.Len == b.Len && a.Ino == b.Ino && a.Type == b.Type && bytes.Equal(a.Name, b.Name)
	}
	for off, r := range was {
		if x, ok := is[off]; !ok || !same(r, x) {
			delete(now, off)
		}
	}
	for off, r := range is {
		if x, ok := was[off]; !ok || !same(r, x) {
			now[off] = r
		}
	}
	h := layout.DecodeHeader(p)
	h.Count, h.Aux = uint32(len(now)), 0
	body, end := layout.BlockBody(p), 0
	hole := func(to int) {
		if to > end {
			layout.PutHole(body, end, to-end)
			h.Aux = max(h.Aux, uint64(to-end))
		}
	}
	for _, off := range slices.Sorted(maps.Keys(now)) {
		if off < end {
			return errors.New("two entries in one place")
		}
		hole(off)
		layout.PutRecord(body, off, now[off].Len, now[off].Dirent)
		end = off + now[off].Len
	}
	hole(len(body))
	layout.EncodeHeader(p, h)
	return nil
}

func (m *merger) totals(c change, now []byte) (*layout.Totals, error) {
	var list [3]*layout.Totals
	for i, p := range [][]byte{c.before, c.after, now} {
		t, err := layout.DecodeTotals(p, m.g)
		if err != nil {
			return nil, err
		}
		list[i] = t
	}
	was, is, t := list[0], list[1], list[2]
	t.FreeBlocks += is.FreeBlocks - was.FreeBlocks
	t.FreeInodes += is.FreeInodes - was.FreeInodes
	t.Dirs += is.Dirs - was.Dirs
	t.Groups += is.Groups - was.Groups
	return t, nil
}

// Places in an inode that are counters.
const (
	inodeLinks  = 4   // 4 bytes
	inodeBlocks = 24  // 8 bytes
	inodeSeq    = 112 // 8 bytes
	inodeNames  = 140 // 4 bytes
)

// inodes changes those inodes of a block that the change has changed.
func (m *merger) inodes(c change, now []byte, no uint64) []byte {
	p := bytes.Clone(now)
	le := binary.LittleEndian
	group, _ := m.g.GroupOf(no)
	first := m.g.InodeNumber(group, uint32(no-m.g.InodeTable(group))*uint32(m.g.InodesPerBlock()))
	for k := range m.g.InodesPerBlock() {
		at, end := k*layout.InodeSize, (k+1)*layout.InodeSize
		was, is, q := c.before[at:end], c.after[at:end], p[at:end]
		if bytes.Equal(was, is) {
			continue
		}
		old := now[at:end]
		overlay(q, was, is)
		for _, f := range []int{inodeLinks, inodeNames} {
			le.PutUint32(q[f:], le.Uint32(old[f:])+le.Uint32(is[f:])-le.Uint32(was[f:]))
		}
		le.PutUint64(q[inodeBlocks:], le.Uint64(old[inodeBlocks:])+le.Uint64(is[inodeBlocks:])-le.Uint64(was[inodeBlocks:]))
		layout.StampInode(q, first+uint64(k), max(le.Uint64(old[inodeSeq:]), le.Uint64(is[inodeSeq:])), m.seeds)
	}
	return p
}
