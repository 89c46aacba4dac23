package journal

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"holdfast/disk"
	"holdfast/layout"
)

// start is an open log on a new volume that has committed one transaction, so that the headers
// are its own.
func start(t testing.TB, g *layout.Geometry) (*medium, *client) {
	t.Helper()
	m, s := mkfs(t, g)
	c := open(t, m, g, s, random(seed(t)))
	c.bump()
	m.writes, m.flushes = 0, 0
	return m, c
}

// bump commits a change of the counter and what else tx has.
func (c *client) bump(more ...func(tx *Tx, next state)) {
	c.t.Helper()
	if err := c.tryBump(more...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) tryBump(more ...func(tx *Tx, next state)) error {
	no, next := counter(c.g), c.state.clone()
	p := bytes.Clone(c.state.blocks[no])
	p[0]++
	next.blocks[no] = p
	tx := &Tx{Blocks: []Block{{No: no, Data: p, Old: c.state.blocks[no]}}}
	for _, fn := range more {
		fn(tx, next)
	}
	if err := c.log.Commit(tx); err != nil {
		return err
	}
	c.k++
	c.state, c.states[c.k] = next, next
	return nil
}

// fill is a block of one byte.
func (c *client) fill(b byte) []byte { return bytes.Repeat([]byte{b}, c.g.BlockSize) }

// writes adds data to a transaction.
func (c *client) writes(no, n uint64, b byte) func(tx *Tx, next state) {
	return func(tx *Tx, next state) {
		d := Data{Block: no, Ino: 5, Logical: 7, Gen: uint32(b)}
		for i := range n {
			p := c.fill(b)
			d.Pages = append(d.Pages, p)
			d.Sums = append(d.Sums, layout.Sum(testSeeds.Data(no+i, d.Ino, d.Gen, d.Logical+i), p))
			next.data[no+i] = datum{d.Ino, d.Logical + i, d.Gen, p}
		}
		tx.Data = append(tx.Data, d)
	}
}

// changes adds a metadata block to a transaction.
func (c *client) changes(no uint64, p []byte) func(tx *Tx, next state) {
	return func(tx *Tx, next state) {
		tx.Blocks = append(tx.Blocks, Block{No: no, Data: p, Old: next.blocks[no]})
		next.blocks[no] = p
	}
}

// wants recovers a copy of m and holds that exactly transaction k is found.
func (c *client) wants(m *medium, k uint64) *Report {
	c.t.Helper()
	m = m.clone()
	rep, err := Recover(m, c.g, testSeeds)
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := found(m, c.g, c.states, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	if got != k {
		c.t.Fatalf("recovered transaction %d, want %d (%+v)", got, k, *rep)
	}
	return rep
}

// One flush per commit; with more than 1 MiB of data the data is flushed first and not listed,
// so that recovery need not read it.
func TestFlushes(t *testing.T) {
	g := geometry(t, 512, 4000, 64)
	m, c := start(t, g)
	at := counter(g) + 1
	c.bump(c.writes(at, 1024, 1))
	if m.flushes != 1 {
		t.Errorf("%d flushes for 1 MiB of data, want 1", m.flushes)
	}
	m.flushes = 0
	rec := &recording{medium: m}
	c.log.dev = rec
	c.bump(c.writes(at+1024, 1025, 2))
	var order []string
	for _, e := range rec.events {
		what := "data"
		switch no := uint64(e.Off) / uint64(g.BlockSize); {
		case e.Kind == disk.EventFlush:
			what = "flush"
		case no < g.FirstGroup:
			what = "log"
		}
		if len(order) == 0 || order[len(order)-1] != what {
			order = append(order, what)
		}
	}
	if want := "[data flush log flush]"; want != stringOf(order) {
		t.Errorf("a commit of more than 1 MiB writes %v, want %v", order, want)
	}
	// The data of the last transaction is lost: it must not be missed.
	clear(m.Bytes()[int64(at+1024)*int64(g.BlockSize):])
	if rep, err := Scan(m, g, testSeeds); err != nil || rep.Dropped || rep.LastSeq != c.log.seq {
		t.Errorf("%+v, %v: the data was flushed first, and is not recovery's to judge", rep, err)
	}
}

func stringOf(list []string) string {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, s := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s)
	}
	b.WriteByte(']')
	return b.String()
}

