package journal

import (
	"maps"
	"slices"
	"sync"

	"holdfast/disk"
	"holdfast/layout"
)

// Make writes the headers of an empty log; the caller flushes. The runs stay as they are: they
// may hold anything but sectors of an older log with the same seeds, zeros for example.
//
// Errors: ErrTooSmall, and those of the device.
func Make(dev disk.Device, g *layout.Geometry, s layout.Seeds) error {
	if _, err := runSectors(g); err != nil {
		return err
	}
	for i := range 2 {
		h := layout.LogHead{Sequence: uint64(i) + 1, Epoch: 1, Tail: 0, TailSeq: 1}
		if err := writeHead(dev, g, s, i, &h); err != nil {
			return err
		}
	}
	return nil
}

// writeHead writes a header copy: one sector.
func writeHead(dev disk.Device, g *layout.Geometry, s layout.Seeds, copy int, h *layout.LogHead) error {
	p := make([]byte, g.SectorSize)
	layout.EncodeLogHead(p, h, copy, s)
	_, err := dev.WriteAt(p, int64(g.LogHead(copy))*int64(g.BlockSize))
	return err
}

// own begins an epoch of this Log's own before the first change, so that nothing a crash left
// behind the head can ever be taken for part of the log.
func (l *Log) own() error {
	if !l.fresh.Load() {
		return nil
	}
	for range 2 {
		if err := l.header(l.epoch + 1); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.fresh.Store(false)
	return nil
}

// header moves the tail to the head, in the copy that is not the newer one (so that at each
// moment a good header is on the device), and flushes. The other copy still says the old tail
// and may have to be used: only what it too has given up is written again.
func (l *Log) header(epoch uint64) error {
	h := layout.LogHead{Sequence: l.headSeq + 1, Epoch: epoch, Tail: l.head, TailSeq: l.seq + 1}
	copy := 1 - l.newer
	if err := writeHead(l.dev, &l.g, l.seeds, copy, &h); err != nil {
		return err
	}
	if err := l.dev.Flush(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.headSeq, l.newer = h.Sequence, copy
	l.oldTail, l.tail, l.tailSeq = l.tail, h.Tail, h.TailSeq
	return nil
}

// checkpoint writes home every committed block, and then moves the tail to the head: all
// before it is home, all after it begins with images.
//
// The blocks are those of attested transactions only: attest comes first. Recovery replays
// these whatever happened to their data, and so restores the same versions over home writes
// that a crash tore; a last transaction that it may have to drop must not have touched home.
func (l *Log) checkpoint() error {
	if err := l.attest(); err != nil {
		return err
	}
	if len(l.pinned) > 0 {
		if err := writeHome(l.dev, &l.g, l.pinned); err != nil {
			return err
		}
		if err := l.dev.Flush(); err != nil { // home before the log that could rebuild it is given up
			return err
		}
	}
	if err := l.header(l.epoch); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.pinned)
	return nil
}

// runs is memory for what writeHome writes at once.
var runs = sync.Pool{New: func() any { return new([]byte) }}

// writeHome writes blocks to their places in ascending order, neighbours in one write.
func writeHome(dev disk.Device, g *layout.Geometry, blocks map[uint64][]byte) error {
	room := runs.Get().(*[]byte)
	defer runs.Put(room)
	run := (*room)[:0]
	var first uint64
	flush := func() error {
		if len(run) == 0 {
			return nil
		}
		_, err := dev.WriteAt(run, int64(first)*int64(g.BlockSize))
		run = run[:0]
		return err
	}
	for _, no := range slices.Sorted(maps.Keys(blocks)) {
		if len(run) > 0 && (no != first+uint64(len(run)/g.BlockSize) || len(run) >= maxWrite) {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(run) == 0 {
			first = no
		}
		run = append(run, blocks[no]...)
		*room = run
	}
	return flush()
}
