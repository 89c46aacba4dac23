package volume

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// jobs runs what need not be done in order, checksums and writes, on other goroutines.
type jobs struct {
	dev     disk.Device
	queue   chan func()    // nil: the caller does all
	pending sync.WaitGroup // jobs
	workers sync.WaitGroup
	first   atomic.Pointer[error]
}

func newJobs(dev disk.Device, workers int) *jobs {
	j := &jobs{dev: dev}
	if workers < 1 {
		return j
	}
	j.queue = make(chan func(), workers)
	for range workers {
		j.workers.Go(func() {
			for fn := range j.queue {
				j.run(fn)
			}
		})
	}
	return j
}

func (j *jobs) run(fn func()) {
	fn()
	j.pending.Done()
}

// do has fn done, now or soon.
func (j *jobs) do(fn func()) {
	j.pending.Add(1)
	if j.queue == nil {
		j.run(fn)
		return
	}
	j.queue <- fn
}

// write has p, which is not changed any more, written.
func (j *jobs) write(p []byte, off int64) {
	j.do(func() { j.writeNow(p, off) })
}

// writeNow writes p, for a job too.
func (j *jobs) writeNow(p []byte, off int64) {
	j.try(func() error {
		_, err := j.dev.WriteAt(p, off)
		return err
	})
}

// writePieces has pieces of memory, which are not changed before the jobs are done, written to one place.
func (j *jobs) writePieces(pieces [][]byte, off int64) {
	j.do(func() {
		j.try(func() error {
			_, err := disk.WritePieces(j.dev, pieces, nil, off)
			return err
		})
	})
}

// try writes; after a failure nothing is written.
func (j *jobs) try(write func() error) {
	if j.error() != nil {
		return
	}
	if err := write(); err != nil {
		j.first.CompareAndSwap(nil, &err)
	}
}

// wait returns when all jobs are done.
func (j *jobs) wait() { j.pending.Wait() }

// stop waits and ends the workers; do is not called after it.
func (j *jobs) stop() {
	j.wait()
	if j.queue != nil {
		close(j.queue)
		j.workers.Wait()
		j.queue = nil
	}
}

// error is what the first job that failed has met.
func (j *jobs) error() error {
	if p := j.first.Load(); p != nil {
		return *p
	}
	return nil
}

// buildData brings the content of files to the device, in long runs.
type buildData struct {
	g     *layout.Geometry
	seeds layout.Seeds
	space *buildSpace
	jobs  *jobs
	free  chan []byte // buffers
	seg   segment
	bytes int64 // of the contents of files that have blocks
}

// segment is a run of blocks that is being filled, and then written at once.
type segment struct {
	first uint64
	n     int
	buf   []byte // nil: no segment
	sums  *groupSums
	parts []segPart
}

// segPart says whose the blocks from one on are.
type segPart struct {
	at      int
	ino     uint64
	gen     uint32
	logical uint64
}

func newBuildData(g *layout.Geometry, seeds layout.Seeds, space *buildSpace, j *jobs) *buildData {
	d := &buildData{g: g, seeds: seeds, space: space, jobs: j}
	n := 1
	if j.queue != nil {
		n += 2 * cap(j.queue)
	}
	d.free = make(chan []byte, n)
	for range n {
		d.free <- nil
	}
	return d
}

// open makes sure that the next block for data has its place in the segment.
func (d *buildData) open() error {
	if err := d.space.refill(); err != nil {
		return err
	}
	s := &d.seg
	if s.buf != nil && (s.first+uint64(s.n) != d.space.data.next || s.n*d.g.BlockSize == len(s.buf)) {
		d.flush()
	}
	if s.buf == nil {
		if s.buf = <-d.free; s.buf == nil {
			s.buf = make([]byte, maxWrite)
		}
		s.first = d.space.data.next
		s.sums = d.space.hold(d.space.groupOf(s.first))
	}
	return nil
}

// flush has the segment checksummed and written.
func (d *buildData) flush() {
	s := d.seg
	d.seg = segment{}
	if s.buf == nil {
		return
	}
	d.jobs.do(func() {
		d.sum(&s)
		if s.n > 0 {
			d.jobs.writeNow(s.buf[:s.n*d.g.BlockSize], int64(s.first)*int64(d.g.BlockSize))
		}
		d.space.drop(d.space.groupOf(s.first))
		d.free <- s.buf
	})
}

// sum puts the checksums of a segment into the table of its group.
func (d *buildData) sum(s *segment) {
	bs := d.g.BlockSize
	for i, part := range s.parts {
		end := s.n
		if i+1 < len(s.parts) {
			end = s.parts[i+1].at
		}
		for k := part.at; k < end; k++ {
			block := s.first + uint64(k)
			seed := d.seeds.Data(block, part.ino, part.gen, part.logical+uint64(k-part.at))
			d.space.set(s.sums, block, layout.Sum(seed, s.buf[k*bs:(k+1)*bs]))
		}
	}
}

// target makes data, which has no blocks of zeros, the content of an inode.
func (d *buildData) target(store *buildStore, ino uint64, in *layout.Inode, data []byte) error {
	defer func(n int64) { d.bytes = n }(d.bytes)
	m := buildMap{d: d, store: store, ino: ino, in: in}
	err := d.fill(&m, 0, uint64((len(data)+d.g.BlockSize-1)/d.g.BlockSize), func(p []byte, _ int64) error {
		clear(p[copy(p, data):])
		data = data[min(len(p), len(data)):]
		return nil
	})
	if err != nil {
		return err
	}
	return m.insert()
}

