package transfer

import (
	"io/fs"
	"os"
	"slices"
)

// hostDir is a directory of the host while a copy is in it. It is open, so that what is in it
// is reached without a walk from the top; very deep down it is a path below one that is open.
type hostDir struct {
	root  *os.Root
	file  *os.File // the directory itself; nil if it is not open
	below string   // from root; "." for an open one
	depth int
	info  fs.FileInfo
}

// openDepth is how many directories on the way down are kept open.
const openDepth = 64

// openTop opens the top of a tree.
func openTop(name string) (*hostDir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return newHostDir(root, 0, nil)
}

// newHostDir is the directory root, of which info, if it is not nil, has been said before.
func newHostDir(root *os.Root, depth int, info fs.FileInfo) (*hostDir, error) {
	d := &hostDir{root: root, below: ".", depth: depth}
	var err error
	if d.file, err = root.Open("."); err == nil {
		d.info, err = d.file.Stat()
	}
	if err == nil && info != nil && !os.SameFile(info, d.info) {
		err = ErrChanged
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// enter opens a directory that info, of Lstat, speaks of.
func (d *hostDir) enter(name string, info fs.FileInfo) (*hostDir, error) {
	if d.depth >= openDepth {
		return &hostDir{d.root, nil, join(d.below, name), d.depth + 1, info}, nil
	}
	root, err := d.root.OpenRoot(join(d.below, name))
	if err != nil {
		return nil, err
	}
	return newHostDir(root, d.depth+1, info)
}

// close is called once, for a directory that enter or openTop gave.
func (d *hostDir) close() {
	if d.file != nil {
		_ = d.file.Close()
	}
	if d.below == "." {
		_ = d.root.Close()
	}
}

// unchanged answers whether the directory is as it was when it was entered.
func (d *hostDir) unchanged() error {
	now, err := d.root.Lstat(d.below)
	if err == nil && (!os.SameFile(d.info, now) || !now.ModTime().Equal(d.info.ModTime())) {
		err = ErrChanged
	}
	return err
}

// names is what is in the directory, in byte order.
func (d *hostDir) names() ([]string, error) {
	f := d.file
	if f == nil {
		var err error
		if f, err = d.root.Open(d.below); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d *hostDir) lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(join(d.below, name)) }

func (d *hostDir) readlink(name string) (string, error) { return d.root.Readlink(join(d.below, name)) }

// xattrs reads the attributes of what is in the directory.
func (d *hostDir) xattrs(name string) (map[string][]byte, error) {
	if m, ok, err := d.quickXattrs(name); ok {
		return m, err
	}
	return readXattrs(d.root, join(d.below, name))
}

// open opens a regular file for reading, of which info is what Lstat says, and looks at it again.
func (d *hostDir) open(name string, info fs.FileInfo) (*os.File, fs.FileInfo, error) {
	f, err := d.root.OpenFile(join(d.below, name), os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	now, err := f.Stat()
	if err == nil && (!os.SameFile(info, now) || !now.Mode().IsRegular()) {
		err = ErrChanged
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, now, nil
}

// unchanged answers whether an open file is as it was.
func unchanged(f *os.File, before fs.FileInfo) error {
	after, err := f.Stat()
	if err == nil && (after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())) {
		err = ErrChanged
	}
	return err
}
