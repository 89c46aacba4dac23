package volume

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume/internal/dirs"
)

// BuildOptions say what image is to be built.
type BuildOptions struct {
	Format  FormatOptions
	Workers int // goroutines that checksum and write beside the caller's; 0: as many as processors; negative: none
}

// BuildNode is what a new inode of a [Builder] is to be: exactly that, nothing is inherited
// from the directory.
type BuildNode struct {
	NewNode
	Atime, Mtime, Ctime, Btime time.Time // zero: FormatOptions.Now

	Xattrs map[string][]byte // by name, as Setxattr takes them; an access ACL sets the permissions
}

// ErrNoInodes is ErrNoSpace where there are blocks left, but no inodes.
var ErrNoInodes = fmt.Errorf("no inodes left: %w", ErrNoSpace)

// ErrSourceSize says that a source had more or fewer bytes than was said.
var ErrSourceSize = errors.New("not as long as was said")

// Builder makes a new volume with all that is in it in one go, without the journal: blocks and
// inodes are taken in the order of the calls and written in long runs, checksums are computed
// beside the caller, directories get their index when they are done. What becomes of it is an
// ordinary volume, and the same calls make the same bytes.
//
// The device holds no volume until Close writes the superblock, behind a flush of everything
// else: a build that was cut off leaves nothing that could be opened, and one that
// failed cannot be closed.
//
// The calls follow the tree, from [Root] down: what is made is given a name in a directory
// that is there. A directory that got all of its names is best ended (EndDir), but need not be.
// Memory is bounded, but for 16 bytes for each name of a directory not ended, up to a bound.
//
// Errors of a call that was wrong in itself (ErrName, ErrExist, ErrNotDir, ErrInvalid ...)
// change nothing, and the build can go on; after all others it cannot: a
// full image, a source that could not be read, the device. ErrExist may come late, from EndDir,
// Lookup or Close, and ends the build then.
//
// A Builder is for one goroutine.
type Builder struct {
	g     layout.Geometry
	super *layout.Superblock
	seeds layout.Seeds
	now   layout.Time
	err   error // the build has failed, or is closed
	jobs  *jobs
	space *buildSpace
	store *buildStore
	data  *buildData

	lastIno uint64
	dirsIn  []uint32 // directories of each group
	dirs    uint64
	open    map[Ino]*buildDir
	clock   uint64 // of what was used last
	names   int    // that wait for their index
}

// Bounds of the memory of a build.
const (
	buildCache    = 32 << 20 // bytes of metadata blocks
	buildOpenDirs = 1 << 10  // directories whose state is kept
	buildNames    = 1 << 21  // names of directories that wait for their index, at 16 bytes
)

// buildDir is a directory while names are added to it.
type buildDir struct {
	ino  Ino
	in   layout.Inode
	dir  *dirs.Dir
	load *dirs.Loader // nil: it is an ordinary directory
	used uint64
}

// NewBuilder begins a volume on a device: from now on the device holds none.
//
// Errors: those of [Format].
func NewBuilder(dev disk.Device, o BuildOptions) (*Builder, error) {
	f := o.Format
	if f.Size == 0 {
		f.Size = dev.Size()
	}
	if err := f.defaults(); err != nil {
		return nil, err
	}
	if f.Size > dev.Size() {
		return nil, fmt.Errorf("size %d, the device has %d: %w", f.Size, dev.Size(), ErrInvalid)
	}
	s, err := f.superblock(f.Size)
	if err != nil {
		return nil, err
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		return nil, err
	}
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if dev, err = blank(dev, f.Twin, s, &g); err != nil {
		return nil, err
	}
	b := &Builder{g: g, super: s, seeds: layout.NewSeeds(s.UUID), now: toTime(f.Now), open: map[Ino]*buildDir{}}
	b.jobs = newJobs(dev, workers)
	b.space = newBuildSpace(&b.g, b.seeds, s.Reserved, b.jobs)
	b.store = newBuildStore(dev, &b.g, b.seeds, b.space, b.jobs)
	b.data = newBuildData(&b.g, b.seeds, b.space, b.jobs)
	ino, in, err := b.inode(true)
	if err != nil {
		return nil, b.fail(err)
	}
	mode := f.RootMode
	if mode == 0 {
		mode = 0o755
	}
	in.Mode, in.Links, in.UID, in.GID, in.Parent = layout.ModeDir|mode&layout.ModePerm, 2, f.UID, f.GID, uint64(Root)
	in.Atime, in.Mtime, in.Ctime, in.Btime = b.now, b.now, b.now, b.now
	b.openDir(ino, in, true)
	return b, nil
}

