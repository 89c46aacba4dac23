package main

import (
	"holdfast/layout"
)

// totalsJSON is the volume's block of counters.
type totalsJSON struct {
	FreeBlocks  uint64 `json:"free_blocks"`
	FreeInodes  uint64 `json:"free_inodes"`
	Directories uint64 `json:"directories"`
	Groups      uint64 `json:"groups_initialised"`
	Orphan      uint64 `json:"first_orphan"`
	BadBlocks   uint64 `json:"bad_blocks_inode"`
}

func (d *dumper) readTotals() (*layout.Totals, error) {
	p, err := d.block(d.g.TotalsBlock())
	if err != nil {
		return nil, err
	}
	return layout.DecodeTotals(p, &d.g)
}

func (d *dumper) totals() (*totalsJSON, error) {
	t, err := d.readTotals()
	if err != nil {
		return nil, err
	}
	return &totalsJSON{t.FreeBlocks, t.FreeInodes, t.Dirs, t.Groups, t.Orphan, t.BadBlocks}, nil
}

type groupJSON struct {
	Group       uint64 `json:"group"`
	First       uint64 `json:"first_block"`
	Blocks      uint64 `json:"blocks"`
	FreeBlocks  uint32 `json:"free_blocks"`
	InodesInit  uint32 `json:"inodes_initialised"`
	InodesFree  uint32 `json:"inodes_free"`
	Directories uint32 `json:"directories"`
	InodeTable  uint64 `json:"inode_table"`
}

func (d *dumper) groups() ([]groupJSON, error) {
	t, err := d.readTotals()
	if err != nil {
		return nil, err
	}
	var list []groupJSON
	for i := range t.Groups {
		p, err := d.block(d.g.BitmapBlock(i))
		if err != nil {
			return nil, err
		}
		if err := layout.CheckBitmap(p, &d.g, i); err != nil {
			return nil, err
		}
		s := layout.Stats(p)
		list = append(list, groupJSON{i, d.g.GroupStart(i), d.g.GroupLen(i), s.FreeBlocks, s.InodesInit, s.InodesFree, s.Directories, d.g.InodeTable(i)})
	}
	return list, nil
}
