package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// writeWhole writes a file under another name and renames it when it is whole.
func writeWhole(name string, fill func(w io.Writer) error) error {
	part := fmt.Sprintf("%s.part-%d", name, os.Getpid())
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return errors.Join(err, ignoreNotExist(os.Remove(part)))
	}
	return nil
}

// canWrite is nil if writeWhole could write the file now: asked before long work whose result goes there.
func canWrite(name string) error {
	if fi, err := os.Stat(name); err == nil && fi.IsDir() {
		return fmt.Errorf("%s: is a directory", name)
	}
	part := fmt.Sprintf("%s.part-%d", name, os.Getpid())
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = &fs.PathError{Op: pe.Op, Path: name, Err: pe.Err} // of the file that was asked for
		}
		return err
	}
	return errors.Join(f.Close(), os.Remove(part))
}
