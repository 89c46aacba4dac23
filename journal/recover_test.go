package journal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"holdfast/layout"
)

// Every log sector and header has a twin, and either is enough: the decay of any one sector
// costs nothing. Without its twin a transaction that is attested is damage and named so; the
// last one, which nothing attests, is dropped and reported.
func TestDecay(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, c := start(t, g)
	at := counter(g) + 1
	type span struct{ first, end, k uint64 }
	var spans []span
	for i := range 6 {
		first := c.log.head
		if i%2 == 0 {
			c.bump(c.changes(at+uint64(i), c.bytes(g.BlockSize)))
		} else {
			c.bump(c.writes(at+20+uint64(i), 1, byte(i)), c.changes(at, c.bytes(g.BlockSize)))
		}
		spans = append(spans, span{first, c.log.head, c.k})
	}
	sector := func(run int, pos uint64) int64 {
		return runOffset(g, run)/m.sector + int64(pos%c.log.sectors)
	}
	for run := range 2 {
		for pos := range c.log.sectors {
			m := m.clone()
			m.bad[sector(run, pos)] = true
			c.wants(m, c.k)
		}
	}
	for i := range 2 {
		m := m.clone()
		m.bad[int64(g.LogHead(i))*int64(g.BlockSize)/m.sector] = true
		c.wants(m, c.k)
		m.bad[int64(g.LogHead(1-i))*int64(g.BlockSize)/m.sector] = true
		if _, err := Recover(m, g, testSeeds); !errors.Is(err, layout.ErrCorrupt) {
			t.Fatalf("without headers: %v", err)
		}
	}
	for i, s := range spans {
		for pos := s.first; pos < s.end; pos++ {
			m := m.clone()
			m.bad[sector(0, pos)], m.bad[sector(1, pos)] = true, true
			before := bytes.Clone(m.Bytes())
			if i == len(spans)-1 {
				rep := c.wants(m, s.k-1)
				if pos > s.first && (!rep.Dropped || !strings.Contains(rep.DroppedWhy, "missing")) {
					t.Fatalf("position %d: dropped, but the report is %+v", pos, *rep)
				}
				continue
			}
			_, err := Recover(m, g, testSeeds)
			if !errors.Is(err, layout.ErrCorrupt) || !bytes.Equal(before, m.Bytes()) {
				t.Fatalf("transaction %d without position %d: %v", s.k, pos, err)
			}
		}
	}
	// When an empty transaction attests it, the last one is not dropped either.
	if err := c.log.Attest(); err != nil {
		t.Fatal(err)
	}
	last := spans[len(spans)-1]
	m.bad[sector(0, last.first)], m.bad[sector(1, last.first)] = true, true
	if _, err := Recover(m, g, testSeeds); !errors.Is(err, layout.ErrCorrupt) {
		t.Fatalf("the attested transaction %d cannot be read: %v", last.k, err)
	}
}

// The data of an attested transaction is not looked at: its blocks were freed and written again.
func TestDataReused(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, c := start(t, g)
	at := counter(g) + 1
	c.bump(c.writes(at, 1, 1))
	c.bump(func(_ *Tx, next state) { delete(next.data, at) })
	if err := c.log.Attest(); err != nil {
		t.Fatal(err)
	}
	c.bump(c.writes(at, 1, 2))
	if rep := c.wants(m, c.k); rep.Replayed < 4 || rep.Dropped {
		t.Fatalf("%+v", *rep)
	}
	// So also when its blocks hold anything at all.
	c.bump(func(_ *Tx, next state) { delete(next.data, at) })
	m.bad[int64(at)*int64(g.BlockSize)/m.sector] = true
	c.wants(m, c.k)
}

// A block that was freed and used again for data is not overwritten by replay.
func TestRevoked(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, c := start(t, g)
	at := counter(g) + 1
	c.bump(c.changes(at, c.fill(1)))
	c.bump(func(tx *Tx, next state) {
		tx.Revoked = append(tx.Revoked, at)
		delete(next.blocks, at)
	})
	if err := c.log.Attest(); err != nil {
		t.Fatal(err)
	}
	c.bump(c.writes(at, 1, 2))
	c.wants(m, c.k)
	// Freed and used again within one transaction: in Revoked and in Blocks, whatever its Old says.
	c.bump(c.changes(at+1, c.fill(3)))
	c.bump(func(tx *Tx, next state) {
		tx.Revoked = append(tx.Revoked, at+1)
		c.changes(at+1, c.fill(4))(tx, next)
	})
	c.bump(c.changes(at+1, append(c.fill(4)[1:], 5)))
	c.wants(m, c.k)
	if err := c.log.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	c.wants(m, c.k)
}

