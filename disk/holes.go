package disk

// holeFinder is a device that knows where nothing was ever written.
type holeFinder interface {
	// nextData is the first offset at or behind off that may hold other bytes than zeros; what lies
	// between reads as zeros. The size of the device if there is none.
	nextData(off int64) int64
}

// NextData is the first offset at or behind off, which lies in the device, that may hold other bytes
// than zeros: it need not be read to know what is before. Of a device that cannot tell it is off.
func NextData(d Device, off int64) int64 {
	if h, ok := d.(holeFinder); ok {
		return h.nextData(off)
	}
	return off
}
