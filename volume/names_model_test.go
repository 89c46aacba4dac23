package volume_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"holdfast/layout"
	"holdfast/volume"
)

// node is an inode of the model.
type node struct {
	ino    volume.Ino
	mode   uint16
	links  uint32
	held   int
	parent *node // directories
	names  map[string]*node
	target string
}

func (n *node) dir() bool { return n.mode&layout.ModeType == layout.ModeDir }

// model is what a volume should be: nodes, those without a name while they are held.
type model struct {
	root  *node
	nodes []*node
}

func newModel() *model {
	r := &node{ino: volume.Root, mode: dirMode, links: 2, names: map[string]*node{}}
	r.parent = r
	return &model{r, []*node{r}}
}

// settle forgets what nothing keeps.
func (m *model) settle() {
	kept := m.nodes[:0]
	for _, n := range m.nodes {
		if n.links > 0 || n.held > 0 {
			kept = append(kept, n)
		}
	}
	m.nodes = kept
}

// drop takes a name of n away.
func (m *model) drop(n *node) {
	if n.dir() {
		n.links = 0
	} else {
		n.links--
	}
	m.settle()
}

func (n *node) inside(dir *node) bool {
	for ; n.links > 0; n = n.parent {
		if n == dir {
			return true
		}
		if n == n.parent {
			return false
		}
	}
	return false
}

// The operations answer as the volume does; a nil error has changed the model.

func (m *model) create(d *node, name string, mode uint16, target string) (*node, error) {
	_, exists := d.names[name]
	switch {
	case !d.dir():
		return nil, volume.ErrNotDir
	case exists:
		return nil, volume.ErrExist
	case d.links == 0:
		return nil, volume.ErrNotExist
	}
	n := &node{mode: mode, links: 1, target: target}
	if n.dir() {
		n.links, n.names, n.parent = 2, map[string]*node{}, d
		d.links++
	}
	d.names[name] = n
	m.nodes = append(m.nodes, n)
	return n, nil
}

func (m *model) link(n, d *node, name string) error {
	_, exists := d.names[name]
	switch {
	case !d.dir():
		return volume.ErrNotDir
	case exists:
		return volume.ErrExist
	case d.links == 0, !n.dir() && n.links == 0:
		return volume.ErrNotExist
	case n.dir():
		return volume.ErrPermission
	}
	d.names[name] = n
	n.links++
	return nil
}

func (m *model) unlink(d *node, name string) error {
	n, exists := d.names[name]
	switch {
	case !d.dir():
		return volume.ErrNotDir
	case !exists:
		return volume.ErrNotExist
	case n.dir():
		return volume.ErrIsDir
	}
	delete(d.names, name)
	m.drop(n)
	return nil
}

func (m *model) rmdir(d *node, name string) error {
	n, exists := d.names[name]
	switch {
	case !d.dir():
		return volume.ErrNotDir
	case !exists:
		return volume.ErrNotExist
	case !n.dir():
		return volume.ErrNotDir
	case len(n.names) > 0:
		return volume.ErrNotEmpty
	}
	delete(d.names, name)
	d.links--
	m.drop(n)
	return nil
}

func (m *model) rename(od *node, oname string, nd *node, nname string, flags uint) error {
	if !od.dir() || !nd.dir() {
		return volume.ErrNotDir
	}
	n, exists := od.names[oname]
	t, over := nd.names[nname]
	switch {
	case !exists:
		return volume.ErrNotExist
	case over && flags != 0:
		return volume.ErrExist
	case n.dir() && nd.inside(n):
		return volume.ErrInvalid
	case over && t.dir() && od != nd && od.inside(t):
		return volume.ErrNotEmpty
	case over && n == t:
		return nil
	case !over && nd.links == 0:
		return volume.ErrNotExist
	case over && n.dir() && !t.dir():
		return volume.ErrNotDir
	case over && !n.dir() && t.dir():
		return volume.ErrIsDir
	case over && t.dir() && len(t.names) > 0:
		return volume.ErrNotEmpty
	}
	delete(od.names, oname)
	nd.names[nname] = n
	if n.dir() {
		od.links--
		nd.links++
		n.parent = nd
	}
	if over {
		if t.dir() {
			nd.links--
		}
		m.drop(t)
	}
	return nil
}

// compare holds the volume to the model.
func (m *model) compare(t *rapid.T, im *image) {
	for _, n := range m.nodes {
		a, err := im.Getattr(n.ino)
		if err != nil {
			t.Fatalf("inode %d: %v", n.ino, err)
		}
		if a.Mode != n.mode || a.Links != n.links {
			t.Fatalf("inode %d: mode %#o, %d links; want %#o, %d", n.ino, a.Mode, a.Links, n.mode, n.links)
		}
		if n.mode&layout.ModeType == layout.ModeLink {
			if to, err := im.Readlink(n.ino); err != nil || to != n.target {
				t.Fatalf("inode %d: target %q, %v; want %q", n.ino, to, err, n.target)
			}
		}
		if !n.dir() {
			continue
		}
		seen := map[string]bool{}
		err = im.ReadDir(n.ino, 0, func(e volume.DirEntry) bool {
			c := n.names[e.Name]
			if c == nil || c.ino != e.Ino || c.mode&layout.ModeType != e.Type || seen[e.Name] {
				t.Fatalf("inode %d: entry %+v, want %+v", n.ino, e, c)
			}
			seen[e.Name] = true
			return true
		})
		if err != nil || len(seen) != len(n.names) {
			t.Fatalf("inode %d: %d names, %v; want %d", n.ino, len(seen), err, len(n.names))
		}
		for name, c := range n.names {
			if a, err := im.Lookup(n.ino, name); err != nil || a.Ino != c.ino {
				t.Fatalf("inode %d, %q: inode %d, %v; want %d", n.ino, name, a.Ino, err, c.ino)
			}
		}
		if n.links > 0 {
			if a, err := im.Lookup(n.ino, ".."); err != nil || a.Ino != n.parent.ino {
				t.Fatalf("inode %d: its parent is %d, %v; want %d", n.ino, a.Ino, err, n.parent.ino)
			}
		}
	}
	s := im.statfs()
	if used := s.Inodes - s.FreeInodes; used != uint64(len(m.nodes)) {
		t.Fatalf("%d inodes are used, want %d", used, len(m.nodes))
	}
}

