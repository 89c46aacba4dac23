package layout

import (
	"encoding/binary"

	"github.com/klauspost/crc32"
)

// Residue is the CRC-32C of any structure that ends in its own CRC-32C (little-endian),
// whatever the seed. So one rule verifies every self-checked structure: the CRC of the
// whole, from its seed, is Residue.
const Residue uint32 = 0x48674BC7

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum continues the CRC-32C crc over p.
func Sum(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// Seeds derives checksum seeds from a volume's UUID. A seed ties a structure to its
// address, so that a misdirected write fails its check at its victim.
type Seeds struct{ base uint32 }

// NewSeeds returns the seeds of the volume with this UUID.
func NewSeeds(uuid [16]byte) Seeds { return Seeds{Sum(0, uuid[:])} }

// The domain byte keeps seeds of different kinds of address apart.
const (
	seedBlock = 1 // a metadata block at a block number
	seedInode = 2 // an inode, by number
	seedData  = 3 // a data block, by block number, inode, generation and logical block
	seedLog   = 4 // a log sector, by position
	seedHead  = 5 // a log header, by copy
)

// eight[k] is what a byte comes to with k zero bytes behind it: a word is eight independent
// look-ups ("slicing by 8", Kounavis and Berry, 2005).
var eight = func() (t [8][256]uint32) {
	t[0] = *castagnoli
	for k := 1; k < len(t); k++ {
		for i, crc := range t[k-1] {
			t[k][i] = t[0][byte(crc)] ^ crc>>8
		}
	}
	return t
}()

// words is the Sum of the domain and the words, from tables: for so few bytes that is faster
// than the library, and takes no memory.
func (s Seeds) words(domain byte, w ...uint64) uint32 {
	crc := ^s.base
	crc = castagnoli[byte(crc)^domain] ^ crc>>8
	for _, x := range w {
		x ^= uint64(crc)
		crc = eight[7][byte(x)] ^ eight[6][byte(x>>8)] ^ eight[5][byte(x>>16)] ^ eight[4][byte(x>>24)] ^
			eight[3][byte(x>>32)] ^ eight[2][byte(x>>40)] ^ eight[1][byte(x>>48)] ^ eight[0][byte(x>>56)]
	}
	return ^crc
}

// Block is the seed of the metadata block at this block number.
func (s Seeds) Block(block uint64) uint32 { return s.words(seedBlock, block) }

// Inode is the seed of the inode with this number.
func (s Seeds) Inode(ino uint64) uint32 { return s.words(seedInode, ino) }

// Data is the seed of the data block at this block number that holds logical block
// logical of generation gen of inode ino: a stale map onto a reused block fails.
func (s Seeds) Data(block, ino uint64, gen uint32, logical uint64) uint32 {
	return s.words(seedData, block, ino, uint64(gen)<<32, logical)
}

// Log is the seed of the log sector at this position (in both runs).
func (s Seeds) Log(pos uint64) uint32 { return s.words(seedLog, pos) }

// Head is the seed of log header copy 0 or 1.
func (s Seeds) Head(copy int) uint32 { return s.words(seedHead, uint64(copy)) }

// Seal writes the CRC-32C of p[:len(p)-4] from seed into the last four bytes of p.
func Seal(p []byte, seed uint32) {
	n := len(p) - 4
	binary.LittleEndian.PutUint32(p[n:], Sum(seed, p[:n]))
}

// Sealed reports whether p ends in its own checksum from seed.
func Sealed(p []byte, seed uint32) bool { return Sum(seed, p) == Residue }
