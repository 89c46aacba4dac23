package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests, 0: a new one each time")

// seed is the seed of a random test, printed when it fails.
func seed(t testing.TB) uint64 {
	s := *seedFlag
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("rerun with -run '^%s$' -seed %d", t.Name(), s)
		}
	})
	return s
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

var testSeeds = layout.NewSeeds([16]byte{1, 2, 3})

// geometry is a volume of about the given number of blocks of 1 KiB (or sectors of 4096: blocks of 4 KiB).
func geometry(t testing.TB, sector uint32, blocks, run uint64) *layout.Geometry {
	t.Helper()
	size := uint32(1024)
	if sector == 4096 {
		size = 4096
	}
	g, err := layout.NewGeometry(&layout.Superblock{BlockSize: size, SectorSize: sector, Blocks: blocks, InodesPerGroup: size / 256 * 2, RunBlocks: run})
	if err != nil {
		t.Fatal(err)
	}
	return &g
}

// medium is a device in memory whose sectors can be bad, and that can be told to fail. It counts.
type medium struct {
	*disk.Memory
	sector  int64
	bad     map[int64]bool
	writes  int
	flushes int
	budget  int // writes and flushes until it fails for good; 0: never
}

func newMedium(g *layout.Geometry) *medium {
	return &medium{Memory: disk.NewMemory(int64(g.Blocks) * int64(g.BlockSize)), sector: int64(g.SectorSize), bad: map[int64]bool{}}
}

func (m *medium) clone() *medium {
	return &medium{Memory: disk.MemoryFrom(bytes.Clone(m.Bytes())), sector: m.sector, bad: maps.Clone(m.bad)}
}

var errBroken = errors.New("broken device")

func (m *medium) spend() error {
	if m.budget > 0 {
		if m.budget--; m.budget == 0 {
			m.budget = 1
			return errBroken
		}
	}
	return nil
}

func (m *medium) ReadAt(p []byte, off int64) (int, error) {
	for s := off / m.sector; s*m.sector < off+int64(len(p)); s++ {
		if m.bad[s] {
			return 0, disk.ErrBadSector
		}
	}
	return m.Memory.ReadAt(p, off)
}

func (m *medium) WriteAt(p []byte, off int64) (int, error) {
	if err := m.spend(); err != nil {
		return 0, err
	}
	m.writes++
	for s := off / m.sector; s*m.sector < off+int64(len(p)); s++ {
		delete(m.bad, s)
	}
	return m.Memory.WriteAt(p, off)
}

func (m *medium) Flush() error {
	if err := m.spend(); err != nil {
		return err
	}
	m.flushes++
	return nil
}

func (m *medium) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	return disk.CheckedRead(m, p, c, places...)
}

// datum is a live data block.
type datum struct {
	ino, logical uint64
	gen          uint32
	bytes        []byte
}

// state is what a volume holds after a transaction: nothing in it is ever changed.
type state struct {
	blocks map[uint64][]byte
	data   map[uint64]datum
}

func (s state) clone() state { return state{maps.Clone(s.blocks), maps.Clone(s.data)} }

// client is the smallest thing that uses a log as a volume does: it changes, frees and
// allocates blocks, and uses freed ones again when they are settled.
type client struct {
	t   testing.TB
	dev disk.Device
	g   *layout.Geometry
	rng *rand.Rand
	log *Log

	state  state
	states map[uint64]state // after transaction k of this client, by the number in its first block
	k      uint64
	free   map[uint64]bool
	held   []heldBlocks
	gen    uint32
}

type heldBlocks struct {
	seq    uint64
	blocks []uint64
}

// counter is the block that every transaction changes: it begins with the transaction's number.
func counter(g *layout.Geometry) uint64 { return g.GroupStart(0) + g.GroupTables(0) }

// mkfs makes a log and a counter.
func mkfs(t testing.TB, g *layout.Geometry) (*medium, state) {
	t.Helper()
	m := newMedium(g)
	if err := Make(m, g, testSeeds); err != nil {
		t.Fatal(err)
	}
	return m, state{map[uint64][]byte{counter(g): make([]byte, g.BlockSize)}, map[uint64]datum{}}
}

// open recovers a device that holds s and makes a client of it.
func open(t testing.TB, dev disk.Device, g *layout.Geometry, s state, rng *rand.Rand) *client {
	t.Helper()
	rep, err := Recover(dev, g, testSeeds)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(dev, g, testSeeds, rep, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, dev: dev, g: g, rng: rng, log: l, state: s.clone(), free: map[uint64]bool{}, gen: rng.Uint32()}
	c.k = binary.LittleEndian.Uint64(s.blocks[counter(g)])
	c.states = map[uint64]state{c.k: s}
	for no := counter(g); g.Allocatable(no); no++ {
		if s.blocks[no] == nil && s.data[no].bytes == nil {
			c.free[no] = true
		}
	}
	return c
}

func (c *client) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(c.rng.Uint32())
	}
	return p
}

// pick is a random key of a map that ok accepts, 0 if there is none.
func pick[V any](c *client, m map[uint64]V, ok func(no uint64) bool) uint64 {
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(no uint64) bool { return ok != nil && !ok(no) })
	if len(keys) == 0 {
		return 0
	}
	return keys[c.rng.IntN(len(keys))]
}

// change is a new version of a block, like an edit of a structure or a new content.
func (c *client) change(old []byte) []byte {
	p := bytes.Clone(old)
	if c.rng.IntN(6) == 0 {
		return c.bytes(len(p))
	}
	for range 1 + c.rng.IntN(3) {
		at := c.rng.IntN(len(p) - 8)
		copy(p[at:], c.bytes(1+c.rng.IntN(8)))
	}
	return p
}

