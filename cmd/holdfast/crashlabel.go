package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"holdfast/disk"
	"holdfast/layout"
)

// labelsOf names the writes of a trace; those to the second of two copies say so.
func labelsOf(g *layout.Geometry, s *layout.Superblock, t *disk.Trace) func(off int64, data []byte) string {
	if s.Copies == 1 {
		return labeler(g, s.UUID, t)
	}
	size := int64(g.Blocks) * int64(g.BlockSize)
	var label [2]func(off int64, data []byte) string
	for i := range label {
		from := int64(i) * size
		half := &disk.Trace{SectorSize: t.SectorSize, Base: t.Base[from : from+size]}
		for _, e := range t.Events {
			if e.Kind == disk.EventWrite && e.Off >= from && e.Off < from+size {
				e.Off -= from
				half.Events = append(half.Events, e)
			}
		}
		label[i] = labeler(g, s.UUID, half)
	}
	return func(off int64, data []byte) string {
		if off < size {
			return label[0](off, data) + ", copy 0"
		}
		return label[1](off-size, data) + ", copy 1"
	}
}

// labeler names each write of a trace by what it holds. Its labels are made once, from the
// trace in its order, because what an inode block or a block of data is about can be told only
// from what was there before and from what the log says of it.
func labeler(g *layout.Geometry, uuid [16]byte, t *disk.Trace) func(off int64, data []byte) string {
	l := &labels{g: g, seeds: layout.NewSeeds(uuid), image: slices.Clone(t.Base), data: dataRecords(g, t), names: map[*byte]string{}}
	for _, e := range t.Events {
		if e.Kind != disk.EventWrite || len(e.Data) == 0 {
			continue
		}
		l.names[&e.Data[0]] = l.name(e.Off, e.Data)
		copy(l.image[e.Off:], e.Data)
	}
	l.image = t.Base // a write that is not of the trace is recovery's: told by what it makes of the base
	return func(off int64, data []byte) string {
		if len(data) == 0 {
			return ""
		}
		if s, ok := l.names[&data[0]]; ok {
			return s
		}
		return l.name(off, data)
	}
}

type labels struct {
	g     *layout.Geometry
	seeds layout.Seeds
	image []byte                        // as it was before the write
	data  map[uint64][]layout.LogRecord // by block: the data that transactions put there
	names map[*byte]string              // by the first byte of the data of a write
}

// dataRecords collects what the log's data records say.
func dataRecords(g *layout.Geometry, t *disk.Trace) map[uint64][]layout.LogRecord {
	payload := map[uint64][]byte{} // by transaction
	next := map[uint64]uint32{}    // the sector that is wanted next
	found := map[uint64][]layout.LogRecord{}
	for _, e := range t.Events {
		if e.Kind != disk.EventWrite || !strings.HasPrefix(purpose(g, uint64(e.Off)/uint64(g.BlockSize)), "log run") {
			continue
		}
		for p := e.Data; len(p) >= g.SectorSize; p = p[g.SectorSize:] {
			h, ok := layout.PeekLogSector(p[:g.SectorSize])
			if !ok || h.Index != next[h.Seq] {
				continue // of the other run, or no log sector
			}
			payload[h.Seq] = append(payload[h.Seq], layout.LogSectorPayload(p[:g.SectorSize], &h)...)
			if next[h.Seq]++; next[h.Seq] < h.Count {
				continue
			}
			whole := payload[h.Seq]
			for off := 0; off < len(whole); {
				r, n, err := layout.NextRecord(whole, off, g.BlockSize)
				if err != nil {
					break
				}
				if off = n; r.Type == layout.RecordData {
					found[r.Block] = append(found[r.Block], r)
					for i := 1; i < len(r.Sums); i++ {
						found[r.Block+uint64(i)] = append(found[r.Block+uint64(i)], r)
					}
				}
			}
			delete(payload, h.Seq)
		}
	}
	return found
}

// name is what one write holds, and where.
func (l *labels) name(off int64, data []byte) string {
	size := int64(l.g.BlockSize)
	first, last := uint64(off/size), uint64((off+int64(len(data))-1)/size)
	place := fmt.Sprintf("block %d", first)
	if last != first {
		place = fmt.Sprintf("blocks %d to %d", first, last)
	}
	return l.what(off, data, first, last) + ", " + place
}

