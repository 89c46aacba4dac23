package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
)

// flying is a sector that was written since the last flush.
type flying struct {
	off int64
	new []byte
}

// point is a moment of a trace: the durable image and what was in flight.
type point struct {
	image  *medium
	flying []flying
	lo, hi uint64 // transactions that must, and that may be there
}

// points are the moments just before each flush of a trace and at its end, which have every
// state that a crash can leave.
//
// On the way it holds the rules that a trace alone shows: never two writes to one sector in
// flight, and no log sector is written again before both headers on the device have given it up.
func points(t *testing.T, events []disk.Event, g *layout.Geometry, base *medium, k uint64) []point {
	t.Helper()
	now := point{image: base.clone(), lo: k, hi: k}
	var list []point
	keep := func() {
		p := now
		p.image, p.flying = now.image.clone(), slices.Clone(now.flying)
		list = append(list, p)
	}
	size := int64(g.SectorSize)
	for _, e := range events {
		switch e.Kind {
		case disk.EventWrite:
			for i := int64(0); i < int64(len(e.Data)); i += size {
				off := e.Off + i
				for _, f := range now.flying {
					if f.off == off {
						t.Fatalf("two writes in flight to the sector at %d", off)
					}
				}
				now.flying = append(now.flying, flying{off, e.Data[i : i+size]})
				givenUp(t, now.image, g, off, e.Data[i:i+size])
			}
		case disk.EventFlush:
			keep()
			for _, f := range now.flying {
				if _, err := now.image.WriteAt(f.new, f.off); err != nil {
					t.Fatal(err)
				}
			}
			now.flying = nil
		case disk.EventMark:
			var what string
			var k uint64
			if _, err := fmt.Sscan(e.Mark, &what, &k); err != nil {
				t.Fatal(err)
			}
			if now.hi = k; what == "done" {
				now.lo = k
			}
		}
	}
	keep()
	return list
}

// givenUp fails if off is in a run and the sector to be written there takes the place of one
// that a header on the device still needs.
func givenUp(t *testing.T, m *medium, g *layout.Geometry, off int64, p []byte) {
	t.Helper()
	block := uint64(off) / uint64(g.BlockSize)
	if block < g.LogRun(0) || block >= g.LogRun(1)+g.RunBlocks {
		return
	}
	n, _ := runSectors(g)
	h, _ := layout.PeekLogSector(p)
	for i := range 2 {
		b := make([]byte, layout.LogHeadSize)
		if _, err := m.ReadAt(b, int64(g.LogHead(i))*int64(g.BlockSize)); err != nil {
			continue
		}
		if head, err := layout.DecodeLogHead(b, i, g.LogHead(i), testSeeds); err == nil && h.Pos >= head.Tail+n {
			t.Fatalf("position %d written over %d, but header %d needs it from %d on", h.Pos, h.Pos-n, i, head.Tail)
		}
	}
}

// crash is one state that a crash at p may leave: each sector in flight is old, new or bad.
func (p *point) crash(rng *rand.Rand) *medium {
	m := p.image.clone()
	m.writes = 0
	put := func(f flying, what int) {
		switch what {
		case 0:
			copy(m.Bytes()[f.off:], f.new)
			delete(m.bad, f.off/m.sector)
		case 1:
			m.bad[f.off/m.sector] = true
		}
	}
	mode, odd := rng.IntN(7), -1
	if len(p.flying) > 0 {
		odd = rng.IntN(len(p.flying))
	}
	for i, f := range p.flying {
		switch mode {
		case 0: // anything
			put(f, rng.IntN(3))
		case 1: // all
			put(f, 0)
		case 2: // nothing
		case 3: // all but one, which is old or bad
			if i != odd {
				put(f, 0)
			} else if rng.IntN(2) == 0 {
				put(f, 1)
			}
		case 4: // only one
			if i == odd {
				put(f, rng.IntN(2))
			}
		case 5: // in order, up to one
			if i < odd {
				put(f, 0)
			}
		case 6: // from one on
			if i >= odd {
				put(f, 0)
			}
		}
	}
	return m
}

