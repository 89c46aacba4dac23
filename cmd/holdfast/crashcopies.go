package main

import (
	"fmt"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/volume"
	"holdfast/workload"
)

// alone is one copy of an image, taken for the whole.
type alone struct{ disk.Device }

// Replicas implements [disk.Replicated]: the other one is not asked.
func (alone) Replicas() int { return 1 }

// copyOf is copy 0 or 1 of an image of two copies.
func copyOf(dev disk.Device, size int64, which int) disk.Device {
	return alone{disk.NewStripe(dev, int64(which)*size, size)}
}

// twins wants each of the two copies whole by itself once recovery is over: where a crash left
// them different, and recovery has not cleaned up, a decay that is yet to come loses what the
// image still has.
func (x *session) twins(dev disk.Device, at workload.Progress, k int) error {
	both, _, err := volume.Assemble(dev, volume.Assembly{})
	if err != nil {
		return x.broken(workload.ErrInvariant, at, k, err)
	}
	for i := range 2 {
		r, err := fsck.Check(copyOf(dev, both.Size(), i), fsck.Options{})
		if err == nil && !r.Clean() {
			err = fmt.Errorf("%v", r.Findings[0])
		}
		if err != nil {
			return x.broken(workload.ErrInvariant, at, k, fmt.Errorf("copy %d by itself after recovery: %w", i, err))
		}
	}
	return nil
}
