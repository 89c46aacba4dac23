package transfer

import (
	"os"
	"path/filepath"

	"holdfast/volume"
)

// FromDir copies what is in hostDir, and with Options.Preserve the attributes of hostDir
// itself, into the root directory of v.
func FromDir(v *volume.Volume, hostDir string, o Options) (Stats, error) {
	s, err := newVolumeSink(v, volume.Root, "", &o)
	if err != nil {
		return Stats{}, err
	}
	src, err := newHostSource(hostDir, ".", s.block, true, &o)
	if err != nil {
		return Stats{}, err
	}
	s.replace = o.Manifest != nil // it comes behind the tree, and into it
	err = drain(withManifest(src, &o), s)
	return s.stats, bare(err)
}

// CopyIn copies one file of any type, or a directory with all that is below it, from the host
// to a name in the directory dir of v. A symbolic link is copied, not followed. What has the
// name is replaced, and a directory merged with a directory.
func CopyIn(v *volume.Volume, host string, dir volume.Ino, name string, o Options) (Stats, error) {
	info, err := os.Lstat(host)
	if err != nil {
		return Stats{}, err
	}
	top, start := filepath.Dir(filepath.Clean(host)), filepath.Base(filepath.Clean(host))
	if info.IsDir() {
		top, start = host, "."
	}
	s, err := newVolumeSink(v, dir, name, &o)
	if err != nil {
		return Stats{}, err
	}
	src, err := newHostSource(top, start, s.block, true, &o)
	if err != nil {
		return Stats{}, err
	}
	err = drain(src, s)
	return s.stats, bare(err)
}
