package layout

import "sync"

// A Reseed gives the checksum of n bytes under any seed from their checksum under seed 0, without the bytes: the
// CRC is linear, so that a seed adds to it what it would come to over n zero bytes. Four look-ups, one for each
// byte of the seed.
type Reseed [4][256]uint32

// reseeds are those of the lengths that were asked for, of which there are as many as block sizes.
var reseeds sync.Map

// ReseedOf is the Reseed of n bytes; it is made once.
func ReseedOf(n int) *Reseed {
	t, ok := reseeds.Load(n)
	if !ok {
		t, _ = reseeds.LoadOrStore(n, newReseed(n))
	}
	return t.(*Reseed)
}

func newReseed(n int) *Reseed {
	t, zeros := new(Reseed), make([]byte, n)
	none := Sum(0, zeros)
	for k := range t {
		for bit := range 8 {
			t[k][1<<bit] = Sum(1<<(8*k+bit), zeros) ^ none
		}
		for i := range t[k] {
			if low := i & -i; low != i {
				t[k][i] = t[k][low] ^ t[k][i^low]
			}
		}
	}
	return t
}

// Sum is Sum(seed, p) of n bytes p of which sum is Sum(0, p).
func (t *Reseed) Sum(seed, sum uint32) uint32 {
	return sum ^ t[0][byte(seed)] ^ t[1][byte(seed>>8)] ^ t[2][byte(seed>>16)] ^ t[3][byte(seed>>24)]
}
