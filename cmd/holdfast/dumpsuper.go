package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"holdfast/disk"
	"holdfast/layout"
)

type superJSON struct {
	UUID           string `json:"uuid"`
	Label          string `json:"label"`
	LabelB64       string `json:"label_b64,omitempty"`
	BlockSize      uint32 `json:"block_size"`
	SectorSize     uint32 `json:"sector_size"`
	Blocks         uint64 `json:"blocks"`
	Groups         uint64 `json:"groups"`
	GroupBlocks    uint64 `json:"group_blocks"`
	InodesPerGroup uint32 `json:"inodes_per_group"`
	Inodes         uint64 `json:"inodes"`
	Root           uint64 `json:"root"`
	Reserved       uint64 `json:"reserved_blocks"`
	RunBlocks      uint64 `json:"log_run_blocks"`
	Copies         uint32 `json:"copies"`
	Compat         string `json:"compat"`
	ROCompat       string `json:"ro_compat"`
	Incompat       string `json:"incompat"`
	Sequence       uint64 `json:"sequence"`
	Created        string `json:"created"`
	FirstGroup     uint64 `json:"first_group_block"`

	// The two live copies, and the backup at the end of the image.
	Found []superCopyJSON `json:"found"`
}

// superCopyJSON says whether a copy of the superblock is good.
type superCopyJSON struct {
	Copy     string `json:"copy"`
	Offset   int64  `json:"offset"` // bytes
	Sequence uint64 `json:"sequence,omitempty"`
	Error    string `json:"error,omitempty"`
}

func stamp(t layout.Time) string {
	return time.Unix(t.Sec, int64(t.Nsec)).UTC().Format(time.RFC3339Nano)
}

func uuidString(u [16]byte) string {
	h := hex.EncodeToString(u[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func (d *dumper) superblock() superJSON {
	s, g := d.super, &d.g
	return superJSON{uuidString(s.UUID), s.Label, b64(s.Label), s.BlockSize, s.SectorSize, s.Blocks, g.Groups, g.GroupBlocks,
		s.InodesPerGroup, g.Inodes(), s.Root, s.Reserved, s.RunBlocks, s.Copies,
		fmt.Sprintf("%#x", s.Compat), fmt.Sprintf("%#x", s.ROCompat), fmt.Sprintf("%#x", s.Incompat), s.Sequence, stamp(s.Created), g.FirstGroup, d.superCopies()}
}

// superCopies looks at every copy of the superblock.
func (d *dumper) superCopies() []superCopyJSON {
	list := []superCopyJSON{{Copy: "0", Offset: layout.SuperOffset(0)}, {Copy: "1", Offset: layout.SuperOffset(1)}, {Copy: "backup", Offset: d.g.BackupOffset()}}
	for i := range list {
		c := &list[i]
		p := make([]byte, layout.SuperblockSize)
		err := disk.ReadFull(d.dev, p, c.Offset)
		if err == nil {
			var s *layout.Superblock
			if s, err = layout.DecodeSuperblock(p); err == nil {
				c.Sequence = s.Sequence
			}
		}
		if err != nil {
			c.Error = err.Error()
		}
	}
	return list
}
