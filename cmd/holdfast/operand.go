package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"holdfast/layout"
	"holdfast/volume"
)

// naming is what a command line that names no file in an image is told.
const naming = "a file in an image is IMAGE:PATH"

// splitImagePath splits IMAGE:PATH at the first colon whose left side is a file. Where none is,
// the first colon splits, as in scp: if no slash is before it (./a:b is a file of the host), or
// if the whole could be no file of the host. The path is as written, from the root of the volume.
func splitImagePath(arg string) (image, inside string, ok bool) {
	for i := range len(arg) {
		if i == 0 || arg[i] != ':' {
			continue
		}
		if st, err := os.Stat(arg[:i]); err == nil && !st.IsDir() {
			return arg[:i], rooted(arg[i+1:]), true
		}
	}
	// The error is to name the image that is missing.
	if i := strings.IndexByte(arg, ':'); i > 0 && !strings.Contains(arg[:i], "/") {
		return arg[:i], rooted(arg[i+1:]), true
	}
	// So it is where the argument could not be made on the host either.
	if i := strings.Index(arg, ":/"); i > 0 {
		if _, err := os.Stat(filepath.Dir(arg)); errors.Is(err, os.ErrNotExist) {
			return arg[:i], rooted(arg[i+1:]), true
		}
	}
	return "", "", false
}

// rooted is a path from the root of the volume.
func rooted(p string) string {
	if strings.HasPrefix(p, "/") {
		return p
	}
	return "/" + p
}

// operand is a path in an open image.
type operand struct {
	im   *image
	name string // IMAGE:PATH as it was typed, and what is below it: messages and output say this
	path string // in the image
}

// at names the operand in an error.
func (o operand) at(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", quoteName(o.name), cause(err))
}

// resolve is the inode that the operand names.
func (o operand) resolve(follow bool) (volume.Attr, error) {
	ino, err := o.im.Tree().Resolve(o.path, follow)
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(o.path, "*?[") {
		err = fmt.Errorf("%w (no pattern is expanded in an image: holdfast find has -name, and -delete)", cause(err))
	}
	if err != nil {
		return volume.Attr{}, o.at(err)
	}
	a, err := o.im.Getattr(ino)
	return a, o.at(err)
}

// child is an entry of the directory that the operand names.
func (o operand) child(name string) operand {
	return operand{o.im, below(o.name, name), below(o.path, name)}
}

// below joins a path and a name, and leaves both as they are written.
func below(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// base is the last component of the path; parent the operand without it. The root has neither.
func (o operand) base() string {
	p := strings.TrimRight(o.path, "/")
	return p[strings.LastIndexByte(p, '/')+1:]
}

func (o operand) parent() operand {
	p := strings.TrimRight(o.path, "/")
	return o.prefix(strings.LastIndexByte(p, '/') + 1)
}

// prefix is the operand with the first n bytes of its path.
func (o operand) prefix(n int) operand {
	cut := len(o.path) - n
	return operand{o.im, o.name[:len(o.name)-cut], o.path[:n]}
}

// place is the directory that holds the operand's last component, and that.
func (o operand) place() (dir volume.Ino, base string, err error) {
	if base = o.base(); base == "" {
		return 0, "", o.at(errRoot)
	}
	a, err := o.parent().resolve(true)
	return a.Ino, base, err
}

// slash reports whether the operand was written as a directory.
func (o operand) slash() bool { return strings.HasSuffix(o.path, "/") }

// errRoot refuses what cannot be done to the root directory.
var errRoot = errors.New("the root directory cannot be removed, replaced or moved")

// cause strips the operation and path that a PathError or LinkError adds: the caller names the place.
func cause(err error) error {
	var pe *os.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}

func isDir(a volume.Attr) bool  { return a.Mode&layout.ModeType == layout.ModeDir }
func isLink(a volume.Attr) bool { return a.Mode&layout.ModeType == layout.ModeLink }
func isFile(a volume.Attr) bool { return a.Mode&layout.ModeType == layout.ModeFile }
