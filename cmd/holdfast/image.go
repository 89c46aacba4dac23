package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// forceShare is the global flag --force-share.
var forceShare bool

// imageOffset is the global flag --offset, and whether it is given: where in the file an image
// begins.
var (
	imageOffset sizeFlag
	offsetGiven bool
)

// image is an open volume and what is below it.
type image struct {
	*volume.Volume
	name string
	file *imageDevice

	blockSize int
	blocks    uint64       // of one copy, its structure included
	replicas  *disk.Stable // nil: there is one copy of each block
}

// openImage opens the volume in the file. Writers hold its lock alone.
func openImage(name string, write bool) (*image, error) {
	return openImageWith(name, write, nil)
}

// openImageWith is openImage that shows the assembled device first.
func openImageWith(name string, write bool, look func(dev disk.Device, s *layout.Superblock) error) (*image, error) {
	f, err := openDevice(name, write)
	if err != nil {
		return nil, err
	}
	im, err := newImage(f, name, write, look)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return im, nil
}

func newImage(f *imageDevice, name string, write bool, look func(dev disk.Device, s *layout.Superblock) error) (*image, error) {
	dev, s, err := volume.Assemble(f.Device, volume.Assembly{ReadOnly: !write})
	err = halfMirror(err)
	if err != nil && volume.Backup(f.Device, err) != nil {
		err = fmt.Errorf("%w (the backup superblock in the last block is good: holdfast scrub puts it back)", err)
	}
	if err == nil && look != nil {
		err = look(dev, s)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v, err := volume.Open(dev, volume.Options{ReadOnly: !write, CacheBytes: 64 << 20, Background: write})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	fs, err := v.Statfs()
	if err != nil {
		return nil, err
	}
	replicas, _ := dev.(*disk.Stable)
	return &image{v, name, f, fs.BlockSize, s.Blocks, replicas}, nil
}

// openFile opens and locks the file of an image.
func openFile(name string, write bool) (*disk.File, error) {
	f, err := openWhenLeft(name, disk.FileOptions{ReadOnly: !write, ForceShare: forceShare && !write, Offset: imageOffset.n})
	if errors.Is(err, disk.ErrInUse) {
		hint := ""
		if !write {
			hint = "; --force-share reads it all the same"
		}
		return nil, &inUseError{name, hint}
	}
	return f, err
}

// inUseError says that somebody else has an image open; it matches disk.ErrInUse.
type inUseError struct{ name, hint string }

func (e *inUseError) Error() string        { return e.name + ": in use by another process" + e.hint }
func (e *inUseError) Is(target error) bool { return target == disk.ErrInUse }

// size is how many bytes of a file the image takes, in front of and behind which there may be others.
func (im *image) size() uint64 {
	n := im.blocks * uint64(im.blockSize)
	if im.replicas != nil && len(im.file.files) == 1 { // both halves
		n *= 2
	}
	return n
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

// entries lists a directory in the order of names. With an error comes what could be read.
func (im *image) entries(dir volume.Ino) ([]volume.DirEntry, error) {
	var list []volume.DirEntry
	err := im.ReadDir(dir, 0, func(e volume.DirEntry) bool {
		list = append(list, e)
		return true
	})
	slices.SortFunc(list, func(a, b volume.DirEntry) int { return cmp.Compare(a.Name, b.Name) })
	return list, err
}
