package volume

import (
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// blockCache keeps clean metadata blocks of a volume that stays open. It is lossy, and its
// writes are asynchronous: an entry carries the generation of the cache at the time its block
// was read, and one that is older than the block's last change is not believed.
type blockCache struct {
	c   *ristretto.Cache[uint64, cached]
	gen atomic.Uint64
}

type cached struct {
	data []byte
	gen  uint64
}

func newCache(bytes int64, blockSize int) (*blockCache, error) {
	if bytes <= 0 {
		return nil, nil
	}
	c, err := ristretto.NewCache(&ristretto.Config[uint64, cached]{
		NumCounters: max(1000, 10*bytes/int64(blockSize)), MaxCost: bytes, BufferItems: 64, IgnoreInternalCost: true,
	})
	return &blockCache{c: c}, err
}

func (b *blockCache) generation() uint64 {
	if b == nil {
		return 0
	}
	return b.gen.Load()
}

// get is a frozen copy of a block, or nil.
func (b *blockCache) get(no uint64) []byte {
	if b == nil {
		return nil
	}
	if e, ok := b.c.Get(no); ok {
		return e.data
	}
	return nil
}

// put keeps a frozen block.
func (b *blockCache) put(no uint64, p []byte, gen uint64) {
	if b == nil {
		return
	}
	b.c.Del(no)
	b.c.Set(no, cached{p, gen}, int64(len(p)))
}

// del forgets a block that is about to change owner.
func (b *blockCache) del(no uint64) {
	if b != nil {
		b.c.Del(no)
	}
}

func (b *blockCache) close() {
	if b != nil {
		b.c.Close()
	}
}
