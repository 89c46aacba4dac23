package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// plant is an entry of a tree that is made in two ways.
type plant struct {
	path string
	node volume.BuildNode
	link string // another name of this path
	size int64
	runs []volume.Run
	data []byte // of the runs
}

var buildTime = time.Unix(1_700_000_000, 5)

// forest is a random tree, directories before what is in them. Its contents have about so many
// bytes.
func forest(rng *rand.Rand, nodes, total int) []plant {
	list := []plant{}
	dirs, files := []string{""}, []string{}
	used := map[string]bool{}
	name := func(dir string) string {
		for {
			n := fmt.Sprintf("%x", rng.Uint32N(1<<20))
			if rng.IntN(10) == 0 {
				n = strings.Repeat(n+"-", 100)[:60+rng.IntN(120)]
			}
			if p := path.Join(dir, n); !used[p] {
				used[p] = true
				return p
			}
		}
	}
	for range nodes {
		dir := dirs[len(dirs)-1]
		if rng.IntN(3) == 0 {
			dir = dirs[rng.IntN(len(dirs))]
		}
		p := plant{path: name(dir)}
		p.node.UID, p.node.GID = rng.Uint32N(1<<31), rng.Uint32N(100)
		p.node.Atime, p.node.Mtime = time.Unix(int64(rng.Int32())-1<<30, int64(rng.Uint32N(1e9))), time.Unix(int64(rng.Int32()), 0)
		perm := uint16(rng.UintN(0o10000))
		switch k := rng.IntN(20); {
		case k == 0:
			p.node.Mode = layout.ModeLink | 0o777
			p.node.Target = strings.Repeat("t/", 1+rng.IntN(200))
		case k == 1:
			p.node.Mode = layout.ModeFIFO | perm
		case k == 2:
			p.node.Mode, p.node.Major, p.node.Minor = layout.ModeBlock|perm, rng.Uint32N(1<<12), rng.Uint32N(1<<20)
		case k == 3 && len(files) > 0:
			p.link = files[rng.IntN(len(files))]
		case k < 7:
			p.node.Mode = layout.ModeDir | perm&^0o2000 // nothing is inherited by the builder
			dirs = append(dirs, p.path)
		default:
			p.node.Mode = layout.ModeFile | perm
			files = append(files, p.path)
			p.contents(rng, int64(total/nodes))
		}
		if kind := p.node.Mode & layout.ModeType; (kind == layout.ModeFile || kind == layout.ModeDir) && rng.IntN(4) == 0 {
			p.node.Xattrs = map[string][]byte{"user.short": []byte("value")}
			if rng.IntN(3) == 0 {
				p.node.Xattrs["user.long"] = bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(min(1+total/nodes, 60_000)))
				p.node.Xattrs["trusted.t"] = nil
			}
		}
		list = append(list, p)
	}
	return list
}

// contents makes up a file of about so many bytes: some empty, some with holes, some with zeros.
func (p *plant) contents(rng *rand.Rand, mean int64) {
	switch rng.IntN(6) {
	case 0:
		return
	case 1: // holes, at any byte
		off := int64(0)
		for range 1 + rng.IntN(8) {
			off += rng.Int64N(20000)
			n := rng.Int64N(1 + mean/4)
			p.runs = append(p.runs, volume.Run{Off: off, Len: n})
			off += n
		}
		p.size = off + rng.Int64N(30000)
	default:
		p.size = rng.Int64N(2*mean + 1)
		p.runs = []volume.Run{{Off: 0, Len: p.size}}
	}
	for _, r := range p.runs {
		b := make([]byte, r.Len)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if len(b) > 9000 {
			for range rng.IntN(2) * rng.IntN(20) { // now and then a map of many runs
				clear(b[rng.IntN(len(b)-5000):][:5000])
			}
		}
		p.data = append(p.data, b...)
	}
}

