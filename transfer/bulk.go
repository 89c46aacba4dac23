package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"holdfast/volume"
)

// Build makes what a plan has found, with the options that it was made with (but for Progress),
// and with Options.Preserve the attributes of the top, the content of a volume that is built. It is [FromDir] for an image that does not exist yet, many
// times faster; the caller closes the builder. After an error it is to be aborted.
func Build(b *volume.Builder, p *Plan, o Options) (Stats, error) {
	c := &bulk{Options: o, plan: p, top: p.hostDir, seen: map[hostID]volume.Ino{}, b: b,
		queue: make(chan *batch, bulkAhead), work: make(chan *batch, bulkAhead), stop: make(chan struct{}), spare: make(chan []byte, bulkAhead+2)}
	top, err := openTop(p.hostDir)
	if err != nil {
		return Stats{}, err
	}
	var helpers sync.WaitGroup
	helpers.Go(func() { c.list(top) })
	for range runtime.GOMAXPROCS(0) {
		helpers.Go(c.read)
	}
	err = c.build()
	close(c.stop)
	for t := range c.queue { // what was read in vain
		<-t.ready
		c.left = append(c.left, t.items...)
	}
	helpers.Wait()
	for _, it := range c.left { // only now: what is in a directory may have been read until now
		it.close()
	}
	for _, d := range c.path {
		d.dir.close()
	}
	c.stats.Bytes = b.Bytes()
	return c.stats, err
}

const (
	bulkAhead = 8       // batches that are read before their turn
	bulkBytes = 1 << 20 // of content in a batch
	bulkNames = 64      // steps in a batch
	bulkSmall = 1 << 18 // bytes of a file that is read before its turn
)

// bulk is a build from the host. One goroutine lists the tree, some read what is small, in any
// order, and the caller's builds, in the order of the list.
type bulk struct {
	Options
	plan  *Plan
	top   string // for messages
	b     *volume.Builder
	seen  map[hostID]volume.Ino // files with several names
	stats Stats
	queue chan *batch // in order
	work  chan *batch // to be read
	stop  chan struct{}
	spare chan []byte // buffers of batches
	path  []built     // on the way to where the build is
	left  []*item     // what a build that failed has not come to
}

// built is a directory that is being filled.
type built struct {
	dir *hostDir
	ino volume.Ino
}

// batch is steps that are read by one goroutine: to hand each over costs more than to read it.
type batch struct {
	items []*item
	bytes int64
	buf   []byte
	ready chan struct{} // closed when it has been read
}

// item is a step of the build.
type item struct {
	rel, name string
	dir       *hostDir // where it is; nil: the top
	info      fs.FileInfo
	into      *hostDir // a directory: what follows is in it, until
	leave     bool     // it is left again
	err       error
	target    string
	xattrs    map[string][]byte
	known     bool        // the attributes are
	file      *os.File    // a large file, open
	before    fs.FileInfo // of a file, open
	data      []byte      // all of a small one
}

func (it *item) close() {
	if it.file != nil {
		_ = it.file.Close()
	}
	if it.into != nil {
		it.into.close()
	}
}

// lister makes batches of what list finds.
type lister struct {
	*bulk
	cur *batch
}

// list walks the tree.
func (c *bulk) list(top *hostDir) {
	defer close(c.work)
	defer close(c.queue)
	l := &lister{bulk: c}
	if l.add(&item{rel: ".", info: top.info, into: top, xattrs: c.plan.xattrs, known: true}) && l.dir(top, ".", c.plan.top) {
		l.send()
	}
}

// add adds a step; false: nobody wants more.
func (l *lister) add(it *item) bool {
	size := int64(0)
	if it.info != nil && it.info.Mode().IsRegular() && it.info.Size() <= bulkSmall {
		size = it.info.Size()
	}
	if l.cur != nil && (len(l.cur.items) == bulkNames || l.cur.bytes+size > bulkBytes) && !l.send() {
		it.close()
		return false
	}
	if l.cur == nil {
		l.cur = &batch{ready: make(chan struct{}), items: make([]*item, 0, bulkNames)}
	}
	l.cur.items = append(l.cur.items, it)
	l.cur.bytes += size
	return it.err == nil || l.send() && false
}

// send hands the batch on.
func (l *lister) send() bool {
	t := l.cur
	l.cur = nil
	if t == nil {
		return true
	}
	select {
	case l.work <- t: // whoever has it in the queue waits for it to be read
		l.queue <- t
		return true
	case <-l.stop:
		for _, it := range t.items {
			it.close()
		}
		return false
	}
}

// dir adds what is in a directory, as it was planned if it was.
func (l *lister) dir(d *hostDir, rel string, p *planned) bool {
	if p == nil {
		return l.look(d, rel)
	}
	for _, info := range p.infos {
		name := info.Name()
		it := &item{rel: join(rel, name), name: name, dir: d, info: info, xattrs: p.xattrs[name], known: true}
		if info.IsDir() {
			it.into, it.err = d.enter(name, info)
		}
		if !l.add(it) || it.into != nil && !l.dir(it.into, it.rel, p.dirs[name]) {
			return false
		}
	}
	return l.add(&item{rel: rel, leave: true})
}

// look is dir of what was not kept in the plan.
func (l *lister) look(d *hostDir, rel string) bool {
	names, err := d.names()
	if err != nil {
		return l.add(&item{rel: rel, err: err})
	}
	for _, name := range names {
		it := &item{rel: join(rel, name), name: name, dir: d}
		it.info, it.err = d.lstat(name)
		if it.err == nil && l.excluded(it.rel, it.info) {
			continue
		}
		if it.err == nil && it.info.IsDir() {
			it.into, it.err = d.enter(name, it.info)
		}
		if !l.add(it) || it.into != nil && !l.look(it.into, it.rel) {
			return false
		}
	}
	return l.add(&item{rel: rel, leave: true})
}

