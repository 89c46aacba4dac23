package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"holdfast/volume"
)

const (
	aheadFiles = 32        // entries that are read before they are asked for
	aheadBytes = 256 << 10 // content of at most this size is read so, larger ones when asked for
)

// hostID is what is one file on the host.
type hostID struct{ dev, ino uint64 }

// hostSource is a tree of the host: names in byte order, a directory before what is in it. One
// goroutine walks, a few read small files, next takes the results in the order of the walk.
type hostSource struct {
	*Options
	top   string // for messages
	root  *os.Root
	start string // what the walk starts at, from the top
	block int    // bytes; ranges of content are whole blocks
	ahead bool   // read contents ahead
	seen  map[hostID]string
	queue chan hostItem
	jobs  chan func()
	quit  chan struct{}
	wg    sync.WaitGroup
	stop  func()
}

// hostItem is what the walk has found: an entry, the end of a directory, or an error.
type hostItem struct {
	e     *entry
	ready chan struct{} // not nil: closed when the content has been read
	err   *error        // set by then
	end   *dirEnd
}

// dirEnd is a directory that has been walked.
type dirEnd struct {
	rel  string
	info fs.FileInfo
}

// newHostSource opens the tree that is at start below top; start is "." or a name.
func newHostSource(top, start string, block int, ahead bool, o *Options) (*hostSource, error) {
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	s := &hostSource{Options: o, top: top, root: root, start: start, block: block, ahead: ahead, seen: map[hostID]string{},
		queue: make(chan hostItem, aheadFiles), jobs: make(chan func()), quit: make(chan struct{})}
	s.stop = sync.OnceFunc(func() { close(s.quit) })
	if ahead {
		for range min(8, 2*runtime.NumCPU()) {
			s.wg.Go(func() {
				for job := range s.jobs {
					job()
				}
			})
		}
	}
	s.wg.Go(func() {
		defer close(s.queue)
		defer close(s.jobs)
		info, err := s.root.Lstat(start)
		if err == nil {
			err = s.walk(start, info)
		}
		if err != nil && !errors.Is(err, errQuit) {
			err = s.at(start, err)
			_ = s.emit(hostItem{err: &err})
		}
	})
	return s, nil
}

// errQuit ends a walk that nobody waits for.
var errQuit = errors.New("not wanted any more")

func (s *hostSource) emit(it hostItem) error {
	select {
	case s.queue <- it:
		return nil
	case <-s.quit:
		return errQuit
	}
}

func (s *hostSource) close() {
	s.stop()
	s.wg.Wait()
	_ = s.root.Close()
}

func (s *hostSource) where(rel string) string { return filepath.Join(s.top, filepath.FromSlash(rel)) }

// at names the source in an error.
func (s *hostSource) at(rel string, err error) error {
	if errors.Is(err, errQuit) {
		return err
	}
	return named(s.where(rel), err)
}

// walk emits rel, of which info has been read, and all that is below it.
func (s *hostSource) walk(rel string, info fs.FileInfo) error {
	st := statOf(info)
	e := &entry{path: rel, where: s.where(rel), mode: volume.PosixMode(info.Mode()), uid: st.uid, gid: st.gid, atime: st.atime, mtime: info.ModTime()}
	if rel == s.start {
		e.path = "."
	}
	if st.links > 1 && !info.IsDir() {
		if first, ok := s.seen[st.id]; ok {
			e.link = first
			return s.emit(hostItem{e: e})
		}
		s.seen[st.id], e.linked = e.path, true
	}
	it := hostItem{e: e}
	var err error
	switch t := info.Mode().Type(); {
	case t == 0:
		e.size = info.Size()
		f := &hostFile{s: s, rel: rel, e: e, info: info}
		e.content = f
		if s.ahead {
			it.ready, it.err = make(chan struct{}), new(error)
			job := func() {
				defer close(it.ready)
				*it.err = f.prepare()
			}
			if err := s.emit(it); err != nil {
				return err
			}
			select {
			case s.jobs <- job:
				return nil
			case <-s.quit:
				return errQuit
			}
		}
		if err := f.prepare(); err != nil {
			return err
		}
		return s.emit(it)
	case t&fs.ModeDir != 0:
		if e.xattrs, err = s.xattrsOf(rel); err != nil {
			return s.at(rel, err)
		}
		return s.dir(rel, info, it)
	case t&fs.ModeSymlink != 0:
		if e.target, err = s.root.Readlink(rel); err != nil {
			return s.at(rel, err)
		}
	case t&fs.ModeIrregular != 0:
		return s.at(rel, fmt.Errorf("a file of unknown type: %w", errors.ErrUnsupported))
	default:
		e.major, e.minor = st.major, st.minor
	}
	if e.xattrs, err = s.xattrsOf(rel); err != nil {
		return s.at(rel, err)
	}
	return s.emit(it)
}

// dir emits a directory, what is in it, and its end.
func (s *hostSource) dir(rel string, info fs.FileInfo, it hostItem) error {
	names, err := s.names(rel)
	if err != nil {
		return s.at(rel, err)
	}
	if err := s.emit(it); err != nil {
		return err
	}
	for _, name := range names {
		sub := join(rel, name)
		si, err := s.root.Lstat(sub)
		if err != nil {
			return s.at(sub, err)
		}
		if s.excluded(sub, si) {
			continue
		}
		if err := s.walk(sub, si); err != nil {
			return s.at(sub, err)
		}
	}
	return s.emit(hostItem{end: &dirEnd{rel, info}})
}