// settle takes back what settled transactions freed.
func (c *client) settle() {
	for len(c.held) > 0 && c.held[0].seq <= c.log.Settled() {
		for _, no := range c.held[0].blocks {
			c.free[no] = true
		}
		c.held = c.held[1:]
	}
}

// step makes and commits a random transaction; it reports whether it was small enough.
func (c *client) step() bool {
	c.t.Helper()
	c.settle()
	g, next := c.g, c.state.clone()
	tx := &Tx{}
	touched := map[uint64]bool{}
	var freed []uint64
	put := func(no uint64, p, old []byte) {
		touched[no] = true
		next.blocks[no] = p
		tx.Blocks = append(tx.Blocks, Block{No: no, Data: p, Old: old})
	}
	first := counter(g)
	p := c.change(c.state.blocks[first])
	binary.LittleEndian.PutUint64(p, c.k+1)
	put(first, p, c.state.blocks[first])

	live := func(no uint64) bool { return no != first && !touched[no] }
	for range c.rng.IntN(3) { // change
		if no := pick(c, next.blocks, live); no != 0 {
			old := next.blocks[no]
			put(no, c.change(old), old)
		}
	}
	for range c.rng.IntN(2) { // free metadata
		if no := pick(c, next.blocks, live); no != 0 {
			touched[no] = true
			tx.Revoked = append(tx.Revoked, no)
			if c.rng.IntN(4) == 0 { // and use it again at once
				put(no, append(c.bytes(200), make([]byte, g.BlockSize-200)...), nil)
				continue
			}
			delete(next.blocks, no)
			freed = append(freed, no)
		}
	}
	for range c.rng.IntN(3) { // free data
		if no := pick(c, next.data, nil); no != 0 {
			delete(next.data, no)
			freed = append(freed, no)
		}
	}
	used := map[uint64]bool{}
	take := func() uint64 {
		no := pick(c, c.free, func(no uint64) bool { return !used[no] })
		used[no] = true
		return no
	}
	for range c.rng.IntN(2) { // new metadata
		if no := take(); no != 0 {
			put(no, append(c.bytes(1+c.rng.IntN(300)), make([]byte, g.BlockSize)...)[:g.BlockSize], nil)
		}
	}
	for range c.rng.IntN(3) { // new data
		no := take()
		if no == 0 {
			break
		}
		c.gen++
		d := Data{Block: no, Ino: uint64(1 + c.rng.IntN(9)), Logical: uint64(c.rng.IntN(99)), Gen: c.gen}
		for i := uint64(0); ; i++ {
			b := c.bytes(g.BlockSize)
			next.data[no+i] = datum{d.Ino, d.Logical + i, d.Gen, b}
			d.Pages = append(d.Pages, b)
			d.Sums = append(d.Sums, layout.Sum(testSeeds.Data(no+i, d.Ino, d.Gen, d.Logical+i), b))
			if n := no + i + 1; c.rng.IntN(2) == 0 || !c.free[n] || used[n] {
				break
			}
			used[no+i+1] = true
		}
		tx.Data = append(tx.Data, d)
	}
	slices.SortFunc(tx.Data, func(a, b Data) int { return int(a.Block) - int(b.Block) })

	seq := c.log.NextSeq()
	c.states[c.k+1] = next // it may be found after a crash from now on
	c.mark("begin", c.k+1)
	err := c.log.Commit(tx)
	if errors.Is(err, ErrTooLarge) {
		delete(c.states, c.k+1)
		c.mark("done", c.k)
		return false
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.k++
	c.mark("done", c.k)
	c.state = next
	for no := range used {
		delete(c.free, no)
	}
	if len(freed) > 0 {
		c.held = append(c.held, heldBlocks{seq, freed})
	}
	return true
}

// run makes n steps and now and then something else that a volume does.
func (c *client) run(n int) {
	c.t.Helper()
	for range n {
		c.step()
		var err error
		switch c.rng.IntN(12) {
		case 0:
			err = c.log.Attest()
		case 1:
			err = c.log.Checkpoint()
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *client) mark(what string, k uint64) {
	if r, ok := c.dev.(*recording); ok {
		r.Mark(fmt.Sprintf("%s %d", what, k))
	}
}

// found is the transaction after which the device holds exactly the state that it should, for a
// recovered device; the data block lost may be anything.
func found(dev disk.Device, g *layout.Geometry, states map[uint64]state, lost uint64) (uint64, error) {
	p := make([]byte, g.BlockSize)
	if _, err := dev.ReadAt(p, int64(counter(g))*int64(g.BlockSize)); err != nil {
		return 0, fmt.Errorf("counter: %w", err)
	}
	k := binary.LittleEndian.Uint64(p)
	s, ok := states[k]
	if !ok {
		return k, fmt.Errorf("transaction %d was never begun", k)
	}
	same := func(what string, no uint64, want []byte) error {
		if _, err := dev.ReadAt(p, int64(no)*int64(g.BlockSize)); err != nil {
			return fmt.Errorf("after transaction %d: %s block %d: %w", k, what, no, err)
		}
		if !bytes.Equal(p, want) {
			return fmt.Errorf("after transaction %d: %s block %d is not what was committed", k, what, no)
		}
		return nil
	}
	for no, want := range s.blocks {
		if err := same("metadata", no, want); err != nil {
			return k, err
		}
	}
	for no, d := range s.data {
		if no == lost {
			continue
		}
		if err := same("data", no, d.bytes); err != nil {
			return k, err
		}
	}
	return k, nil
}

// reads counts checked reads.
type reads struct {
	*medium
	n int
}

func (r *reads) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	r.n++
	return r.medium.ReadChecked(p, c, places...)
}