// The last transaction is dropped whole if its data did not arrive, and never comes back: not
// when it does arrive later, and not behind a new transaction of the same number.
func TestDroppedStaysDropped(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, c := start(t, g)
	at := counter(g) + 1
	c.bump()
	old, k, seq := c.state, c.k, c.log.NextSeq()
	c.bump(c.writes(at, 1, 1), c.changes(at+1, c.bytes(g.BlockSize)))
	data := m.Bytes()[int64(at)*int64(g.BlockSize):][:g.BlockSize]
	clear(data)
	rep := c.wants(m, k)
	if !rep.Dropped || !strings.Contains(rep.DroppedWhy, "data block") || rep.LastSeq != seq-1 {
		t.Fatalf("%+v", *rep)
	}
	d := open(t, m, g, old, random(1))
	copy(data, c.fill(1)) // the data is there after all
	if rep, err := Scan(m, g, testSeeds); err != nil || rep.Replayed != 0 || rep.Dropped {
		t.Fatalf("%+v, %v: the dropped transaction is back", rep, err)
	}
	if d.log.NextSeq() != seq {
		t.Fatalf("transaction %d comes next, want %d", d.log.NextSeq(), seq)
	}
	d.bump()
	d.wants(m, d.k)
	if rep, err := Scan(m, g, testSeeds); err != nil || rep.Replayed != 1 || rep.LastSeq != seq || rep.Dropped {
		t.Fatalf("%+v, %v", rep, err)
	}
}

// What a crash left behind the head is void as soon as something is committed, also when
// recovery had nothing to drop: its sectors have the numbers, places and transaction of those
// that are written now, and a crash could mix them.
func TestOldTailIsVoid(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, c := start(t, g)
	old, k, at := c.state, c.k, counter(g)+1
	if err := c.log.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, m, g, old, c.rng)
	c.log.fresh.Store(false) // this Log goes on in the epoch of the one before, as after a crash in it
	pos := c.log.head
	keep := m.clone()
	c.bump(c.changes(at, c.bytes(g.BlockSize)))
	if n := c.log.head - pos; n != 3 {
		t.Fatalf("%d sectors, want 3", n)
	}
	// sectors copies those from one device to the other.
	sectors := func(to, from *medium, first, n uint64) {
		for run := range 2 {
			off := runOffset(g, run) + int64(first)*m.sector
			copy(to.Bytes()[off:][:int64(n)*m.sector], from.Bytes()[off:])
		}
	}
	sectors(keep, m, pos+1, 2) // the crash: all but the first
	d := open(t, keep, g, old, c.rng)
	before := keep.clone()
	d.bump(d.changes(at, d.bytes(g.BlockSize)))
	after := keep.clone()
	sectors(after, before, pos+1, 2) // the second crash: only the first
	d.wants(after, k)
}

// Data that decayed in a transaction that was committed does not drop it, if any sector of the
// next one is there to say that it was: the first need not be.
func TestAttestedByTheRest(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, c := start(t, g)
	at := counter(g) + 1
	c.bump(c.writes(at, 1, 1))
	k, pos := c.k, c.log.head
	c.bump(c.changes(at+1, c.bytes(g.BlockSize)))
	if c.log.head-pos < 3 {
		t.Fatal("too few sectors for this test")
	}
	m.bad[int64(at)*int64(g.BlockSize)/m.sector] = true
	for run := range 2 {
		m.bad[runOffset(g, run)/m.sector+int64(pos%c.log.sectors)] = true
	}
	rep, err := Scan(m, g, testSeeds)
	if err != nil || rep.LastSeq != c.log.seq-1 || rep.Dropped {
		t.Fatalf("%+v, %v: transaction %d was durable", rep, err, k)
	}
}