// Random operations on the name space are answered, and change the tree, as in the model, over
// held inodes, closing, opening and what a crash behind a sync leaves.
func TestNamesModel(t *testing.T) {
	namesModel(t, makeImage, true)
}

// Without a journal too; a crash leaves what is held without a name allocated there, so none
// happens.
func TestNamesModelOrdered(t *testing.T) {
	namesModel(t, makeOrdered, false)
}

func namesModel(t *testing.T, image func(tb fataler, blockSize int, size int64) *image, crashes bool) {
	rapid.Check(t, func(rt *rapid.T) {
		im := image(rt, 1024, 3<<20)
		m := newModel()
		pad := rapid.SampledFrom([]string{"", long[:100], long[:250]}).Draw(rt, "pad") // few or many names to a block
		name := func() string {
			return string(rune('a'+rapid.IntRange(0, 9).Draw(rt, "name"))) + pad
		}
		some := func() *node { return m.nodes[rapid.IntRange(0, len(m.nodes)-1).Draw(rt, "node")] }
		dir := func() *node { // mostly
			for range 5 {
				if n := some(); n.dir() {
					return n
				}
			}
			return some()
		}
		steps := rapid.IntRange(1, 150).Draw(rt, "steps")
		for i := range steps {
			var want, got error
			what := rapid.IntRange(0, 15).Draw(rt, "what")
			switch what {
			case 0, 1, 2, 3:
				node := volume.NewNode{Mode: rapid.SampledFrom([]uint16{fileMode, dirMode, dirMode, layout.ModeLink | 0o777, layout.ModeFIFO | 0o600}).Draw(rt, "mode")}
				if node.Mode&layout.ModeType == layout.ModeLink {
					node.Target = long[:rapid.SampledFrom([]int{1, layout.InlineSize, layout.InlineSize + 1, 255}).Draw(rt, "target")]
				}
				d, s := dir(), name()
				n, err := m.create(d, s, node.Mode, node.Target)
				want = err
				a, err := im.Create(d.ino, s, node)
				if got = err; err == nil && n != nil {
					n.ino = a.Ino
				}
			case 4, 5:
				n, d, s := some(), dir(), name()
				want = m.link(n, d, s)
				_, got = im.Link(n.ino, d.ino, s)
			case 6, 7:
				d, s := dir(), name()
				want = m.unlink(d, s)
				got = im.Unlink(d.ino, s)
			case 8:
				d, s := dir(), name()
				want = m.rmdir(d, s)
				got = im.Rmdir(d.ino, s)
			case 9, 10, 11:
				od, nd := dir(), dir()
				if rapid.IntRange(0, 2).Draw(rt, "same") == 0 {
					nd = od
				}
				o, n := name(), name()
				flags := rapid.SampledFrom([]uint{0, 0, 0, volume.RenameNoReplace}).Draw(rt, "flags")
				want = m.rename(od, o, nd, n, flags)
				got = im.Rename(od.ino, o, nd.ino, n, flags)
			case 12:
				n := some()
				n.held++
				got = im.Hold(n.ino)
			case 13:
				n := some()
				if n.held == 0 {
					want = volume.ErrInvalid
				} else {
					n.held--
				}
				ino := n.ino
				m.settle()
				got = im.Release(ino)
			case 14:
				got = im.Sync()
			case 15:
				if rapid.IntRange(0, 3).Draw(rt, "reopen") > 0 {
					continue
				}
				if crashes && rapid.Bool().Draw(rt, "crash") {
					got = im.Sync()
					im.crash()
				} else {
					im.reopen()
				}
				for _, n := range m.nodes {
					n.held = 0
				}
				m.settle()
			}
			if errno(got) != errno(want) {
				rt.Fatalf("step %d, operation %d: %v, want %v", i, what, got, want)
			}
			if i%10 == 0 {
				m.compare(rt, im)
			}
		}
		m.compare(rt, im)
		if err := im.Sync(); err != nil {
			rt.Fatal(err)
		}
		volume.CheckDevice(t, im.dev) // with what is held
		im.reopen()
		for _, n := range m.nodes {
			n.held = 0
		}
		m.settle()
		m.compare(rt, im)
		im.finish(t)
		if t.Failed() {
			rt.Fatal(fmt.Sprintf("broken after %d steps", steps))
		}
	})
}
