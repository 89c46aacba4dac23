package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"holdfast/disk"
	"holdfast/layout"
)

type blockJSON struct {
	Block    uint64 `json:"block"`
	Purpose  string `json:"purpose"`
	Kind     string `json:"kind,omitempty"`
	Checksum string `json:"checksum,omitempty"`
	Owner    uint64 `json:"owner,omitempty"`
	Index    uint64 `json:"index,omitempty"`
	Count    uint32 `json:"count,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Hex      string `json:"hex"`
}

// rawBlock shows any block: what it is for by its place, and its bytes.
func (d *dumper) rawBlock(n uint64) (*blockJSON, error) {
	if n >= d.g.Blocks {
		return nil, fmt.Errorf("block %d: the volume has blocks 0 to %d", n, d.g.Blocks-1)
	}
	p := make([]byte, d.g.BlockSize)
	if err := disk.ReadFull(d.dev, p, int64(n)*int64(d.g.BlockSize)); err != nil {
		return nil, fmt.Errorf("block %d: %w", n, err)
	}
	b := &blockJSON{Block: n, Purpose: purpose(&d.g, n), Hex: strings.TrimRight(hex.Dump(p), "\n")}
	if k := layout.DecodeHeader(p).Kind; k != layout.KindInodes && !strings.HasPrefix(k.String(), "kind ") {
		h := layout.DecodeHeader(p)
		b.Kind, b.Owner, b.Index, b.Count, b.Sequence = k.String(), h.Owner, h.Index, h.Count, h.Seq
		b.Checksum = "wrong"
		if layout.Sealed(p, d.seeds.Block(n)) {
			b.Checksum = "right"
		}
	}
	return b, nil
}

// purpose names what a block is for by its place alone; blocks that a file may own are "content".
func purpose(g *layout.Geometry, n uint64) string {
	switch {
	case n == 0 && g.BlockSize == layout.SlotSize:
		return "boot area"
	case n < uint64(layout.FrontBytes/g.BlockSize):
		switch int64(n) * int64(g.BlockSize) / layout.SlotSize {
		case 0:
			return "boot area"
		case 1:
			return "superblock copy 0"
		}
		return "superblock copy 1"
	case n == g.TotalsBlock():
		return "volume totals"
	case n < g.FirstGroup:
		switch {
		case n == g.LogHead(0):
			return "log header 0"
		case n == g.LogHead(1):
			return "log header 1"
		case n < g.LogRun(1):
			return "log run A"
		}
		return "log run B"
	}
	group, ok := g.GroupOf(n)
	switch {
	case !ok && int64(n)*int64(g.BlockSize) >= g.BackupOffset():
		return "backup superblock"
	case !ok:
		return "unused tail"
	case n == g.BitmapBlock(group):
		return fmt.Sprintf("bitmap of group %d", group)
	case n < g.InodeTable(group):
		return fmt.Sprintf("checksum table of group %d", group)
	case !g.Allocatable(n):
		return fmt.Sprintf("inode table of group %d", group)
	}
	return fmt.Sprintf("content, group %d", group)
}
