package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"holdfast/disk"
	"holdfast/layout"
)

// ResyncOptions say how [Resync] works.
type ResyncOptions struct {
	From     int  // the file to copy from; -1: the one that is newer
	Force    bool // overwrite a file that holds something else
	Progress func(n, total int64)
}

// ResyncReport says what a resync did.
type ResyncReport struct {
	From   int   // the file that was copied from; -1: there was nothing to do
	Copied int64 // bytes that were not alike
	Lost   int64 // bytes that could not be read, zeros on the other file now
}

// Resync makes the stale file of a mirror, or one in the place of a file that is lost, like the
// other one. Until all of it is there the stale file says that it is being overwritten, and is
// neither opened alone nor with its twin; what is interrupted is done again. No other use of the
// files may be made meanwhile.
//
// Errors: MirrorError, ErrTruncated, those of ctx and of the devices.
func Resync(ctx context.Context, files [2]disk.Device, o ResyncOptions) (*ResyncReport, error) {
	r, supers, err := resyncFrom(files, &o)
	if err != nil || r.From < 0 {
		return r, err
	}
	src, dst := files[r.From], files[1-r.From]
	from, err := newAlone(src) // the run of the log that it does not keep reads as zeros
	if err != nil {
		return nil, err
	}
	size := from.Size()
	if dst.Size() < size {
		return nil, &MirrorError{File: 1 - r.From, Why: fmt.Sprintf("it has %d bytes, the other file %d", dst.Size(), size)}
	}
	s := *supers[r.From]
	if old := supers[1-r.From]; old != nil {
		s.Sequence = max(s.Sequence, old.Sequence)
	}
	s.Sequence++
	begun := s
	begun.Replica, begun.MirrorEvents = 1-s.Replica, eventsBegun
	if err := putSuperblocks(dst, from.slots, &begun); err != nil {
		return nil, err
	}
	if err := r.copy(ctx, from, dst, int64(s.SectorSize), o.Progress); err != nil {
		return nil, err
	}
	if err := dst.Flush(); err != nil {
		return nil, err
	}
	// The one that is whole in any case comes first: the other is stale until its own superblocks say
	// that it is not.
	s.Sequence++
	s.MirrorEvents = (s.MirrorEvents-1)/4*4 + 5
	if err := putSuperblocks(src, from.slots, &s); err != nil {
		return nil, err
	}
	s.Replica = 1 - s.Replica
	return r, putSuperblocks(dst, from.slots, &s)
}

// resyncFrom decides which file is copied.
func resyncFrom(files [2]disk.Device, o *ResyncOptions) (*ResyncReport, [2]*layout.Superblock, error) {
	var supers [2]*layout.Superblock
	var errs [2]error
	for i, f := range files {
		supers[i], errs[i] = replicaSuper(f, i)
	}
	r := &ResyncReport{From: o.From}
	switch {
	case supers[0] == nil && supers[1] == nil:
		return nil, supers, &MirrorError{File: -1, Why: "neither is a file of a mirror that can be read"}
	case supers[0] != nil && supers[1] != nil:
		if err := sameMirror(supers); err != nil {
			return nil, supers, err
		}
		err := agree(supers)
		var me *MirrorError
		switch {
		case r.From >= 0:
		case err == nil:
		case errors.As(err, &me) && me.Stale:
			r.From = 1 - me.File
		default:
			return nil, supers, err
		}
	default:
		lost := 0
		if supers[0] != nil {
			lost = 1
		}
		if r.From < 0 {
			r.From = 1 - lost
		}
		if r.From == lost {
			return nil, supers, &MirrorError{File: lost, Why: "it is not a file of a mirror that can be read: " + errs[lost].Error()}
		}
		if !o.Force && !isBlank(files[lost]) {
			return nil, supers, &MirrorError{File: lost, Why: "it holds something else (--force overwrites it)"}
		}
	}
	if r.From >= 0 && supers[r.From].MirrorEvents == eventsBegun {
		return nil, supers, &MirrorError{File: r.From, Why: "a resync of it was not finished: it holds parts of two states"}
	}
	return r, supers, nil
}

// isBlank answers whether nothing lies where a volume or another file system begins.
func isBlank(dev disk.Device) bool {
	p := make([]byte, min(dev.Size(), 128<<10))
	return disk.ReadFull(dev, p, 0) == nil && len(bytes.Trim(p, "\x00")) == 0
}

// copy makes dst like src, but for the superblocks and what lies before them. It writes only what
// differs, so that a sparse file stays so.
func (r *ResyncReport) copy(ctx context.Context, src *alone, dst disk.Device, sector int64, progress func(n, total int64)) error {
	const step, piece = 1 << 20, 64 << 10
	p, q := make([]byte, step), make([]byte, piece)
	size := src.slots[2] // the backup is the last thing in a replica
	for off := int64(layout.FrontBytes); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(step, size-off)
		if err := r.read(src, p[:n], off, sector); err != nil {
			return err
		}
		for at := int64(0); at < n; at += piece {
			x, y := p[at:min(at+piece, n)], q[:min(piece, n-at)]
			err := disk.ReadFull(dst, y, off+at)
			if err != nil && !isMedia(err) {
				return err
			}
			if err == nil && bytes.Equal(x, y) {
				continue
			}
			if _, err := dst.WriteAt(x, off+at); err != nil {
				return err
			}
			r.Copied += int64(len(x))
		}
		off += n
		if progress != nil {
			progress(off, size)
		}
	}
	return nil
}

// read fills p; sectors that cannot be read become zeros, which no checksum takes for content.
func (r *ResyncReport) read(src disk.Device, p []byte, off, sector int64) error {
	err := disk.ReadFull(src, p, off)
	if err == nil || !isMedia(err) {
		return err
	}
	for at := int64(0); at < int64(len(p)); at += sector {
		part := p[at:min(at+sector, int64(len(p)))]
		if err := disk.ReadFull(src, part, off+at); err != nil {
			if !isMedia(err) {
				return err
			}
			clear(part)
			r.Lost += int64(len(part))
		}
	}
	return nil
}
