package volume

import "holdfast/layout"

// CheckDevice holds what is on a device to the invariants, as a crash would leave it.
var CheckDevice = checkDevice

// EditInode changes an inode as no operation would; what mode 0 leaves is a free slot that is
// not counted.
func (v *Volume) EditInode(ino Ino, edit func(in *layout.Inode)) error {
	return v.update(v.needSetattr(), func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		edit(&in)
		return o.putInode(ino, &in)
	})
}

// SetLinks forces a link count, for limits that no test can reach by counting.
func (v *Volume) SetLinks(ino Ino, links uint32) error {
	return v.EditInode(ino, func(in *layout.Inode) { in.Links = links })
}

// Holds is how many inodes are held.
func (v *Volume) Holds() int { return len(v.holds.n) }

// IndexLevels is how many nodes of its index lie above each name of a directory.
func (v *Volume) IndexLevels(dir Ino) (n int, err error) {
	err = v.view(func(o *op) error {
		in, err := o.inode(dir)
		if err != nil {
			return err
		}
		d := o.dir(dir, &in)
		if !d.Indexed() {
			return nil
		}
		nodes, _, _, err := d.IndexPath(layout.IndexEntry{})
		n = len(nodes)
		return err
	})
	return n, err
}
