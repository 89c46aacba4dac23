package main

import (
	"errors"
	"fmt"
	"io/fs"
)

// replace puts what fill makes in the place of to: fill makes it under a name of its own in the
// same directory, and it is renamed, so that the name is never missing and never half a file.
func replace(to operand, fill func(p string) error) error {
	tree := to.im.Tree()
	for i := 0; ; i++ {
		part := to.parent().child(fmt.Sprintf(".holdfast-%d", i)).path
		err := fill(part)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			if err = tree.Rename(part, to.path); err == nil {
				return nil
			}
		}
		if rerr := tree.Remove(part); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
}
