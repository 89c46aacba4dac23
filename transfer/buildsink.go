package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"holdfast/volume"
)

// BuildTar makes what FromTar unpacks into the root directory the content of a volume that is
// built, if what MeasureTar says of the archive is not Twice. After
// an error the builder is to be aborted; otherwise the caller closes it.
func BuildTar(b *volume.Builder, r io.Reader, name string, o Options) (Stats, error) {
	s := newBuildSink(b, &o)
	src, err := newTarSource(r, name, s.b.Statfs().BlockSize, &o, &s.stats)
	if err != nil {
		return Stats{}, err
	}
	return s.take(src)
}

// BuildDir is FromDir for an image that does not exist yet, as BuildTar is FromTar. Where there is
// no manifest, Build is faster.
func BuildDir(b *volume.Builder, hostDir string, o Options) (Stats, error) {
	s := newBuildSink(b, &o)
	src, err := newHostSource(hostDir, ".", s.b.Statfs().BlockSize, true, &o)
	if err != nil {
		return Stats{}, err
	}
	return s.take(src)
}

// buildSink makes the entries of a source in a volume that is built. Each name may come but once,
// behind what it needs (Need.Twice); directories that have no entry are made.
type buildSink struct {
	*Options
	b     *volume.Builder
	dirs  map[string]volume.Ino
	links map[string]volume.Ino // files that may get more names
	stats Stats
}

func newBuildSink(b *volume.Builder, o *Options) *buildSink {
	return &buildSink{Options: o, b: b, dirs: map[string]volume.Ino{".": volume.Root}, links: map[string]volume.Ino{}}
}

// take makes all that a source gives.
func (s *buildSink) take(src source) (Stats, error) {
	err := drain(withManifest(src, s.Options), s)
	s.stats.Bytes = s.b.Bytes()
	return s.stats, bare(err)
}

func (s *buildSink) finish() error { return nil }

func (s *buildSink) put(e *entry) error {
	err := s.make(e)
	if errors.Is(err, volume.ErrNoSpace) {
		return imageFull(s.b.Statfs())
	}
	return err
}

func (s *buildSink) make(e *entry) error {
	if e.isDir() && e.link == "" {
		return s.mkdir(e)
	}
	dir, err := s.dir(path.Dir(e.path))
	if err != nil {
		return err
	}
	name := path.Base(e.path)
	if e.link != "" {
		first, err := s.first(e)
		if err != nil {
			return err
		}
		s.stats.HardLinks++
		return s.b.Link(first, dir, name)
	}
	n := s.buildNode(e)
	var ino volume.Ino
	switch m := volume.FileMode(e.mode); {
	case m.IsRegular():
		ino, err = s.file(e, dir, name, n)
	case m&fs.ModeSymlink != 0:
		s.stats.Links++
		s.progress(e.path, 0)
		ino, err = s.b.Node(dir, name, n)
	default:
		s.stats.Others++
		s.progress(e.path, 0)
		ino, err = s.b.Node(dir, name, n)
	}
	if err == nil && e.linked {
		s.links[e.path] = ino
	}
	return err
}

// buildNode is what is kept of an entry.
func (o *Options) buildNode(e *entry) volume.BuildNode {
	own := o.owner(e.uid, e.gid)
	n := volume.BuildNode{NewNode: volume.NewNode{Mode: e.mode&^modeBits | o.mode(e.mode), UID: own.UID, GID: own.GID,
		Major: e.major, Minor: e.minor, Target: e.target}}
	if o.Preserve {
		n.Atime, n.Mtime = o.clamp(e.atime, e.mtime)
		n.Xattrs = e.xattrs
	}
	return n
}

// mkdir makes a directory, or gives one that had to be there before its entry what that says.
func (s *buildSink) mkdir(e *entry) error {
	s.progress(e.path, 0)
	ino, ok := s.dirs[e.path]
	if !ok || ino == volume.Root { // else it has been counted
		s.stats.Dirs++
	}
	switch {
	case !ok:
		return s.add(e.path, s.buildNode(e))
	case s.Preserve || s.Owner != nil:
		return s.b.SetAttr(ino, s.buildNode(e))
	}
	return nil
}

// add makes a directory.
func (s *buildSink) add(p string, n volume.BuildNode) error {
	up, err := s.dir(path.Dir(p))
	if err == nil {
		s.dirs[p], err = s.b.Mkdir(up, path.Base(p), n)
	}
	return err
}

// dir is a directory that is there, or is made now.
func (s *buildSink) dir(p string) (volume.Ino, error) {
	if _, ok := s.dirs[p]; !ok {
		own := s.owner(0, 0)
		s.stats.Dirs++
		if err := s.add(p, volume.BuildNode{NewNode: volume.NewNode{Mode: dirMode | 0o755, UID: own.UID, GID: own.GID}}); err != nil {
			return 0, err
		}
	}
	return s.dirs[p], nil
}

// first is the file that an entry is a further name of.
func (s *buildSink) first(e *entry) (volume.Ino, error) {
	ino, ok := s.links[e.link]
	if ok {
		return ino, nil
	}
	dir, ok := s.dirs[path.Dir(e.link)]
	err := error(volume.ErrNotExist)
	if ok {
		ino, _, err = s.b.Lookup(dir, path.Base(e.link))
	}
	if err != nil {
		return 0, fmt.Errorf("a hard link to %q: %w", e.link, err)
	}
	return ino, nil
}

func (s *buildSink) file(e *entry, dir volume.Ino, name string, n volume.BuildNode) (volume.Ino, error) {
	s.stats.Files++
	s.progress(e.path, 0)
	c, done, err := e.content.open()
	if err != nil {
		return 0, err
	}
	c.From = &progressReader{s.Options, e.path, c.From}
	ino, err := s.b.File(dir, name, n, c)
	if errors.Is(err, volume.ErrSourceSize) {
		err = ErrChanged
	}
	if derr := done(); err == nil {
		err = derr
	}
	return ino, err
}

// progressReader tells of what is read.
type progressReader struct {
	o    *Options
	rel  string
	from io.Reader
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if n > 0 {
		r.o.progress(r.rel, int64(n))
	}
	return n, err
}

// fileContent is what a file of the host holds, without its holes.
func fileContent(f *os.File, size int64) (volume.Content, error) {
	runs := []volume.Run{}
	for off := int64(0); off < size; {
		start, end, err := nextData(f, off, size)
		if err != nil {
			return volume.Content{}, err
		}
		if end > start {
			runs = append(runs, volume.Run{Off: start, Len: end - start})
		}
		off = end
	}
	return volume.Content{Size: size, Runs: runs, From: &runReader{f, slices.Clone(runs)}}, nil
}

// runReader reads the runs of a file one behind the other.
type runReader struct {
	f    *os.File
	runs []volume.Run
}

func (r *runReader) Read(p []byte) (int, error) {
	if len(r.runs) == 0 {
		return 0, io.EOF
	}
	run := &r.runs[0]
	n, err := r.f.ReadAt(p[:min(int64(len(p)), run.Len)], run.Off)
	if n > 0 {
		err = nil
	}
	if run.Off, run.Len = run.Off+int64(n), run.Len-int64(n); run.Len == 0 {
		r.runs = r.runs[1:]
	}
	return n, err
}
