package volume

import "holdfast/layout"

// prepare makes pages of the whole blocks that a write of p at off consists of, and their checksums: what a write
// costs most, done before the volume is locked for it, and while the data is in the processor's cache.
func (v *Volume) prepare(p []byte, off uint64) []*page {
	bs := uint64(v.g.BlockSize)
	head := min(-off%bs, uint64(len(p)))
	p = p[head:]
	list := make([]*page, uint64(len(p))/bs)
	for i := range list {
		pg := v.newPage()
		copy(pg.data, p[uint64(i)*bs:])
		pg.sum, pg.summed = layout.Sum(0, pg.data), true
		list[i] = pg
	}
	return list
}

// dataSum is the checksum of a page that has its block, as the tables keep it.
func (v *Volume) dataSum(p *page, ino Ino, gen uint32, logical uint64) uint32 {
	if !p.summed {
		p.sum, p.summed = layout.Sum(0, p.data), true
	}
	return v.reseed.Sum(v.seeds.Data(p.block, uint64(ino), gen, logical), p.sum)
}
