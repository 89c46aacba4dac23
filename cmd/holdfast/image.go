package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"holdfast/disk"
	"holdfast/volume"
)

// forceShare is the global flag --force-share.
var forceShare bool

// splitImagePath splits IMAGE:PATH at its last colon before a slash-free image part: as in
// scp, the first colon separates, unless a slash comes before it (./a:b is a host path).
func splitImagePath(arg string) (image, inside string, ok bool) {
	colon := strings.IndexByte(arg, ':')
	for colon >= 0 {
		image, inside = arg[:colon], arg[colon+1:]
		if image != "" {
			if st, err := os.Stat(image); err == nil && !st.IsDir() {
				return image, path.Clean("/" + inside), true
			}
		}
		next := strings.IndexByte(arg[colon+1:], ':')
		if next < 0 {
			break
		}
		colon += 1 + next
	}
	// No prefix is a file: take the first colon, so that the error names the missing image.
	if i := strings.IndexByte(arg, ':'); i > 0 && !strings.HasPrefix(arg, "/") && !strings.HasPrefix(arg, "./") && !strings.HasPrefix(arg, "../") {
		return arg[:i], path.Clean("/" + arg[i+1:]), true
	}
	return "", "", false
}

// inImage is splitImagePath for an argument that must lie in an image.
func inImage(arg string) (image, inside string, err error) {
	image, inside, ok := splitImagePath(arg)
	if ok {
		return image, inside, nil
	}
	if st, err := os.Stat(arg); err == nil && !st.IsDir() {
		return arg, "/", nil // the image itself: its root
	}
	return "", "", usage("%s: want IMAGE:PATH", arg)
}

// image is an open volume and the file below it.
type image struct {
	*volume.Volume
	name string
	file *disk.File
}

// openImage opens the volume in the file. Writers hold its lock alone.
func openImage(name string, write bool) (*image, error) {
	f, err := openFile(name, write)
	if err != nil {
		return nil, err
	}
	v, err := volume.Open(f, volume.Options{ReadOnly: !write, CacheBytes: 64 << 20})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return &image{v, name, f}, nil
}

// openFile opens and locks the file of an image.
func openFile(name string, write bool) (*disk.File, error) {
	f, err := disk.OpenFile(name, disk.FileOptions{ReadOnly: !write, ForceShare: forceShare && !write})
	if errors.Is(err, disk.ErrInUse) {
		hint := ""
		if !write {
			hint = "; --force-share reads it all the same"
		}
		return nil, fmt.Errorf("%s: in use by another process%s", name, hint)
	}
	return f, err
}

// close makes every change durable; a command that changed the image succeeds only if it does.
func (im *image) close(err error) error {
	if cerr := im.Volume.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("%s: %w", im.name, cerr)
	}
	if cerr := im.file.Close(); err == nil {
		err = cerr
	}
	return err
}

// withImage opens the image, runs f and closes it.
func withImage(name string, write bool, f func(im *image) error) error {
	im, err := openImage(name, write)
	if err != nil {
		return err
	}
	return im.close(f(im))
}

// perImage runs f once for each image named by the arguments, with the paths inside it, in
// order. Arguments of the same image that follow one another share one opening.
func perImage(args []string, write bool, f func(im *image, paths []string) error) error {
	for i := 0; i < len(args); {
		name, inside, err := inImage(args[i])
		if err != nil {
			return err
		}
		paths := []string{inside}
		for i++; i < len(args); i++ {
			n, p, err := inImage(args[i])
			if err != nil {
				return err
			}
			if n != name {
				break
			}
			paths = append(paths, p)
		}
		if err := withImage(name, write, func(im *image) error { return f(im, paths) }); err != nil {
			return err
		}
	}
	return nil
}

// at wraps an error of the volume with IMAGE:PATH, once.
func (im *image) at(p string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s:%s: %w", im.name, p, cause(err))
}

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

// resolve is the inode that a path names.
func (im *image) resolve(p string, follow bool) (volume.Attr, error) {
	ino, err := im.Tree().Resolve(p, follow)
	if err != nil {
		return volume.Attr{}, im.at(p, err)
	}
	a, err := im.Getattr(ino)
	return a, im.at(p, err)
}

// entries lists a directory in the order of names.
func (im *image) entries(dir volume.Ino) ([]volume.DirEntry, error) {
	var list []volume.DirEntry
	err := im.ReadDir(dir, 0, func(e volume.DirEntry) bool {
		list = append(list, e)
		return true
	})
	sortEntries(list)
	return list, err
}
