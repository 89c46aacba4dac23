package volume

import (
	"fmt"

	"holdfast/layout"
)

// UnlinkAll removes a file, or anything but a directory, under every name that it has: one
// operation, so that after a crash all names are there or none is. It reads the whole tree to
// find them, and meanwhile no other operation runs. The paths of the names are returned, from
// the root, in the order in which they were found.
//
// Errors: ErrStale (no such inode), ErrNotExist (it has no name any more), ErrIsDir,
// ErrNoSpace (so many names that their removal does not fit into the log together),
// ErrReadOnly, and layout.ErrCorrupt where the names found are not as many as the inode says
// (I6) or a directory cannot be read: nothing is removed then.
func (v *Volume) UnlinkAll(ino Ino) (paths []string, err error) {
	need := func(o *op) int {
		in, err := o.inode(ino)
		if err != nil {
			return 0 // the operation will say so
		}
		return int(in.Links) * v.needRemove()
	}
	err = v.updateNeed(need, func(o *op) error {
		paths = nil // of an attempt that was taken back
		in, err := o.inode(ino)
		switch {
		case err != nil:
			return err
		case in.IsDir():
			return ErrIsDir
		case in.Links == 0:
			return ErrNotExist
		}
		names, err := o.namesOf(ino, &in)
		for i := 0; err == nil && i < len(names); i++ {
			paths = append(paths, names[i].path)
			if err = o.order(); err == nil {
				err = o.unlink(names[i].dir, names[i].name)
			}
		}
		return err
	})
	return result(paths, err)
}

// nameOf is a name of a file.
type nameOf struct {
	dir        Ino
	name, path string
}

// namesOf looks for the names of an inode in all directories. There have to be as many as its
// link count says.
func (o *op) namesOf(ino Ino, in *layout.Inode) ([]nameOf, error) {
	type directory struct {
		ino  Ino
		path string
	}
	var names []nameOf
	seen := map[Ino]bool{Root: true} // in a damaged tree a directory may be met again (I7)
	for todo := []directory{{Root, ""}}; len(todo) > 0 && len(names) <= int(in.Links); {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		din, err := o.directory(at.ino)
		if err != nil {
			return nil, err
		}
		d := o.dir(at.ino, &din)
		for pos := uint64(0); ; {
			e, _, next, ok, err := d.Next(pos)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			pos = next
			found, path := Ino(e.Ino), at.path+"/"+string(e.Name)
			switch {
			case found == ino:
				names = append(names, nameOf{at.ino, string(e.Name), path})
			case uint16(e.Type)<<12 == layout.ModeDir && !seen[found]:
				seen[found] = true
				todo = append(todo, directory{found, path})
			}
		}
	}
	if len(names) != int(in.Links) {
		return nil, o.badLinks(ino, in, fmt.Sprintf("%d, the names of it", len(names)))
	}
	return names, nil
}
