package volume

import (
	"io/fs"
	"path"
)

// FS is the volume as package io/fs sees it: for reading, with the paths of fs.ValidPath. It
// implements fs.ReadDirFS, fs.ReadFileFS, fs.StatFS, fs.ReadLinkFS and fs.SubFS.
func (t *Tree) FS() fs.FS { return treeFS{t, "."} }

// treeFS is what is below a directory of a tree.
type treeFS struct {
	t    *Tree
	base string
}

var (
	_ fs.ReadDirFS  = treeFS{}
	_ fs.ReadFileFS = treeFS{}
	_ fs.StatFS     = treeFS{}
	_ fs.ReadLinkFS = treeFS{}
	_ fs.SubFS      = treeFS{}
)

// at is the path of a name in the tree; name must be one of fs.ValidPath.
func (f treeFS) at(verb, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", pathError(verb, name, fs.ErrInvalid)
	}
	return path.Join(f.base, name), nil
}

// named makes an error speak of the name that was given.
func named(err error, name string) error {
	if e, ok := err.(*fs.PathError); ok { //nolint:errorlint // it is ours, not wrapped
		return &fs.PathError{Op: e.Op, Path: name, Err: e.Err}
	}
	return err
}

func (f treeFS) Open(name string) (fs.File, error) {
	at, err := f.at("open", name)
	if err != nil {
		return nil, err
	}
	file, err := f.t.Open(at)
	if err != nil {
		return nil, named(err, name) // not a nil *File in an interface
	}
	return file, nil
}

func (f treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := f.at("readdir", name)
	if err != nil {
		return nil, err
	}
	list, err := f.t.ReadDir(at)
	return list, named(err, name)
}

func (f treeFS) ReadFile(name string) ([]byte, error) {
	at, err := f.at("read", name)
	if err != nil {
		return nil, err
	}
	p, err := f.t.ReadFile(at)
	return p, named(err, name)
}

func (f treeFS) Stat(name string) (fs.FileInfo, error) {
	at, err := f.at("stat", name)
	if err != nil {
		return nil, err
	}
	i, err := f.t.Stat(at)
	return i, named(err, name)
}

func (f treeFS) Lstat(name string) (fs.FileInfo, error) {
	at, err := f.at("lstat", name)
	if err != nil {
		return nil, err
	}
	i, err := f.t.Lstat(at)
	return i, named(err, name)
}

func (f treeFS) ReadLink(name string) (string, error) {
	at, err := f.at("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := f.t.Readlink(at)
	return target, named(err, name)
}

// Sub is what is below a directory, by its path; symbolic links still lead where they lead.
func (f treeFS) Sub(dir string) (fs.FS, error) {
	at, err := f.at("sub", dir)
	if err != nil {
		return nil, err
	}
	return treeFS{f.t, at}, nil
}
