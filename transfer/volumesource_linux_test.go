package transfer

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"holdfast/layout"
	"holdfast/volume"
)

// A tree with everything in it goes from volume to volume, and within one, without a difference.
func TestCopy(t *testing.T) {
	src, attrs := fullZoo(t)
	a, b := newImage(t, 4096, 32<<20), newImage(t, 1024, 64<<20)
	a.fromDir(t, src, Options{Preserve: true})
	list := a.list(t)
	s, err := Copy(a.Volume, volume.Root, "a", b.Volume, volume.Root, "", Options{Preserve: true})
	if err != nil || len(s.Warnings) > 0 || s.Bytes > 2<<20 || s.HardLinks != 2 {
		t.Fatal(err, s)
	}
	b.reopen(t)
	if got := b.list(t); got != list {
		t.Errorf("copied\n%s\nwant\n%s", got, list)
	}
	ino := func(im *image, p string) volume.Ino {
		t.Helper()
		n, err := im.Tree().Resolve(p, false)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if v, err := b.Getxattr(ino(b, "/sp ace"), "user.test"); attrs && string(v) != "a\x00b" {
		t.Errorf("attribute %q, %v", v, err)
	}
	// Within one volume, twice: the second time over the first. A file alone gets any name.
	for range 2 {
		if _, err := Copy(b.Volume, ino(b, "/dir"), "dir", b.Volume, volume.Root, "again", Options{Preserve: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Copy(b.Volume, ino(b, "/sparse"), "sparse", b.Volume, ino(b, "/void"), "new", Options{Exclude: func(string, fs.FileInfo) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	part := func(p string) string {
		var lines []string
		for line := range strings.Lines(b.list(t)) {
			if strings.HasPrefix(line, p) {
				first, _, _ := strings.Cut(line, " = ") // other names are elsewhere
				lines = append(lines, strings.TrimSpace(strings.TrimPrefix(first, p)))
			}
		}
		return strings.Join(lines, "\n")
	}
	if got, want := part("/again"), part("/dir"); got != want || want == "" {
		t.Errorf("within one volume\n%s\nwant\n%s", got, want)
	}
	x, err := b.Getattr(ino(b, "/void/new"))
	if err != nil || x.Size != 50<<20 || x.Blocks > 8 {
		t.Errorf("%+v, %v", x, err)
	}
	// A directory does not go into itself.
	for _, dir := range []string{"/dir", "/dir/sub"} {
		if _, err := Copy(b.Volume, ino(b, "/dir"), "dir", b.Volume, ino(b, dir), "in", Options{}); !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("into %s: %v", dir, err)
		}
	}
	if _, err := Copy(b.Volume, ino(b, "/file"), "file", b.Volume, volume.Root, "dir", Options{}); !errors.Is(err, ErrInTheWay) {
		t.Errorf("a file over a directory: %v", err)
	}
}

// What is damaged ends a copy with its name or, if that is wanted, is left out whole.
func TestCopyDamaged(t *testing.T) {
	src := t.TempDir()
	for _, n := range []string{"a", "b", "c"} {
		write(t, src+"/"+n, strings.Repeat(n, 10_000))
	}
	a, b := newImage(t, 4096, 4<<20), newImage(t, 4096, 4<<20)
	a.fromDir(t, src, Options{})
	a.close(t)
	at := bytes.LastIndex(a.mem.Bytes(), bytes.Repeat([]byte("b"), 1808)) // in its last block
	a.mem.Bytes()[at+5] ^= 1
	a.open(t)
	defer func() { a.mem.Bytes()[at+5] ^= 1 }()
	_, err := Copy(a.Volume, volume.Root, "a.img:", b.Volume, volume.Root, "one", Options{})
	if !errors.Is(err, layout.ErrCorrupt) || !strings.HasPrefix(err.Error(), "a.img:/b: ") {
		t.Errorf("err = %v", err)
	}
	s, err := Copy(a.Volume, volume.Root, "a.img:", b.Volume, volume.Root, "all", Options{KeepGoing: true})
	if err != nil || s.Files != 2 || s.Damaged != 1 || len(s.Warnings) != 1 || !strings.HasPrefix(s.Warnings[0], "a.img:/b: content could not be kept") {
		t.Errorf("%+v, %v", s, err)
	}
	if got := b.names(t); got != "all all/a all/c one one/a" {
		t.Errorf("%q", got)
	}
}