// fail ends the build, once, with its first error.
func (b *Builder) fail(err error) error {
	if b.err == nil {
		b.jobs.stop()
		b.err = err
	}
	return err
}

// ready answers whether the build can go on.
func (b *Builder) ready() error {
	if b.err != nil {
		return fmt.Errorf("the build has ended: %w", b.err)
	}
	if err := b.jobs.error(); err != nil {
		return b.fail(err)
	}
	return nil
}

// Mkdir makes a directory.
func (b *Builder) Mkdir(dir Ino, name string, n BuildNode) (Ino, error) {
	n.Mode = layout.ModeDir | n.Mode&layout.ModePerm
	return b.make(dir, name, &n, nil)
}

// Node makes anything but a directory: a symbolic link, a pipe, a socket, a device, an empty file.
func (b *Builder) Node(dir Ino, name string, n BuildNode) (Ino, error) {
	if n.Mode&layout.ModeType == layout.ModeDir {
		return 0, ErrInvalid
	}
	return b.make(dir, name, &n, nil)
}

// Content is what a file holds.
type Content struct {
	Size int64     // bytes
	From io.Reader // the bytes of all runs, one behind the other, and no more
	// Runs are where they lie, in order; all else is a hole. nil: all of the file.
	Runs []Run
}

// Run is a range of bytes of a file.
type Run struct{ Off, Len int64 }

// File makes a file. Blocks of zeros become holes.
//
// Errors: ErrSourceSize if the reader has fewer or more bytes than the runs; those of the
// reader.
func (b *Builder) File(dir Ino, name string, n BuildNode, c Content) (Ino, error) {
	n.Mode = layout.ModeFile | n.Mode&layout.ModePerm
	if err := c.check(); err != nil {
		return 0, err
	}
	return b.make(dir, name, &n, func(ino uint64, in *layout.Inode) error {
		in.Size = uint64(c.Size)
		return b.data.content(b.store, ino, in, &c)
	})
}

// check answers whether the size and the runs can be.
func (c *Content) check() error {
	switch {
	case c.Size < 0:
		return fmt.Errorf("a size of %d bytes: %w", c.Size, ErrInvalid)
	case c.Size > MaxFileSize:
		return ErrFileTooBig
	case c.Runs == nil && c.Size > 0:
		c.Runs = []Run{{0, c.Size}}
	}
	end := int64(0)
	for _, r := range c.Runs {
		if r.Off < end || r.Len < 0 || r.Len > c.Size-r.Off {
			return fmt.Errorf("a run of %d bytes at %d, in a file of %d, behind %d: %w", r.Len, r.Off, c.Size, end, ErrInvalid)
		}
		end = r.Off + r.Len
	}
	return nil
}

// make makes an inode, its content and its name.
func (b *Builder) make(dir Ino, name string, n *BuildNode, content func(uint64, *layout.Inode) error) (Ino, error) {
	if err := b.ready(); err != nil {
		return 0, err
	}
	if err := n.check(); err != nil {
		return 0, err
	}
	if err := checkXattrs(n.Mode, n.Xattrs); err != nil {
		return 0, err
	}
	d, err := b.free(dir, name)
	if err != nil {
		return 0, err
	}
	isDir := n.Mode&layout.ModeType == layout.ModeDir
	if isDir && d.in.Links >= layout.MaxLinks {
		return 0, ErrTooManyLinks
	}
	ino, in, err := b.inode(isDir)
	if err != nil {
		return 0, b.fail(err)
	}
	in.Mode, in.Links = n.Mode, 1
	b.apply(&in, n)
	switch in.Type() {
	case layout.ModeDir:
		in.Links, in.Parent = 2, uint64(dir)
		d.in.Links++
	case layout.ModeChar, layout.ModeBlock:
		in.Major, in.Minor = n.Major, n.Minor
	case layout.ModeLink:
		in.Mode = layout.ModeLink | 0o777
		if in.Size = uint64(len(n.Target)); len(n.Target) <= layout.InlineSize {
			in.Flags |= layout.FlagInlineLink
			copy(in.Inline[:], n.Target)
		} else {
			err = b.data.target(b.store, uint64(ino), &in, []byte(n.Target))
		}
	}
	if content != nil {
		err = content(uint64(ino), &in)
	}
	if err == nil {
		err = b.xattrs(ino, &in, n.Xattrs)
	}
	if err == nil && !isDir { // a directory's is written when it is done
		err = b.put(ino, &in)
	}
	if err == nil {
		err = b.add(d, name, ino, in.Type())
	}
	if err != nil {
		return 0, b.fail(err)
	}
	if isDir {
		b.openDir(ino, in, true)
	}
	return ino, b.trim()
}

