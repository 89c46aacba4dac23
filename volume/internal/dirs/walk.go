package dirs

import "holdfast/layout"

// Indexed reports whether the directory has an index of names.
func (d *Dir) Indexed() bool { return d.indexed() }

// IndexPath is the nodes of the index from the root to the leaf that a key belongs to, and the
// key with which the next leaf begins; more is false if there is none. So an index is walked a
// leaf at a time. With an error the last of the nodes is the one that cannot be used, and next
// is where the walk can go on behind what is lost with it.
func (d *Dir) IndexPath(key layout.IndexEntry) (nodes []uint64, next layout.IndexEntry, more bool, err error) {
	nodes = append(nodes, d.in.IndexRoot)
	x, err := d.root()
	for err == nil && !x.leaf() {
		i := x.branch(key)
		if i+1 < x.n {
			next, more = x.get(i+1), true
		}
		nodes = append(nodes, x.get(i).Child)
		x, err = d.child(x, i, false)
	}
	return nodes, next, more, err
}
