package journal

import (
	"maps"
	"slices"

	"holdfast/disk"
	"holdfast/layout"
)

// Make writes the headers of an empty log. The runs need no writing: what is there belongs to
// no epoch of this volume.
func Make(dev disk.Device, g *layout.Geometry, s layout.Seeds) error {
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
	for range 2 {
		if err := l.header(l.epoch + 1); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.start, l.fresh = l.head, false
	return nil
}

// header moves the tail to the head, in the copy that is not the newer one (so that at each
// moment a good header is on the device), and flushes.
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
	l.oldTail, l.tail = l.tail, h.Tail
	return nil
}

// checkpoint writes home every committed block, and then moves the tail to the head: all
// before it is home, all after it begins with images.
//
// The blocks are those of attested transactions only: attest comes first, so that recovery
// would replay the same versions over a home write that a crash tore.
func (l *Log) checkpoint() error {
	if err := l.attest(); err != nil {
		return err
	}
	if err := writeHome(l.dev, &l.g, l.pinned); err != nil {
		return err
	}
	if err := l.dev.Flush(); err != nil { // home before the log that could rebuild it is given up
		return err
	}
	if err := l.header(l.epoch); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.pinned)
	clear(l.imaged)
	l.start = l.head
	return nil
}

// writeHome writes blocks to their places in ascending order, neighbours in one write.
func writeHome(dev disk.Device, g *layout.Geometry, blocks map[uint64][]byte) error {
	var run []byte
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
		if len(run) > 0 && (no != first+uint64(len(run)/g.BlockSize) || len(run) >= 1<<20) {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(run) == 0 {
			first = no
		}
		run = append(run, blocks[no]...)
	}
	return flush()
}