// names is the entries of a directory of the host, in byte order.
func (s *hostSource) names(rel string) ([]string, error) {
	d, err := s.root.Open(rel)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (s *hostSource) next() (*entry, error) {
	for it := range s.queue {
		switch {
		case it.end != nil:
			// All of its files have been read by now, so what changes the directory later
			// cannot have made a mixture.
			now, err := s.root.Lstat(it.end.rel)
			if err == nil && (!os.SameFile(it.end.info, now) || !now.ModTime().Equal(it.end.info.ModTime())) {
				err = ErrChanged
			}
			if err != nil {
				return nil, s.at(it.end.rel, err)
			}
			continue
		case it.ready != nil:
			<-it.ready
		}
		if it.err != nil && *it.err != nil {
			return nil, *it.err
		}
		return it.e, nil
	}
	return nil, io.EOF
}

// hostFile is the content of a regular file of the host.
type hostFile struct {
	s    *hostSource
	rel  string
	e    *entry
	info fs.FileInfo // of the walk
	runs []hostRun   // what has been read ahead
	done bool        // all of it has
}

type hostRun struct {
	p   []byte
	off int64
}

// prepare reads the attributes, and the content of a small file.
func (h *hostFile) prepare() error {
	var err error
	if h.e.xattrs, err = h.s.xattrsOf(h.rel); err != nil || !h.s.ahead || h.info.Size() > aheadBytes {
		return h.s.at(h.rel, err)
	}
	err = h.stream(func(p []byte, off int64) error {
		h.runs = append(h.runs, hostRun{slices.Clone(p), off})
		return nil
	})
	h.done = err == nil
	return err
}

func (h *hostFile) read(fn func(p []byte, off int64) error) error {
	if !h.done {
		return h.stream(fn)
	}
	for _, r := range h.runs {
		if err := fn(r.p, r.off); err != nil {
			return err
		}
	}
	h.runs = nil
	return nil
}

func (h *hostFile) open() (volume.Content, func() error, error) {
	all := volume.Content{Size: h.info.Size(), Runs: []volume.Run{}}
	if h.done {
		var parts []io.Reader
		for _, r := range h.runs {
			all.Runs = append(all.Runs, volume.Run{Off: r.off, Len: int64(len(r.p))})
			parts = append(parts, bytes.NewReader(r.p))
		}
		h.runs = nil
		all.From = io.MultiReader(parts...)
		return all, nothing, nil
	}
	f, before, err := h.handle()
	if err != nil {
		return all, nil, err
	}
	if all, err = fileContent(f, before.Size()); err != nil {
		return all, nil, h.s.at(h.rel, errors.Join(err, f.Close()))
	}
	return all, func() error {
		return h.s.at(h.rel, errors.Join(unchanged(f, before), f.Close()))
	}, nil
}

// handle is the file, if it is still the one that the walk has seen.
func (h *hostFile) handle() (*os.File, fs.FileInfo, error) {
	f, err := h.s.root.OpenFile(h.rel, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, h.s.at(h.rel, err)
	}
	now, err := f.Stat()
	if err == nil && (!os.SameFile(h.info, now) || !now.Mode().IsRegular() || now.Size() != h.info.Size() || !now.ModTime().Equal(h.info.ModTime())) {
		err = ErrChanged
	}
	if err != nil {
		return nil, nil, h.s.at(h.rel, errors.Join(err, f.Close()))
	}
	return f, now, nil
}

// stream reads the file in whole blocks, leaving out its holes. That the file was changed
// meanwhile is an error of the source; what fn answers comes back as it is.
func (h *hostFile) stream(fn func(p []byte, off int64) error) error {
	f, before, err := h.handle()
	if err != nil {
		return err
	}
	defer f.Close()
	size, block := before.Size(), int64(h.s.block)
	buf := make([]byte, min(chunk, size))
	for off := int64(0); off < size; {
		start, end, err := off, size, error(nil)
		if !h.s.Dense {
			start, end, err = nextData(f, off, size)
		}
		if err != nil {
			return h.s.at(h.rel, err)
		}
		off = max(off, start/block*block) // whole blocks, whatever the host's are
		end = min(size, (end+block-1)/block*block)
		for off < end {
			p := buf[:min(chunk-off%chunk, end-off)]
			if n, err := f.ReadAt(p, off); n < len(p) {
				if err == nil || errors.Is(err, io.EOF) {
					err = ErrChanged // it is shorter now
				}
				return h.s.at(h.rel, err)
			}
			if err := fn(p, off); err != nil {
				return err
			}
			off += int64(len(p))
		}
	}
	after, err := f.Stat()
	if err == nil && (after.Size() != size || !after.ModTime().Equal(before.ModTime())) {
		err = ErrChanged
	}
	return h.s.at(h.rel, err)
}

func (h *hostFile) extents(fn func(start, end int64) error) error {
	size := h.info.Size()
	if statOf(h.info).allocated >= uint64(size) { // no holes, and not compressed
		if size == 0 {
			return nil
		}
		return fn(0, size)
	}
	f, _, err := h.handle()
	if err != nil {
		return err
	}
	defer f.Close()
	for off := int64(0); off < size; {
		start, end, err := nextData(f, off, size)
		if err != nil {
			return h.s.at(h.rel, err)
		}
		if end > start {
			if err := fn(start, end); err != nil {
				return err
			}
		}
		off = end
	}
	return nil
}