// read gets what is in small files and symbolic links.
func (c *bulk) read() {
	for t := range c.work {
		select {
		case t.buf = <-c.spare:
		default:
			t.buf = make([]byte, bulkBytes)
		}
		free := t.buf
		for _, it := range t.items {
			if it.err != nil || it.info == nil {
				continue
			}
			if c.Preserve && !it.known {
				if it.xattrs, it.err = it.dir.xattrs(it.name); it.err != nil {
					continue
				}
			}
			switch k := it.info.Mode().Type(); {
			case k == 0:
				it.err = it.open(&free)
			case k&fs.ModeSymlink != 0:
				it.target, it.err = it.dir.readlink(it.name)
			}
		}
		close(t.ready)
	}
}

// open opens a file and, if it is small, reads it into the free part of a buffer.
func (it *item) open(free *[]byte) error {
	if size := it.info.Size(); size <= bulkSmall && size <= int64(len(*free)) && it.dir.quickRead(it.name, it.info, (*free)[:size]) {
		it.before = it.info
		it.data, *free = (*free)[:size], (*free)[size:]
		return nil
	}
	f, before, err := it.dir.open(it.name, it.info)
	if err != nil {
		return err
	}
	it.before = before
	size := before.Size()
	if size > bulkSmall || size > int64(len(*free)) { // or it has grown
		it.file = f
		return nil
	}
	it.data, *free = (*free)[:size], (*free)[size:]
	if _, err = io.ReadFull(f, it.data); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrChanged // it is shorter now
	}
	if err == nil {
		err = unchanged(f, before)
	}
	return errors.Join(err, f.Close())
}

// build takes the steps.
func (c *bulk) build() error {
	for t := range c.queue {
		<-t.ready
		for i, it := range t.items {
			err := it.err
			if err == nil {
				err = c.step(it)
			}
			if err != nil {
				c.left = t.items[i:]
				return sourceError(c.top, it.rel, err)
			}
		}
		select {
		case c.spare <- t.buf:
		default:
		}
	}
	return nil
}

func (c *bulk) step(it *item) error {
	switch {
	case it.leave:
		last := c.path[len(c.path)-1]
		if err := last.dir.unchanged(); err != nil {
			return err
		}
		last.dir.close()
		c.path = c.path[:len(c.path)-1]
		return c.b.EndDir(last.ino)
	case it.into != nil:
		return c.enter(it)
	}
	dir := c.path[len(c.path)-1].ino
	st := statOf(it.info)
	if ino, linked := c.seen[st.id]; linked && st.links > 1 {
		it.close()
		c.stats.HardLinks++
		return c.b.Link(ino, dir, it.name)
	}
	c.progress(it.rel, 0)
	n := c.node(it, it.info, st)
	var ino volume.Ino
	var err error
	switch k := it.info.Mode().Type(); {
	case k == 0:
		c.stats.Files++
		ino, err = c.file(it, dir)
	case k&fs.ModeIrregular != 0:
		return fmt.Errorf("a file of unknown type: %w", errors.ErrUnsupported)
	case k&fs.ModeSymlink != 0:
		c.stats.Links++
		n.Target = it.target
		ino, err = c.b.Node(dir, it.name, n)
	default:
		c.stats.Others++
		n.Major, n.Minor = st.major, st.minor
		ino, err = c.b.Node(dir, it.name, n)
	}
	if err == nil && st.links > 1 {
		c.seen[st.id] = ino
	}
	return err
}

// node is what is kept of the attributes of a source.
func (c *bulk) node(it *item, info fs.FileInfo, st stat) volume.BuildNode {
	return c.buildNode(&entry{mode: volume.PosixMode(info.Mode()), uid: st.uid, gid: st.gid, atime: st.atime, mtime: info.ModTime(), xattrs: it.xattrs})
}

// enter makes a directory; the top has been made with the volume.
func (c *bulk) enter(it *item) error {
	ino := volume.Root
	n := c.node(it, it.info, statOf(it.info))
	var err error
	if it.dir != nil {
		ino, err = c.b.Mkdir(c.path[len(c.path)-1].ino, it.name, n)
	} else if c.Preserve || c.Owner != nil {
		err = c.b.SetAttr(volume.Root, n)
	}
	if err != nil {
		return err
	}
	c.path = append(c.path, built{it.into, ino})
	c.stats.Dirs++
	c.progress(it.rel, 0)
	return nil
}

// file makes a regular file.
func (c *bulk) file(it *item, dir volume.Ino) (volume.Ino, error) {
	n := c.node(it, it.before, statOf(it.before))
	size := it.before.Size()
	if it.file == nil {
		ino, err := c.b.File(dir, it.name, n, volume.Content{Size: size, From: bytes.NewReader(it.data)})
		if size > 0 {
			c.progress(it.rel, size)
		}
		return ino, err
	}
	content, err := fileContent(it.file, size)
	if err != nil {
		return 0, err
	}
	content.From = &progressReader{&c.Options, it.rel, content.From}
	ino, err := c.b.File(dir, it.name, n, content)
	if errors.Is(err, volume.ErrSourceSize) {
		err = ErrChanged
	}
	if err == nil {
		err = unchanged(it.file, it.before)
	}
	f := it.file
	it.file = nil
	return ino, errors.Join(err, f.Close())
}
