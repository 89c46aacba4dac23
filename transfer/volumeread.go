package transfer

import (
	"errors"

	"holdfast/volume"
)

// volumeData calls fn for the ranges of a file of a volume that are no holes, with all for the whole of it. What the volume says
// instead is handed through failed.
func volumeData(v *volume.Volume, ino volume.Ino, size int64, all bool, fn func(start, end int64) error, failed func(error) error) error {
	if all && size > 0 {
		return fn(0, size)
	}
	for off := int64(0); off < size; {
		start, err := v.SeekData(ino, off)
		if errors.Is(err, volume.ErrNoDevice) {
			return nil
		}
		if err != nil {
			return failed(err)
		}
		end, err := v.SeekHole(ino, start)
		if err != nil {
			return failed(err)
		}
		end = min(end, size)
		if end <= start {
			return failed(ErrChanged)
		}
		if err := fn(start, end); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// readVolume calls fn for a range of a file in pieces of at most a chunk, which lie in buf.
func readVolume(v *volume.Volume, ino volume.Ino, start, end int64, buf []byte, fn func(p []byte, off int64) error) error {
	for off := start; off < end; {
		p := buf[:min(chunk-off%chunk, end-off)]
		n, err := v.Read(ino, p, off)
		if err == nil && n == 0 {
			err = ErrChanged
		}
		if err != nil {
			return err
		}
		if err := fn(p[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}
