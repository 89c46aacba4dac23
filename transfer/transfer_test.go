package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
)

var testTime = time.Unix(1_700_000_000, 123_456_789)

// image is a volume in memory, the same bytes for the same operations.
type image struct {
	*volume.Volume
	mem *disk.Memory
}

// newImage makes a volume; at the end of the test it is checked.
func newImage(t *testing.T, blockSize int, size int64) *image {
	t.Helper()
	mem := disk.NewMemory(size)
	if err := volume.Format(mem, volume.FormatOptions{BlockSize: blockSize, UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: testTime}); err != nil {
		t.Fatal(err)
	}
	im := &image{nil, mem}
	im.open(t)
	t.Cleanup(func() { im.close(t) })
	return im
}

func (im *image) open(t *testing.T) {
	t.Helper()
	v, err := volume.Open(im.mem, volume.Options{Clock: func() time.Time { return testTime }})
	if err != nil {
		t.Fatal(err)
	}
	im.Volume = v
}

// close makes all durable and has the judge look at it.
func (im *image) close(t *testing.T) {
	t.Helper()
	if im.Volume == nil {
		return
	}
	if err := im.Close(); err != nil {
		t.Error(err)
	}
	im.Volume = nil
	r, err := fsck.Check(im.mem, fsck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Clean() {
		t.Errorf("fsck: %v", r.Findings)
	}
}

func (im *image) reopen(t *testing.T) {
	t.Helper()
	im.close(t)
	im.open(t)
}

// list describes the tree of a volume, one line a name.
func (im *image) list(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	first := map[volume.Ino]string{}
	var walk func(p string, ino volume.Ino)
	walk = func(p string, ino volume.Ino) {
		a, err := im.Getattr(ino)
		if err != nil {
			t.Fatal(p, err)
		}
		fmt.Fprintf(&b, "%s %v %d:%d %v", p, volume.FileMode(a.Mode), a.UID, a.GID, a.Mtime.UTC().Format(time.RFC3339Nano))
		switch m := volume.FileMode(a.Mode); {
		case m.IsRegular():
			size := a.Size
			if size > 64<<20 { // holes, nearly all of it
				size = 1 << 20
			}
			p := make([]byte, size)
			if _, err := im.Read(ino, p, 0); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %d %x", a.Size, sum(p))
		case m&fs.ModeSymlink != 0:
			target, err := im.Readlink(ino)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " -> %s", target)
		case m&fs.ModeDevice != 0:
			fmt.Fprintf(&b, " %d,%d", a.Major, a.Minor)
		}
		if f, ok := first[ino]; ok && !isDir(a) {
			fmt.Fprintf(&b, " = %s", f)
		} else {
			first[ino] = p
		}
		b.WriteByte('\n')
		if isDir(a) {
			var list []volume.DirEntry
			if err := im.ReadDir(ino, 0, func(e volume.DirEntry) bool { list = append(list, e); return true }); err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(list, func(a, b volume.DirEntry) int { return strings.Compare(a.Name, b.Name) })
			for _, e := range list {
				walk(p+"/"+e.Name, e.Ino)
			}
		}
	}
	walk("", volume.Root)
	return b.String()
}

func sum(p []byte) uint32 { return layout.Sum(0, p) }

func write(t *testing.T, name string, data string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func read(t *testing.T, name string) string {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func (im *image) fromDir(t *testing.T, dir string, o Options) Stats {
	t.Helper()
	s, err := FromDir(im.Volume, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What goes through a block of zeros is all but the blocks of zeros, in order, once.
func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		block := rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "block")
		off := rapid.Int64Range(0, 40).Draw(t, "off")
		p := rapid.SliceOf(rapid.SampledFrom([]byte{0, 0, 0, 0, 0, 1})).Draw(t, "p")
		got := make([]byte, len(p))
		last := off - 1
		err := runs(p, off, block, func(q []byte, at int64) error {
			if at <= last || len(q) == 0 {
				t.Fatalf("a run of %d at %d after %d", len(q), at, last)
			}
			for b := at; b < at+int64(len(q)); {
				end := min(at+int64(len(q)), (b/int64(block)+1)*int64(block))
				if zero(q[b-at : end-at]) {
					t.Fatalf("zeros from %d to %d", b, end)
				}
				b = end
			}
			copy(got[at-off:], q)
			last = at + int64(len(q)) - 1
			return nil
		})
		if err != nil || !bytes.Equal(got, p) {
			t.Fatalf("%v, %v; want %v", err, got, p)
		}
	})
}

