package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"holdfast/disk"
	"holdfast/transfer"
	"holdfast/volume"
)

// mkfsSource is what an image is filled from: a directory, or an archive that is read twice, once
// for its size.
type mkfsSource struct {
	dir     string
	archive *os.File // at its start
	name    string   // of the archive, for messages
	stdin   io.Reader
	options transfer.Options
	plan    *transfer.Plan // of a directory without a manifest, once measured
	once    bool           // measured, and each name comes once: it can be built without the journal
	skip    []os.FileInfo  // files that are not to be in the image: it itself
	skipped atomic.Bool    // one of them was in the source
}

// openSource opens what --from names.
func openSource(from string, stdin io.Reader, o transfer.Options) (*mkfsSource, error) {
	s := &mkfsSource{options: o, name: from}
	if from == "-" {
		s.stdin, s.name = stdin, "standard input"
		return s, nil
	}
	st, err := os.Stat(from)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		s.dir = from
		return s, nil
	case st.Mode().IsRegular():
		s.archive, err = os.Open(from)
		return s, err
	}
	f, err := os.Open(from) // a pipe, a device: read once
	s.stdin = f
	return s, err
}

func (s *mkfsSource) close() {
	if s.archive != nil {
		_ = s.archive.Close()
	}
}

// spool keeps what can be read once in a file without a name, next to the image.
func (s *mkfsSource) spool(image string) error {
	if s.stdin == nil {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(image), ".holdfast-*")
	if err != nil {
		return err
	}
	if err = os.Remove(f.Name()); err == nil {
		_, err = io.Copy(f, s.stdin)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s, kept in %s: %w", s.name, filepath.Dir(image), cause(err)), f.Close())
	}
	s.archive, s.stdin = f, nil
	return nil
}

// exclude leaves out what the user does not want, and the image itself.
func (s *mkfsSource) exclude(match func(rel string, info fs.FileInfo) bool) {
	s.options.Exclude = func(rel string, info fs.FileInfo) bool {
		for _, st := range s.skip {
			if os.SameFile(st, info) {
				s.skipped.Store(true)
				return true
			}
		}
		return match(rel, info)
	}
}

// measure is how much room the source needs.
func (s *mkfsSource) measure(blockSize int) (transfer.Need, error) {
	if s.dir != "" && s.options.Manifest == nil {
		var err error
		if s.plan, err = s.options.Plan(s.dir, blockSize); err != nil {
			return transfer.Need{}, err
		}
		return s.plan.Need, nil
	}
	var need transfer.Need
	var err error
	if s.dir != "" {
		need, err = s.options.Measure(s.dir, blockSize)
	} else if need, err = s.options.MeasureTar(s.archive, s.name, blockSize); err == nil {
		_, err = s.archive.Seek(0, io.SeekStart)
	}
	s.once = err == nil && !need.Twice
	return need, err
}

// fill makes a volume on a device that holds the source; where that fails the device holds none.
func (s *mkfsSource) fill(dev disk.Device, name string, fo volume.FormatOptions) (transfer.Stats, error) {
	if s.plan != nil || s.once {
		return s.build(dev, name, fo)
	}
	stats, err := s.add(dev, name, fo)
	if err != nil { // it may hold a part, and a part of a disk has no name that could be removed
		if b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: fo, Workers: -1}); err == nil {
			b.Abort()
		}
	}
	return stats, err
}

// add fills a new volume by ordinary operations.
func (s *mkfsSource) add(dev disk.Device, name string, fo volume.FormatOptions) (transfer.Stats, error) {
	var stats transfer.Stats
	if err := volume.Format(dev, fo); err != nil {
		return stats, fmt.Errorf("%s: %w", name, err)
	}
	if fo.Twin != nil {
		var err error
		if dev, err = volume.Mirror([2]disk.Device{dev, fo.Twin}, volume.Assembly{}); err != nil {
			return stats, fmt.Errorf("%s: %w", name, err)
		}
	}
	v, err := volume.Open(dev, volume.Options{CacheBytes: 64 << 20, Clock: fixed(fo.Now)})
	if err != nil {
		return stats, fmt.Errorf("%s: %w", name, err)
	}
	if s.dir != "" {
		stats, err = transfer.FromDir(v, s.dir, s.options)
	} else {
		in := s.stdin
		if in == nil {
			in = s.archive
		}
		stats, err = transfer.FromTar(v, volume.Root, in, s.name, s.options)
	}
	if cerr := v.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("%s: %w", name, cerr)
	}
	return stats, err
}

// build is fill without the journal.
func (s *mkfsSource) build(dev disk.Device, name string, fo volume.FormatOptions) (stats transfer.Stats, err error) {
	b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: fo})
	if err != nil {
		return stats, fmt.Errorf("%s: %w", name, err)
	}
	defer b.Abort()
	switch {
	case s.plan != nil:
		stats, err = transfer.Build(b, s.plan, s.options)
	case s.dir != "":
		stats, err = transfer.BuildDir(b, s.dir, s.options)
	default:
		stats, err = transfer.BuildTar(b, s.archive, s.name, s.options)
	}
	if err != nil {
		return stats, err
	}
	if err := b.Close(); err != nil {
		return stats, fmt.Errorf("%s: %w", name, err)
	}
	return stats, nil
}

// fixed is a clock that stands still.
func fixed(t time.Time) func() time.Time { return func() time.Time { return t } }
