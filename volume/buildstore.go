package volume

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"holdfast/disk"
	"holdfast/layout"
)

// buildStore is the metadata blocks of a volume that is built: a bounded number of them in
// memory, the others on the device, from where they come back when they are wanted again.
type buildStore struct {
	dev    disk.Device
	g      *layout.Geometry
	seeds  layout.Seeds
	space  *buildSpace
	jobs   *jobs
	blocks map[uint64]*buildBlock
	spare  [][]byte
	clock  uint64
	limit  int // blocks in memory
}

type buildBlock struct {
	data  []byte
	kind  layout.Kind
	dirty bool
	used  uint64
}

func newBuildStore(dev disk.Device, g *layout.Geometry, seeds layout.Seeds, space *buildSpace, j *jobs) *buildStore {
	return &buildStore{dev: dev, g: g, seeds: seeds, space: space, jobs: j, blocks: map[uint64]*buildBlock{}, limit: buildCache / g.BlockSize}
}

// Read, Edit, NewBlock and FreeBlock are extents.Store.
func (s *buildStore) Read(no uint64, k layout.Kind) ([]byte, error) {
	b, err := s.block(no, k)
	if err != nil {
		return nil, err
	}
	return b.data, nil
}

// Edit gives out the block itself: an error ends the build, and nothing is taken back.
func (s *buildStore) Edit(no uint64, k layout.Kind) ([]byte, error) {
	b, err := s.block(no, k)
	if err != nil {
		return nil, err
	}
	b.dirty = true
	return b.data, nil
}

// NewBlock takes the next block; near is not asked.
func (s *buildStore) NewBlock(uint64) (uint64, []byte, error) {
	no, err := s.space.takeMeta()
	if err != nil {
		return 0, nil, err
	}
	return no, s.adopt(no, ^layout.Kind(0)), nil
}

// FreeBlock gives back a block, which only attributes do that replace longer ones.
func (s *buildStore) FreeBlock(no uint64) error {
	s.space.giveBack(no)
	return nil
}

// adopt makes a block that is not on the device, zeroed. A kind other than that of inodes need
// not be told.
func (s *buildStore) adopt(no uint64, k layout.Kind) []byte {
	b := &buildBlock{data: s.buffer(), kind: k, dirty: true}
	clear(b.data)
	s.use(no, b)
	return b.data
}

func (s *buildStore) use(no uint64, b *buildBlock) {
	s.clock++
	b.used = s.clock
	s.blocks[no] = b
}

func (s *buildStore) buffer() []byte {
	if n := len(s.spare); n > 0 {
		p := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return p
	}
	return make([]byte, s.g.BlockSize)
}

func (s *buildStore) block(no uint64, k layout.Kind) (*buildBlock, error) {
	b := s.blocks[no]
	if b == nil {
		b = &buildBlock{data: s.buffer(), kind: k}
		if err := s.load(no, b); err != nil {
			return nil, err
		}
	}
	s.use(no, b)
	return b, nil
}

// load reads a block that was written out.
func (s *buildStore) load(no uint64, b *buildBlock) error {
	check := func(p []byte, seed uint32, at int) error { // nothing on the device is older than the build
		_, err := s.dev.ReadChecked(p, disk.Check{Seed: seed, Want: layout.Residue}, int64(no)*int64(s.g.BlockSize)+int64(at))
		if errors.Is(err, disk.ErrChecksum) {
			return layout.Corrupt(b.kind.String(), no, at, "the device does not give back what was written", nil)
		}
		if err != nil {
			return fmt.Errorf("%v (block %d): %w", b.kind, no, err)
		}
		return nil
	}
	if b.kind != layout.KindInodes {
		return check(b.data, s.seeds.Block(no), 0)
	}
	group := s.space.groupOf(no)
	per := s.g.InodesPerBlock()
	first := s.g.InodeNumber(group, uint32(no-s.g.InodeTable(group))*uint32(per))
	for i := range per {
		at := i * layout.InodeSize
		if err := check(b.data[at:at+layout.InodeSize], s.seeds.Inode(first+uint64(i)), at); err != nil {
			return err
		}
	}
	return nil
}

// trim writes the half of the blocks that was used least lately out, if they are too many. It
// is called between operations: nobody has a block then.
func (s *buildStore) trim() error {
	if len(s.blocks) <= s.limit {
		return nil
	}
	used := make([]uint64, 0, len(s.blocks))
	for _, b := range s.blocks {
		used = append(used, b.used)
	}
	slices.Sort(used)
	mid := used[len(used)/2]
	return s.drop(func(b *buildBlock) bool { return b.used <= mid })
}

// writeOut writes all blocks out.
func (s *buildStore) writeOut() error { return s.drop(func(*buildBlock) bool { return true }) }

// drop writes the blocks that old is true of, neighbours together, and forgets them.
func (s *buildStore) drop(old func(*buildBlock) bool) error {
	bs := s.g.BlockSize
	most := maxWrite / bs
	var run [][]byte // nobody changes a block before all are written
	var first, next uint64
	write := func() {
		if len(run) > 0 {
			s.jobs.writePieces(run, int64(first)*int64(bs))
		}
		run = nil
	}
	for _, no := range slices.Sorted(maps.Keys(s.blocks)) {
		b := s.blocks[no]
		if !old(b) {
			continue
		}
		if b.dirty {
			if b.kind != layout.KindInodes { // an inode is sealed by itself
				layout.SealBlock(b.data, no, 0, s.seeds)
			}
			if no != next || len(run) == most {
				write()
				first = no
			}
			run = append(run, b.data)
			next = no + 1
		}
		s.spare = append(s.spare, b.data)
		delete(s.blocks, no)
	}
	write()
	s.jobs.wait() // before one of them is read again
	return s.jobs.error()
}
