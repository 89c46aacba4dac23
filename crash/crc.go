package crash

import "github.com/klauspost/crc32"

// CRC-32C is affine over the bits of its message: with the state before it inverted in and out,
//
//	^crc(seed, s1 s2 ... sn) = ^seed * x^(8N)  xor  sum of  raw(si) * x^(8 (bytes after si))
//
// over GF(2), modulo the polynomial, where raw is the CRC from state zero without inversions.
// So what a sector contributes does not depend on the other sectors, and the mixes of sector
// versions that have a wanted CRC are found by xor alone. (The algebra is that of zlib's
// crc32_combine.)

// poly is the Castagnoli polynomial, reflected; bit 31 is the coefficient of 1.
const poly = 0x82f63b78

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// raw is the CRC of p from state zero, without the inversions.
func raw(p []byte) uint32 { return ^crc32.Update(^uint32(0), castagnoli, p) }

// times is a * b modulo the polynomial.
func times(a, b uint32) uint32 {
	var p uint32
	for m := uint32(1) << 31; a != 0; m >>= 1 {
		if a&m != 0 {
			p ^= b
			a &^= m
		}
		b = b>>1 ^ poly&-(b&1)
	}
	return p
}

// powers[k] is x^(8 * 2^k).
var powers = func() (t [32]uint32) {
	t[0] = 1 << (31 - 8)
	for k := 1; k < len(t); k++ {
		t[k] = times(t[k-1], t[k-1])
	}
	return t
}()

// shift is x^(8n): multiplied by it, a CRC moves over n zero bytes.
func shift(n int) uint32 {
	p := uint32(1) << 31
	for k := 0; n > 0; n, k = n>>1, k+1 {
		if n&1 != 0 {
			p = times(powers[k%len(powers)], p)
		}
	}
	return p
}