// decay is what went bad beside what the crash left.
type decay struct {
	what string
	data uint64 // a data block that the last durable transaction wrote, 0: none
}

// decay makes a sector bad that was not in flight. If it is one of the log its twin is good, and
// it must cost nothing. If it is data of the last durable transaction it may cost that one,
// when nothing attests it, but no more: nothing of it may be home yet, and nothing that it freed
// may have been used again.
func (p *point) decay(m *medium, g *layout.Geometry, states map[uint64]state, rng *rand.Rand) decay {
	flew := func(off int64) bool {
		return slices.ContainsFunc(p.flying, func(f flying) bool { return f.off == off }) || m.bad[off/m.sector]
	}
	n, _ := runSectors(g)
	var off, twin int64
	var d decay
	switch rng.IntN(6) {
	case 0:
		i := rng.IntN(2)
		off, twin = int64(g.LogHead(i))*int64(g.BlockSize), int64(g.LogHead(1-i))*int64(g.BlockSize)
		d.what = fmt.Sprintf("header %d decayed", i)
	case 1:
		at, i := rng.Int64N(int64(n)), rng.IntN(2)
		off, twin = runOffset(g, i)+at*int64(g.SectorSize), runOffset(g, 1-i)+at*int64(g.SectorSize)
		d.what = fmt.Sprintf("sector %d of run %d decayed", at, i)
	case 2, 3:
		last, ok := states[p.lo-1]
		if !ok {
			return d
		}
		for no, x := range states[p.lo].data {
			if y := last.data[no]; y.bytes == nil || y.gen != x.gen {
				d = decay{fmt.Sprintf("data block %d decayed", no), no}
			}
		}
		if d.data == 0 {
			return d
		}
		off = int64(d.data) * int64(g.BlockSize)
		twin = off
	default:
		return d
	}
	if flew(off) || flew(twin) {
		return decay{}
	}
	m.bad[off/m.sector] = true
	return d
}

// recovered recovers m and holds what was promised of it; it returns the transaction found.
func recovered(m *medium, g *layout.Geometry, p *point, d decay, states map[uint64]state) (uint64, error) {
	before := bytes.Clone(m.Bytes())
	verdict, err := Scan(m, g, testSeeds)
	if err != nil {
		return 0, fmt.Errorf("scan: %w", err)
	}
	if m.writes != 0 || !bytes.Equal(before, m.Bytes()) {
		return 0, errors.New("Scan wrote to the device")
	}
	rep, err := Recover(m, g, testSeeds)
	if err != nil {
		return 0, fmt.Errorf("recovery: %w", err)
	}
	if rep.Replayed != verdict.Replayed || rep.LastSeq != verdict.LastSeq || rep.Dropped != verdict.Dropped || rep.DroppedWhy != verdict.DroppedWhy {
		return 0, fmt.Errorf("Recover found %+v, Scan %+v", *rep, *verdict)
	}
	k, err := found(m, g, states, d.data)
	if err != nil {
		return k, err
	}
	if d.data != 0 && k == p.lo-1 && rep.Dropped {
		return k, nil
	}
	if k < p.lo || k > p.hi {
		return k, fmt.Errorf("after transaction %d, but %d was durable and %d was begun", k, p.lo, p.hi)
	}
	before, m.writes = bytes.Clone(m.Bytes()), 0
	again, err := Recover(m, g, testSeeds)
	if err != nil {
		return k, fmt.Errorf("second recovery: %w", err)
	}
	if again.Replayed != 0 || again.Dropped || m.writes != 0 || !bytes.Equal(before, m.Bytes()) {
		return k, fmt.Errorf("the second recovery was not without effect: %+v, %d writes", *again, m.writes)
	}
	return k, nil
}