func (l *labels) what(off int64, data []byte, first, last uint64) string {
	if place := purpose(l.g, first); strings.HasPrefix(place, "log run") {
		return l.log(data, strings.TrimPrefix(place, "log "))
	}
	if s, ok := l.content(data, first, last); ok {
		return s
	}
	var parts []string
	for len(data) > 0 {
		n := min(len(data), l.g.BlockSize-int(off)%l.g.BlockSize)
		if s := l.block(off, data[:n]); !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
		off, data = off+int64(n), data[n:]
	}
	return named(parts, "; ")
}

// block names a write inside one block.
func (l *labels) block(off int64, data []byte) string {
	no := uint64(off) / uint64(l.g.BlockSize)
	place := purpose(l.g, no)
	switch {
	case strings.HasPrefix(place, "log header"):
		return "journal " + strings.TrimPrefix(place, "log ")
	case strings.HasPrefix(place, "inode table"):
		return l.inodes(off, data, place)
	case !strings.HasPrefix(place, "content"):
		return place
	}
	if s, ok := l.content(data, no, no); ok {
		return s
	}
	if len(data) == l.g.BlockSize {
		h := layout.DecodeHeader(data)
		switch h.Kind {
		case layout.KindExtents, layout.KindDirLeaf, layout.KindDirIndex, layout.KindDirSpace, layout.KindXattr:
			return fmt.Sprintf("%s of inode %d", h.Kind, h.Owner)
		}
	}
	return "data"
}

// named joins the first few of a list.
func named(list []string, between string) string {
	const most = 4
	if n := len(list) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], between), n)
	}
	return strings.Join(list, between)
}

// log names sectors of the log: they commit a transaction if its last one is among them.
func (l *labels) log(data []byte, run string) string {
	var first, last layout.LogSector
	for p := data; len(p) >= l.g.SectorSize; p = p[l.g.SectorSize:] {
		h, ok := layout.PeekLogSector(p[:l.g.SectorSize])
		if !ok {
			return "journal " + run
		}
		if last = h; first.Count == 0 {
			first = h
		}
	}
	what := "records"
	if last.Index+1 == last.Count {
		what = "commit"
	}
	which := fmt.Sprintf("transaction %d", last.Seq)
	if first.Seq != last.Seq {
		which = fmt.Sprintf("transactions %d to %d", first.Seq, last.Seq)
	}
	return fmt.Sprintf("journal %s of %s, %s", what, which, run)
}

// inodes names those whose bytes change.
func (l *labels) inodes(off int64, data []byte, place string) string {
	var list []string
	for at := 0; at+layout.InodeSize <= len(data); at += layout.InodeSize {
		if bytes.Equal(l.image[off+int64(at):][:layout.InodeSize], data[at:at+layout.InodeSize]) {
			continue
		}
		block := uint64(off+int64(at)) / uint64(l.g.BlockSize)
		group, ok := l.g.GroupOf(block)
		if !ok {
			return place
		}
		index := (uint64(off+int64(at)) - l.g.InodeTable(group)*uint64(l.g.BlockSize)) / layout.InodeSize
		list = append(list, fmt.Sprint(l.g.InodeNumber(group, uint32(index))))
	}
	switch len(list) {
	case 0:
		return place // the same bytes again
	case 1:
		return "inode " + list[0]
	}
	return "inodes " + named(list, ", ")
}

// content finds whose data the blocks are: the log has their checksums. What it does not know
// is of a commit too big to list its data.
func (l *labels) content(data []byte, first, last uint64) (string, bool) {
	size := uint64(l.g.BlockSize)
	if uint64(len(data)) != (last-first+1)*size {
		return "", false
	}
	type piece struct{ ino, from, to uint64 }
	var list []piece
	for block := first; block <= last; block++ {
		p := data[(block-first)*size:][:size]
		at := slices.IndexFunc(l.data[block], func(r layout.LogRecord) bool {
			i := block - r.Block
			return layout.Sum(l.seeds.Data(block, r.Ino, r.Gen, r.Logical+i), p) == r.Sums[i]
		})
		if at < 0 {
			return "", false
		}
		r := l.data[block][at]
		from := (r.Logical + block - r.Block) * size
		if n := len(list) - 1; n >= 0 && list[n].ino == r.Ino && list[n].to == from {
			list[n].to += size
		} else {
			list = append(list, piece{r.Ino, from, from + size})
		}
	}
	var words []string
	for _, p := range list {
		words = append(words, fmt.Sprintf("inode %d bytes %d to %d", p.ino, p.from, p.to-1))
	}
	return "data of " + named(words, ", "), true
}