// Neighbouring data goes out in one write, and to the right places.
func TestDataIsMerged(t *testing.T) {
	g := geometry(t, 512, 300, 40)
	m, c := start(t, g)
	at := counter(g) + 1
	c.bump(c.writes(at, 2, 1), c.writes(at+2, 1, 2), c.writes(at+3, 3, 3), c.writes(at+9, 1, 4))
	if want := 2 + 2; m.writes != want { // the last run of data is apart
		t.Errorf("%d writes, want %d", m.writes, want)
	}
	c.wants(m, c.k)
}

// What was committed is pending until it is home; what was freed is not.
func TestPending(t *testing.T) {
	g := geometry(t, 512, 300, 40)
	m, c := start(t, g)
	a, b := counter(g)+1, counter(g)+2
	c.bump(c.changes(a, c.fill(1)), c.changes(b, c.fill(2)))
	if p := c.log.Pending(a); !bytes.Equal(p, c.fill(1)) {
		t.Fatalf("pending %x", p)
	}
	c.bump(func(tx *Tx, next state) {
		tx.Revoked = append(tx.Revoked, a)
		delete(next.blocks, a)
	})
	if p := c.log.Pending(a); p != nil {
		t.Fatalf("a freed block is pending: %x", p)
	}
	if err := c.log.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	if c.log.Pending(b) != nil {
		t.Fatal("pending after a checkpoint")
	}
	home := func(no uint64) []byte { return m.Bytes()[int64(no)*int64(g.BlockSize):][:g.BlockSize] }
	if !bytes.Equal(home(b), c.fill(2)) || !bytes.Equal(home(a), c.fill(0)) {
		t.Fatal("the checkpoint wrote the wrong blocks home")
	}
}

// A transaction settles when a durable record attests it: with the next commit, or by Attest.
func TestSettled(t *testing.T) {
	g := geometry(t, 512, 300, 40)
	m, c := start(t, g)
	for range 3 {
		seq := c.log.NextSeq()
		c.bump()
		if got := c.log.Settled(); got != seq-1 {
			t.Fatalf("settled %d after transaction %d", got, seq)
		}
	}
	seq := c.log.NextSeq() - 1
	if err := c.log.Attest(); err != nil || c.log.Settled() < seq {
		t.Fatalf("settled %d, %v", c.log.Settled(), err)
	}
	m.writes = 0
	if err := c.log.Attest(); err != nil || m.writes != 0 {
		t.Fatalf("%d writes for nothing to attest, %v", m.writes, err)
	}
}

// The first failed write or flush stops the log: whatever fails, nothing is written afterwards,
// and the device still recovers to a state that was legal.
func TestFirstFailureStops(t *testing.T) {
	g := geometry(t, 512, 300, 40)
	for budget := 1; ; budget++ {
		m, c := start(t, g)
		at := counter(g) + 1
		fail := func() error {
			if err := c.tryBump(c.changes(at, c.fill(1)), c.writes(at+2, 1, 3)); err != nil {
				return err
			}
			return c.log.Checkpoint()
		}
		before := c.state
		m.budget = budget
		err := fail()
		if err == nil {
			if budget < 10 {
				t.Fatalf("only %d writes and flushes", budget)
			}
			return
		}
		if !errors.Is(err, errBroken) || !errors.Is(c.log.Err(), errBroken) {
			t.Fatalf("budget %d: %v, then %v", budget, err, c.log.Err())
		}
		m.budget = 0
		image := bytes.Clone(m.Bytes())
		for what, fn := range map[string]func() error{
			"Commit": func() error { return c.log.Commit(&Tx{}) }, "Attest": c.log.Attest,
			"Checkpoint": c.log.Checkpoint, "Close": c.log.Close,
		} {
			if err := fn(); !errors.Is(err, errBroken) {
				t.Fatalf("budget %d: %s after the failure: %v", budget, what, err)
			}
		}
		if !bytes.Equal(image, m.Bytes()) {
			t.Fatalf("budget %d: written after the failure", budget)
		}
		next := before.clone()
		p := bytes.Clone(before.blocks[counter(g)])
		p[0]++
		next.blocks[counter(g)], next.blocks[at] = p, c.fill(1)
		next.data[at+2] = datum{bytes: c.fill(3)}
		c.states = map[uint64]state{1: before, 2: next}
		if _, err := Recover(m, g, testSeeds); err != nil {
			t.Fatal(err)
		}
		if _, err := found(m, g, c.states, 0); err != nil {
			t.Fatalf("budget %d: %v", budget, err)
		}
	}
}

