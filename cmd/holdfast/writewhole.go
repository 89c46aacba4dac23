package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// writeWhole writes a file under another name and renames it when it is whole. A pipe, or a
// device as /dev/stdout, is written itself.
func writeWhole(name string, fill func(w io.Writer) error) error {
	if special(name) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(fill(f), f.Close())
	}
	f, err := partOf(name)
	if err != nil {
		return err
	}
	defer onInterrupt(func() { _ = os.Remove(f.Name()) })()
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, ignoreNotExist(os.Remove(f.Name())))
	}
	return nil
}

// canWrite is nil if writeWhole could write the file now: asked before long work whose result
// goes there. It is not to be one of those that are read.
func canWrite(name string, inputs ...string) error {
	if special(name) {
		return nil
	}
	if out, err := os.Stat(name); err == nil {
		for _, in := range inputs {
			if fi, err := os.Stat(in); err == nil && os.SameFile(fi, out) {
				return fmt.Errorf("%s: it is what is read, and would be overwritten", name)
			}
		}
	}
	f, err := partOf(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// special reports whether a name is of what is neither a file nor a directory.
func special(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && !fi.Mode().IsRegular() && !fi.IsDir()
}

// partOf makes the file that is to become name. Its errors are of name.
func partOf(name string) (*os.File, error) {
	if fi, err := os.Stat(name); err == nil && fi.IsDir() {
		return nil, fmt.Errorf("%s: is a directory", name)
	}
	f, err := os.OpenFile(fmt.Sprintf("%s.part-%d", name, os.Getpid()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = &fs.PathError{Op: pe.Op, Path: name, Err: pe.Err}
	}
	return f, err
}
