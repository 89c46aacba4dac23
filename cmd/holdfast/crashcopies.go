package main

import (
	"fmt"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
	"holdfast/workload"
)

// alone is one copy of an image, taken for the whole.
type alone struct{ disk.Device }

// Replicas implements [disk.Replicated]: the other one is not asked.
func (alone) Replicas() int { return 1 }

// copyOf is copy 0 or 1 of an image of two copies.
func (x *session) copyOf(dev disk.Device, which int) (disk.Device, error) {
	if x.script.Image.Mirror {
		return volume.Alone(mirrorFiles(dev)[which], volume.Assembly{ReadOnly: true})
	}
	size := int64(x.layout.Blocks) * int64(x.layout.BlockSize)
	return alone{disk.NewStripe(dev, int64(which)*size, size)}, nil
}

// mirrorFiles are the two files of a mirror in one device, one behind the other. They have one
// flush: a crash between the flushes of two files leaves nothing that one before both may not
// leave, for between them nothing is written.
func mirrorFiles(dev disk.Device) [2]disk.Device {
	size := dev.Size() / 2
	return [2]disk.Device{disk.NewStripe(dev, 0, size), disk.NewStripe(dev, size, size)}
}

// mirrored is a mirror of two files in one device; what is no mirror stays as it is.
func mirrored(im *workload.Image, dev disk.Device) (disk.Device, error) {
	if !im.Mirror {
		return dev, nil
	}
	return volume.Mirror(mirrorFiles(dev), volume.Assembly{Serial: true})
}

// assembled is what the copies of an image make together.
func assembled(im *workload.Image, dev disk.Device) (disk.Device, *layout.Superblock, error) {
	dev, err := mirrored(im, dev)
	if err != nil {
		return nil, nil, err
	}
	return volume.Assemble(dev, volume.Assembly{})
}

// openVolume opens the volume of an image.
func openVolume(im *workload.Image, dev disk.Device, opt volume.Options) (*volume.Volume, error) {
	dev, err := mirrored(im, dev)
	if err != nil {
		return nil, err
	}
	return volume.Open(dev, opt)
}

// twins wants each of the two copies whole by itself once recovery is over: where a crash left
// them different, and recovery has not cleaned up, a decay that is yet to come loses what the
// image still has.
func (x *session) twins(dev disk.Device, at workload.Progress, k int) error {
	for i := range 2 {
		one, err := x.copyOf(dev, i)
		var r *fsck.Report
		if err == nil {
			r, err = fsck.Check(one, fsck.Options{})
		}
		if err == nil && !r.Clean() {
			err = fmt.Errorf("%v", r.Findings[0])
		}
		if err != nil {
			return x.broken(workload.ErrInvariant, at, k, fmt.Errorf("copy %d by itself after recovery: %w", i, err))
		}
	}
	return nil
}