// Limits: what is too large is refused without a trace, what is as large as may be fits however
// often it comes.
func TestLimits(t *testing.T) {
	g := geometry(t, 512, 300, 24)
	m, c := start(t, g)
	before := bytes.Clone(m.Bytes())
	full := func(n int) func(tx *Tx, next state) {
		return func(tx *Tx, next state) {
			for i := range n {
				c.changes(counter(g)+1+uint64(i), c.bytes(g.BlockSize))(tx, next)
			}
		}
	}
	if err := c.tryBump(full(6)); !errors.Is(err, ErrTooLarge) || c.log.Err() != nil || !bytes.Equal(before, m.Bytes()) {
		t.Fatalf("%v, then %v", err, c.log.Err())
	}
	rec := &recording{medium: m}
	c.log.dev = rec
	base, k := m.clone(), c.k
	for i := range 60 {
		c.bump(full(5))
		if i%3 == 0 {
			if err := c.log.Attest(); err != nil {
				t.Fatal(err)
			}
		}
		c.wants(m, c.k)
	}
	points(t, rec.events, g, base, k) // holds that nothing needed was written over

	small := *g
	small.RunBlocks = 3
	if err := Make(m, &small, testSeeds); !errors.Is(err, ErrTooSmall) {
		t.Errorf("Make: %v", err)
	}
	if _, err := Recover(m, &small, testSeeds); !errors.Is(err, ErrTooSmall) {
		t.Errorf("Recover: %v", err)
	}
	if _, err := Open(m, &small, testSeeds, &Report{}, Options{}); !errors.Is(err, ErrTooSmall) {
		t.Errorf("Open: %v", err)
	}
}

// Close leaves an empty log: the next recovery writes nothing; and everything is refused.
func TestClose(t *testing.T) {
	g := geometry(t, 512, 300, 40)
	m, c := start(t, g)
	c.bump(c.changes(counter(g)+1, c.fill(9)))
	if err := c.log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.tryBump(); !errors.Is(err, ErrClosed) {
		t.Fatalf("commit after Close: %v", err)
	}
	m.writes, m.flushes = 0, 0
	rep, err := Recover(m, g, testSeeds)
	if err != nil || rep.Replayed != 0 || m.writes+m.flushes != 0 {
		t.Fatalf("%+v, %v, %d writes, %d flushes", rep, err, m.writes, m.flushes)
	}
	if k, err := found(m, g, c.states, 0); err != nil || k != c.k {
		t.Fatal(k, err)
	}
}

// An open log may be asked anything while it commits (run with -race).
func TestConcurrentUse(t *testing.T) {
	g := geometry(t, 512, 300, 40)
	m, c := start(t, g)
	at := counter(g) + 1
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if p := c.log.Pending(at); p != nil && !bytes.Equal(p, bytes.Repeat(p[:1], len(p))) {
					t.Error("pending block of mixed content")
					return
				}
				if s, n := c.log.Settled(), c.log.NextSeq(); s >= n {
					t.Errorf("settled %d, next %d", s, n)
					return
				}
				if err := c.log.Attest(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 200 {
		c.bump(c.changes(at, c.fill(byte(i))))
	}
	close(stop)
	wg.Wait()
	c.wants(m, c.k)
}
