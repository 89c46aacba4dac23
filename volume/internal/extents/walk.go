package extents

import "holdfast/layout"

// Part is what one leaf of a map says, or what is lost of it.
type Part struct {
	Nodes []uint64        // index blocks on the way from the inode to the leaf, the last one the leaf
	Ents  []layout.Extent // what the leaf maps
	Next  uint64          // the logical block with which the next part begins; layout.MaxLogical: none
}

// PartAt is the part of the map that a logical block belongs to. So a map is walked a leaf at a
// time, and what it has become in between is seen. With an error the last of Nodes is the block
// that cannot be used (none: it is the inode), and Next is where the walk can go on behind what
// is lost with it.
func PartAt(s Store, g *layout.Geometry, ino uint64, in *layout.Inode, logical uint64) (Part, error) {
	p := Part{Next: layout.MaxLogical}
	t := &tree{s, g, ino, in}
	n, err := t.root()
	if err != nil {
		return p, err
	}
	for n.height > 0 {
		i := max(0, n.find(logical))
		p.Nodes = append(p.Nodes, n.ents[i].Block)
		if i+1 < len(n.ents) {
			p.Next = n.ents[i+1].Logical
		}
		if n, err = t.child(n, i); err != nil {
			return p, err
		}
	}
	p.Ents = n.ents
	return p, nil
}
