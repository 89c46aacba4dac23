package main

import (
	"errors"
	"fmt"
	"strings"

	"holdfast/transfer"
	"holdfast/volume"
)

// between copies from an image into an image, which may be the same.
func (c *copier) between(src string, to operand, name func(base string) (operand, error)) error {
	o, err := c.w.operand(src)
	if err != nil {
		return err
	}
	a, err := o.resolve(!c.recursive)
	if err != nil {
		return err
	}
	base := o.base()
	switch {
	case isDir(a) && !c.recursive:
		return o.at(errors.New("is a directory (use -r or -a)"))
	case !c.recursive && !isFile(a):
		return o.at(volume.ErrNoDevice)
	case base == "..":
		return o.at(errors.New("\"..\" is no name for a copy"))
	case base != "" && base != ".":
		if to, err = name(base); err != nil {
			return err
		}
	}
	switch {
	case isDir(a):
	case to.base() == "":
		return to.at(errRoot)
	case to.slash():
		return to.at(volume.ErrNotDir)
	}
	dir, base := volume.Root, "" // into the root
	if to.base() != "" {
		if dir, base, err = to.place(); err != nil {
			return err
		}
		if old, err := to.im.Lookup(dir, base); err == nil {
			if c.keeps(old.Mtime, a.Mtime) && !(isDir(a) && isDir(old)) {
				return nil
			}
			if o.im == to.im && old.Ino == a.Ino {
				return o.at(fmt.Errorf("and %s are the same file", quoteName(to.name)))
			}
			if err := inTheWay(to, old, isDir(a)); err != nil {
				return err
			}
		}
	}
	from := strings.TrimRight(o.name, "/")
	s, err := transfer.Copy(o.im.Volume, a.Ino, from, to.im.Volume, dir, base, c.options(from, to.name, false, c.thereIn(to)))
	c.report(s)
	if errors.Is(err, volume.ErrInvalid) {
		err = o.at(fmt.Errorf("cannot be copied into itself, to %s", quoteName(to.name)))
	}
	return err
}
