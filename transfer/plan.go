package transfer

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"holdfast/volume"
)

// Plan is what a directory of the host holds, as it was looked at once: what it needs in a
// volume, and what Build is to make.
type Plan struct {
	Need
	hostDir string
	o       Options
	top     *planned
	names   int               // kept
	xattrs  map[string][]byte // of the top
	seen    map[hostID]bool   // files with several names
}

// planned is what is in a directory. A plan that would be too large ends in directories that
// are nil: they are looked at again.
type planned struct {
	infos  []fs.FileInfo
	dirs   map[string]*planned
	xattrs map[string]map[string][]byte // by name, where there are any
}

// planNames is how many names a plan keeps, at about 400 bytes each.
const planNames = 200_000

// Plan looks at what is in hostDir, for a volume with blocks of blockSize bytes. It reads no
// contents.
func (o Options) Plan(hostDir string, blockSize int) (*Plan, error) {
	p := &Plan{hostDir: hostDir, o: o, seen: map[hostID]bool{}}
	top, err := openTop(hostDir)
	if err != nil {
		return nil, err
	}
	m := &measure{block: blockSize, dirs: map[string]*dirSize{}}
	if o.Preserve {
		if p.xattrs, err = top.xattrs("."); err != nil {
			top.close()
			return nil, sourceError(hostDir, ".", err)
		}
	}
	if err := m.put(&entry{path: ".", mode: volume.PosixMode(top.info.Mode()), xattrs: p.xattrs}); err != nil {
		return nil, err
	}
	if p.top, err = p.look(top, ".", m); err != nil {
		return nil, err
	}
	err = m.finish()
	p.Need = m.Need
	return p, err
}

// look looks at a directory and what is below it, and closes it.
func (p *Plan) look(d *hostDir, rel string, m *measure) (*planned, error) {
	defer d.close()
	names, err := d.names()
	if err != nil {
		return nil, sourceError(p.hostDir, rel, err)
	}
	l := &planned{}
	keep := p.names+len(names) <= planNames
	if keep {
		p.names += len(names)
		l.infos = make([]fs.FileInfo, 0, len(names))
	}
	list := p.glance(d, names)
	for i, name := range names {
		sub := join(rel, name)
		info, err := list[i].info, list[i].err
		if err != nil {
			return nil, sourceError(p.hostDir, sub, err)
		}
		if p.o.excluded(sub, info) {
			continue
		}
		e := &entry{path: sub, mode: volume.PosixMode(info.Mode()), size: info.Size()}
		st := statOf(info)
		if st.links > 1 && !info.IsDir() {
			if p.seen[st.id] {
				e.link = "."
			}
			p.seen[st.id] = true
		}
		if e.link == "" {
			if e.xattrs, err = list[i].xattrs, list[i].xerr; err != nil {
				return nil, sourceError(p.hostDir, sub, err)
			}
		}
		switch t := info.Mode().Type(); {
		case t == 0:
			e.content = &plannedFile{d, name, info}
		case t == fs.ModeSymlink:
			if e.target, err = d.readlink(name); err != nil {
				return nil, sourceError(p.hostDir, sub, err)
			}
		}
		if err := m.put(e); err != nil {
			return nil, sourceError(p.hostDir, sub, err)
		}
		var below *planned
		if info.IsDir() {
			into, err := d.enter(name, info)
			if err != nil {
				return nil, sourceError(p.hostDir, sub, err)
			}
			if below, err = p.look(into, sub, m); err != nil {
				return nil, err
			}
		}
		if !keep {
			continue
		}
		l.infos = append(l.infos, info)
		if below != nil {
			if l.dirs == nil {
				l.dirs = map[string]*planned{}
			}
			l.dirs[name] = below
		}
		if e.xattrs != nil {
			if l.xattrs == nil {
				l.xattrs = map[string]map[string][]byte{}
			}
			l.xattrs[name] = e.xattrs
		}
	}
	if !keep {
		return nil, nil
	}
	return l, nil
}

// glanced is what a name is.
type glanced struct {
	info   fs.FileInfo
	err    error
	xattrs map[string][]byte
	xerr   error
}

// glance looks at the names of a directory, at many of them by several goroutines.
func (p *Plan) glance(d *hostDir, names []string) []glanced {
	const step = 16
	list := make([]glanced, len(names))
	var next atomic.Int64
	work := func() {
		for {
			end := int(next.Add(step))
			if end-step >= len(names) {
				return
			}
			for i := end - step; i < min(end, len(names)); i++ {
				g := &list[i]
				if g.info, g.err = d.lstat(names[i]); g.err == nil && p.o.Preserve {
					g.xattrs, g.xerr = d.xattrs(names[i])
				}
			}
		}
	}
	var helpers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(names)/step) - 1 {
		helpers.Go(work)
	}
	work()
	helpers.Wait()
	return list
}

// plannedFile is the content of a file whose directory is open.
type plannedFile struct {
	d    *hostDir
	name string
	info fs.FileInfo
}

func (f *plannedFile) read(func([]byte, int64) error) error {
	return fmt.Errorf("%s: not read", f.name)
}

func (f *plannedFile) open() (volume.Content, func() error, error) {
	return volume.Content{}, nil, f.read(nil)
}

func (f *plannedFile) extents(fn func(start, end int64) error) error {
	size := f.info.Size()
	if size == 0 {
		return nil
	}
	if statOf(f.info).allocated >= uint64(size) { // no holes, and not compressed
		return fn(0, size)
	}
	h, _, err := f.d.open(f.name, f.info)
	if err != nil {
		return err
	}
	defer h.Close()
	for off := int64(0); off < size; {
		start, end, err := nextData(h, off, size)
		if err != nil {
			return err
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

// sourceError names a file of the host in an error.
func sourceError(top, rel string, err error) error {
	return bare(named(filepath.Join(top, filepath.FromSlash(rel)), err))
}
