package volume_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// image is a volume in memory.
type image struct {
	*volume.Volume
	tb  fataler
	dev *disk.Memory
	opt volume.Options
	now int64
}

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// newImage makes a volume whose clock goes one second further with each look at it. When the
// test ends it is closed and held to the invariants.
func newImage(t testing.TB, blockSize int, size int64) *image {
	t.Helper()
	im := makeImage(t, blockSize, size)
	t.Cleanup(func() { im.finish(t) })
	return im
}

func makeImage(tb fataler, blockSize int, size int64) *image {
	tb.Helper()
	return formatImage(tb, size, volume.FormatOptions{BlockSize: blockSize})
}

// makeOrdered is makeImage without a journal.
func makeOrdered(tb fataler, blockSize int, size int64) *image {
	tb.Helper()
	return formatImage(tb, size, volume.FormatOptions{BlockSize: blockSize, NoJournal: true})
}

func formatImage(tb fataler, size int64, o volume.FormatOptions) *image {
	tb.Helper()
	im := &image{tb: tb, dev: disk.NewMemory(size), now: 1_000_000}
	o.UUID, o.HashKey, o.Now = [16]byte{7}, [16]byte{9}, time.Unix(1_000_000, 0)
	if err := volume.Format(im.dev, o); err != nil {
		tb.Fatal(err)
	}
	im.open()
	return im
}

func (im *image) open() {
	im.tb.Helper()
	im.opt.Clock = func() time.Time { im.now++; return time.Unix(im.now, 123) }
	v, err := volume.Open(im.dev, im.opt)
	if err != nil {
		im.tb.Fatal(err)
	}
	im.Volume = v
}

// reopen closes the volume and opens it again.
func (im *image) reopen() {
	im.tb.Helper()
	if err := im.Close(); err != nil {
		im.tb.Fatal(err)
	}
	im.open()
}

// crash opens what a crash would leave behind if nothing were on its way to the device.
func (im *image) crash() {
	im.tb.Helper()
	dev := disk.MemoryFrom(append([]byte(nil), im.dev.Bytes()...))
	_ = im.Close()
	im.dev = dev
	im.open()
}

func (im *image) finish(t testing.TB) {
	t.Helper()
	if err := im.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		t.Errorf("close: %v", err)
	}
	volume.CheckDevice(t, im.dev)
}

// add makes nodes: "dir/" a directory, "link -> target" a symbolic link, "name = other" another
// name of other, "pipe|" a pipe, and the rest files. Paths are taken from the root.
func (im *image) add(nodes ...string) {
	im.tb.Helper()
	tr := im.Tree()
	for _, n := range nodes {
		var err error
		if link, target, ok := strings.Cut(n, " -> "); ok {
			err = tr.Symlink(target, link)
		} else if name, other, ok := strings.Cut(n, " = "); ok {
			err = tr.Link(other, name)
		} else if dir, ok := strings.CutSuffix(n, "/"); ok {
			err = tr.Mkdir(dir, 0o755)
		} else if pipe, ok := strings.CutSuffix(n, "|"); ok {
			err = tr.Mknod(pipe, fs.ModeNamedPipe|0o644, 0, 0)
		} else {
			err = tr.WriteFile(n, []byte(n), 0o644)
		}
		if err != nil {
			im.tb.Fatalf("%s: %v", n, err)
		}
	}
}

// ino is the inode that a path names; a symbolic link at its end is not followed.
func (im *image) ino(path string) volume.Ino {
	im.tb.Helper()
	ino, err := im.Tree().Resolve(path, false)
	if err != nil {
		im.tb.Fatal(err)
	}
	return ino
}

func (im *image) attr(path string) volume.Attr {
	im.tb.Helper()
	a, err := im.Getattr(im.ino(path))
	if err != nil {
		im.tb.Fatal(err)
	}
	return a
}

// errno is the name of an error, "" for none.
func errno(err error) string {
	if err == nil {
		return ""
	}
	var e *volume.Error
	if !errors.As(err, &e) {
		return "other: " + err.Error()
	}
	return e.Error()
}

// list is the tree below the root, a path a line, with what cannot be derived from the rest.
func (im *image) list() string {
	im.tb.Helper()
	var b strings.Builder
	var walk func(dir volume.Ino, at string)
	walk = func(dir volume.Ino, at string) {
		names := map[string]volume.DirEntry{}
		err := im.ReadDir(dir, 0, func(e volume.DirEntry) bool {
			if _, ok := names[e.Name]; ok {
				im.tb.Errorf("%s%s is listed twice", at, e.Name)
			}
			names[e.Name] = e
			return true
		})
		if err != nil {
			im.tb.Fatalf("%s: %v", at, err)
		}
		for _, n := range sortedKeys(names) {
			e := names[n]
			b.WriteString(at + n)
			switch e.Type {
			case layout.ModeDir:
				b.WriteString("/\n")
				walk(e.Ino, at+n+"/")
				continue
			case layout.ModeLink:
				target, err := im.Readlink(e.Ino)
				if err != nil {
					im.tb.Fatalf("%s%s: %v", at, n, err)
				}
				b.WriteString(" -> " + target)
			}
			b.WriteString("\n")
		}
	}
	walk(volume.Root, "")
	return b.String()
}