// forge writes a transaction with this payload at the head of a log that recovery finds empty.
func forge(t testing.TB, m *medium, g *layout.Geometry, payload []byte) {
	t.Helper()
	rep, err := Recover(m, g, testSeeds)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(m, g, testSeeds, rep, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.rec = payload
	if err := l.put(&Tx{}); err != nil {
		t.Fatal(err)
	}
}

// Transactions whose sectors are good but whose records are not possible are damage.
func TestImpossibleRecords(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	one := func(p []byte) []byte { return layout.AppendCommit(p, 1) }
	block := make([]byte, g.BlockSize)
	for name, payload := range map[string][]byte{
		"no commit record":         layout.AppendRevoke(nil, counter(g)),
		"fewer records":            layout.AppendCommit(nil, 1),
		"delta without a base":     one(layout.AppendDelta(nil, counter(g), false, nil)),
		"image of the superblock":  one(layout.AppendImage(nil, 4, block)),
		"image of the log":         one(layout.AppendImage(nil, g.LogRun(1), block)),
		"image beyond the volume":  one(layout.AppendImage(nil, g.Blocks, block)),
		"data beyond the volume":   one(layout.AppendData(nil, g.Blocks-1, 1, 1, 1, make([]uint32, 2))),
		"a block beyond 48 bits":   one(layout.AppendImage(nil, 1<<63, block)),
		"revoke beyond the volume": one(layout.AppendRevoke(nil, ^uint64(0))),
	} {
		m, _ := mkfs(t, g)
		forge(t, m, g, payload)
		before := bytes.Clone(m.Bytes())
		if _, err := Recover(m, g, testSeeds); !errors.Is(err, layout.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(before, m.Bytes()) {
			t.Errorf("%s: written", name)
		}
	}
	m, _ := mkfs(t, g)
	forge(t, m, g, one(layout.AppendImage(nil, counter(g), block)))
	if _, err := Recover(m, g, testSeeds); err != nil {
		t.Errorf("a possible one: %v", err)
	}
}

// Recovery of an empty log reads both headers and no more of the log than one transaction may
// take, and writes nothing.
func TestEmptyLogIsCheap(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	m, _ := mkfs(t, g)
	n, _ := runSectors(g)
	c := &reads{medium: m}
	if _, err := Recover(c, g, testSeeds); err != nil {
		t.Fatal(err)
	}
	if limit := 2 + int(n)/4 + 2; c.n > limit {
		t.Errorf("%d checked reads, at most %d", c.n, limit)
	}
	if a := testing.AllocsPerRun(20, func() {
		if _, err := Recover(m, g, testSeeds); err != nil {
			t.Fatal(err)
		}
	}); a > float64(n) {
		t.Errorf("%.0f allocations", a)
	}
}

// FuzzRecover: whatever the log holds, recovery neither panics nor hangs; it says damage, or it
// is done for good.
func FuzzRecover(f *testing.F) {
	g := geometry(f, 512, 110, 20)
	n, _ := runSectors(g)
	m, s := mkfs(f, g)
	c := open(f, m, g, s, random(1))
	c.run(4)
	f.Add(uint8(0), bytes.Clone(m.Bytes()[runOffset(g, 0):][:n*512]))
	f.Add(uint8(1), bytes.Clone(m.Bytes()[runOffset(g, 0):][:n*512]))
	f.Add(uint8(2), layout.AppendImage(nil, counter(g), make([]byte, 1024)))
	f.Add(uint8(3), layout.AppendDelta(nil, counter(g), true, []layout.Range{{Off: 3, Bytes: []byte("abc")}}))
	f.Add(uint8(3), layout.AppendData(nil, counter(g), 1, 2, 3, []uint32{4}))
	f.Add(uint8(3), layout.AppendRevoke(nil, counter(g)))
	f.Fuzz(func(t *testing.T, mode uint8, p []byte) {
		m, _ := mkfs(t, g)
		log := m.Bytes()[runOffset(g, 0):][:n*512]
		switch mode % 4 {
		case 0: // raw sectors
			copy(log, p)
		case 1: // sectors with good checksums, in the epoch of the header
			copy(log, p)
			for pos := range n {
				q := log[pos*512:][:512]
				copy(q[8:], []byte{1, 0, 0, 0, 0, 0, 0, 0, byte(pos), 0, 0, 0, 0, 0, 0, 0})
				layout.Seal(q, testSeeds.Log(pos))
			}
		case 2, 3: // the payload of a transaction, with a good commit record or not
			p = p[:min(len(p), int(n)*layout.LogPayload(512)-layout.CommitSize)]
			if mode%4 == 3 {
				records := uint32(0)
				for off := 0; off < len(p); records++ {
					var err error
					if _, off, err = layout.NextRecord(p, off, g.BlockSize); err != nil {
						break
					}
				}
				p = layout.AppendCommit(bytes.Clone(p), records)
			}
			forge(t, m, g, p)
		}
		if _, err := Recover(m, g, testSeeds); err != nil {
			if !errors.Is(err, layout.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		before := bytes.Clone(m.Bytes())
		rep, err := Recover(m, g, testSeeds)
		if err != nil || rep.Replayed != 0 || rep.Dropped || !bytes.Equal(before, m.Bytes()) {
			t.Fatalf("second recovery: %+v, %v", rep, err)
		}
	})
}

func BenchmarkRecoverEmpty(b *testing.B) {
	g := geometry(b, 512, 300, 40)
	m, _ := mkfs(b, g)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Recover(m.Memory, g, testSeeds); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	g := geometry(b, 512, 9000, 1000)
	_, c := start(b, g)
	at := counter(g) + 1
	b.ReportAllocs()
	for b.Loop() {
		c.bump(c.changes(at, c.fill(byte(c.k))), c.changes(at+1, c.fill(7)))
		c.states = map[uint64]state{}
	}
}
