package volume

import (
	"errors"
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
)

// Everything above the replicas sees one device of one replica's size: the journal, the volume
// and fsck do not know how many there are. Here, and only here, they are put together.

// Assembly says how [Assemble] opens devices.
type Assembly struct {
	// ReadOnly writes nothing: what is found damaged on one replica is healed in memory.
	ReadOnly bool
	// Serial writes the files of a mirror one after the other, so that a recording of what is
	// written is always the same.
	Serial bool
}

// Assemble gives the device that holds one replica of a volume, and the volume's superblock. An
// image of two copies is two halves of one device; where the front of that is lost it is found
// by its middle. A device that was assembled before is given back as it is.
//
// Errors: those of [ReadSuperblock], ErrTruncated, and ErrHalfMirror for a file that [Mirror] or [Alone]
// has to open.
func Assemble(dev disk.Device, o Assembly) (disk.Device, *layout.Superblock, error) {
	if disk.Replicas(dev) > 0 {
		s, err := ReadSuperblock(dev)
		return dev, s, err
	}
	s, err := ReadSuperblock(dev)
	if err != nil {
		if s = middle(dev); s == nil {
			return nil, nil, err
		}
	}
	if isMirror(s) {
		return nil, nil, ErrHalfMirror
	}
	size := int64(s.Blocks) * int64(s.BlockSize)
	if want := int64(s.Copies) * size; dev.Size() < want {
		return nil, nil, fmt.Errorf("%w: it has %d bytes, its superblock says %d", ErrTruncated, dev.Size(), want)
	}
	if s.Copies == 1 {
		return dev, s, nil
	}
	if o.ReadOnly {
		dev = disk.NewOverlay(dev, int(s.SectorSize))
	}
	both, err := halves(dev, s)
	if err != nil {
		return nil, nil, err
	}
	s, err = ReadSuperblock(both)
	return both, s, err
}

// halves is the device of a volume whose two copies are the halves of dev.
func halves(dev disk.Device, s *layout.Superblock) (disk.Device, error) {
	opt, err := stableOptions(s)
	if err != nil {
		return nil, err
	}
	size := int64(s.Blocks) * int64(s.BlockSize)
	return disk.NewStableWith(disk.NewStripe(dev, 0, size), disk.NewStripe(dev, size, size), opt), nil
}

// stableOptions says how the copies of a volume are written. The log is written twice already:
// each copy keeps one of the two runs.
func stableOptions(s *layout.Superblock) (disk.StableOptions, error) {
	opt := disk.StableOptions{SectorSize: int(s.SectorSize)}
	g, err := layout.NewGeometry(s)
	if err != nil || g.RunBlocks == 0 {
		return opt, err
	}
	bs := int64(g.BlockSize)
	for run := range opt.Only {
		opt.Only[run] = []disk.Extent{{Off: int64(g.LogRun(run)) * bs, Len: int64(g.RunBlocks) * bs}}
	}
	return opt, nil
}

// middles are where the second half of a device may begin: the half of its size, in whole blocks.
func middles(dev disk.Device) []int64 {
	var list []int64
	for _, bs := range []int64{4096, 2048, 1024} {
		if at := dev.Size() / 2 / bs * bs; len(list) == 0 || list[len(list)-1] != at {
			list = append(list, at)
		}
	}
	return list
}

// middle is the superblock of the second copy in a device whose front is lost, nil if there is
// none.
func middle(dev disk.Device) *layout.Superblock {
	for _, at := range middles(dev) {
		s, err := ReadSuperblock(disk.NewStripe(dev, at, dev.Size()-at))
		if err == nil && s.Copies == 2 && !isMirror(s) && int64(s.Blocks)*int64(s.BlockSize) == at {
			return s
		}
	}
	return nil
}

// ReadSuperblock is the current superblock of an assembled device, or of one that holds a single
// copy: of the two live copies that are good, the one with the larger sequence.
//
// Errors: layout.ErrNotHoldfast, ErrVersion, ErrFeature, ErrCorrupt.
func ReadSuperblock(dev disk.Device) (*layout.Superblock, error) {
	var best *layout.Superblock
	var first error
	p := make([]byte, layout.SuperblockSize)
	for i := range 2 {
		s, err := readSuper(dev, p, i)
		if err != nil {
			if first == nil || errors.Is(first, layout.ErrNotHoldfast) {
				first = err
			}
			continue
		}
		if best == nil || s.Sequence > best.Sequence {
			best = s
		}
	}
	if best == nil {
		return nil, first
	}
	return best, nil
}

func readSuper(dev disk.Device, p []byte, copy int) (*layout.Superblock, error) {
	off := layout.SuperOffset(copy)
	if dev.Size() < off+layout.SuperblockSize {
		return nil, layout.ErrNotHoldfast
	}
	_, err := dev.ReadChecked(p, disk.Check{Want: layout.Residue, Version: layout.SuperblockVersion}, off)
	if errors.Is(err, disk.ErrChecksum) { // say what it is instead
		if err := disk.ReadFull(dev, p, off); err != nil {
			return nil, ioError(err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("superblock copy %d: %w", copy, ioError(err))
	}
	return layout.DecodeSuperblock(p)
}
