package volume

import "holdfast/layout"

// Paths looks for a path, from the root, of each of the inodes; those that are not found, for
// they have no name or damage hides it, are not in the answer. It reads directories until all
// are found, and keeps no more of the tree than the way to where it is.
func (v *Volume) Paths(inos []Ino) (map[Ino]string, error) {
	s := pathSearch{v, map[Ino]bool{}, map[Ino]string{}}
	for _, ino := range inos {
		if ino == Root {
			s.found[ino] = "/"
		} else if ino != 0 {
			s.want[ino] = true
		}
	}
	err := s.below(Root, "", 0)
	return s.found, err
}

type pathSearch struct {
	v     *Volume
	want  map[Ino]bool // still looked for
	found map[Ino]string
}

// maxPathDepth bounds how deep directories lie in one another where they are searched.
const maxPathDepth = 4096

// below searches a directory and what is below it. A directory that cannot be read ends nothing
// but itself; one that says that it lies elsewhere is not entered, so that a damaged tree ends (I7).
func (s *pathSearch) below(dir Ino, path string, depth int) error {
	var first error
	err := s.v.ReadDir(dir, 0, func(e DirEntry) bool {
		at := path + "/" + e.Name
		if s.want[e.Ino] {
			delete(s.want, e.Ino)
			s.found[e.Ino] = at
		}
		if e.Type == layout.ModeDir && depth < maxPathDepth && len(s.want) > 0 {
			inside := false
			_ = s.v.view(func(o *op) error {
				in, err := o.directory(e.Ino)
				inside = err == nil && Ino(in.Parent) == dir
				return nil
			})
			if inside {
				first = s.below(e.Ino, at, depth+1)
			}
		}
		return len(s.want) > 0 && first == nil
	})
	if first != nil {
		return first
	}
	if err != nil && !isMedia(err) {
		return err
	}
	return nil
}