// plantBuild makes a tree with a Builder, up to Close.
func plantBuild(b *volume.Builder, list []plant, rng *rand.Rand) error {
	inos := map[string]volume.Ino{".": volume.Root}
	for i := range list {
		p := &list[i]
		dir, name := inos[path.Dir(p.path)], path.Base(p.path)
		var ino volume.Ino
		var err error
		switch {
		case p.link != "":
			ino, err = inos[p.link], b.Link(inos[p.link], dir, name)
		case p.node.Mode&layout.ModeType == layout.ModeDir:
			ino, err = b.Mkdir(dir, name, p.node)
		case p.node.Mode&layout.ModeType == layout.ModeFile:
			ino, err = b.File(dir, name, p.node, volume.Content{Size: p.size, Runs: p.runs, From: bytes.NewReader(p.data)})
		default:
			ino, err = b.Node(dir, name, p.node)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.path, err)
		}
		inos[p.path] = ino
		switch rng.IntN(30) {
		case 0:
			if err := b.EndDir(inos[path.Dir(p.path)]); err != nil {
				return err
			}
		case 1:
			got, kind, err := b.Lookup(dir, name)
			if err != nil || got != ino || p.link == "" && kind != p.node.Mode&layout.ModeType {
				return fmt.Errorf("lookup of %s: %d, %#o, %v: want %d", p.path, got, kind, err, ino)
			}
			if _, _, err := b.Lookup(dir, "no such name"); !errors.Is(err, volume.ErrNotExist) {
				return fmt.Errorf("lookup of nothing: %v", err)
			}
		}
	}
	return nil
}

// plantVolume makes a tree by ordinary operations.
func plantVolume(v *volume.Volume, list []plant) error {
	inos := map[string]volume.Ino{".": volume.Root}
	for i := range list {
		p := &list[i]
		dir, name := inos[path.Dir(p.path)], path.Base(p.path)
		if p.link != "" {
			if _, err := v.Link(inos[p.link], dir, name); err != nil {
				return err
			}
			inos[p.path] = inos[p.link]
			continue
		}
		a, err := v.Create(dir, name, p.node.NewNode)
		if err != nil {
			return err
		}
		inos[p.path] = a.Ino
		data := p.data
		for _, r := range p.runs {
			if _, err := v.Write(a.Ino, data[:r.Len], r.Off); err != nil {
				return err
			}
			data = data[r.Len:]
		}
		for _, name := range sortedKeys(p.node.Xattrs) {
			if err := v.Setxattr(a.Ino, name, p.node.Xattrs[name], 0); err != nil {
				return err
			}
		}
		if size := uint64(p.size); size > 0 {
			if _, err := v.Setattr(a.Ino, volume.SetAttr{Size: &size}); err != nil {
				return err
			}
		}
	}
	for i := range list {
		p := &list[i]
		if p.link != "" {
			continue
		}
		if _, err := v.Setattr(inos[p.path], volume.SetAttr{Atime: &p.node.Atime, Mtime: &p.node.Mtime}); err != nil {
			return err
		}
	}
	_, err := v.Setattr(volume.Root, volume.SetAttr{Mtime: &buildTime})
	return err
}

