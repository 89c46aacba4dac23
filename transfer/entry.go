package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"holdfast/volume"
)

// entry is one name of a tree on its way into a volume.
type entry struct {
	path         string // from the top of the copy, with slashes, clean; "." is the top
	where        string // what messages call it
	mode         uint16 // POSIX type and permissions
	uid, gid     uint32
	atime, mtime time.Time
	major, minor uint32            // devices
	target       string            // symbolic links
	link         string            // not "": a further name of the entry with this path, and nothing else
	linked       bool              // later entries may be further names of it
	xattrs       map[string][]byte // as the host names them: user.x, security.capability
	size         int64             // files
	content      content           // files
}

// content is what a file holds, read at most once and before the source is asked for more.
type content interface {
	// read calls fn, in order, for ranges of at most chunk bytes that do not overlap; what lies
	// between them is a hole.
	read(fn func(p []byte, off int64) error) error
	// extents calls fn for ranges that cover all data, without reading it where that can be.
	extents(fn func(start, end int64) error) error
	// open is read for who would rather pull: all that the file holds, and what lets go of it
	// behind the last byte.
	open() (c volume.Content, done func() error, err error)
}

// source is a tree as a stream. A name comes after the directory that it is in, if that has an
// entry, and a further name of a file after the first; a later entry replaces an earlier one of
// the same path.
type source interface {
	// next is the next entry; io.EOF: there is none.
	next() (*entry, error)
	// close lets go of what the source holds; what it said after a failure is void.
	close()
}

// sink takes what a source gives.
type sink interface {
	put(e *entry) error
	// finish is called once, behind the last entry.
	finish() error
}

func (e *entry) isDir() bool { return volume.FileMode(e.mode).IsDir() }

// at names the entry in an error.
func (e *entry) at(err error) error { return named(e.where, err) }

// pathed is an error that has its path already.
type pathed struct{ error }

func (e pathed) Unwrap() error { return e.error }

// named puts a name before an error that has none.
func named(where string, err error) error {
	var done pathed
	if err == nil || errors.As(err, &done) {
		return err
	}
	var p *fs.PathError
	if errors.As(err, &p) { // with the path that a lower layer knows it by
		return pathed{&fs.PathError{Op: p.Op, Path: where, Err: p.Err}}
	}
	return pathed{fmt.Errorf("%s: %w", where, err)}
}

// bare is an error as callers get it.
func bare(err error) error {
	if done, ok := err.(pathed); ok {
		return done.error
	}
	return err
}

// below reports whether p lies in the directory dir, both paths of entries.
func below(p, dir string) bool {
	return dir == "." && p != "." || strings.HasPrefix(p, dir+"/")
}
