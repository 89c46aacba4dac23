package volume

import (
	"errors"

	"holdfast/disk"
	"holdfast/layout"
)

// No crash takes both live superblocks. A stray program that overwrites the beginning of an image
// may, or a bad stretch of the disk: the backup in the last slot is for that.

// Backup is the superblock in the last slot of dev, if the live ones are lost and it describes a
// volume of one copy that fills dev; otherwise nil. err is what [Assemble] said of the live ones.
func Backup(dev disk.Device, err error) *layout.Superblock {
	if !errors.Is(err, layout.ErrNotHoldfast) && !errors.Is(err, layout.ErrCorrupt) && !errors.Is(err, ErrIO) {
		return nil
	}
	if live, _ := ReadSuperblock(dev); live != nil {
		return nil // something else is wrong
	}
	return lastSlot(dev, func(s *layout.Superblock) bool { return s.Copies == 1 })
}

// lastSlot is the superblock in the last slot of a volume that fills dev, nil if there is none that
// is wanted.
func lastSlot(dev disk.Device, wanted func(*layout.Superblock) bool) *layout.Superblock {
	p := make([]byte, layout.SuperblockSize)
	for _, bs := range []int64{4096, 2048, 1024} {
		size := dev.Size() / bs * bs
		if size < layout.FrontBytes || disk.ReadFull(dev, p, size-layout.SlotSize) != nil {
			continue
		}
		s, err := layout.DecodeSuperblock(p)
		if err == nil && wanted(s) && int64(s.Blocks)*int64(s.BlockSize) == size {
			return s
		}
	}
	return nil
}

// PutBack writes s, which is of Backup, over both live copies, one after the other, if with it the
// volume opens; only then does it change dev.
//
// Errors: those of Open, and of dev.
func PutBack(dev disk.Device, s *layout.Superblock) error {
	v, err := Open(WithSuperblock(dev, s), Options{ReadOnly: true})
	if err != nil {
		return err
	}
	if err := v.Close(); err != nil {
		return err
	}
	return putBack(dev, s)
}

// WithSuperblock is dev with s in place of the live superblocks, in memory.
func WithSuperblock(dev disk.Device, s *layout.Superblock) disk.Device {
	o := disk.NewOverlay(dev, int(s.SectorSize))
	_ = putBack(o, s) // in memory: what it writes are whole sectors
	return o
}

func putBack(dev disk.Device, s *layout.Superblock) error {
	slot := make([]byte, layout.SlotSize)
	layout.EncodeSuperblock(slot, s)
	for i := range 2 {
		if _, err := dev.WriteAt(slot, layout.SuperOffset(i)); err != nil {
			return err
		}
		if err := dev.Flush(); err != nil { // one is whole before the other is touched
			return err
		}
	}
	return nil
}