// content makes what c has the content of an inode.
func (d *buildData) content(store *buildStore, ino uint64, in *layout.Inode, c *Content) error {
	bs := int64(d.g.BlockSize)
	m := buildMap{d: d, store: store, ino: ino, in: in}
	src := &source{from: c.From, runs: c.Runs}
	for r := range wholeBlocks(c.Runs, bs) {
		if err := d.fill(&m, uint64(r.Off/bs), uint64(r.Len/bs), src.read); err != nil {
			return err
		}
	}
	if err := src.done(); err != nil {
		return err
	}
	return m.insert()
}

// wholeBlocks gives the ranges of whole blocks that runs of data touch, neighbours as one.
func wholeBlocks(runs []Run, block int64) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		var cur Run
		for _, r := range runs {
			if r.Len == 0 {
				continue
			}
			start, end := r.Off/block*block, (r.Off+r.Len+block-1)/block*block
			if cur.Len > 0 && start > cur.Off+cur.Len {
				if !yield(cur) {
					return
				}
				cur = Run{}
			}
			if cur.Len == 0 {
				cur.Off = start
			}
			cur.Len = end - cur.Off
		}
		if cur.Len > 0 {
			yield(cur)
		}
	}
}

// fill gives n blocks of an inode from logical on their place in segments, but for those of zeros; read gets
// their content, in order.
func (d *buildData) fill(m *buildMap, logical, n uint64, read func(p []byte, off int64) error) error {
	bs := d.g.BlockSize
	for n > 0 {
		if err := d.open(); err != nil {
			return err
		}
		s := &d.seg
		want := int(min(n, uint64(len(s.buf)/bs-s.n), d.space.room()))
		p := s.buf[s.n*bs : (s.n+want)*bs]
		if err := read(p, int64(logical)*int64(bs)); err != nil {
			return err
		}
		if err := m.place(s, pack(p, logical, bs)); err != nil {
			return err
		}
		logical, n = logical+uint64(want), n-uint64(want)
	}
	return nil
}

// packed is blocks of a file, one behind the other.
type packed struct {
	logical uint64
	n       int
}

// pack moves the blocks of p, those of a file from logical on, to its front, but for those of zeros.
func pack(p []byte, logical uint64, bs int) []packed {
	var list []packed
	n := len(p) / bs
	at := 0
	for i := 0; i < n; {
		if zeros(p[i*bs : (i+1)*bs]) {
			i++
			continue
		}
		k := i + 1
		for k < n && !zeros(p[k*bs:(k+1)*bs]) {
			k++
		}
		if at != i {
			copy(p[at*bs:], p[i*bs:k*bs])
		}
		list = append(list, packed{logical + uint64(i), k - i})
		at, i = at+k-i, k
	}
	return list
}

// buildMap is the map of one inode while it is made.
type buildMap struct {
	d     *buildData
	store *buildStore
	ino   uint64
	in    *layout.Inode
	ext   layout.Extent // not yet inserted
}

// place adds blocks to a segment that has their content, at the next blocks of the range for data, which has them. All
// are taken before the first is mapped: a map may need blocks of its own, from the same range.
func (m *buildMap) place(s *segment, list []packed) error {
	d := m.d
	bs := int64(d.g.BlockSize)
	block := s.first + uint64(s.n)
	for _, r := range list {
		s.parts = append(s.parts, segPart{s.n, m.ino, m.in.Generation, r.logical})
		s.n += r.n
		d.bytes += min(int64(r.logical+uint64(r.n))*bs, int64(m.in.Size)) - int64(r.logical)*bs
	}
	d.space.takeData(s.first + uint64(s.n) - block)
	for _, r := range list {
		if m.ext.End() == r.logical && m.ext.Block+uint64(m.ext.Len) == block && d.space.groupOf(m.ext.Block) == d.space.groupOf(block) {
			m.ext.Len += uint32(r.n)
		} else {
			if err := m.insert(); err != nil {
				return err
			}
			m.ext = layout.Extent{Logical: r.logical, Block: block, Len: uint32(r.n)}
		}
		block += uint64(r.n)
	}
	return nil
}

// insert puts the extent that has been waiting for what comes behind it into the map.
func (m *buildMap) insert() error {
	e := m.ext
	m.ext = layout.Extent{}
	if e.Len == 0 {
		return nil
	}
	m.in.Blocks += uint64(e.Len)
	return extents.Insert(m.store, m.d.g, m.ino, m.in, e)
}

func zeros(p []byte) bool {
	for len(p) >= 8 {
		if p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7] != 0 {
			return false
		}
		p = p[8:]
	}
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

// source reads a file of runs as one of whole blocks.
type source struct {
	from io.Reader
	runs []Run // the first one has not been read to its end
	used int64 // of the first one
}

// read fills p, which lies at off: data and the zeros between.
func (s *source) read(p []byte, off int64) error {
	for len(p) > 0 {
		if len(s.runs) == 0 {
			clear(p)
			return nil
		}
		r := s.runs[0]
		at := r.Off + s.used
		if gap := min(int64(len(p)), at-off); gap > 0 {
			clear(p[:gap])
			p, off = p[gap:], off+gap
			continue
		}
		n := min(int64(len(p)), r.Len-s.used)
		if _, err := io.ReadFull(s.from, p[:n]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = fmt.Errorf("%w: it is shorter", ErrSourceSize)
			}
			return err
		}
		p, off, s.used = p[n:], off+n, s.used+n
		if s.used == r.Len {
			s.runs, s.used = s.runs[1:], 0
		}
	}
	return nil
}

// done answers whether the reader has come to its end.
func (s *source) done() error {
	if s.from == nil {
		return nil
	}
	var p [1]byte
	switch n, err := io.ReadFull(s.from, p[:]); {
	case n > 0:
		return fmt.Errorf("%w: it is longer", ErrSourceSize)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
