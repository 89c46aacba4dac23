package workload

import (
	"encoding/binary"
	"math/bits"
)

// The digest is a folded multiplication, as in wyhash: fast, 64 bits, the same on every
// machine, and no defence against an adversary, which a crash is not.
const (
	hashSeed0 = 0xa0761d6478bd642f
	hashSeed1 = 0xe7037ed1a0b428db
	hashSeed2 = 0x8ebc6af09c88c6e3
)

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^hashSeed0, b^hashSeed2)
	return hi ^ lo
}

// hasher folds 64-bit words, order matters.
type hasher uint64

func (h *hasher) word(x uint64) {
	*h = hasher(mix(uint64(*h)^x, hashSeed1) + bits.RotateLeft64(uint64(*h), 23))
}

func (h *hasher) text(s string) { h.word(hashString(s)) }

func hashString(s string) uint64 {
	h := uint64(len(s)) ^ hashSeed1
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		h = mix(h^w, hashSeed0) + bits.RotateLeft64(h, 23)
		s = s[8:]
	}
	var w uint64
	for i := 0; i < len(s); i++ {
		w |= uint64(s[i]) << (8 * i)
	}
	return mix(h^w, hashSeed1)
}

// pageSize is the grain in which the model holds content and in which content is hashed. It
// has nothing to do with the block size of the volume.
const pageSize = 4096

var zeroPage [pageSize]byte

// hashPage hashes pageSize bytes.
func hashPage(p *[pageSize]byte) uint64 {
	le := binary.LittleEndian
	a, b := uint64(hashSeed1), uint64(hashSeed2)
	for i := 0; i < pageSize; i += 32 {
		q := p[i : i+32 : i+32]
		a = mix(le.Uint64(q)^a, le.Uint64(q[8:])) + bits.RotateLeft64(a, 23)
		b = mix(le.Uint64(q[16:])^b, le.Uint64(q[24:])) + bits.RotateLeft64(b, 41)
	}
	return mix(a, b)
}

// pageTerm is what page index of a file adds to the sum over its content; a page of zeros adds
// nothing, so a hole and written zeros are the same.
func pageTerm(index uint64, p *[pageSize]byte) uint64 {
	if *p == zeroPage {
		return 0
	}
	return mix(hashPage(p), index+hashSeed1)
}

// Fill writes the data of a write with this seed into p, from position pos of the write on:
// byte i of a write is a function of (seed, i) alone, and never depends on where it lands.
func Fill(p []byte, seed uint64, pos uint64) {
	var w [8]byte
	for i := 0; i < len(p); {
		at := pos + uint64(i)
		binary.LittleEndian.PutUint64(w[:], mix(mix(seed, hashSeed1), at/8))
		i += copy(p[i:], w[at%8:])
	}
}
