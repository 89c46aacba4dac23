package layout

// Totals is the volume's one block of counters, changed only by transactions.
//
// After the header (kind "TOTL", count, owner, index and aux 0) the body holds:
//
//	offset size field
//	    48    8 free blocks, those of uninitialised groups included
//	    56    8 free inodes, likewise
//	    64    8 directories
//	    72    8 initialised groups (high-water mark)
//	    80    8 first inode of the orphan list, 0: none
//	    88    8 inode that owns the known-bad blocks, 0: none
//	    96      reserved
type Totals struct {
	FreeBlocks uint64
	FreeInodes uint64
	Dirs       uint64
	Groups     uint64
	Orphan     uint64
	BadBlocks  uint64
}

const totalsBytes = 48

// EncodeTotals writes t into the body of block p.
func EncodeTotals(p []byte, t *Totals) {
	b := BlockBody(p)
	c := cursor{b: b}
	c.put64(t.FreeBlocks)
	c.put64(t.FreeInodes)
	c.put64(t.Dirs)
	c.put64(t.Groups)
	c.put64(t.Orphan)
	c.put64(t.BadBlocks)
	clear(b[totalsBytes:])
}

// DecodeTotals reads the totals from the checksummed block p.
func DecodeTotals(p []byte, g *Geometry) (*Totals, error) {
	block := g.TotalsBlock()
	if err := CheckHeader(p, block, KindTotals, 0, 0); err != nil {
		return nil, err
	}
	const what = "volume totals"
	b := BlockBody(p)
	c := cursor{b: b}
	t := &Totals{}
	t.FreeBlocks = c.u64()
	t.FreeInodes = c.u64()
	t.Dirs = c.u64()
	t.Groups = c.u64()
	t.Orphan = c.u64()
	t.BadBlocks = c.u64()
	switch {
	case !allZero(b[totalsBytes:]):
		return nil, Corrupt(what, block, HeaderSize+totalsBytes, "reserved bytes are not zero", nil)
	case t.FreeBlocks > g.Blocks:
		return nil, Corrupt(what, block, 48, t.FreeBlocks, "at most the blocks of the volume")
	case t.FreeInodes > g.Inodes():
		return nil, Corrupt(what, block, 56, t.FreeInodes, "at most the inodes of the volume")
	case t.Dirs > g.Inodes():
		return nil, Corrupt(what, block, 64, t.Dirs, "at most the inodes of the volume")
	case t.Groups == 0 || t.Groups > g.Groups:
		return nil, Corrupt(what, block, 72, t.Groups, "1 to the number of groups")
	case t.Orphan > g.Inodes():
		return nil, Corrupt(what, block, 80, t.Orphan, "an inode in range")
	case t.BadBlocks > g.Inodes():
		return nil, Corrupt(what, block, 88, t.BadBlocks, "an inode in range")
	}
	return t, nil
}