// free is a directory to which a name may be added.
func (b *Builder) free(dir Ino, name string) (*buildDir, error) {
	d, err := b.dir(dir)
	if err != nil {
		return nil, err
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	switch {
	case isDot(name):
		return nil, ErrExist
	case d.load != nil:
		return d, nil // Finish will see it
	}
	_, _, found, err := d.dir.Lookup(name)
	switch {
	case err != nil:
		return nil, b.fail(err)
	case found:
		return nil, ErrExist
	}
	return d, nil
}

// apply gives an inode what can be said of any.
func (b *Builder) apply(in *layout.Inode, n *BuildNode) {
	in.UID, in.GID = n.UID, n.GID
	times := [4]*layout.Time{&in.Atime, &in.Mtime, &in.Ctime, &in.Btime}
	for i, t := range [4]time.Time{n.Atime, n.Mtime, n.Ctime, n.Btime} {
		if *times[i] = b.now; !t.IsZero() {
			*times[i] = toTime(t)
		}
	}
}

// SetAttr gives an inode other permissions, owners, times and, if there are any, attributes; type, device numbers and target
// stay what they are. It is for what a source says of a directory after its names.
func (b *Builder) SetAttr(ino Ino, n BuildNode) error {
	if err := b.ready(); err != nil {
		return err
	}
	return b.change(ino, func(in *layout.Inode) error {
		if err := checkXattrs(in.Mode, n.Xattrs); err != nil {
			return err
		}
		if in.Type() != layout.ModeLink {
			in.Mode = in.Type() | n.Mode&layout.ModePerm
		}
		b.apply(in, &n)
		if len(n.Xattrs) == 0 {
			return nil
		}
		if err := b.xattrs(ino, in, n.Xattrs); err != nil {
			return b.fail(err)
		}
		return nil
	})
}

// checkXattrs answers whether an inode of a type can have attributes.
func checkXattrs(mode uint16, set map[string][]byte) error {
	if len(set) == 0 {
		return nil
	}
	_, err := (&attrs{in: &layout.Inode{Mode: mode}}).apply(set)
	return err
}

// xattrs gives an inode these attributes in place of those that it has.
func (b *Builder) xattrs(ino Ino, in *layout.Inode, set map[string][]byte) error {
	if len(set) == 0 {
		return nil
	}
	a := &attrs{s: b.store, g: &b.g, ino: ino, in: in}
	list, err := a.apply(set)
	if err == nil {
		err = a.put(list)
	}
	return err
}

// change changes an inode.
func (b *Builder) change(ino Ino, fn func(in *layout.Inode) error) error {
	if d := b.open[ino]; d != nil {
		return fn(&d.in)
	}
	in, err := b.get(ino)
	if err == nil {
		err = fn(&in)
	}
	if err != nil {
		return err
	}
	if err := b.put(ino, &in); err != nil {
		return b.fail(err)
	}
	return b.trim()
}

// Link gives what is no directory another name.
func (b *Builder) Link(ino, dir Ino, name string) error {
	if err := b.ready(); err != nil {
		return err
	}
	d, err := b.free(dir, name)
	if err != nil {
		return err
	}
	var kind uint16
	err = b.change(ino, func(in *layout.Inode) error {
		switch {
		case in.IsDir():
			return ErrPermission
		case in.Links >= layout.MaxLinks:
			return ErrTooManyLinks
		}
		in.Links++
		kind = in.Type()
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.add(d, name, ino, kind); err != nil {
		return b.fail(err)
	}
	return b.trim()
}

// Lookup is the inode that a name in a directory means, and its type bits. ErrNotExist: none.
func (b *Builder) Lookup(dir Ino, name string) (Ino, uint16, error) {
	if err := b.ready(); err != nil {
		return 0, 0, err
	}
	d, err := b.dir(dir)
	if err != nil {
		return 0, 0, err
	}
	if err := b.ordinary(d); err != nil {
		return 0, 0, b.fail(err)
	}
	e, _, found, err := d.dir.Lookup(name)
	switch {
	case err != nil:
		return 0, 0, b.fail(err)
	case !found:
		return 0, 0, ErrNotExist
	}
	return Ino(e.Ino), uint16(e.Type) << 12, nil
}

// EndDir says that a directory has all of its names. More may come nevertheless.
//
// Errors: ErrExist if it has one twice.
func (b *Builder) EndDir(ino Ino) error {
	if err := b.ready(); err != nil {
		return err
	}
	d := b.open[ino]
	if d == nil {
		return nil
	}
	if err := b.end(d); err != nil {
		return b.fail(err)
	}
	return b.trim()
}

// Bytes is how much content of files has been stored; holes do not count.
func (b *Builder) Bytes() int64 { return b.data.bytes }

// Statfs is what the volume has, as built so far.
func (b *Builder) Statfs() Statfs {
	s := statfs(&b.g, b.super, layout.Totals{FreeBlocks: b.space.left, FreeInodes: b.g.Inodes() - b.lastIno, Dirs: b.dirs, Groups: b.space.group})
	s.Available = b.space.left - min(b.space.left, b.space.kept)
	return s
}

// Close completes the volume: only then the device holds one.
func (b *Builder) Close() error {
	if err := b.ready(); err != nil {
		return err
	}
	if err := b.complete(); err != nil {
		return b.fail(err)
	}
	b.err = ErrClosed
	return nil
}

// Abort ends a build that is not to be completed; after Close it does nothing.
func (b *Builder) Abort() {
	_ = b.fail(ErrClosed)
}

func (b *Builder) complete() error {
	for _, ino := range slices.Sorted(maps.Keys(b.open)) {
		if err := b.end(b.open[ino]); err != nil {
			return err
		}
	}
	b.data.flush()
	inited := b.space.finish((b.lastIno-1)/uint64(b.g.InodesPerGroup)+1, func(group uint64, p []byte) {
		s := layout.Stats(p)
		s.InodesInit, s.InodesFree = b.inodesOf(group)
		if group < uint64(len(b.dirsIn)) {
			s.Directories = b.dirsIn[group]
		}
		layout.SetStats(p, s)
	})
	if err := b.store.writeOut(); err != nil {
		return err
	}
	totals := make([]byte, b.g.BlockSize)
	layout.InitBlock(totals, layout.KindTotals, 0, 0)
	layout.EncodeTotals(totals, &layout.Totals{FreeBlocks: b.space.left, FreeInodes: b.g.Inodes() - b.lastIno, Dirs: b.dirs, Groups: inited})
	layout.SealBlock(totals, b.g.TotalsBlock(), 0, b.seeds)
	b.jobs.write(totals, int64(b.g.TotalsBlock())*int64(b.g.BlockSize))
	b.jobs.stop()
	if err := b.jobs.error(); err != nil {
		return err
	}
	dev := b.jobs.dev
	if err := makeLog(dev, &b.g, b.seeds); err != nil {
		return err
	}
	return writeSuperblocks(dev, &b.g, b.super)
}

// inodesOf is how many inodes of a group are initialised, and how many of those are free.
func (b *Builder) inodesOf(group uint64) (inited, free uint32) {
	per, all := uint64(b.g.InodesPerBlock()), uint64(b.g.InodesPerGroup)
	used := min(all, b.lastIno-min(b.lastIno, group*all))
	n := (used + per - 1) / per * per
	return uint32(n), uint32(n - used)
}

// inode takes the next inode.
func (b *Builder) inode(dir bool) (Ino, layout.Inode, error) {
	if b.lastIno == b.g.Inodes() {
		return 0, layout.Inode{}, ErrNoInodes
	}
	b.lastIno++
	group, index := b.g.InodeGroup(b.lastIno)
	if per := uint32(b.g.InodesPerBlock()); index%per == 0 {
		p := b.store.adopt(b.g.InodeTable(group)+uint64(index/per), layout.KindInodes)
		var free layout.Inode
		for i := range per {
			layout.EncodeInode(p[int(i)*layout.InodeSize:], &free, b.lastIno+uint64(i), b.seeds)
		}
	}
	if dir {
		for uint64(len(b.dirsIn)) <= group {
			b.dirsIn = append(b.dirsIn, 0)
		}
		b.dirsIn[group]++
		b.dirs++
	}
	return Ino(b.lastIno), layout.Inode{Generation: 1}, nil
}

// get reads an inode that is not of an open directory.
func (b *Builder) get(ino Ino) (in layout.Inode, err error) {
	if ino == 0 || uint64(ino) > b.lastIno {
		return in, ErrStale
	}
	block, off := b.g.InodePlace(uint64(ino))
	p, err := b.store.Read(block, layout.KindInodes)
	if err == nil {
		err = layout.DecodeInode(p[off:], &in, uint64(ino), block, off, b.seeds)
	}
	if err != nil {
		return in, b.fail(err)
	}
	return in, nil
}

// put writes an inode.
func (b *Builder) put(ino Ino, in *layout.Inode) error {
	block, off := b.g.InodePlace(uint64(ino))
	p, err := b.store.Edit(block, layout.KindInodes)
	if err != nil {
		return err
	}
	layout.EncodeInode(p[off:], in, uint64(ino), b.seeds)
	return nil
}

func (b *Builder) openDir(ino Ino, in layout.Inode, fresh bool) *buildDir {
	d := &buildDir{ino: ino, in: in}
	d.dir = dirs.New(b.store, &b.g, b.super.HashKey, uint64(ino), &d.in)
	if fresh {
		d.load = d.dir.Load()
	}
	b.clock++
	d.used = b.clock
	b.open[ino] = d
	return d
}

// dir is a directory, to be looked into or changed.
func (b *Builder) dir(ino Ino) (*buildDir, error) {
	if d := b.open[ino]; d != nil {
		b.clock++
		d.used = b.clock
		return d, nil
	}
	in, err := b.get(ino)
	if err != nil {
		return nil, err
	}
	if !in.IsDir() {
		return nil, ErrNotDir
	}
	return b.openDir(ino, in, false), nil
}

// add gives a directory a name that it does not have.
func (b *Builder) add(d *buildDir, name string, ino Ino, kind uint16) error {
	if d.load != nil {
		b.names++
		return dirError(d.load.Add(name, uint64(ino), uint8(kind>>12)))
	}
	_, err := d.dir.Insert(name, uint64(ino), uint8(kind>>12))
	return dirError(err)
}

// ordinary ends the loading of a directory.
func (b *Builder) ordinary(d *buildDir) error {
	if d.load == nil {
		return nil
	}
	b.names -= d.load.Names()
	err := d.load.Finish()
	d.load = nil
	return dirError(err)
}

// dirError makes an error of a directory one of the volume.
func dirError(err error) error {
	switch {
	case errors.Is(err, dirs.ErrExist):
		return fmt.Errorf("%w (%w)", err, ErrExist)
	case errors.Is(err, dirs.ErrFull):
		return fmt.Errorf("%w (%w)", err, ErrNoSpace)
	}
	return err
}

// end writes a directory's inode and forgets its state.
func (b *Builder) end(d *buildDir) error {
	if err := b.ordinary(d); err != nil {
		return err
	}
	delete(b.open, d.ino)
	return b.put(d.ino, &d.in)
}

// trim keeps the memory in bounds; it is called where nothing of a block is in use.
func (b *Builder) trim() error {
	if len(b.open) > buildOpenDirs {
		// The ones on the way to what was made last are used last.
		list := slices.SortedFunc(maps.Values(b.open), func(x, y *buildDir) int { return cmp.Compare(x.used, y.used) })
		for _, d := range list[:len(list)/4] {
			if err := b.end(d); err != nil {
				return b.fail(err)
			}
		}
	}
	for b.names > buildNames {
		var most *buildDir
		for _, ino := range slices.Sorted(maps.Keys(b.open)) {
			if d := b.open[ino]; d.load != nil && (most == nil || d.load.Names() > most.load.Names()) {
				most = d
			}
		}
		if err := b.ordinary(most); err != nil {
			return b.fail(err)
		}
	}
	if err := b.store.trim(); err != nil {
		return b.fail(err)
	}
	return nil
}
