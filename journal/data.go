package journal

import "holdfast/disk"

// WriteAhead writes data of a transaction that is to come to its places, from where it can be
// read again. The transaction need not have it any more; its Commit flushes before it logs
// anything. It may be called beside a Commit, but not beside the one of its own transaction,
// nor beside another WriteAhead. After an error nothing is known of those places.
func (l *Log) WriteAhead(list []Data, w *DataWriter) error {
	if err := l.Err(); err != nil {
		return err
	}
	if l.fresh.Load() {
		// What an earlier session left behind the head may name the same places.
		if err := l.do(l.own); err != nil {
			return err
		}
	}
	if err := w.write(l.dev, l.g.BlockSize, list); err != nil {
		return err
	}
	l.ahead.Store(true)
	return nil
}

// DataWriter has the room to write data in, from one time to the next. The zero value is good.
type DataWriter struct {
	room []byte
	run  [][]byte
}

// maxWrite bounds what neighbouring blocks are gathered into one write, in bytes.
const maxWrite = 1 << 20

// write writes data blocks to their places, neighbours in one write.
func (w *DataWriter) write(dev disk.Device, blockSize int, list []Data) error {
	at, size := int64(0), 0 // of what is gathered
	run := w.run[:0]
	write := func() (err error) {
		if size > 0 {
			w.room, err = disk.WritePieces(dev, run, w.room, at)
		}
		clear(run)
		run, size = run[:0], 0
		return err
	}
	for i := range list {
		off := int64(list[i].Block) * int64(blockSize)
		for _, p := range list[i].Pages {
			if off != at+int64(size) || size+len(p) > maxWrite {
				if err := write(); err != nil {
					return err
				}
				at = off
			}
			run = append(run, p)
			size += len(p)
			off += int64(len(p))
		}
	}
	err := write()
	w.run = run
	return err
}
