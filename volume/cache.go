package volume

import (
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// blockCache keeps clean metadata blocks of a volume that stays open. It is lossy, and its
// writes are asynchronous: a Set that waits in its queue may take effect after a later change
// of the block. So an entry carries the generation of its block (of all blocks that share a
// counter with it), which every commit of the block advances, and is believed only while that
// is the current one. Contents are frozen: nobody changes what is in the cache.
type blockCache struct {
	c   *ristretto.Cache[uint64, cached]
	gen []atomic.Uint32
}

type cached struct {
	data []byte
	gen  uint32
}

// sharing is how many counters there are for a block that has room in the cache. A commit of
// thousands of blocks voids what shares a counter with them: with few, nearly all there is.
const sharing = 32

func (b *blockCache) counter(no uint64) *atomic.Uint32 { return &b.gen[no%uint64(len(b.gen))] }

func newCache(bytes int64, blockSize int) (*blockCache, error) {
	if bytes <= 0 {
		return nil, nil
	}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, cached]{
		NumCounters: max(1000, 10*bytes/int64(blockSize)), MaxCost: bytes, BufferItems: 64, IgnoreInternalCost: true,
	})
	return &blockCache{c, make([]atomic.Uint32, max(1<<12, sharing*bytes/int64(blockSize)))}, err
}

// generation is to be taken before a block is read from the device, and handed to put.
func (b *blockCache) generation(no uint64) uint32 {
	if b == nil {
		return 0
	}
	return b.counter(no).Load()
}

// changed makes every older version of a block void, and p, if there is one, the version to keep.
func (b *blockCache) changed(no uint64, p []byte) {
	if b == nil {
		return
	}
	gen := b.counter(no).Add(1)
	if p == nil {
		b.c.Del(no)
		return
	}
	b.put(no, p, gen)
}

// get is a frozen copy of a block, or nil.
func (b *blockCache) get(no uint64) []byte {
	if b == nil {
		return nil
	}
	if e, ok := b.c.Get(no); ok && e.gen == b.counter(no).Load() {
		return e.data
	}
	return nil
}

// put keeps a frozen block.
func (b *blockCache) put(no uint64, p []byte, gen uint32) {
	if b == nil {
		return
	}
	b.c.Set(no, cached{p, gen}, int64(len(p)))
}

func (b *blockCache) close() {
	if b != nil {
		b.c.Close()
	}
}
