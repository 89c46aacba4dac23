// Command go-diskfs makes an ext4 image of a directory with github.com/diskfs/go-diskfs, to be
// timed beside holdfast: go-diskfs DIRECTORY IMAGE MIB. What is neither a directory nor a regular
// file it leaves out.
package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	diskfs "github.com/diskfs/go-diskfs"
	"github.com/diskfs/go-diskfs/disk"
	"github.com/diskfs/go-diskfs/filesystem"
)

func main() {
	if err := build(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(from, image, mib string) error {
	size, err := strconv.ParseInt(mib, 10, 64)
	if err != nil {
		return err
	}
	d, err := diskfs.Create(image, size<<20, diskfs.SectorSizeDefault)
	if err != nil {
		return err
	}
	out, err := d.CreateFilesystem(disk.FilesystemSpec{FSType: filesystem.TypeExt4})
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == from {
			return err
		}
		name, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return out.Mkdir(name)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		return copyFile(out, p, name)
	})
}

func copyFile(out filesystem.FileSystem, from, name string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := out.OpenFile(name, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return w.Close()
}