// portrait is all that can be seen of a volume, a line a name. Which names are one inode is
// told by the first of them.
func portrait(t testing.TB, v *volume.Volume) []string {
	t.Helper()
	var lines []string
	first := map[volume.Ino]string{}
	var walk func(ino volume.Ino, p string)
	walk = func(ino volume.Ino, p string) {
		a, err := v.Getattr(ino)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		if first[ino] == "" {
			first[ino] = p
		}
		line := fmt.Sprintf("%s is %s: %o links %d owner %d:%d size %d dev %d:%d times %v %v %v %v", p, first[ino], a.Mode, a.Links, a.UID, a.GID,
			a.Size, a.Major, a.Minor, a.Atime.UnixNano(), a.Mtime.UnixNano(), a.Ctime.UnixNano(), a.Btime.UnixNano())
		switch a.Mode & layout.ModeType {
		case layout.ModeLink:
			target, err := v.Readlink(ino)
			if err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			line += " -> " + target
		case layout.ModeFile:
			b := make([]byte, a.Size)
			if _, err := v.Read(ino, b, 0); err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			line += fmt.Sprintf(" sum %08x", layout.Sum(0, b))
		}
		names, err := v.Listxattr(ino)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		for _, n := range names {
			value, err := v.Getxattr(ino, n)
			if err != nil {
				t.Fatalf("%s: %s: %v", p, n, err)
			}
			line += fmt.Sprintf(" %s %d %08x", n, len(value), layout.Sum(0, value))
		}
		lines = append(lines, line)
		if a.Mode&layout.ModeType != layout.ModeDir {
			return
		}
		inos := map[string]volume.Ino{}
		if err := v.ReadDir(ino, 0, func(e volume.DirEntry) bool { inos[e.Name] = e.Ino; return true }); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		for _, n := range sortedKeys(inos) {
			if got, err := v.Lookup(ino, n); err != nil || got.Ino != inos[n] {
				t.Fatalf("%s/%s: lookup: %d, %v", p, n, got.Ino, err)
			}
			walk(inos[n], p+"/"+n)
		}
	}
	walk(volume.Root, "")
	return lines
}

func buildFormat(blockSize int) volume.FormatOptions {
	return volume.FormatOptions{BlockSize: blockSize, UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: buildTime, Label: "built"}
}

