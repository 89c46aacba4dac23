package disk

import (
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// maxPieces is how many pieces one pwritev(2) takes.
const maxPieces = 1024

func (d *File) writePieces(pieces [][]byte, off int64) error {
	total := 0
	for _, p := range pieces {
		total += len(p)
	}
	if err := inRange(total, off, d.size); err != nil {
		return fmt.Errorf("%s: %w", d.f.Name(), err)
	}
	if d.readOnly {
		return fmt.Errorf("%s: %w", d.f.Name(), ErrReadOnly)
	}
	pos, done := d.off+off, 0
	d.behind.before(d.f, total, pos)
	for len(pieces) > 0 {
		err := onDescriptor(d.f, func(fd int) (err error) {
			done, err = unix.Pwritev(fd, pieces[:min(len(pieces), maxPieces)], pos)
			return err
		})
		if err == nil && done == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return &fs.PathError{Op: "write", Path: d.f.Name(), Err: err}
		}
		pos += int64(done)
		for len(pieces) > 0 && done >= len(pieces[0]) {
			done -= len(pieces[0])
			pieces = pieces[1:]
		}
		if done > 0 { // the rest of a piece
			n, err := d.f.WriteAt(pieces[0][done:], pos)
			if err != nil {
				return err
			}
			pos += int64(n)
			pieces = pieces[1:]
		}
	}
	if from, length := d.behind.wrote(total, pos); length > 0 {
		startWriteBack(d.f, from, length)
	}
	return nil
}