// One tree makes one image, in whatever order and with whatever holes the host has it; clamped,
// at whatever time it was written.
func TestReproducible(t *testing.T) {
	clamp := time.Unix(1_600_000_000, 0)
	early := clamp.Add(-time.Hour)
	names := []string{"b", "a", "sub/z", "sub/y", "sub/deep/x", "Z"}
	var images [2][]byte
	for i := range images {
		if i == 1 {
			slices.Reverse(names)
		}
		dir := t.TempDir()
		for _, n := range names {
			write(t, filepath.Join(dir, n), strings.Repeat(n, 1000))
		}
		f, err := os.Create(filepath.Join(dir, "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			err = f.Truncate(300_000)
		} else {
			_, err = f.Write(make([]byte, 300_000))
		}
		if _, werr := f.WriteAt([]byte("x"), 100_000); err != nil || werr != nil || f.Close() != nil {
			t.Fatal(err, werr)
		}
		if err := os.Chtimes(filepath.Join(dir, "a"), time.Now(), early); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		im := newImage(t, 4096, 8<<20)
		var order []string
		im.fromDir(t, dir, Options{Preserve: true, Owner: &Owner{1, 2}, Clamp: clamp, Progress: func(rel string, n int64) {
			if n == 0 {
				order = append(order, rel)
			}
		}})
		if got := strings.Join(order, " "); got != ". Z a b sparse sub sub/deep sub/deep/x sub/y sub/z" {
			t.Errorf("copied in the order %s", got)
		}
		for path, want := range map[string]time.Time{"/a": early, "/b": clamp, "/sub": clamp, "/": clamp} {
			ino, err := im.Tree().Resolve(path, true)
			if err != nil {
				t.Fatal(err)
			}
			a, err := im.Getattr(ino)
			if err != nil || !a.Mtime.Equal(want) || !a.Atime.Equal(clamp) || a.UID != 1 || a.GID != 2 {
				t.Errorf("%s: %+v, %v; want mtime %v", path, a, err, want)
			}
		}
		im.close(t)
		images[i] = im.mem.Bytes()
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Error("two images of one tree differ")
	}
}

// A file that becomes longer, shorter or other while it is read, or a directory that gets a
// name, is one error that says so and names it.
func TestChangedSource(t *testing.T) {
	big := strings.Repeat("0123456789", 300_000)
	for name, change := range map[string]func(string) error{
		"longer":  func(p string) error { return os.WriteFile(p, []byte(big+"x"), 0o644) },
		"shorter": func(p string) error { return os.Truncate(p, 1_500_000) },
		"touched": func(p string) error { return os.Chtimes(p, time.Time{}, time.Unix(1, 0)) },
		"gone":    os.Remove,
		"longer, with its old time": func(p string) error {
			st, err := os.Stat(p)
			if err != nil {
				return err
			}
			return errors.Join(os.WriteFile(p, []byte(big+"x"), 0o644), os.Chtimes(p, time.Time{}, st.ModTime()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := write(t, filepath.Join(dir, "sub", "file"), big)
			im := newImage(t, 4096, 16<<20)
			done := false
			_, err := FromDir(im.Volume, dir, Options{Progress: func(rel string, n int64) {
				if rel == "sub/file" && n > 0 && !done {
					done = true
					if err := change(file); err != nil {
						t.Error(err)
					}
				}
			}})
			want := file
			if name == "gone" { // an open file stays readable: its directory has changed
				want = filepath.Dir(file)
			}
			if !errors.Is(err, ErrChanged) || strings.Count(err.Error(), want+":") != 1 {
				t.Errorf("err = %v", err)
			}
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		im := newImage(t, 4096, 4<<20)
		missing := filepath.Join(t.TempDir(), "missing")
		if _, err := FromDir(im.Volume, missing, Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("err = %v", err)
		}
	})
}

// Nothing outside the destination is written, and what is in the way of a file is replaced.
func TestConfined(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "dir", "file"), "from the image")
	write(t, filepath.Join(src, "plain"), "from the image")
	im := newImage(t, 4096, 4<<20)
	im.fromDir(t, src, Options{})

	outside := t.TempDir()
	secret := write(t, filepath.Join(outside, "secret"), "untouched")
	dst := t.TempDir()
	for link, target := range map[string]string{"plain": secret, "dir": outside} {
		if err := os.Symlink(target, filepath.Join(dst, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ToDir(im.Volume, volume.Root, dst, Options{}); !errors.Is(err, ErrInTheWay) || !strings.Contains(err.Error(), filepath.Join(dst, "dir")) {
		t.Errorf("a directory over a link: %v", err)
	}
	if err := os.Remove(filepath.Join(dst, "dir")); err != nil {
		t.Fatal(err)
	}
	if _, err := ToDir(im.Volume, volume.Root, dst, Options{NoClobber: true}); !errors.Is(err, ErrInTheWay) {
		t.Errorf("no clobber: %v", err)
	}
	s, err := ToDir(im.Volume, volume.Root, dst, Options{})
	if err != nil || s.Files != 2 || s.Dirs != 2 {
		t.Fatal(s, err)
	}
	if got := read(t, filepath.Join(dst, "plain")) + read(t, filepath.Join(dst, "dir", "file")); got != "from the imagefrom the image" {
		t.Errorf("copied %q", got)
	}
	if st, err := os.Lstat(filepath.Join(dst, "plain")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("the link is still there: %v", err)
	}
	if got := read(t, secret); got != "untouched" {
		t.Errorf("outside: %q", got)
	}
	if list, _ := os.ReadDir(outside); len(list) != 1 {
		t.Errorf("outside has %d files", len(list))
	}
	for _, name := range []string{"..", "../x", "a/b", "", "/etc/x"} {
		ino, err := im.Tree().Resolve("/plain", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CopyOut(im.Volume, ino, dst, name, Options{}); err == nil {
			t.Errorf("a copy to %q", name)
		}
	}
}

// Single files and trees go both ways, over what is there.
func TestSingle(t *testing.T) {
	host := t.TempDir()
	one := write(t, filepath.Join(host, "one"), "first")
	write(t, filepath.Join(host, "tree", "sub", "leaf"), "leaf")
	im := newImage(t, 1024, 4<<20)
	in := func(src, name string, o Options) error {
		_, err := CopyIn(im.Volume, src, volume.Root, name, o)
		return err
	}
	for _, err := range []error{in(one, "copy", Options{}), in(filepath.Join(host, "tree"), "t", Options{})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(t, one, "second")
	write(t, filepath.Join(host, "tree", "sub", "more"), "more")
	for _, err := range []error{in(one, "copy", Options{}), in(filepath.Join(host, "tree"), "t", Options{})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"a file over a directory": in(one, "t", Options{}),
		"a directory over a file": in(filepath.Join(host, "tree"), "copy", Options{}),
		"no clobber":              in(one, "copy", Options{NoClobber: true}),
	} {
		if !errors.Is(err, ErrInTheWay) {
			t.Errorf("%s: %v", name, err)
		}
	}
	im.reopen(t)
	back := t.TempDir()
	for p, want := range map[string]string{"/copy": "second", "/t/sub/leaf": "leaf", "/t/sub/more": "more"} {
		ino, err := im.Tree().Resolve(p, false)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time over the first
			if _, err := CopyOut(im.Volume, ino, back, "out", Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, filepath.Join(back, "out")); got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	ino, err := im.Tree().Resolve("/t", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CopyOut(im.Volume, ino, back, "tree", Options{}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(back, "tree", "sub", "more")); got != "more" {
		t.Errorf("%q", got)
	}
}

func TestExclude(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a.o", "a.c", "sub/b.o", "sub/b.c", "build/out", "sub/build/out", ".git/x"} {
		write(t, filepath.Join(dir, n), n)
	}
	if _, err := Match([]string{"a["}); err == nil {
		t.Error("a bad pattern")
	}
	for _, c := range []struct {
		patterns []string
		want     string
	}{
		{nil, ".git .git/x a.c a.o build build/out sub sub/b.c sub/b.o sub/build sub/build/out"},
		{[]string{"*.o", ".git"}, "a.c build build/out sub sub/b.c sub/build sub/build/out"},
		{[]string{"/build", "sub/*.c", ".git"}, "a.c a.o sub sub/b.o sub/build sub/build/out"},
		{[]string{"*"}, ""},
	} {
		match, err := Match(c.patterns)
		if err != nil {
			t.Fatal(err)
		}
		im := newImage(t, 1024, 4<<20)
		o := Options{Exclude: match}
		im.fromDir(t, dir, o)
		need, err := o.Measure(dir, 1024)
		if err != nil {
			t.Fatal(err)
		}
		host := t.TempDir()
		if _, err := ToDir(im.Volume, volume.Root, host, Options{}); err != nil {
			t.Fatal(err)
		}
		var got []string
		_ = filepath.WalkDir(host, func(p string, _ fs.DirEntry, err error) error {
			if rel, _ := filepath.Rel(host, p); err == nil && rel != "." {
				got = append(got, filepath.ToSlash(rel))
			}
			return err
		})
		if s := strings.Join(got, " "); s != c.want || need.Files != uint64(len(got))+1 {
			t.Errorf("%q: %s (%d inodes), want %s", c.patterns, s, need.Files, c.want)
		}
		// The other way leaves the same out.
		all := newImage(t, 1024, 4<<20)
		all.fromDir(t, dir, Options{})
		host2 := t.TempDir()
		s, err := ToDir(all.Volume, volume.Root, host2, o)
		if err != nil || s.Files+s.Dirs != len(got)+1 {
			t.Errorf("%q out: %+v, %v", c.patterns, s, err)
		}
	}
}

// What Measure says is enough, and not far from what is used.
func TestMeasure(t *testing.T) {
	for _, bs := range []int{1024, 4096} {
		dir := t.TempDir()
		for i := range 900 {
			write(t, filepath.Join(dir, "many", fmt.Sprintf("a-rather-long-file-name-%05d", i)), strings.Repeat("x", i*7%3000))
		}
		write(t, filepath.Join(dir, "large"), strings.Repeat("y", 3_000_000))
		for i := range 40 {
			if err := os.Symlink(strings.Repeat("t", 20*i+1), filepath.Join(dir, fmt.Sprint("link", i))); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.Create(filepath.Join(dir, "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			if _, err := f.WriteAt([]byte("z"), int64(i)*100_000); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		need, err := Measure(dir, bs)
		if err != nil {
			t.Fatal(err)
		}
		im := newImage(t, bs, 32<<20)
		before, err := im.Statfs()
		if err != nil {
			t.Fatal(err)
		}
		im.fromDir(t, dir, Options{Preserve: true})
		im.reopen(t)
		after, err := im.Statfs()
		if err != nil {
			t.Fatal(err)
		}
		used, inodes := before.Free-after.Free, before.FreeInodes-after.FreeInodes+1
		if used > need.Blocks || need.Blocks > used+used/4+32 || inodes != need.Files {
			t.Errorf("block size %d: %d blocks and %d inodes used, measured %+v", bs, used, inodes, need)
		}
	}
}

// A file that the volume cannot give is left out and named, if that is wanted; what is next to
// it is copied.
func TestKeepGoing(t *testing.T) {
	src := t.TempDir()
	for _, n := range []string{"a", "b", "c"} {
		write(t, filepath.Join(src, n), strings.Repeat(n, 10_000))
	}
	im := newImage(t, 4096, 4<<20)
	im.fromDir(t, src, Options{})
	im.close(t)
	at := bytes.Index(im.mem.Bytes(), bytes.Repeat([]byte("b"), 4096))
	if at < 0 {
		t.Fatal("the content of b is not in the image")
	}
	im.mem.Bytes()[at+5] ^= 1
	im.open(t)
	defer func() { // what is damaged is not the judge's to approve
		im.mem.Bytes()[at+5] ^= 1
	}()
	dst := t.TempDir()
	if _, err := ToDir(im.Volume, volume.Root, dst, Options{}); !errors.Is(err, layout.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Join(dst, "b")) {
		t.Errorf("err = %v", err)
	}
	s, err := ToDir(im.Volume, volume.Root, dst, Options{KeepGoing: true})
	if err != nil || s.Files != 2 || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], filepath.Join(dst, "b")) {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Lstat(filepath.Join(dst, "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part of b is there: %v", err)
	}
	if got := read(t, filepath.Join(dst, "c")); got != strings.Repeat("c", 10_000) {
		t.Error("c is not whole")
	}
}

// A full volume and a full host end a copy with their error.
func TestNoSpace(t *testing.T) {
	src := t.TempDir()
	big := write(t, filepath.Join(src, "big"), strings.Repeat("x", 6<<20))
	im := newImage(t, 4096, 4<<20)
	if _, err := FromDir(im.Volume, src, Options{}); !errors.Is(err, volume.ErrNoSpace) || !strings.Contains(err.Error(), big) {
		t.Errorf("err = %v", err)
	}
}
