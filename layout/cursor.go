package layout

import "encoding/binary"

var le = binary.LittleEndian

// cursor reads or writes fields in order; encoders and decoders mirror each other with it.
// Structures have a fixed size, so the caller has checked the length once.
type cursor struct {
	b []byte
	n int
}

func (c *cursor) take(n int) []byte {
	p := c.b[c.n : c.n+n]
	c.n += n
	return p
}

func (c *cursor) u8() uint8         { return c.take(1)[0] }
func (c *cursor) u16() uint16       { return le.Uint16(c.take(2)) }
func (c *cursor) u32() uint32       { return le.Uint32(c.take(4)) }
func (c *cursor) u64() uint64       { return le.Uint64(c.take(8)) }
func (c *cursor) get(p []byte)      { copy(p, c.take(len(p))) }
func (c *cursor) put8(v uint8)      { c.take(1)[0] = v }
func (c *cursor) put16(v uint16)    { le.PutUint16(c.take(2), v) }
func (c *cursor) put32(v uint32)    { le.PutUint32(c.take(4), v) }
func (c *cursor) put64(v uint64)    { le.PutUint64(c.take(8), v) }
func (c *cursor) put(p []byte)      { copy(c.take(len(p)), p) }
func (c *cursor) zero(n int)        { clear(c.take(n)) }
func (c *cursor) isZero(n int) bool { return allZero(c.take(n)) }

func allZero(p []byte) bool {
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

func u48(p []byte) uint64 {
	return uint64(le.Uint32(p)) | uint64(le.Uint16(p[4:]))<<32
}

func put48(p []byte, v uint64) {
	le.PutUint32(p, uint32(v))
	le.PutUint16(p[4:], uint16(v>>32))
}
