package volume

import (
	"fmt"
	"os"

	"holdfast/layout"
)

// Flags of Rename; the values are those of renameat2(2).
const (
	RenameNoReplace uint = 1 << 0 // ErrExist if the new name exists
	RenameExchange  uint = 1 << 1 // the two names change what they mean
	RenameWhiteout  uint = 1 << 2 // a character device 0, 0 takes the old name's place
)

// renameFlags answers whether flags of Rename are known and fit together.
func renameFlags(flags uint) bool {
	return flags&^(RenameNoReplace|RenameExchange|RenameWhiteout) == 0 &&
		(flags&RenameExchange == 0 || flags == RenameExchange)
}

// Mode bits that change what operations do.
const (
	modeSetUID = 0o4000
	modeSetGID = 0o2000
	modeGroupX = 0o0010
)

// orders runs steps with order between them.
func (o *op) orders(steps ...func() error) error {
	for i, step := range steps {
		if i > 0 {
			if err := o.order(); err != nil {
				return err
			}
		}
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// check answers whether n can be made, whatever it is called.
func (n *NewNode) check() error {
	switch n.Mode & layout.ModeType {
	case layout.ModeFile, layout.ModeDir, layout.ModeFIFO, layout.ModeSocket, layout.ModeChar, layout.ModeBlock:
		return nil
	case layout.ModeLink:
		return checkPath(n.Target)
	}
	return ErrInvalid
}

// target reads the target of the symbolic link ino.
func (o *op) target(ino Ino, in *layout.Inode) (string, error) {
	if in.Type() != layout.ModeLink {
		return "", ErrInvalid
	}
	if in.Size == 0 || in.Size > MaxPath {
		block, off := o.geometry().InodePlace(uint64(ino))
		return "", layout.Corrupt(fmt.Sprintf("inode %d", ino), block, off+16,
			fmt.Sprintf("a symbolic link of %d bytes", in.Size), "1 to 4095")
	}
	if in.Flags&layout.FlagInlineLink != 0 {
		return string(in.Inline[:in.Size]), nil // DecodeInode has checked that it fits
	}
	p := make([]byte, in.Size)
	if err := o.content(ino, in, p); err != nil {
		return "", err
	}
	return string(p), nil
}

// touch marks what a directory's names have changed: its modification and change time.
func touch(in *layout.Inode, now layout.Time) { in.Mtime, in.Ctime = now, now }

// create makes a node and its name. The inode is initialised before the entry names it; a new
// directory's ".." counts in its parent before it exists.
func (o *op) create(dir Ino, name string, n *NewNode) (ino Ino, in layout.Inode, err error) {
	if err := n.check(); err != nil {
		return 0, in, err
	}
	din, err := o.directory(dir)
	if err != nil {
		return 0, in, err
	}
	if isDot(name) {
		return 0, in, ErrExist
	}
	_, found, err := o.find(dir, &din, name)
	switch kind := n.Mode & layout.ModeType; {
	case err != nil:
		return 0, in, err
	case found:
		return 0, in, ErrExist
	case din.Links == 0: // removed, and held by somebody
		return 0, in, ErrNotExist
	case kind == layout.ModeDir && din.Links >= layout.MaxLinks:
		return 0, in, ErrTooManyLinks
	}
	isDir := n.Mode&layout.ModeType == layout.ModeDir
	now := o.now()
	err = o.orders(
		func() error {
			if ino, in, err = o.newInode(dir, &din, n); err != nil {
				return err
			}
			if isDir {
				din.Links++
				if err := o.putInode(dir, &din); err != nil {
					return err
				}
			}
			return o.putInode(ino, &in)
		},
		func() error {
			if _, err := o.dir(dir, &din).Insert(name, uint64(ino), uint8(in.Type()>>12)); err != nil {
				return err
			}
			touch(&din, now)
			return o.putInode(dir, &din)
		})
	return ino, in, err
}

// newInode takes an inode and fills it, as what n says, made in a directory; it is not put yet.
func (o *op) newInode(dir Ino, din *layout.Inode, n *NewNode) (ino Ino, in layout.Inode, err error) {
	isDir := n.Mode&layout.ModeType == layout.ModeDir
	if ino, in, err = o.allocInode(dir, isDir); err != nil {
		return 0, in, err
	}
	now := o.now()
	in.Mode, in.Links, in.UID, in.GID = n.Mode, 1, n.UID, n.GID
	in.Atime, in.Mtime, in.Ctime, in.Btime = now, now, now, now
	if din.Mode&modeSetGID != 0 { // inode(7): the group is that of the directory, and so on down
		in.GID = din.GID
		if isDir {
			in.Mode |= modeSetGID
		}
	}
	switch in.Type() {
	case layout.ModeDir:
		in.Links, in.Parent = 2, uint64(dir)
	case layout.ModeChar, layout.ModeBlock:
		in.Major, in.Minor = n.Major, n.Minor
	case layout.ModeLink:
		in.Mode = layout.ModeLink | 0o777 // symlink(7): the permissions of a link are not used
	}
	if err = o.inheritACL(dir, din, ino, &in, n.Umask); err == nil && in.Type() == layout.ModeLink {
		err = o.setTarget(ino, &in, n.Target)
	}
	return ino, in, err
}

// createTemp makes a file without a name, held once and on the orphan list. Unless flag has
// os.O_EXCL it can be linked.
func (o *op) createTemp(dir Ino, n *NewNode, flag int) (ino Ino, in layout.Inode, err error) {
	if err := o.v.needsJournal("a file without a name"); err != nil {
		return 0, in, err
	}
	din, err := o.directory(dir)
	switch {
	case err != nil:
		return 0, in, err
	case din.Links == 0:
		return 0, in, ErrNotExist
	}
	if ino, in, err = o.newInode(dir, &din, n); err != nil {
		return 0, in, err
	}
	in.Links = 0
	v := o.v
	v.holds.add(ino)
	if flag&os.O_EXCL == 0 {
		v.holds.setTemp(ino, true)
	}
	o.onFail(func() { v.holds.drop(ino) })
	return ino, in, o.orphanAdd(ino, &in)
}

// setTarget stores the target of a new symbolic link: in the inode if it fits there, else as
// the content of a file is stored.
func (o *op) setTarget(ino Ino, in *layout.Inode, target string) error {
	in.Size = uint64(len(target))
	if len(target) <= layout.InlineSize-int(in.XattrLen) {
		in.Flags |= layout.FlagInlineLink
		copy(in.Inline[:], target)
		return nil
	}
	return o.setContent(ino, in, []byte(target))
}

// link gives inode ino another name: the count first, then the entry.
func (o *op) link(ino, dir Ino, name string) (in layout.Inode, err error) {
	if in, err = o.inode(ino); err != nil {
		return in, err
	}
	din, err := o.directory(dir)
	if err != nil {
		return in, err
	}
	if isDot(name) {
		return in, ErrExist
	}
	_, found, err := o.find(dir, &din, name)
	switch {
	case err != nil:
		return in, err
	case found:
		return in, ErrExist
	case din.Links == 0:
		return in, ErrNotExist
	case in.IsDir():
		return in, ErrPermission
	case in.Links == 0 && !o.v.holds.isTemp(ino): // unlinked: it does not come back
		return in, ErrNotExist
	case in.Links >= layout.MaxLinks:
		return in, ErrTooManyLinks
	}
	now := o.now()
	err = o.orders(
		func() error {
			if in.Links == 0 {
				if err := o.adoptTemp(ino, &in); err != nil {
					return err
				}
			}
			in.Links++
			in.Ctime = now
			return o.putInode(ino, &in)
		},
		func() error {
			if _, err := o.dir(dir, &din).Insert(name, uint64(ino), uint8(in.Type()>>12)); err != nil {
				return err
			}
			touch(&din, now)
			return o.putInode(dir, &din)
		})
	return in, err
}

// adoptTemp takes a file that gets its first name off the orphan list.
func (o *op) adoptTemp(ino Ino, in *layout.Inode) error {
	if err := o.trimmed(ino); err != nil { // which is another reason to be on the list
		return err
	}
	o.v.holds.setTemp(ino, false)
	o.onFail(func() { o.v.holds.setTemp(ino, true) })
	return o.orphanRemove(ino, in)
}

// remove takes the name of d out of a directory. With isDir the parent also loses the ".." of
// what is removed; that count goes down behind the entry.
func (o *op) remove(dir Ino, din *layout.Inode, name string, isDir bool, now layout.Time) error {
	return o.orders(
		func() error {
			if _, err := o.dir(dir, din).Remove(name); err != nil {
				return err
			}
			touch(din, now)
			return o.putInode(dir, din)
		},
		func() error {
			if !isDir {
				return nil
			}
			return o.dropDirLink(dir, din)
		})
}

// dropDirLink counts one subdirectory less in dir.
func (o *op) dropDirLink(dir Ino, din *layout.Inode) error {
	if din.Links <= 2 {
		return o.badLinks(dir, din, "a count above 2 for a subdirectory") // I6
	}
	din.Links--
	return o.putInode(dir, din)
}

func (o *op) badLinks(ino Ino, in *layout.Inode, want string) error {
	block, off := o.geometry().InodePlace(uint64(ino))
	return layout.Corrupt(fmt.Sprintf("inode %d", ino), block, off+4, fmt.Sprintf("link count %d", in.Links), want)
}

// drop counts one name less in ino, whose entry is gone. At the last one the inode is
// destroyed or, while somebody holds it, put on the orphan list (I8). A directory has only
// one name: its count goes to zero at once.
func (o *op) drop(ino Ino, in *layout.Inode, now layout.Time) error {
	if in.Links == 0 {
		return o.badLinks(ino, in, "a count above 0 for a name") // I6
	}
	if in.IsDir() && !o.twoNames(in) {
		in.Links = 0
	} else {
		in.Links--
	}
	in.Ctime = now
	if err := o.putInode(ino, in); err != nil || in.Links > 0 {
		return err
	}
	if o.v.holds.count(ino) > 0 {
		if o.v.steps != nil { // Release or Close destroys it; a crash leaks it
			return nil
		}
		if in.Flags&layout.FlagOrphan != 0 { // it is there already, for its truncation
			return nil
		}
		return o.orphanAdd(ino, in)
	}
	return o.destroy(ino, in)
}

// unlink removes a name of anything but a directory: the entry, then the count, then (in
// destroy) the content.
func (o *op) unlink(dir Ino, name string) error {
	din, err := o.directory(dir)
	if err != nil {
		return err
	}
	if isDot(name) {
		return ErrIsDir
	}
	ino, in, err := o.entry(dir, &din, name)
	if err != nil {
		return err
	}
	if in.IsDir() {
		return ErrIsDir
	}
	now := o.now()
	return o.orders(
		func() error { return o.remove(dir, &din, name, false, now) },
		func() error { return o.drop(ino, &in, now) })
}

// rmdir removes an empty directory.
func (o *op) rmdir(dir Ino, name string) error {
	din, err := o.directory(dir)
	switch {
	case err != nil:
		return err
	case name == ".":
		return ErrInvalid
	case name == "..":
		return ErrNotEmpty
	}
	ino, in, err := o.entry(dir, &din, name)
	if err == nil {
		in, err = o.countNames(ino, in)
	}
	switch {
	case err != nil:
		return err
	case !in.IsDir():
		return ErrNotDir
	case in.Names > 0:
		return ErrNotEmpty
	}
	now := o.now()
	return o.orders(
		func() error { return o.remove(dir, &din, name, true, now) },
		func() error { return o.drop(ino, &in, now) })
}

// above reports whether the directory ino is dir or lies above it. That the way up ends is I7;
// a cycle is noticed by Brent's method ("An improved Monte Carlo factorization algorithm",
// 1980): a mark that is moved up after 1, 2, 4 ... steps is met again.
func (o *op) above(ino, dir Ino, in layout.Inode) (bool, error) {
	mark, steps, most := Ino(0), 0, 1
	for {
		switch {
		case dir == ino:
			return true, nil
		case dir == Root, in.Links == 0:
			return false, nil
		case dir == mark:
			block, off := o.geometry().InodePlace(uint64(dir))
			return false, layout.Corrupt(fmt.Sprintf("inode %d", dir), block, off+120, "a parent below itself", "a tree (I7)")
		}
		if steps++; steps == most {
			mark, steps, most = dir, 0, 2*most
		}
		var err error
		if dir, in, err = o.parent(dir, &in); err != nil {
			return false, err
		}
	}
}

// rename moves a name. Its refusals come in the order of do_renameat2 and vfs_rename in Linux.
//
// The steps are: the count of what moves up (it is about to have two names) | the new entry |
// a moved directory's parent | the old entry out | the counts down, and only then what the
// new name had meant before. dirOnly: a slash behind a name says that only a directory will do.
func (o *op) rename(odir Ino, oname string, ndir Ino, nname string, flags uint, dirOnly bool) error {
	if !renameFlags(flags) {
		return ErrInvalid
	}
	if flags&(RenameExchange|RenameWhiteout) != 0 {
		if err := o.v.needsJournal("an exchange or whiteout"); err != nil {
			return err
		}
	}
	oin, err := o.directory(odir)
	if err != nil {
		return err
	}
	nin := &oin // one directory, one copy of its inode
	if ndir != odir {
		in, err := o.directory(ndir)
		if err != nil {
			return err
		}
		nin = &in
	}
	switch {
	case isDot(oname):
		return ErrBusy
	case isDot(nname) && flags&RenameNoReplace != 0:
		return ErrExist
	case isDot(nname):
		return ErrBusy
	}
	ino, in, err := o.entry(odir, &oin, oname)
	if err != nil {
		return err
	}
	nd, found, err := o.find(ndir, nin, nname)
	if err != nil {
		return err
	}
	if found && flags&RenameNoReplace != 0 {
		return ErrExist
	}
	exchange := flags&RenameExchange != 0
	switch {
	case exchange && !found:
		return ErrNotExist
	case dirOnly && !exchange && !in.IsDir():
		return ErrNotDir
	}
	target := Ino(nd.Ino)
	var tin layout.Inode
	if found {
		if tin, err = o.child(ndir, &nd); err == nil {
			tin, err = o.countNames(target, tin)
		}
		if err != nil {
			return err
		}
	}
	if odir != ndir { // else neither can lie above the other
		if in.IsDir() {
			if inside, err := o.above(ino, ndir, *nin); err != nil {
				return err
			} else if inside {
				return ErrInvalid
			}
		}
		if found && tin.IsDir() {
			if inside, err := o.above(target, odir, oin); err != nil {
				return err
			} else if inside && exchange {
				return ErrInvalid
			} else if inside {
				return ErrNotEmpty
			}
		}
	}
	if exchange {
		if target == ino {
			return nil
		}
		return o.exchange(&end{odir, &oin, oname, ino, &in}, &end{ndir, nin, nname, target, &tin})
	}
	moved := in.IsDir() && odir != ndir // "..", and so two counts, change
	switch {
	case found && target == ino:
		return nil // two names of one file: POSIX wants nothing done
	case !found && nin.Links == 0:
		return ErrNotExist
	case found && in.IsDir() && !tin.IsDir():
		return ErrNotDir
	case found && !in.IsDir() && tin.IsDir():
		return ErrIsDir
	case found && tin.IsDir() && tin.Names > 0:
		return ErrNotEmpty
	case moved && !found && nin.Links >= layout.MaxLinks:
		return ErrTooManyLinks
	}

	now := o.now()
	steps := []func() error{
		func() error {
			in.Links++
			in.Ctime = now
			if moved && !found { // over a directory the count stays: one ".." for another
				nin.Links++
				if err := o.putInode(ndir, nin); err != nil {
					return err
				}
			}
			return o.putInode(ino, &in)
		},
		func() error {
			d := o.dir(ndir, nin)
			kind := uint8(in.Type() >> 12)
			if found {
				err = d.Replace(nname, uint64(ino), kind)
			} else {
				_, err = d.Insert(nname, uint64(ino), kind)
			}
			if err != nil {
				return err
			}
			touch(nin, now)
			return o.putInode(ndir, nin)
		},
	}
	if moved {
		steps = append(steps, func() error {
			in.Parent = uint64(ndir)
			return o.putInode(ino, &in)
		})
	}
	steps = append(steps,
		func() error {
			// In one directory an empty target's ".." is what the parent loses; across
			// directories it is the ".." of what moved.
			lost := moved || odir == ndir && found && tin.IsDir()
			if flags&RenameWhiteout != 0 {
				return o.whiteout(odir, &oin, oname, lost)
			}
			return o.remove(odir, &oin, oname, lost, now)
		},
		func() error {
			in.Links--
			return o.putInode(ino, &in)
		})
	if found {
		steps = append(steps, func() error { return o.drop(target, &tin, now) })
	}
	return o.orders(steps...)
}

// end is one of two names that change what they mean.
type end struct {
	dir  Ino
	din  *layout.Inode
	name string
	ino  Ino
	in   *layout.Inode
}

// exchange makes each of two names mean what the other has meant. Where a directory and
// something else change places between two directories, one of these loses a ".." and the
// other gets it.
func (o *op) exchange(a, b *end) error {
	across := a.dir != b.dir
	for _, x := range [][2]*end{{a, b}, {b, a}} {
		if across && x[0].in.IsDir() && !x[1].in.IsDir() && x[1].din.Links >= layout.MaxLinks {
			return ErrTooManyLinks
		}
	}
	now := o.now()
	for _, x := range [][2]*end{{a, b}, {b, a}} {
		at, is := x[0], x[1] // at this name, from now on, is that
		if err := o.dir(at.dir, at.din).Replace(at.name, uint64(is.ino), uint8(is.in.Type()>>12)); err != nil {
			return err
		}
		touch(at.din, now)
		is.in.Ctime = now
		if across && is.in.IsDir() {
			is.in.Parent = uint64(at.dir)
			at.din.Links++
			if is.din.Links <= 2 {
				return o.badLinks(is.dir, is.din, "a count above 2 for a subdirectory") // I6
			}
			is.din.Links--
		}
	}
	for _, e := range []*end{a, b} {
		if err := o.putInode(e.dir, e.din); err != nil {
			return err
		}
	}
	for _, e := range []*end{a, b} {
		if err := o.putInode(e.ino, e.in); err != nil {
			return err
		}
	}
	return nil
}

// whiteout makes a name mean a new character device 0, 0, by which an overlay knows that a
// lower layer's name is gone. With lost the parent loses the ".." of what the name has meant.
func (o *op) whiteout(dir Ino, din *layout.Inode, name string, lost bool) error {
	ino, in, err := o.newInode(dir, din, &NewNode{Mode: layout.ModeChar})
	if err != nil {
		return err
	}
	if err := o.putInode(ino, &in); err != nil {
		return err
	}
	if err := o.dir(dir, din).Replace(name, uint64(ino), uint8(in.Type()>>12)); err != nil {
		return err
	}
	touch(din, o.now())
	if err := o.putInode(dir, din); err != nil || !lost {
		return err
	}
	return o.dropDirLink(dir, din)
}

// renameSlash is rename between two places of a walk: what has slashes behind its name must be
// a directory.
func (o *op) renameSlash(from, to *place, flags uint) error {
	if flags&RenameExchange != 0 {
		for _, at := range []*place{from, to} {
			_, in, err := o.entry(at.dir, &at.in, at.name)
			if err != nil {
				return err
			}
			if at.slash && !in.IsDir() {
				return ErrNotDir
			}
		}
	}
	return o.rename(from.dir, from.name, to.dir, to.name, flags, from.slash || to.slash)
}

// setattr changes attributes; in is the inode as it is then.
func (o *op) setattr(ino Ino, s *SetAttr) (in layout.Inode, err error) {
	if in, err = o.inode(ino); err != nil {
		return in, err
	}
	if *s == (SetAttr{}) {
		return in, nil
	}
	now := o.now()
	if s.Mode != nil {
		if in.Type() == layout.ModeLink {
			return in, ErrNotSupported // chmod(2): a link has no permissions
		}
		if t := *s.Mode & layout.ModeType; t != 0 && t != in.Type() {
			return in, ErrInvalid
		}
	}
	if s.Size != nil {
		switch in.Type() {
		case layout.ModeFile:
		case layout.ModeDir:
			return in, ErrIsDir
		default:
			return in, ErrInvalid
		}
		if err := o.setSize(ino, &in, *s.Size); err != nil {
			return in, err
		}
		in.Mtime = now
	}
	if (s.UID != nil || s.GID != nil) && !in.IsDir() {
		// chown(2): even for root, who changes hands hands on no privilege. Without group
		// execution the set-group-ID bit is no privilege but a mark, and stays.
		in.Mode &^= modeSetUID
		if in.Mode&modeGroupX != 0 {
			in.Mode &^= modeSetGID
		}
	}
	if s.UID != nil {
		in.UID = *s.UID
	}
	if s.GID != nil {
		in.GID = *s.GID
	}
	if s.Mode != nil {
		in.Mode = in.Type() | *s.Mode&layout.ModePerm
		if err := o.chmodACL(ino, &in); err != nil {
			return in, err
		}
	}
	if s.Atime != nil {
		in.Atime = toTime(*s.Atime)
	}
	if s.Mtime != nil {
		in.Mtime = toTime(*s.Mtime)
	}
	in.Ctime = now
	return in, o.putInode(ino, &in)
}

// Lookup is what name means in the directory dir. "." and ".." mean dir and its parent; the
// root is its own parent.
//
// Errors: ErrNotExist, ErrNotDir, ErrNameTooLong, ErrInvalid (a slash or NUL in the name),
// ErrStale (there is no inode dir).
func (v *Volume) Lookup(dir Ino, name string) (a Attr, err error) {
	err = v.view(func(o *op) error {
		var err error
		if o.din, err = o.directory(dir); err != nil {
			return err
		}
		ino, in, err := o.entry(dir, &o.din, name)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// Getattr is what the inode says of itself, stat(2). ErrStale: there is no such inode.
func (v *Volume) Getattr(ino Ino) (a Attr, err error) {
	err = v.view(func(o *op) error {
		in, err := o.inode(ino)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// Readlink is the target of a symbolic link; ErrInvalid for anything else.
func (v *Volume) Readlink(ino Ino) (target string, err error) {
	err = v.view(func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		target, err = o.target(ino, &in)
		return err
	})
	return result(target, err)
}

// Create makes a node of any type and gives it a name in dir: open(2) with O_CREAT and
// O_EXCL, mkdir(2), mknod(2), symlink(2). In a directory with the set-group-ID bit the node
// gets the directory's group, and a directory the bit as well. No permissions are checked and
// no umask is applied: that is the business of who calls.
//
// Errors: ErrExist, ErrNotDir, ErrNotExist (dir is removed, or a link has no target),
// ErrNameTooLong (a name over 255, a target over 4095 bytes), ErrInvalid (unknown type, a
// slash or NUL in the name), ErrTooManyLinks (subdirectories), ErrNoSpace, ErrReadOnly.
func (v *Volume) Create(dir Ino, name string, n NewNode) (a Attr, err error) {
	err = v.update(v.needCreate(), func(o *op) error {
		ino, in, err := o.create(dir, name, &n)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// CreateTemp makes a file without a name, open(2) with O_TMPFILE: it is held once, for Release,
// and can be linked unless flag has os.O_EXCL.
//
// Errors: ErrNotDir, ErrNotExist (dir is removed), ErrInvalid (not a file), ErrNoSpace, ErrReadOnly.
func (v *Volume) CreateTemp(dir Ino, n NewNode, flag int) (a Attr, err error) {
	if n.Mode&layout.ModeType != layout.ModeFile {
		return a, ErrInvalid
	}
	err = v.update(v.needCreate()+2, func(o *op) error {
		ino, in, err := o.createTemp(dir, &n, flag)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// Link gives inode ino one more name, link(2). A symbolic link is linked itself.
//
// Errors: ErrExist, ErrPermission (ino is a directory), ErrNotDir, ErrNotExist (ino or dir is
// removed), ErrTooManyLinks, ErrNameTooLong, ErrInvalid, ErrNoSpace, ErrReadOnly.
func (v *Volume) Link(ino, dir Ino, name string) (a Attr, err error) {
	err = v.update(v.needLink()+2, func(o *op) error {
		in, err := o.link(ino, dir, name)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// Unlink removes a name of anything but a directory, unlink(2). With its last name a node is
// gone, unless it is held (see [Volume.Hold]): then with the last Release.
//
// Errors: ErrNotExist, ErrIsDir, ErrNotDir, ErrNameTooLong, ErrInvalid, ErrReadOnly.
func (v *Volume) Unlink(dir Ino, name string) error {
	return v.update(v.needRemove(), func(o *op) error { return o.unlink(dir, name) })
}

// Rmdir removes an empty directory, rmdir(2).
//
// Errors: ErrNotExist, ErrNotDir, ErrNotEmpty (also for ".."), ErrInvalid (".", or a slash or
// NUL in the name), ErrNameTooLong, ErrReadOnly.
func (v *Volume) Rmdir(dir Ino, name string) error {
	return v.update(v.needRemove(), func(o *op) error { return o.rmdir(dir, name) })
}

// Rename moves a name, replacing what the new name meant, renameat2(2). It is one operation:
// at no time, and after no crash, does neither name or do both exist. Two names of one file
// stay as they are. With RenameExchange both names exist and change what they mean; with
// RenameWhiteout, alone or with RenameNoReplace, a whiteout takes the old name's place.
//
// Errors: ErrNotExist, ErrExist (RenameNoReplace), ErrIsDir (a file over a directory),
// ErrNotDir (a directory over a file), ErrNotEmpty (over a directory with names, or one that
// lies above the old name), ErrInvalid (a directory into itself; unknown flags), ErrBusy ("."
// or ".."), ErrTooManyLinks, ErrNameTooLong, ErrNoSpace, ErrReadOnly.
func (v *Volume) Rename(odir Ino, oname string, ndir Ino, nname string, flags uint) error {
	return v.update(v.needRenameFlags(flags), func(o *op) error { return o.rename(odir, oname, ndir, nname, flags, false) })
}

// Setattr changes the attributes that s names, in one operation: chmod(2), chown(2),
// truncate(2), utimensat(2). The change time becomes now, and with a size the modification
// time. Who changes the owner or group of anything but a directory clears the set-user-ID
// bit, and the set-group-ID bit if the group may execute, unless s has a mode as well.
//
// Errors: ErrStale, ErrIsDir (the size of a directory), ErrInvalid (the size of what has none,
// another file type), ErrNotSupported (the mode of a symbolic link), ErrFileTooBig,
// ErrNoSpace, ErrReadOnly.
func (v *Volume) Setattr(ino Ino, s SetAttr) (a Attr, err error) {
	err = v.update(v.needSetattr(), func(o *op) error {
		in, err := o.setattr(ino, &s)
		a = o.attr(ino, &in)
		return err
	})
	return result(a, err)
}

// result is a, or nothing beside an error.
func result[T any](a T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return a, nil
}
