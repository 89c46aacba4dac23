package main

import "holdfast/volume"

// walk calls f for a file and everything below it, a directory before what is in it. Links are
// not followed. What cannot be read is told to fail, and the walk goes on.
func (w *work) walk(o operand, a volume.Attr, fail func(error), f func(o operand, a volume.Attr) error) {
	fail(f(o, a))
	if !isDir(a) {
		return
	}
	list, err := o.im.entries(a.Ino)
	fail(o.at(err))
	for _, e := range list {
		sub := o.child(e.Name)
		b, err := o.im.Getattr(e.Ino)
		if err != nil {
			fail(sub.at(err))
			continue
		}
		w.walk(sub, b, fail, f)
	}
}
