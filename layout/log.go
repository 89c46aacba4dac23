package layout

import "fmt"

// LogHead is a log header. Its two copies lie in the blocks Geometry.LogHead and are
// written alternately: the one with the larger Sequence is current. Both are one sector,
// of which the first 64 bytes are used:
//
//	offset size field
//	     0    4 magic "HEAD"
//	     4    4 reserved
//	     8    8 sequence of this header, from 1
//	    16    8 epoch
//	    24    8 tail: position of the first sector that replay needs
//	    32    8 sequence of the transaction that begins there
//	    40   20 reserved
//	    60    4 CRC-32C of bytes 0 to 59, from Seeds.Head
type LogHead struct {
	Sequence uint64
	Epoch    uint64
	Tail     uint64
	TailSeq  uint64
}

// LogHeadSize is the size of a log header in bytes.
const LogHeadSize = 64

const logHeadMagic = 0x44414548 // "HEAD"

// EncodeLogHead writes h, as this copy, into p[:LogHeadSize].
func EncodeLogHead(p []byte, h *LogHead, copy int, s Seeds) {
	c := cursor{b: p[:LogHeadSize]}
	c.put32(logHeadMagic)
	c.zero(4)
	c.put64(h.Sequence)
	c.put64(h.Epoch)
	c.put64(h.Tail)
	c.put64(h.TailSeq)
	c.zero(20)
	Seal(c.b, s.Head(copy))
}

// DecodeLogHead reads the header copy from p[:LogHeadSize].
func DecodeLogHead(p []byte, copy int, block uint64, s Seeds) (*LogHead, error) {
	bad := func(off int, found string, want any) error {
		return Corrupt(fmt.Sprintf("log header %d", copy), block, off, found, want)
	}
	p = p[:LogHeadSize]
	if !Sealed(p, s.Head(copy)) {
		return nil, bad(60, "checksum does not match", nil)
	}
	c := cursor{b: p}
	if m := c.u32(); m != logHeadMagic || !c.isZero(4) {
		return nil, bad(0, fmt.Sprintf("%#x", m), "the mark HEAD")
	}
	h := &LogHead{}
	h.Sequence = c.u64()
	h.Epoch = c.u64()
	h.Tail = c.u64()
	h.TailSeq = c.u64()
	if !c.isZero(20) {
		return nil, bad(40, "reserved bytes are not zero", nil)
	}
	return h, nil
}

// LogSector is the head of a log sector; the payload of a transaction is the concatenation
// of its sectors' payloads. A position counts sectors of a run since the log was made and
// never goes back; it lies at sector position mod length of both runs.
//
//	offset size field
//	     0    4 magic "LOGS"
//	     4    2 bytes of payload used
//	     6    2 reserved
//	     8    8 epoch
//	    16    8 position
//	    24    8 sequence of the transaction
//	    32    8 attested: the last transaction whose flush had returned
//	    40    4 index of the sector in its transaction
//	    44    4 sectors of the transaction
//	    48      payload, zero behind what is used
//	   S-4    4 CRC-32C of bytes 0 to S-5, from Seeds.Log(position)
type LogSector struct {
	Epoch    uint64
	Pos      uint64
	Seq      uint64
	Attested uint64
	Index    uint32
	Count    uint32
	Used     uint16
}

const (
	logSectorMagic = 0x53474f4c // "LOGS"
	logSectorHead  = 48
)

// LogPayload is the payload of a log sector in bytes.
func LogPayload(sectorSize int) int { return sectorSize - logSectorHead - 4 }

// EncodeLogSector writes the head, the payload and the checksum of a log sector into p, a whole sector.
func EncodeLogSector(p []byte, h *LogSector, payload []byte, s Seeds) {
	h.Used = uint16(len(payload))
	c := cursor{b: p}
	c.put32(logSectorMagic)
	c.put16(h.Used)
	c.zero(2)
	c.put64(h.Epoch)
	c.put64(h.Pos)
	c.put64(h.Seq)
	c.put64(h.Attested)
	c.put32(h.Index)
	c.put32(h.Count)
	c.put(payload)
	c.zero(len(p) - logSectorHead - len(payload) - 4)
	Seal(p, s.Log(h.Pos))
}

// PeekLogSector reads the head of sector p without verifying its checksum; ok is false when
// p is no log sector or contradicts itself.
func PeekLogSector(p []byte) (h LogSector, ok bool) {
	c := cursor{b: p}
	if c.u32() != logSectorMagic {
		return h, false
	}
	h.Used = c.u16()
	zero := c.u16()
	h.Epoch = c.u64()
	h.Pos = c.u64()
	h.Seq = c.u64()
	h.Attested = c.u64()
	h.Index = c.u32()
	h.Count = c.u32()
	return h, zero == 0 && int(h.Used) <= LogPayload(len(p)) && h.Index < h.Count && h.Attested < h.Seq
}

// LogSectorPayload is the used payload of a sector whose head is h.
func LogSectorPayload(p []byte, h *LogSector) []byte {
	return p[logSectorHead : logSectorHead+int(h.Used)]
}
