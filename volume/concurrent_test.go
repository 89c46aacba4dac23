package volume_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// call is an operation on a few names of one directory, and what it answered.
type call struct {
	what     string
	from, to int // names
}

type answer struct {
	err   string
	id    uint64 // inode and generation
	links uint32
}

// names is what each name means: 0 nothing, else inode and generation.
type names [4]uint64

func (s names) links(id uint64) (n uint32) {
	for _, x := range s {
		if x == id {
			n++
		}
	}
	return n
}

// sequential is what the calls do one after another.
var sequential = porcupine.Model{
	Init: func() any { return names{} },
	Step: func(state, input, output any) (bool, any) {
		s, c, a := state.(names), input.(call), output.(answer)
		refuse := func(e *volume.Error) (bool, any) { return a.err == e.Error(), s }
		old, target := s[c.from], s[c.to]
		switch c.what {
		case "create":
			if old != 0 {
				return refuse(volume.ErrExist)
			}
			s[c.from] = a.id
			return a.err == "" && a.id != 0 && a.links == 1 && s.links(a.id) == 1, s
		case "unlink":
			if old == 0 {
				return refuse(volume.ErrNotExist)
			}
			s[c.from] = 0
		case "lookup":
			if old == 0 {
				return refuse(volume.ErrNotExist)
			}
			return a.err == "" && a.id == old && a.links == s.links(old), s
		case "link":
			switch {
			case old == 0:
				return refuse(volume.ErrNotExist)
			case target != 0:
				return refuse(volume.ErrExist)
			}
			s[c.to] = old
		case "rename":
			switch {
			case old == 0:
				return refuse(volume.ErrNotExist)
			case old != target:
				s[c.to], s[c.from] = old, 0
			}
		case "rename, not over":
			switch {
			case old == 0:
				return refuse(volume.ErrNotExist)
			case target != 0:
				return refuse(volume.ErrExist)
			}
			s[c.to], s[c.from] = old, 0
		}
		return a.err == "", s
	},
	Equal: func(a, b any) bool { return a.(names) == b.(names) },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

// do is one call on a volume.
func (c call) do(v *volume.Volume) answer {
	tr := v.Tree()
	from, to := fmt.Sprint("n", c.from), fmt.Sprint("n", c.to)
	var err error
	var got volume.Attr
	switch c.what {
	case "create":
		got, err = v.Create(volume.Root, from, volume.NewNode{Mode: fileMode})
	case "unlink":
		err = v.Unlink(volume.Root, from)
	case "lookup":
		got, err = v.Lookup(volume.Root, from)
	case "link":
		err = tr.Link(from, to)
	case "rename":
		err = v.Rename(volume.Root, from, volume.Root, to, 0)
	case "rename, not over":
		err = tr.RenameFlags(from, to, volume.RenameNoReplace)
	}
	a := answer{err: errno(err), links: got.Links}
	if err == nil && got.Ino != 0 {
		a.id = uint64(got.Ino) | uint64(got.Generation)<<32
	}
	return a
}

// Operations that run at the same time take effect as if one after another, in an order that
// agrees with when they began and ended (Herlihy and Wing, 1990).
func TestLinearizable(t *testing.T) {
	histories, workers, each := 60, 8, 8
	if testing.Short() {
		histories = 20
	}
	end := time.Now().Add(20 * time.Second)
	for h := 0; h < histories && time.Now().Before(end); h++ {
		im := newImage(t, 1024, 2<<20)
		var clock atomic.Int64
		var mu sync.Mutex
		var history []porcupine.Operation
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(h), uint64(w)))
				whats := []string{"create", "create", "unlink", "lookup", "lookup", "link", "rename", "rename, not over"}
				for range each {
					c := call{whats[r.IntN(len(whats))], r.IntN(len(names{})), r.IntN(len(names{}))}
					begin := clock.Add(1)
					a := c.do(im.Volume)
					op := porcupine.Operation{ClientId: w, Input: c, Call: begin, Output: a, Return: clock.Add(1)}
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
					if r.IntN(16) == 0 {
						if err := im.Sync(); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		// What is there in the end closes the history.
		for n := range len(names{}) {
			c := call{"lookup", n, 0}
			begin := clock.Add(1)
			a := c.do(im.Volume)
			history = append(history, porcupine.Operation{ClientId: workers, Input: c, Call: begin, Output: a, Return: clock.Add(1)})
		}
		switch porcupine.CheckOperationsTimeout(sequential, history, 10*time.Second) {
		case porcupine.Illegal:
			t.Fatalf("history %d is not linearizable: %+v", h, history)
		case porcupine.Unknown:
			t.Errorf("history %d: no answer in time", h)
		}
	}
}

// The judge of histories is judged: it refuses what cannot have been.
func TestLinearizableJudge(t *testing.T) {
	op := func(client int, c call, begin int64, a answer, end int64) porcupine.Operation {
		return porcupine.Operation{ClientId: client, Input: c, Call: begin, Output: a, Return: end}
	}
	exist, none := volume.ErrExist.Error(), volume.ErrNotExist.Error()
	for _, c := range []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"one of two wins", []porcupine.Operation{
			op(0, call{"create", 0, 0}, 1, answer{id: 5, links: 1}, 4), op(1, call{"create", 0, 0}, 2, answer{err: exist}, 3)}, true},
		{"both win", []porcupine.Operation{
			op(0, call{"create", 0, 0}, 1, answer{id: 5, links: 1}, 4), op(1, call{"create", 0, 0}, 2, answer{id: 6, links: 1}, 3)}, false},
		{"neither wins", []porcupine.Operation{
			op(0, call{"create", 0, 0}, 1, answer{err: exist}, 4), op(1, call{"create", 0, 0}, 2, answer{err: exist}, 3)}, false},
		{"a rename is seen half done", []porcupine.Operation{
			op(0, call{"create", 0, 0}, 1, answer{id: 5, links: 1}, 2), op(0, call{"rename", 0, 1}, 3, answer{}, 8),
			op(1, call{"lookup", 0, 0}, 4, answer{err: none}, 5), op(1, call{"lookup", 1, 0}, 6, answer{err: none}, 7)}, false},
		{"a link too many", []porcupine.Operation{
			op(0, call{"create", 0, 0}, 1, answer{id: 5, links: 1}, 2), op(1, call{"lookup", 0, 0}, 4, answer{id: 5, links: 2}, 5)}, false},
	} {
		if got := porcupine.CheckOperations(sequential, c.history); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Of many who make one name at once, one does.
func TestOneWins(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(im *image, i int) error
	}{
		{"create", func(im *image, i int) error { return create("", "n", fileMode)(im) }},
		{"mkdir", func(im *image, i int) error { return im.Tree().Mkdir("n", 0o755) }},
		{"symlink", func(im *image, i int) error { return im.Tree().Symlink(fmt.Sprint("target-", i), "n") }},
		{"link", func(im *image, i int) error { return im.Tree().Link(fmt.Sprint(i), "n") }},
		{"rename", func(im *image, i int) error {
			return im.Tree().RenameFlags(fmt.Sprint(i), "n", volume.RenameNoReplace)
		}},
		{"open", func(im *image, i int) error {
			f, err := im.Tree().OpenFile("n", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			return f.Close()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 10 {
				im := newImage(t, 1024, 2<<20)
				const n = 8
				for i := range n {
					im.add(fmt.Sprint(i))
				}
				var won atomic.Int32
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						switch err := c.make(im, i); {
						case err == nil:
							won.Add(1)
						case !errors.Is(err, fs.ErrExist):
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if won.Load() != 1 {
					t.Fatalf("%d won", won.Load())
				}
			}
		})
	}
}

// Everything at once on a few names: files opened, written, read, renamed and removed,
// directories made, listed and removed. What it comes to is for fsck to say; a file that is
// open has the content that its holder gave it.
func TestTogether(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	free := im.statfs()
	im.add("d/", "e/")
	var wg sync.WaitGroup
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			tr := im.Tree()
			path := func() string { return fmt.Sprintf("%c/%d", 'd'+r.IntN(2), r.IntN(4)) }
			expected := func(err error) {
				for _, e := range []error{nil, fs.ErrNotExist, fs.ErrExist, volume.ErrIsDir, volume.ErrNotDir, volume.ErrNotEmpty, volume.ErrInvalid, volume.ErrPermission} {
					if errors.Is(err, e) {
						return
					}
				}
				t.Error(err)
			}
			for i := range rounds {
				mine := []byte(fmt.Sprintf("worker %d round %d", w, i))
				f, err := tr.OpenFile(fmt.Sprintf("d/own-%d", w), os.O_RDWR|os.O_CREATE, 0o600)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := f.WriteAt(mine, int64(i)*1000); err != nil {
					t.Error(err)
				}
				if err := tr.Remove(f.Name()); err != nil {
					t.Error(err)
				}
				for range 4 {
					switch r.IntN(8) {
					case 0:
						expected(tr.Mkdir(path(), 0o755))
					case 1:
						expected(tr.WriteFile(path(), mine, 0o644))
					case 2:
						expected(tr.Remove(path()))
					case 3:
						expected(tr.Rename(path(), path()))
					case 4:
						expected(tr.RemoveAll(path()))
					case 5:
						_, err := tr.ReadDir([]string{"d", "e"}[r.IntN(2)])
						expected(err)
					case 6:
						expected(tr.Link(path(), path()))
					case 7:
						expected(tr.MkdirAll(path()+"/x/y", 0o755))
					}
				}
				got := make([]byte, len(mine))
				if _, err := f.ReadAt(got, int64(i)*1000); err != nil || string(got) != string(mine) {
					t.Errorf("%q, %v; want %q", got, err, mine)
				}
				if r.IntN(10) == 0 {
					if err := f.Sync(); err != nil {
						t.Error(err)
					}
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if im.Holds() != 0 {
		t.Errorf("%d inodes are still held", im.Holds())
	}
	if err := errors.Join(im.Tree().RemoveAll("d"), im.Tree().RemoveAll("e")); err != nil {
		t.Fatal(err)
	}
	im.reopen()
	if s := im.statfs(); s.Free != free.Free || s.FreeInodes != free.FreeInodes {
		t.Errorf("free are %d blocks and %d inodes, were %d and %d", s.Free, s.FreeInodes, free.Free, free.FreeInodes)
	}
	if a := im.attr("/"); a.Links != 2 || a.Mode&layout.ModeType != layout.ModeDir {
		t.Errorf("the root: %+v", a)
	}
}

// A write of several operations that is under way when its file is closed never goes on in the
// file that gets the number next.
func TestFileWriteBesideClose(t *testing.T) {
	dev := disk.NewMemory(64 << 20)
	if err := volume.Format(dev, volume.FormatOptions{}); err != nil {
		t.Fatal(err)
	}
	var looked chan struct{} // closed when an operation asks for the time
	v, err := volume.Open(dev, volume.Options{Clock: func() time.Time {
		if looked != nil {
			close(looked)
			looked = nil
		}
		return time.Unix(1, 0)
	}})
	if err != nil {
		t.Fatal(err)
	}
	tr := v.Tree()
	p := bytes.Repeat([]byte{0xee}, 8<<20)
	for i := range 30 {
		f, err := tr.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Remove("f"); err != nil {
			t.Fatal(err)
		}
		under := make(chan struct{})
		looked = under
		var both sync.WaitGroup
		both.Go(func() { _, _ = f.WriteAt(p, 0) })
		both.Go(func() {
			<-under
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			if err := tr.WriteFile("file", []byte("file"), 0o600); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if got, err := tr.ReadFile("file"); err != nil || string(got) != "file" {
			t.Fatalf("round %d: the file made next has %d bytes, %v", i, len(got), err)
		}
		for _, name := range []string{"file"} {
			if err := tr.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	volume.CheckDevice(t, dev)
}

// All operations beside each other, with commits and a Close in between: none answers what it may
// not, and what is left is sound.
func TestAllOperationsTogether(t *testing.T) {
	for seed := range uint64(3) {
		im := makeImage(t, 1024, 6<<20)
		if seed%2 == 0 {
			im.opt.CacheBytes = 1 << 20
			im.opt.DirtyBytes = 256 << 10
			im.reopen()
		}
		v := im.Volume
		tr := v.Tree()
		for i := range 4 {
			_ = tr.Mkdir(fmt.Sprintf("d%d", i), 0o755)
		}
		var wg sync.WaitGroup
		ok := func(err error, what string) {
			var e *volume.Error
			if err != nil && !errors.As(err, &e) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, os.ErrInvalid) {
				t.Errorf("seed %d %s: %v", seed, what, err)
			}
			if errors.Is(err, layout.ErrCorrupt) {
				t.Errorf("seed %d %s: %v", seed, what, err)
			}
		}
		for w := range 8 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(seed, uint64(w)))
				path := func() string { return fmt.Sprintf("d%d/f%d", r.IntN(4), r.IntN(5)) }
				for i := range 250 {
					switch r.IntN(18) {
					case 0, 1:
						f, err := tr.OpenFile(path(), os.O_RDWR|os.O_CREATE, 0o644)
						ok(err, "open")
						if err == nil {
							p := make([]byte, r.IntN(40000))
							for i := range p {
								p[i] = byte(r.Uint32())
							}
							_, err = f.WriteAt(p, int64(r.IntN(100000)))
							ok(err, "write")
							ok(f.Truncate(int64(r.IntN(100000))), "trunc")
							ok(f.Close(), "close")
						}
					case 2:
						if ino, err := tr.Resolve(path(), true); err == nil {
							m := []uint32{0, volume.FallocKeepSize, volume.FallocPunchHole, volume.FallocZeroRange, volume.FallocZeroRange | volume.FallocKeepSize}[r.IntN(5)]
							ok(v.Fallocate(ino, m, int64(r.IntN(100000)), int64(1+r.IntN(50000))), "falloc")
						}
					case 3:
						if ino, err := tr.Resolve(path(), true); err == nil {
							ok(v.Setxattr(ino, fmt.Sprintf("user.%d", r.IntN(4)), make([]byte, r.IntN(5000)), 0), "setx")
							_, err = v.Listxattr(ino)
							ok(err, "listx")
							ok(v.Removexattr(ino, fmt.Sprintf("user.%d", r.IntN(4))), "rmx")
						}
					case 4:
						ok(tr.RenameFlags(path(), path(), volume.RenameExchange), "exch")
					case 5:
						ok(tr.RenameFlags(path(), path(), volume.RenameWhiteout), "whiteout")
					case 6:
						f, err := tr.CreateTemp(fmt.Sprintf("d%d", r.IntN(4)), os.O_RDWR, 0o600)
						ok(err, "temp")
						if err == nil {
							_, err = f.Write(make([]byte, r.IntN(9000)+1))
							ok(err, "wtemp")
							var in sync.WaitGroup
							to := path()
							in.Go(func() { ok(tr.LinkFile(f, to), "linkfile") })
							if r.IntN(2) == 0 {
								in.Wait()
							}
							ok(f.Close(), "closetemp")
							in.Wait()
						}
					case 7:
						sub, err := tr.OpenRoot(fmt.Sprintf("d%d", r.IntN(4)))
						ok(err, "openroot")
						if err == nil {
							ok(sub.RenameTo(fmt.Sprintf("f%d", r.IntN(5)), tr, path(), 0), "renameto")
							ok(sub.Close(), "closeroot")
						}
					case 8:
						ok(v.Sync(), "sync")
					case 9, 10:
						ok(tr.Remove(path()), "remove")
					case 11:
						ok(tr.Link(path(), path()), "link")
					case 12:
						ok(tr.Rename(path(), path()), "rename")
					case 13:
						_, err := tr.ReadFile(path())
						ok(err, "readfile")
					case 14:
						_, err := tr.ReadDir(fmt.Sprintf("d%d", r.IntN(4)))
						ok(err, "readdir")
					case 15:
						f, err := tr.Open(path())
						if err == nil {
							ok(tr.RemoveFile(path(), f), "removefile")
							_, _ = f.ReadAt(make([]byte, 3000), 5)
							ok(f.Close(), "close")
						}
						_, err = v.Statfs()
						ok(err, "statfs")
					case 16:
						ok(tr.Chmod(path(), 0o640), "chmod")
						if ino, err := tr.Resolve(path(), true); err == nil {
							ok(v.Setxattr(ino, volume.ACLAccess, full(7, 5, 5, 0), 0), "acl")
							_, err = v.SeekData(ino, 0)
							ok(err, "seek")
						}
					case 17:
						if seed%3 == 2 && w == 0 && i > 150 {
							ok(v.Close(), "closevol")
						}
					}
				}
			})
		}
		wg.Wait()
		im.finish(t)
		if t.Failed() {
			return
		}
	}
}
