package volume

import "holdfast/layout"

// Room is what an empty volume made with these options has for files: blocks that an ordinary
// operation may take, and inodes. Errors: those of Format that do not depend on the device.
func Room(o FormatOptions) (blocks, inodes uint64, err error) {
	s, err := o.superblock(o.Size)
	if err != nil {
		return 0, 0, err
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		return 0, 0, err
	}
	free := freeBlocks(&g)
	return free - min(free, s.Reserved), g.Inodes() - 1, nil
}
