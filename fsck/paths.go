package fsck

import "holdfast/layout"

// maxSteps bounds the components of a path that is reported.
const maxSteps = 4096

// link is one name of an inode.
type link struct {
	dir  uint64
	name string
}

// paths gives findings about inodes a name that users know. It reads again only what it needs,
// and keeps no more than the names on the ways from the listed findings to the root.
func (c *checker) paths() {
	want := map[uint64]link{}
	scan := map[uint64]bool{} // directories that name a wanted directory
	all := false              // a wanted inode may be named anywhere
	for _, f := range c.r.Findings {
		if f.Inode == 0 || f.Inode == c.super.Root {
			continue
		}
		want[f.Inode] = link{}
		if x := c.slot(f.Inode); x != nil && x.state >= slotUsed && x.above != 0 {
			scan[x.above] = true
		} else {
			all = true
		}
	}
	c.names(want, func(dir uint64) bool { return all || scan[dir] })
	above := map[uint64]link{}
	clear(scan)
	for _, l := range want {
		for at := l.dir; at != 0 && at != c.super.Root; {
			if _, ok := above[at]; ok {
				break
			}
			above[at] = link{}
			at = c.slot(at).above
			scan[at] = true
		}
	}
	if len(above) > 0 {
		c.names(above, func(dir uint64) bool { return scan[dir] })
	}
	for i := range c.r.Findings {
		f := &c.r.Findings[i]
		if f.Inode == c.super.Root {
			f.Path = "/"
			continue
		}
		at, path := want[f.Inode], ""
		for steps := 0; at.dir != 0 && steps < maxSteps; steps++ {
			path = "/" + at.name + path
			if at.dir == c.super.Root {
				f.Path = path
				break
			}
			at = above[at.dir]
		}
	}
}

// names looks for the first name of each wanted inode in the directories that among accepts.
func (c *checker) names(want map[uint64]link, among func(dir uint64) bool) {
	if len(want) == 0 {
		return
	}
	quiet := &checker{dev: c.dev, r: &Report{}, super: c.super, g: c.g, seeds: c.seeds, totals: c.totals, buf: c.buf,
		visited: map[uint64]struct{}{}}
	for dir, x := range c.inodes() {
		if x.state < slotUsed || !x.dir() || !among(dir) {
			continue
		}
		clear(quiet.visited)
		in, err := quiet.inode(dir)
		if err != nil {
			continue
		}
		list, _, _ := quiet.extents(in, dir)
		quiet.leaves(list, func(_ uint64, r *layout.Record) {
			if l, ok := want[r.Ino]; ok && l.dir == 0 {
				want[r.Ino] = link{dir, string(r.Name)}
			}
		})
	}
}
