package volume

import (
	"holdfast/disk"
	"holdfast/journal"
	"holdfast/layout"
)

// ScrubFront looks, on all replicas, at what [Open] will read of an assembled device, and so would
// heal without a word: log headers and totals. What it finds on one replica only is healed from the
// other, durably, unless the device was assembled to be only looked at (look), where that happens
// in memory. Structures that no replica has are left to Open, which names them. A device of one
// copy has nothing to look at.
//
// Errors: those of the device.
func ScrubFront(dev disk.Device, s *layout.Superblock, look bool) ([]Damage, error) {
	if disk.Replicas(dev) < 2 {
		return nil, nil
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		return nil, err
	}
	seeds := layout.NewSeeds(s.UUID)
	var list []Damage
	wrote := false
	mend := func(u Use, n int, c disk.Check) error {
		copies, err := disk.Mend(dev, make([]byte, n), c, int64(u.Block)*int64(g.BlockSize))
		if err != nil {
			if isMedia(err) {
				return nil
			}
			return err
		}
		lost := copies[0] == disk.CopyLost || copies[1] == disk.CopyLost
		if copies[0] != disk.CopyHealed && copies[1] != disk.CopyHealed && !lost {
			return nil
		}
		if look {
			copies, lost = journal.Unhealed(copies), true
		}
		wrote = wrote || !look
		list = append(list, Damage{Use: u, Why: disk.ErrOneReplica.Error(), Copies: copies, Healed: !lost})
		return nil
	}
	for i := 0; i < 2 && g.RunBlocks > 0; i++ {
		u := Use{Purpose: PurposeLogHead, Block: g.LogHead(i), Count: 1, Copy: i}
		if err := mend(u, layout.LogHeadSize, disk.Check{Seed: seeds.Head(i), Want: layout.Residue, Version: layout.LogHeadVersion}); err != nil {
			return nil, err
		}
	}
	u := Use{Purpose: PurposeTotals, Kind: layout.KindTotals, Block: g.TotalsBlock(), Count: 1}
	if err := mend(u, g.BlockSize, disk.Check{Seed: seeds.Block(u.Block), Want: layout.Residue, Version: layout.BlockVersion}); err != nil {
		return nil, err
	}
	if wrote {
		return list, dev.Flush()
	}
	return list, nil
}
