package volume

// CheckDevice holds what is on a device to the invariants, as a crash would leave it.
var CheckDevice = checkDevice

// SetLinks forces a link count, for limits that no test can reach by counting.
func (v *Volume) SetLinks(ino Ino, links uint32) error {
	return v.update(v.needSetattr(), func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		in.Links = links
		return o.putInode(ino, &in)
	})
}

// Holds is how many inodes are held.
func (v *Volume) Holds() int { return len(v.holds.n) }