func mustOpen(t testing.TB, dev disk.Device) *volume.Volume {
	t.Helper()
	v, err := volume.Open(dev, volume.Options{Clock: func() time.Time { return buildTime }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A built volume is what ordinary operations make: the same tree, all invariants, and usable
// down to the removal of everything, which gives all space back.
func TestBuildIsOrdinary(t *testing.T) {
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		bs := []int{1024, 2048, 4096}[seed%3]
		size := int64(4+rng.IntN(40)) << 20
		list := forest(rng, 1+rng.IntN(int(size>>20)*40), int(size/3))
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			t.Parallel()
			o := buildFormat(bs)
			o.InodesPerGroup = 2048
			built := disk.NewMemory(size)
			rng.Uint64()
			for i := range built.Bytes() { // whatever was there before
				built.Bytes()[i] = byte(i * 7 >> 3)
			}
			b, err := volume.NewBuilder(built, volume.BuildOptions{Format: o, Workers: int(seed%4) - 1})
			if err != nil {
				t.Fatal(err)
			}
			if err := plantBuild(b, list, rng); err != nil {
				t.Fatal(err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			volume.CheckDevice(t, built)

			plain := disk.NewMemory(size)
			if err := volume.Format(plain, o); err != nil {
				t.Fatal(err)
			}
			v := mustOpen(t, plain)
			empty, err := v.Statfs()
			if err != nil {
				t.Fatal(err)
			}
			if err := plantVolume(v, list); err != nil {
				t.Fatal(err)
			}
			w := mustOpen(t, built)
			want, got := portrait(t, v), portrait(t, w)
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(want, got) {
				for i := range want {
					if i >= len(got) || want[i] != got[i] {
						t.Fatalf("ordinary: %s\nbuilt:    %s", want[i], slices.Concat(got, []string{"nothing"})[min(i, len(got))])
					}
				}
				t.Fatalf("%d names more", len(got)-len(want))
			}
			// It goes on as any other: half the names get another one, and all is removed.
			tr := w.Tree()
			for i, p := range list {
				if i%2 == 0 && p.link == "" && p.node.Mode&layout.ModeType == layout.ModeFile {
					if err := tr.WriteFile(p.path, []byte("something else"), 0o644); err != nil {
						t.Fatal(err)
					}
					if err := tr.Rename(p.path, p.path+fmt.Sprint("-new-", i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Sync(); err != nil {
				t.Fatal(err)
			}
			volume.CheckDevice(t, built)
			if err := removeAll(w); err != nil {
				t.Fatal(err)
			}
			after, err := w.Statfs()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if after.Free != empty.Free || after.FreeInodes != empty.FreeInodes || after.Dirs != 1 {
				t.Errorf("emptied: %+v\nempty:   %+v", after, empty)
			}
			volume.CheckDevice(t, built)
		})
	}
}

// removeAll removes all that is in a volume.
func removeAll(v *volume.Volume) error {
	var names []string
	if err := v.ReadDir(volume.Root, 0, func(e volume.DirEntry) bool { names = append(names, e.Name); return true }); err != nil {
		return err
	}
	for _, n := range names {
		if err := v.Tree().RemoveAll(n); err != nil {
			return err
		}
	}
	return nil
}

// Files of many short runs, whose maps need blocks while the data is being placed, own their blocks alone; and on a
// file of the host a build takes no room that it does not use.
func TestBuildHoles(t *testing.T) {
	for _, workers := range []int{-1, 2} {
		rng := rand.New(rand.NewPCG(3, uint64(workers)))
		list := []plant{}
		for i := range 300 {
			p := plant{path: fmt.Sprint("f", i), node: volume.BuildNode{NewNode: volume.NewNode{Mode: layout.ModeFile | 0o600}}}
			for range 5 + rng.IntN(30) { // zeros are not written, so these are runs too
				p.data = append(p.data, bytes.Repeat([]byte{byte(1 + rng.IntN(255))}, 4096*(1+rng.IntN(2)))...)
				p.data = append(p.data, make([]byte, 4096*(1+rng.IntN(3)))...)
			}
			p.size = int64(len(p.data))
			p.runs = []volume.Run{{Off: 0, Len: p.size}}
			list = append(list, p)
		}
		name := filepath.Join(t.TempDir(), "image")
		dev, err := disk.CreateFile(name, 128<<20, 0o600, true)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: buildFormat(4096), Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if err := plantBuild(b, list, rng); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		volume.CheckDevice(t, dev)
		v := mustOpen(t, dev)
		got := make([]byte, 1<<20)
		for _, p := range list {
			a, err := v.Lookup(volume.Root, p.path)
			if err != nil {
				t.Fatal(err)
			}
			n, err := v.Read(a.Ino, got, 0)
			if err != nil || !bytes.Equal(got[:n], p.data) {
				t.Fatalf("%s: %d bytes, %v; want %d", p.path, n, err, len(p.data))
			}
		}
		s, err := v.Statfs()
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		used := int64(s.Blocks-s.Free) * int64(s.BlockSize)
		data := int64(0) // that the file has
		for off := int64(0); ; off += 4096 {
			if off = disk.NextData(dev, off); off >= dev.Size() {
				break
			}
			data += 4096
		}
		if data > used+4<<20 {
			t.Errorf("%d bytes are used, and the file has %d", used, data)
		}
	}
}

// The same calls make the same bytes, however many goroutines help.
func TestBuildIsDeterministic(t *testing.T) {
	var want []byte
	for _, workers := range []int{-1, 1, 2, 7, 7, 7} {
		rng := rand.New(rand.NewPCG(77, 1))
		list := forest(rng, 800, 10<<20)
		dev := disk.NewMemory(32 << 20)
		b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: buildFormat(1024), Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if err := plantBuild(b, list, rng); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = dev.Bytes()
		} else if !bytes.Equal(want, dev.Bytes()) {
			t.Fatalf("%d workers make other bytes", workers)
		}
	}
}

// record builds a small tree on a device that is recorded.
func recordBuild(t testing.TB, base disk.Device, o volume.FormatOptions, list []plant, workers int) *disk.Trace {
	t.Helper()
	dev := disk.NewRecorder(base, 512)
	b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: o, Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	if err := plantBuild(b, list, rand.New(rand.NewPCG(1, 2))); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return dev.Trace()
}

// The writes of a build are one sweep over the device, and until the last of its flushes but
// one there is no volume, after any number of them.
func TestBuildNeverHalfValid(t *testing.T) {
	old := disk.NewMemory(24 << 20)
	if err := volume.Format(old, volume.FormatOptions{Label: "older", BlockSize: 4096}); err != nil {
		t.Fatal(err)
	}
	list := forest(rand.New(rand.NewPCG(5, 1)), 300, 12<<20)
	trace := recordBuild(t, old, buildFormat(4096), list, -1)
	dev := disk.MemoryFrom(slices.Clone(trace.Base))
	last := 0 // the flush before the superblocks
	flushes := 0
	for i, e := range trace.Events {
		if e.Kind == disk.EventFlush && i < len(trace.Events)-1 {
			last, flushes = i, flushes+1
		}
	}
	if flushes != 2 || trace.Events[len(trace.Events)-1].Kind != disk.EventFlush {
		t.Fatalf("%d flushes before the last event", flushes)
	}
	voided := false
	var written, data, forward int64
	end := int64(0)
	for i, e := range trace.Events {
		switch {
		case e.Kind == disk.EventFlush:
			voided = true
			continue
		case e.Kind != disk.EventWrite:
			continue
		}
		if _, err := dev.WriteAt(e.Data, e.Off); err != nil {
			t.Fatal(err)
		}
		written += int64(len(e.Data))
		if len(e.Data) >= 1<<19 {
			data += int64(len(e.Data))
		}
		if e.Off >= end {
			forward++
		}
		end = e.Off + int64(len(e.Data))
		s, err := volume.ReadSuperblock(dev)
		switch {
		case i < last && voided && err == nil:
			t.Fatalf("event %d of %d: there is a volume %q", i, len(trace.Events), s.Label)
		case i > last && err == nil && s.Label != "built":
			t.Fatalf("event %d: the volume is %q", i, s.Label)
		}
	}
	if data*4 < written*3 {
		t.Errorf("of %d bytes only %d were written in long runs", written, data)
	}
	t.Logf("%d events, %d bytes, %d in long runs, %d of the writes forward", len(trace.Events), written, data, forward)
	volume.CheckDevice(t, dev)
}

// Whatever a power cut leaves behind of a build is no volume, or all of it.
func TestBuildPowerCut(t *testing.T) {
	o := buildFormat(1024)
	size := volume.MinSize(o)
	rng := rand.New(rand.NewPCG(9, 1))
	list := forest(rng, 12, 8<<10)
	want := []string(nil)
	trace := recordBuild(t, disk.NewMemory(size), o, list, -1)
	for _, m := range []crash.Model{crash.Sectors, crash.Atomic} {
		none, whole := 0, 0
		r, err := crash.Explore(trace, crash.Options{Model: m}, func(s *crash.State) error {
			if _, err := volume.ReadSuperblock(s.Dev); err != nil {
				none++
				if s.End && s.Epoch > 1 {
					return fmt.Errorf("after the last flush: %w", err)
				}
				return nil
			}
			v, err := volume.Open(s.Dev, volume.Options{ReadOnly: true, Clock: func() time.Time { return buildTime }})
			if err != nil {
				return err
			}
			got := portrait(t, v)
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				return errors.New("another tree")
			}
			whole++
			return v.Close()
		})
		if err != nil {
			t.Fatal(err)
		}
		if r.Violations > 0 || !r.Complete() || none == 0 || whole == 0 {
			t.Errorf("%v: %d violations, complete %v, %d without a volume, %d whole", m, r.Violations, r.Complete(), none, whole)
			for _, p := range r.Points {
				for _, k := range p.Kept {
					t.Log(k.ID, k.Err)
				}
			}
		}
		t.Logf("%v: %v states, %d without a volume, %d whole", m, r.States, none, whole)
	}
	if len(want) == 0 || len(want) < len(list)/2 {
		t.Errorf("%d names", len(want))
	}
}

// A build that fails says why and leaves no volume.
func TestBuildFails(t *testing.T) {
	file := volume.BuildNode{NewNode: volume.NewNode{Mode: layout.ModeFile | 0o644}}
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		want error
		run  func(b *volume.Builder) error
	}{
		"no space": {volume.ErrNoSpace, func(b *volume.Builder) error {
			_, err := b.File(volume.Root, "f", file, volume.Content{Size: 1 << 40, From: iotest.DataErrReader(endless{})})
			return err
		}},
		"no inodes": {volume.ErrNoInodes, func(b *volume.Builder) error {
			for i := 0; ; i++ {
				if _, err := b.Node(volume.Root, fmt.Sprint(i), file); err != nil {
					return err
				}
			}
		}},
		"names fill the space": {volume.ErrNoSpace, func(b *volume.Builder) error {
			ino, err := b.Node(volume.Root, "f", file)
			for i := 0; err == nil; i++ {
				err = b.Link(ino, volume.Root, fmt.Sprintf("%0200d", i))
			}
			return err
		}},
		"reader fails": {boom, func(b *volume.Builder) error {
			_, err := b.File(volume.Root, "f", file, volume.Content{Size: 1 << 16, From: io.MultiReader(bytes.NewReader(make([]byte, 5000)), iotest.ErrReader(boom))})
			return err
		}},
		"source shorter": {volume.ErrSourceSize, func(b *volume.Builder) error {
			_, err := b.File(volume.Root, "f", file, volume.Content{Size: 1 << 16, From: strings.NewReader("short")})
			return err
		}},
		"source empty": {volume.ErrSourceSize, func(b *volume.Builder) error {
			_, err := b.File(volume.Root, "f", file, volume.Content{Size: 1, From: strings.NewReader("")})
			return err
		}},
		"source longer": {volume.ErrSourceSize, func(b *volume.Builder) error {
			_, err := b.File(volume.Root, "f", file, volume.Content{Size: 4, From: strings.NewReader("longer")})
			return err
		}},
		"name twice": {volume.ErrExist, func(b *volume.Builder) error {
			for range 2 {
				if _, err := b.Node(volume.Root, "f", file); err != nil {
					return fmt.Errorf("too early: %w", io.EOF)
				}
			}
			return b.EndDir(volume.Root)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, workers := range []int{-1, 3} {
				dev := disk.NewMemory(8 << 20)
				o := buildFormat(1024)
				o.InodesPerGroup = 64
				b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: o, Workers: workers})
				if err != nil {
					t.Fatal(err)
				}
				if err := c.run(b); !errors.Is(err, c.want) {
					t.Fatalf("%v, want %v", err, c.want)
				}
				if _, err := b.Node(volume.Root, "more", file); !errors.Is(err, c.want) {
					t.Errorf("after it: %v", err)
				}
				if err := b.Close(); !errors.Is(err, c.want) {
					t.Errorf("close: %v", err)
				}
				b.Abort()
				if _, err := volume.ReadSuperblock(dev); !errors.Is(err, layout.ErrNotHoldfast) {
					t.Errorf("the device: %v", err)
				}
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}

// What is wrong in itself changes nothing, and the build goes on.
func TestBuildRefuses(t *testing.T) {
	dev := disk.NewMemory(4 << 20)
	b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: buildFormat(1024)})
	if err != nil {
		t.Fatal(err)
	}
	file := volume.BuildNode{NewNode: volume.NewNode{Mode: layout.ModeFile | 0o644}}
	link := volume.BuildNode{NewNode: volume.NewNode{Mode: layout.ModeLink}}
	f, err := b.Node(volume.Root, "f", file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.Mkdir(volume.Root, "d", volume.BuildNode{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Lookup(volume.Root, "f"); err != nil { // from now on its names are known
		t.Fatal(err)
	}
	runs := func(r ...volume.Run) volume.Content {
		return volume.Content{Size: 1000, From: strings.NewReader(""), Runs: r}
	}
	content := func(c volume.Content) error {
		_, err := b.File(volume.Root, "g", file, c)
		return err
	}
	node := func(dir volume.Ino, name string, n volume.BuildNode) error {
		_, err := b.Node(dir, name, n)
		return err
	}
	long := link
	long.Target = strings.Repeat("x", 5000)
	attrs := file
	attrs.Xattrs = map[string][]byte{"odd.a": nil}
	huge := file
	huge.Xattrs = map[string][]byte{"user.a": make([]byte, 1<<17)}
	acl := file
	acl.Xattrs = map[string][]byte{volume.ACLAccess: full(7, 7, 7, 7)[:9]}
	for i, c := range []struct{ got, want error }{
		{node(volume.Root, "", file), volume.ErrNotExist},
		{node(volume.Root, ".", file), volume.ErrExist},
		{node(volume.Root, "..", file), volume.ErrExist},
		{node(volume.Root, "f", file), volume.ErrExist},
		{node(volume.Root, "a/b", file), volume.ErrInvalid},
		{node(volume.Root, "a\x00", file), volume.ErrInvalid},
		{node(volume.Root, strings.Repeat("n", 256), file), volume.ErrNameTooLong},
		{node(f, "g", file), volume.ErrNotDir},
		{node(0, "g", file), volume.ErrStale},
		{node(99999, "g", file), volume.ErrStale},
		{node(volume.Root, "g", link), volume.ErrNotExist},
		{node(volume.Root, "g", long), volume.ErrNameTooLong},
		{node(volume.Root, "g", volume.BuildNode{NewNode: volume.NewNode{Mode: layout.ModeDir}}), volume.ErrInvalid},
		{node(volume.Root, "g", volume.BuildNode{}), volume.ErrInvalid},
		{node(volume.Root, "g", attrs), volume.ErrNotSupported},
		{node(volume.Root, "g", huge), volume.ErrTooBig},
		{node(volume.Root, "g", acl), volume.ErrInvalid},
		{b.SetAttr(f, attrs), volume.ErrNotSupported},
		{b.Link(d, volume.Root, "g"), volume.ErrPermission},
		{b.Link(f, volume.Root, "d"), volume.ErrExist},
		{b.Link(77777, volume.Root, "g"), volume.ErrStale},
		{b.SetAttr(77777, file), volume.ErrStale},
		{content(volume.Content{Size: -1}), volume.ErrInvalid},
		{content(volume.Content{Size: 1 << 62}), volume.ErrFileTooBig},
		{content(runs(volume.Run{Off: -1, Len: 5})), volume.ErrInvalid},
		{content(runs(volume.Run{Off: 0, Len: -5})), volume.ErrInvalid},
		{content(runs(volume.Run{Off: 0, Len: 1001})), volume.ErrInvalid},
		{content(runs(volume.Run{Off: 1 << 62, Len: 1 << 62})), volume.ErrInvalid},
		{content(runs(volume.Run{Off: 0, Len: 10}, volume.Run{Off: 9, Len: 1})), volume.ErrInvalid},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("case %d: %v, want %v", i, c.got, c.want)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); !errors.Is(err, volume.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	volume.CheckDevice(t, dev)
	v := mustOpen(t, dev)
	if got := portrait(t, v); len(got) != 3 {
		t.Errorf("%q", got)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// More metadata than a build keeps in memory goes out and comes back; a directory goes on as
// an ordinary one when its names have been asked for.
func TestBuildLargeDirectory(t *testing.T) {
	const names = 150_000
	dev := disk.NewMemory(96 << 20)
	o := buildFormat(1024)
	o.InodesPerGroup = 15_000
	b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: o})
	if err != nil {
		t.Fatal(err)
	}
	file := volume.BuildNode{NewNode: volume.NewNode{Mode: layout.ModeFile | 0o644}}
	dir, err := b.Mkdir(volume.Root, "d", volume.BuildNode{})
	if err != nil {
		t.Fatal(err)
	}
	first := volume.Ino(0)
	for i := range names {
		name := fmt.Sprintf("n%d", i)
		ino, err := b.Node(dir, name, file)
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			first = ino
		case names - 1000:
			if got, _, err := b.Lookup(dir, name); err != nil || got != ino {
				t.Fatalf("%s: %d, %v", name, got, err)
			}
			if _, err := b.Node(dir, "n7", file); !errors.Is(err, volume.ErrExist) {
				t.Fatalf("a name that is there: %v", err)
			}
		}
	}
	if err := b.Link(first, volume.Root, "first"); err != nil { // its inode has long been written
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	volume.CheckDevice(t, dev)
	v := mustOpen(t, dev)
	for i := 0; i < names; i += 997 {
		if _, err := v.Lookup(dir, fmt.Sprintf("n%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if a, err := v.Getattr(first); err != nil || a.Links != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

// Attributes of what is built are there, those of a directory also when they come after its
// names, shorter than they were.
func TestBuildXattrs(t *testing.T) {
	for _, bs := range []int{1024, 4096} {
		dev := disk.NewMemory(4 << 20)
		b, err := volume.NewBuilder(dev, volume.BuildOptions{Format: volume.FormatOptions{BlockSize: bs}, Workers: -1})
		if err != nil {
			t.Fatal(err)
		}
		short := map[string][]byte{"user.a": []byte("1")}
		long := map[string][]byte{"user.a": bytes.Repeat([]byte("long"), 2000), "trusted.b": []byte("2"), volume.ACLAccess: full(7, 5, 1, 0)}
		node := func(mode uint16, set map[string][]byte) volume.BuildNode {
			return volume.BuildNode{NewNode: volume.NewNode{Mode: mode, Target: "t"}, Xattrs: set}
		}
		d, err := b.Mkdir(volume.Root, "d", node(layout.ModeDir|0o755, long))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]map[string][]byte{}
		for name, set := range map[string]map[string][]byte{"short": short, "long": long, "none": nil} {
			c := volume.Content{Size: 3000, From: strings.NewReader(strings.Repeat("x", 3000))}
			if _, err := b.File(d, name, node(layout.ModeFile|0o644, set), c); err != nil {
				t.Fatal(err)
			}
			want["d/"+name] = set
		}
		if _, err := b.Node(d, "link", node(layout.ModeLink, map[string][]byte{"trusted.l": []byte("3")})); err != nil {
			t.Fatal(err)
		}
		want["d/link"] = map[string][]byte{"trusted.l": []byte("3")}
		if err := b.EndDir(d); err != nil {
			t.Fatal(err)
		}
		if err := b.SetAttr(d, node(layout.ModeDir|0o700, short)); err != nil {
			t.Fatal(err)
		}
		want["d"] = short
		if err := b.SetAttr(d, node(layout.ModeDir|0o700, map[string][]byte{volume.ACLAccess: acl([3]uint32{1, 6, none})})); !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("a wrong ACL: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		volume.CheckDevice(t, dev)
		v := mustOpen(t, dev)
		for path, set := range want {
			ino, err := v.Tree().Resolve(path, false)
			if err != nil {
				t.Fatal(err)
			}
			names, err := v.Listxattr(ino)
			if err != nil || len(names) != len(set) {
				t.Errorf("%s has %q, %v; want %d", path, names, err, len(set))
			}
			for name, value := range set {
				if got, err := v.Getxattr(ino, name); err != nil || !bytes.Equal(got, value) {
					t.Errorf("%s %s: %d bytes, %v", path, name, len(got), err)
				}
			}
		}
		if i, err := v.Tree().Stat("d/long"); err != nil || i.Mode().Perm() != 0o710 {
			t.Errorf("the mode with an ACL: %v, %v", i, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
