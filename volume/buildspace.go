package volume

import (
	"sync"

	"holdfast/layout"
)

// metaChunk is how many blocks are set aside for metadata at a time, so that data lies in long
// runs and so do the blocks of directories.
const metaChunk = 64

// blockRange is free blocks of one group.
type blockRange struct{ next, end uint64 }

func (r *blockRange) len() uint64 { return r.end - r.next }

// buildSpace gives out the blocks of a volume that is built, from the first to the last: of all
// groups that it has come to, what is free lies in two ranges and a few spare blocks. So no bitmap is kept; they are
// written at the end.
type buildSpace struct {
	g     *layout.Geometry
	seeds layout.Seeds
	jobs  *jobs
	left  uint64 // free blocks
	kept  uint64 // of them, not to be used
	group uint64 // groups begun
	data  blockRange
	meta  blockRange
	spare []uint64 // of metadata, given back

	mu   sync.Mutex
	sums map[uint64]*groupSums
}

// groupSums is the checksum table of a group until all of it is known: the entries of all its
// blocks one behind the other, in blocks that become the table.
type groupSums struct {
	refs   int // ranges and runs of data that may still change it
	blocks []byte
}

func newBuildSpace(g *layout.Geometry, seeds layout.Seeds, kept uint64, j *jobs) *buildSpace {
	return &buildSpace{g: g, seeds: seeds, jobs: j, left: freeBlocks(g), kept: kept, sums: map[uint64]*groupSums{}}
}

// refill makes the range for data non-empty.
func (s *buildSpace) refill() error {
	if s.left <= s.kept {
		return ErrNoSpace
	}
	for s.data.len() == 0 {
		old := s.data
		if s.group < s.g.Groups {
			start := s.g.GroupStart(s.group)
			s.data = blockRange{start + s.g.GroupTables(s.group), start + s.g.GroupLen(s.group)}
			s.hold(s.group)
			s.group++
		} else { // the last blocks of all are those that metadata has not needed
			s.data, s.meta = s.meta, blockRange{}
			if s.data.len() == 0 {
				return ErrNoSpace
			}
		}
		if old.end > 0 {
			s.dropAt(old.end - 1)
		}
	}
	return nil
}

// takeData takes a block of the range for data, which is not empty (refill).
func (s *buildSpace) takeData(n uint64) {
	s.data.next += n
	s.left -= n
}

// room is how many blocks takeData may take.
func (s *buildSpace) room() uint64 { return min(s.data.len(), s.left-min(s.left, s.kept)) }

// takeMeta takes a block for metadata.
func (s *buildSpace) takeMeta() (uint64, error) {
	if s.left <= s.kept {
		return 0, ErrNoSpace
	}
	if n := len(s.spare); n > 0 {
		no := s.spare[n-1]
		s.spare = s.spare[:n-1]
		s.left--
		return no, nil
	}
	if s.meta.len() == 0 {
		old := s.meta
		if err := s.refill(); err != nil {
			return 0, err
		}
		n := min(metaChunk, s.data.len())
		s.meta = blockRange{s.data.next, s.data.next + n}
		s.hold(s.groupOf(s.meta.next))
		s.data.next += n
		if old.end > 0 {
			s.dropAt(old.end - 1)
		}
	}
	s.meta.next++
	s.left--
	return s.meta.next - 1, nil
}

// giveBack makes a block of metadata free again.
func (s *buildSpace) giveBack(no uint64) {
	s.spare = append(s.spare, no)
	s.left++
}

func (s *buildSpace) groupOf(block uint64) uint64 {
	group, _ := s.g.GroupOf(block)
	return group
}

// hold keeps the checksum table of a group from being written.
func (s *buildSpace) hold(group uint64) *groupSums {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.sums[group]
	if t == nil {
		t = &groupSums{blocks: make([]byte, s.g.SumBlocks(group)*uint64(s.g.BlockSize))}
		s.sums[group] = t
	}
	t.refs++
	return t
}

func (s *buildSpace) dropAt(block uint64) { s.drop(s.groupOf(block)) }

// drop ends a hold. The last one writes the table.
func (s *buildSpace) drop(group uint64) {
	s.mu.Lock()
	t := s.sums[group]
	t.refs--
	last := t.refs == 0
	if last {
		delete(s.sums, group)
	}
	s.mu.Unlock()
	if last {
		s.writeSums(group, t.blocks)
	}
}

// set is the entry of a block. Entries of different blocks may be set at once.
func (s *buildSpace) set(t *groupSums, block uint64, sum uint32) {
	table, i := s.g.SumPlace(block)
	at := (table - s.g.SumBlock(s.groupOf(block), 0)) * uint64(s.g.BlockSize)
	layout.SetDataSum(t.blocks[at:at+uint64(s.g.BlockSize)], i, sum)
}

// writeSums completes the blocks of a checksum table and writes them.
func (s *buildSpace) writeSums(group uint64, p []byte) {
	bs := uint64(s.g.BlockSize)
	for i := range s.g.SumBlocks(group) {
		q := p[i*bs : (i+1)*bs]
		layout.EncodeHeader(q, layout.Header{Kind: layout.KindSums, Owner: group, Index: i})
		layout.SealBlock(q, s.g.SumBlock(group, i), 0, s.seeds)
	}
	s.jobs.writeNow(p, int64(s.g.SumBlock(group, 0))*int64(bs))
}

// finish writes the checksum tables and bitmaps of all groups in use, at least of so many, and
// returns how many they are. stats fills in a bitmap's counts of inodes.
func (s *buildSpace) finish(least uint64, stats func(group uint64, p []byte)) uint64 {
	groups := max(s.group, least)
	for _, r := range []blockRange{s.data, s.meta} {
		if r.end > 0 {
			s.dropAt(r.end - 1)
		}
	}
	for group := s.group; group < groups; group++ {
		s.writeSums(group, make([]byte, s.g.SumBlocks(group)*uint64(s.g.BlockSize)))
	}
	for group := range groups {
		p := make([]byte, s.g.BlockSize)
		layout.InitBitmap(p, s.g, group)
		if group < s.group {
			s.fill(p, group)
		}
		stats(group, p)
		layout.SealBlock(p, s.g.BitmapBlock(group), 0, s.seeds)
		s.jobs.write(p, int64(s.g.BitmapBlock(group))*int64(s.g.BlockSize))
	}
	return groups
}

// fill marks all blocks of a group as used but those of the two ranges and the spare ones.
func (s *buildSpace) fill(p []byte, group uint64) {
	body := layout.BlockBody(p)
	start, n := s.g.GroupStart(group), s.g.GroupLen(group)
	for i := range n {
		layout.SetBit(body, i, true)
	}
	free := uint32(0)
	for _, r := range []blockRange{s.data, s.meta} {
		for b := r.next; b < r.end && s.groupOf(b) == group; b++ {
			layout.SetBit(body, b-start, false)
			free++
		}
	}
	for _, b := range s.spare {
		if s.groupOf(b) == group {
			layout.SetBit(body, b-start, false)
			free++
		}
	}
	layout.SetStats(p, layout.GroupStats{FreeBlocks: free})
}
