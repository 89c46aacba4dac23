package transfer

import (
	"hash/fnv"
	"io"
	"io/fs"
	"path"

	"holdfast/volume"
)

// Need is what a tree needs in a volume.
type Need struct {
	Files  uint64 // inodes: all that is there, each once, the top included
	Blocks uint64 // of the volume: content, directories, long links and their indexes, at most
	Bytes  uint64 // of content, without the host's holes
	Xattrs uint64 // files with extended attributes
	// Twice says that not each name comes once and behind what it needs: one replaces another, is
	// below what is no directory, or is to be one file with what has not come. There Build and
	// BuildTar do not do; FromDir and FromTar know what it comes to. It is also said of more names
	// than are kept track of.
	Twice bool
}

// Measure is how much room what FromDir copies with these options needs in a volume with
// blocks of blockSize bytes. It reads no contents.
func (o Options) Measure(hostDir string, blockSize int) (Need, error) {
	src, err := newHostSource(hostDir, ".", blockSize, false, &o)
	if err != nil {
		return Need{}, err
	}
	return o.measure(src, blockSize)
}

// Measure is Options.Measure of all that is in hostDir, with all attributes.
func Measure(hostDir string, blockSize int) (Need, error) {
	return Options{Preserve: true}.Measure(hostDir, blockSize)
}

func (o *Options) measure(src source, blockSize int) (Need, error) {
	m := measure{block: blockSize, dirs: map[string]*dirSize{}, names: map[uint64]struct{}{}}
	m.dir(".")
	err := drain(withManifest(src, o), &m)
	return m.Need, bare(err)
}

// measure is a sink that counts. What is replaced by a later entry counts twice.
type measure struct {
	Need
	block int // bytes
	dirs  map[string]*dirSize
	names map[uint64]struct{} // of what is no directory, hashed; nil: Twice is not asked for
}

// dirSize is what the records of a directory take.
type dirSize struct {
	bytes, names int
	said         bool // it has an entry
}

// measureNames is how many names of files are kept track of, at about 20 bytes each.
const measureNames = 1 << 21

// key is what is kept of a path: two with the same cost no more than speed.
func key(p string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, p)
	return h.Sum64()
}

// seen reports whether a path is that of an entry that is no directory.
func (m *measure) seen(p string) bool {
	_, ok := m.names[key(p)]
	return ok
}

// order looks at what a sink cannot do that takes nothing back.
func (m *measure) order(e *entry) {
	switch {
	case m.names == nil || m.Twice:
	case m.seen(e.path) || e.link != "" && !m.seen(e.link) || len(m.names) == measureNames:
		m.Twice = true
	case e.isDir() && e.link == "":
		d := m.dirs[e.path]
		m.Twice = d != nil && d.said
	default:
		m.Twice = m.dirs[e.path] != nil
		m.names[key(e.path)] = struct{}{}
	}
}

// Sizes of the format (docs/FORMAT.md): the overhead of a metadata block, what an inode holds
// of a link's target, the head of a directory record.
const (
	overhead   = 64
	inlineLink = 104
	recordHead = 12
)

// dir is the directory p, counted when it is first named.
func (m *measure) dir(p string) *dirSize {
	if d, ok := m.dirs[p]; ok {
		return d
	}
	m.Files++
	if p != "." {
		m.name(p)
	}
	m.Twice = m.Twice || m.names != nil && m.seen(p)
	d := &dirSize{}
	m.dirs[p] = d
	return d
}

// name counts the record of a name.
func (m *measure) name(p string) {
	d := m.dir(path.Dir(p))
	d.bytes += max(16, (recordHead+len(path.Base(p))+3)&^3)
	d.names++
}

func (m *measure) put(e *entry) error {
	m.order(e)
	if e.isDir() && e.link == "" {
		m.dir(e.path).said = true
		m.xattrs(e)
		return nil
	}
	m.name(e.path)
	if e.link != "" {
		return nil
	}
	m.Files++
	m.xattrs(e)
	block := uint64(m.block)
	switch volume.FileMode(e.mode).Type() {
	case 0:
		return m.file(e)
	case fs.ModeSymlink:
		if n := uint64(len(e.target)); n > inlineLink {
			m.Blocks += (n + block - 1) / block
		}
	}
	return nil
}

func (m *measure) finish() error {
	for _, d := range m.dirs {
		m.Blocks += dirBlocks(d.bytes, d.names, m.block)
	}
	return nil
}

// xattrs counts blocks for attributes: at most those of the attributes one by one.
func (m *measure) xattrs(e *entry) {
	bytes := 0
	for name, value := range e.xattrs {
		bytes += len(name) + len(value) + 16
	}
	if bytes > 0 {
		m.Xattrs++
		body := m.block - overhead
		m.Blocks += uint64((bytes + body - 1) / body)
	}
}

// dirBlocks bounds the blocks of a directory with n names in records of this many bytes.
func dirBlocks(bytes, n, block int) uint64 {
	body := block - overhead
	if bytes <= body {
		return uint64(min(bytes, 1))
	}
	leaves := bytes/(body-body/8) + 2
	index := n*16/(body/2) + 2 // nodes that have split are half full
	index += index*24/(body/2) + 2
	extents := leaves*16/(body/2) + 1
	return uint64(leaves + index + extents + leaves/body + 1)
}

func (m *measure) file(e *entry) error {
	block := uint64(m.block)
	var data, blocks, pieces uint64
	last, end := int64(-1), int64(-1) // block; byte
	err := e.content.extents(func(start, stop int64) error {
		data += uint64(stop - start)
		if start != end {
			pieces++
		}
		end = stop
		if first := max(last+1, start/int64(block)); first <= (stop-1)/int64(block) {
			last = (stop - 1) / int64(block)
			blocks += uint64(last - first + 1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.Bytes += data
	m.Blocks += blocks
	if per := (block - overhead) / 16 / 2; pieces > 6 || blocks > 6*block { // an index of the extents
		n := pieces + blocks/(8*block)
		m.Blocks += n/per + 2
	}
	return nil
}