// TestPowerLoss runs random transactions, cuts the power at every flush in several ways,
// recovers, cuts the power during recovery as well, and goes on from one of the states: so old
// tails, dropped ones too, lie in the log of what follows. Without any of these rules it fails:
//
//   - data, both runs and the commit record before what relies on them (one flush per commit);
//   - replay of attested transactions without their data, of the last one only with it;
//   - home writes and reuse of blocks wait until attested; revoked blocks are not written home;
//   - the first change in a checkpoint interval logs an image; the tail moves after the home writes;
//   - headers alternate, and space is reused up to the older one's tail;
//   - a new epoch before the first change; void sectors are those of another epoch, lap or place;
//   - recovery is idempotent and may be interrupted.
func TestPowerLoss(t *testing.T) {
	laps := uint64(0)
	for _, c := range []struct {
		sector      uint32
		blocks, run uint64
	}{{512, 110, 20}, {512, 200, 40}, {4096, 130, 32}} {
		t.Run(fmt.Sprintf("sector%d-run%d", c.sector, c.run), func(t *testing.T) {
			rng := random(seed(t))
			g := geometry(t, c.sector, c.blocks, c.run)
			rounds := 8
			if c.sector == 4096 {
				rounds = 3
			}
			if testing.Short() {
				rounds = 1
			}
			for range 2 {
				m, s := mkfs(t, g)
				for range rounds {
					m, s = powerRound(t, g, m, s, rng)
				}
				rep, err := Scan(m, g, testSeeds)
				if err != nil {
					t.Fatal(err)
				}
				n, _ := runSectors(g)
				laps += rep.Head / n
			}
		})
	}
	if laps == 0 && !t.Failed() && !testing.Short() {
		t.Fatal("the log never went round")
	}
}

// powerRound is one run of transactions, the crashes that it may end in, and one to go on from.
func powerRound(t *testing.T, g *layout.Geometry, m *medium, s state, rng *rand.Rand) (*medium, state) {
	t.Helper()
	rec := &recording{medium: m.clone()}
	c := open(t, rec, g, s, rng)
	start := c.k
	c.run(5 + rng.IntN(25))
	if rng.IntN(4) == 0 {
		if err := c.log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	list := points(t, rec.events, g, m, start)
	var next *medium
	var nextState state
	goOn := len(list)/2 + rng.IntN((len(list)+1)/2)
	for i := range list {
		p := &list[i]
		for try := range 6 {
			m := p.crash(rng)
			d := p.decay(m, g, c.states, rng)
			crashed := m.clone()
			k, err := recovered(m, g, p, d, c.states)
			if err != nil {
				t.Fatalf("crash %d of %d, try %d, %s: %v", i, len(list), try, d.what, err)
			}
			if try < 2 {
				nested(t, g, crashed, k, d, c.states, rng)
			}
			if i == goOn && d.data == 0 {
				next, nextState = m, c.states[k]
			}
		}
	}
	if next == nil { // each try had data decay
		next, nextState = rec.medium, c.state
	}
	return next, nextState
}

// nested cuts the power during the recovery of a crashed device, which then has to end in the
// same state as when it is not interrupted.
func nested(t *testing.T, g *layout.Geometry, crashed *medium, k uint64, d decay, states map[uint64]state, rng *rand.Rand) {
	t.Helper()
	log := &recording{medium: crashed.clone()}
	if _, err := Recover(log, g, testSeeds); err != nil {
		t.Fatal(err)
	}
	list := points(t, log.events, g, crashed, k)
	for i := range list {
		for range 2 {
			m := list[i].crash(rng)
			if _, err := recovered(m, g, &list[i], decay{data: d.data}, states); err != nil {
				t.Fatalf("crash %d of %d in recovery: %v", i, len(list), err)
			}
		}
	}
}

// recording is a recorder for a medium that may have bad sectors.
type recording struct {
	*medium
	events []disk.Event
}

func (r *recording) WriteAt(p []byte, off int64) (int, error) {
	r.events = append(r.events, disk.Event{Kind: disk.EventWrite, Off: off, Data: bytes.Clone(p)})
	return r.medium.WriteAt(p, off)
}

func (r *recording) Mark(text string) {
	r.events = append(r.events, disk.Event{Kind: disk.EventMark, Mark: text})
}

func (r *recording) Flush() error {
	r.events = append(r.events, disk.Event{Kind: disk.EventFlush})
	return r.medium.Flush()
}
