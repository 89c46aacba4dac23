package disk

// Window is a device that is a part of another one, where its bytes lie as they are.
type Window interface {
	// Below is where n bytes at off lie: the device, and the offset there.
	Below(off int64, n int) (under Device, at int64)
}

// Below is the device on which n bytes at off of d lie in the end, and the offset there.
func Below(d Device, off int64, n int) (under Device, at int64) {
	if w, ok := d.(Window); ok {
		return w.Below(off, n)
	}
	return d, off
}

// Below implements [Window].
func (s *Stripe) Below(off int64, n int) (under Device, at int64) {
	return Below(s.under, s.off+off, n)
}

// PairMender is a device with both replicas of a place on it that can mend them as one step, of
// which nobody learns which of the two had what passes. It is for who explores all that could
// have become of many pairs: looked at one by one they are 3 to the power of their number.
type PairMender interface {
	// MendPair is Mend of a pair whose check only one content passes: if one of the places has it,
	// p is filled with it, and both have it then. ok is false where it cannot do that, and has done
	// nothing.
	MendPair(p []byte, c Check, places [2]int64) (ok bool, err error)
}

// mendPair is Mend where one device below has both replicas and can do it; ok is false if not.
func (s *Stable) mendPair(p []byte, c *Check, off int64) (ok bool, err error) {
	m, ok := s.below.(PairMender)
	if only, n := s.keeper(off, off+int64(len(p))); !ok || !c.Whole || c.Version != nil || only >= 0 || n < int64(len(p)) {
		return false, nil
	}
	first, a := Below(s.rep[0], off, len(p))
	second, b := Below(s.rep[1], off, len(p))
	if first != s.below || second != s.below {
		return false, nil
	}
	return m.MendPair(p, *c, [2]int64{a, b})
}

// apart is where places that one replica each keeps, as the runs of a log are kept, lie on the
// device below: one read there chooses between them.
func (s *Stable) apart(n int, places []int64) (at []int64, ok bool) {
	at = make([]int64, len(places))
	for i, off := range places {
		if inRange(n, off, s.size) != nil {
			return nil, false
		}
		only, kept := s.keeper(off, off+int64(n))
		if only < 0 || kept < int64(n) {
			return nil, false
		}
		var under Device
		if under, at[i] = Below(s.rep[only], off, n); under != s.below {
			return nil, false
		}
	}
	return at, true
}
