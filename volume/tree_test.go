package volume_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdfast/layout"
	"holdfast/volume"
)

// What paths lead to, and what they do not.
func TestWalk(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("d/", "d/e/", "d/e/f", "f",
		"abs -> /d/e", "rel -> d/e", "d/up -> ../f", "d/far -> ../../../../f", "root -> /", "here -> .", "slash -> d/", "file -> f",
		"dangling -> nowhere", "loop -> loop", "ping -> pong", "pong -> ping", "odd -> f/", "many -> ///d///e///")
	// A chain of 40 links, and one more.
	im.add("1 -> d/e/f")
	for i := 2; i <= 41; i++ {
		im.add(fmt.Sprintf("%d -> %d", i, i-1))
	}
	longPath := strings.Repeat("d/../", 4095/5)
	for _, c := range []struct {
		path   string
		follow bool
		want   string // another path to the same inode
		err    error
	}{
		{"", true, "", volume.ErrNotExist},
		{"/", true, "/", nil},
		{"///", false, "/", nil},
		{".", true, "/", nil},
		{"..", true, "/", nil},
		{"../../d", true, "d", nil},
		{"/../d/../../d/e/.", true, "d/e", nil},
		{"d//e", true, "d/e", nil},
		{"d/e/", true, "d/e", nil},
		{"d/e/..", true, "d", nil},
		{"f/", true, "", volume.ErrNotDir},
		{"f/.", true, "", volume.ErrNotDir},
		{"f/..", true, "", volume.ErrNotDir},
		{"f/x", true, "", volume.ErrNotDir},
		{"x/y", true, "", volume.ErrNotExist},
		{"d/x/..", true, "", volume.ErrNotExist},
		{"abs/f", true, "d/e/f", nil},
		{"rel/f", true, "d/e/f", nil},
		{"many/f", true, "d/e/f", nil},
		{"many", true, "d/e", nil},
		{"rel", false, "rel", nil},
		{"rel", true, "d/e", nil},
		{"rel/", false, "d/e", nil},
		{"rel/..", true, "d", nil},
		{"d/up", true, "f", nil},
		{"d/far", true, "f", nil},
		{"root", true, "/", nil},
		{"root/d", true, "d", nil},
		{"here/here/here/f", true, "f", nil},
		{"slash/e", true, "d/e", nil},
		{"file", true, "f", nil},
		{"file/", true, "", volume.ErrNotDir},
		{"odd", true, "", volume.ErrNotDir},
		{"odd", false, "odd", nil},
		{"dangling", true, "", volume.ErrNotExist},
		{"dangling", false, "dangling", nil},
		{"dangling/", false, "", volume.ErrNotExist},
		{"loop", true, "", volume.ErrLoop},
		{"loop", false, "loop", nil},
		{"loop/x", false, "", volume.ErrLoop},
		{"ping", true, "", volume.ErrLoop},
		{"40", true, "d/e/f", nil},
		{"41", true, "", volume.ErrLoop},
		{strings.Repeat("here/", 40) + "f", true, "f", nil},
		{strings.Repeat("here/", 41) + "f", true, "", volume.ErrLoop},
		{tooLong, true, "", volume.ErrNameTooLong},
		{"d/" + tooLong + "/x", true, "", volume.ErrNameTooLong},
		{long, true, "", volume.ErrNotExist},
		{longPath, true, "/", nil},
		{longPath + "/", true, "", volume.ErrNameTooLong},
		{"a\x00b", true, "", volume.ErrInvalid},
	} {
		got, err := im.Tree().Resolve(c.path, c.follow)
		name := c.path
		if len(name) > 40 {
			name = fmt.Sprintf("%s... (%d)", name[:40], len(name))
		}
		if c.err != nil {
			if !errors.Is(err, c.err) {
				t.Errorf("%q: inode %d, %v; want %v", name, got, err, c.err)
			}
			continue
		}
		if err != nil || got != im.ino(c.want) {
			t.Errorf("%q, follow %v: inode %d, %v; want %s, inode %d", name, c.follow, got, err, c.want, im.ino(c.want))
		}
	}
	var pe *fs.PathError
	if _, err := im.Tree().Stat("d/x"); !errors.As(err, &pe) || pe.Path != "d/x" || pe.Op != "stat" {
		t.Errorf("%v is no PathError of the path", err)
	}
	var le *os.LinkError
	if err := im.Tree().Rename("d/x", "d/y"); !errors.As(err, &le) || le.Old != "d/x" || le.New != "d/y" {
		t.Errorf("%v is no LinkError of the paths", err)
	}
}

// Opening makes files where it should and only there.
func TestOpenFile(t *testing.T) {
	tree := []string{"d/", "f", "l -> f", "dangling -> d/new", "chain -> dangling", "ld -> d", "loop -> loop", "p|"}
	for _, c := range []struct {
		path string
		flag int
		err  error
		made string
	}{
		{"f", os.O_RDONLY, nil, ""},
		{"f", os.O_RDWR, nil, ""},
		{"l", os.O_WRONLY, nil, ""},
		{"d", os.O_RDONLY, nil, ""},
		{"/", os.O_RDONLY, nil, ""},
		{"d", os.O_WRONLY, volume.ErrIsDir, ""},
		{"d", os.O_RDONLY | os.O_TRUNC, volume.ErrIsDir, ""},
		{"d", os.O_RDONLY | os.O_CREATE, volume.ErrIsDir, ""},
		{"/", os.O_RDONLY | os.O_CREATE, volume.ErrIsDir, ""},
		{"d/..", os.O_RDONLY | os.O_CREATE | os.O_EXCL, volume.ErrExist, ""},
		{"x", os.O_RDWR, volume.ErrNotExist, ""},
		{"x", os.O_RDWR | os.O_CREATE, nil, "x"},
		{"x", os.O_RDONLY | os.O_CREATE, nil, "x"},
		{"x/", os.O_RDWR | os.O_CREATE, volume.ErrIsDir, ""},
		{"f", os.O_RDWR | os.O_CREATE, nil, ""},
		{"f", os.O_RDWR | os.O_CREATE | os.O_EXCL, volume.ErrExist, ""},
		{"dangling", os.O_RDWR, volume.ErrNotExist, ""},
		{"dangling", os.O_RDWR | os.O_CREATE, nil, "d/new"},
		{"chain", os.O_RDWR | os.O_CREATE, nil, "d/new"},
		{"dangling", os.O_RDWR | os.O_CREATE | os.O_EXCL, volume.ErrExist, ""},
		{"dangling", os.O_RDWR | os.O_CREATE | volume.O_NOFOLLOW, volume.ErrLoop, ""},
		{"loop", os.O_RDWR | os.O_CREATE, volume.ErrLoop, ""},
		{"l", volume.O_NOFOLLOW, volume.ErrLoop, ""},
		{"ld/x", os.O_RDWR | os.O_CREATE | volume.O_NOFOLLOW, nil, "d/x"},
		{"f", volume.O_DIRECTORY, volume.ErrNotDir, ""},
		{"ld", volume.O_DIRECTORY, nil, ""},
		{"ld", volume.O_DIRECTORY | volume.O_NOFOLLOW, volume.ErrNotDir, ""},
		{"x", volume.O_DIRECTORY | os.O_CREATE, volume.ErrInvalid, ""},
		{"p", os.O_RDWR, nil, ""},
	} {
		t.Run(fmt.Sprintf("%s-%#x", strings.ReplaceAll(c.path, "/", "_"), c.flag), func(t *testing.T) {
			im := newImage(t, 1024, 2<<20)
			im.add(tree...)
			before := im.list()
			f, err := im.Tree().OpenFile(c.path, c.flag, 0o640)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if c.made == "" {
				if got := im.list(); got != before {
					t.Errorf("opening changed the tree to\n%s", got)
				}
			} else if a := im.attr(c.made); a.Mode != layout.ModeFile|0o640 || a.Ino != f.Ino() {
				t.Errorf("made %+v, opened inode %d", a, f.Ino())
			}
			if err == nil {
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if im.Holds() != 0 {
				t.Errorf("%d inodes are still held", im.Holds())
			}
		})
	}
}

func TestMkdirAll(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("f", "d/", "l -> d", "dangling -> no")
	for _, c := range []struct {
		path string
		err  error
		want string
	}{
		{"a/b/c", nil, "a/b/c"},
		{"a/b/c", nil, "a/b/c"},
		{"/d//e/", nil, "d/e"},
		{"l/x/y", nil, "d/x/y"},
		{"d/../g/./h", nil, "g/h"},
		{"/", nil, "/"},
		{"", volume.ErrNotExist, ""},
		{"f", volume.ErrNotDir, ""},
		{"f/x", volume.ErrNotDir, ""},
		{"dangling/x", volume.ErrExist, ""}, // as mkdir(2) says of the link,
		{"d/" + tooLong, volume.ErrNameTooLong, ""},
	} {
		err := im.Tree().MkdirAll(c.path, 0o750)
		if c.err != nil {
			if !errors.Is(err, c.err) {
				t.Errorf("%q: %v, want %v", c.path, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.path, err)
		} else if a := im.attr(c.want); a.Mode&layout.ModeType != layout.ModeDir {
			t.Errorf("%q: mode %#o", c.path, a.Mode)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	im := newImage(t, 1024, 32<<20)
	free := im.statfs()
	im.add("keep/", "keep/f")
	kept := im.list()
	im.add("d/", "d/l -> ../keep", "d/h = keep/f", "d/p|")
	deep := "d"
	for i := range 60 {
		deep += fmt.Sprintf("/%d", i)
		im.add(deep+"/", deep+"/f")
	}
	for i := range 300 {
		im.add(fmt.Sprintf("d/file-%d", i))
	}
	if err := im.Tree().RemoveAll("d"); err != nil {
		t.Fatal(err)
	}
	if got := im.list(); got != kept {
		t.Errorf("left is\n%swant\n%s", got, kept)
	}
	if a := im.attr("keep/f"); a.Links != 1 {
		t.Errorf("%d links", a.Links)
	}
	for _, c := range []struct {
		path string
		err  error
	}{
		{"d", nil}, {"no/such/path", nil}, {"/", volume.ErrBusy}, {"keep/.", volume.ErrInvalid}, {"keep/f/x", volume.ErrNotDir},
		{"", nil}, {"keep", nil},
	} {
		if err := im.Tree().RemoveAll(c.path); !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%q: %v, want %v", c.path, err, c.err)
		}
	}
	if im.Holds() != 0 {
		t.Errorf("%d inodes are still held", im.Holds())
	}
	im.reopen()
	if s := im.statfs(); s.Free != free.Free {
		t.Errorf("%d blocks are free, were %d", s.Free, free.Free)
	}
}

// The attributes of a path, links followed or not.
func TestTreeAttributes(t *testing.T) {
	im := newImage(t, 1024, 2<<20)
	im.add("f", "l -> f")
	tr := im.Tree()
	then := time.Unix(1234, 5678)
	for _, err := range []error{
		tr.Chmod("l", fs.ModeSetuid|fs.ModeSticky|0o751), tr.Chtimes("l", time.Time{}, then), tr.Truncate("l", 100),
		tr.Chtimes("l", then, time.Time{}), tr.Chown("l", 3, -1), tr.Lchown("l", -1, 4),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	f, l := im.attr("f"), im.attr("l")
	if f.Mode != layout.ModeFile|0o1751 || f.UID != 3 || f.GID != 0 || f.Size != 100 || !f.Atime.Equal(then) {
		t.Errorf("file: %+v", f)
	}
	if l.Mode != layout.ModeLink|0o777 || l.UID != 0 || l.GID != 4 || l.Size != 1 {
		t.Errorf("link: %+v", l)
	}
	st, err := tr.Stat("l")
	if err != nil || st.Name() != "l" || st.Size() != 100 || st.Mode() != fs.ModeSticky|0o751 || st.Sys().(volume.Attr) != f {
		t.Errorf("stat: %v, %v", st, err)
	}
	if st, err = tr.Lstat("l"); err != nil || st.Mode() != fs.ModeSymlink|0o777 || st.Sys().(volume.Attr) != l {
		t.Errorf("lstat: %v, %v", st, err)
	}
	if err := tr.Truncate("f", -1); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("truncate to a negative size: %v", err)
	}
	for _, m := range []uint16{layout.ModeFile | 0o644, layout.ModeDir | 0o1777, layout.ModeLink | 0o777, layout.ModeFIFO | 0o600,
		layout.ModeSocket | 0o755, layout.ModeChar | 0o6, layout.ModeBlock | 0o60, layout.ModeFile | 0o7777} {
		if got := volume.PosixMode(volume.FileMode(m)); got != m {
			t.Errorf("mode %#o becomes %v becomes %#o", m, volume.FileMode(m), got)
		}
	}
	if err := tr.Mknod("dev", fs.ModeDevice|fs.ModeCharDevice|0o600, 1, 3); err != nil {
		t.Error(err)
	} else if a := im.attr("dev"); a.Mode != layout.ModeChar|0o600 || a.Major != 1 || a.Minor != 3 {
		t.Errorf("device: %+v", a)
	}
	if err := tr.Mknod("dir", fs.ModeDir|0o700, 0, 0); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("mknod of a directory: %v", err)
	}
}

// A volume opened for reading refuses changes and nothing else.
func TestReadOnlyTree(t *testing.T) {
	im := newImage(t, 1024, 2<<20)
	im.add("d/", "f", "l -> f")
	before := im.list()
	im.opt.ReadOnly = true
	im.reopen()
	tr := im.Tree()
	for name, err := range map[string]error{
		"mkdir": tr.Mkdir("x", 0o755), "symlink": tr.Symlink("x", "y"), "link": tr.Link("f", "g"), "rename": tr.Rename("f", "g"),
		"remove": tr.Remove("f"), "chmod": tr.Chmod("f", 0o600), "truncate": tr.Truncate("f", 0), "create": second(tr.Create("x")),
		"open for writing": second(tr.OpenFile("f", os.O_RDWR, 0)), "removeall": tr.RemoveAll("d"), "write": tr.WriteFile("f", nil, 0),
	} {
		if !errors.Is(err, volume.ErrReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := tr.ReadFile("l"); err != nil || string(b) != "f" {
		t.Errorf("%q, %v", b, err)
	}
	f, err := tr.OpenFile("f", os.O_RDONLY|os.O_CREATE, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if got := im.list(); got != before {
		t.Errorf("the tree is\n%s", got)
	}
}

func second[T any](_ T, err error) error { return err }

func TestFS(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	im.add("d/", "d/e/", "d/e/f", "empty/", "f", "l -> d/e/f", "many/", "dl -> d")
	want := []string{"d/e/f", "f", "l", "empty", "dl"}
	for i := range 150 {
		im.add(fmt.Sprintf("many/%d", i))
		want = append(want, fmt.Sprintf("many/%d", i))
	}
	if err := im.Tree().WriteFile("d/big", []byte(strings.Repeat("0123456789", 5000)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(im.Tree().FS(), append(want, "d/big")...); err != nil {
		t.Error(err)
	}
	list, err := im.Tree().ReadDir("many")
	if err != nil || len(list) != 150 || !slices.IsSortedFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
		t.Errorf("%d entries, %v", len(list), err)
	}
	if b, err := fs.ReadFile(im.Tree().FS(), "d/big"); err != nil || len(b) != 50000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if to, err := fs.ReadLink(im.Tree().FS(), "l"); err != nil || to != "d/e/f" {
		t.Errorf("%q, %v", to, err)
	}
	for _, p := range []string{"/f", "../f", "f/", ""} {
		if _, err := im.Tree().FS().Open(p); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", p, err)
		}
	}
	sub, err := fs.Sub(im.Tree().FS(), "d")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "e/f"); err != nil {
		t.Error(err)
	}
	if im.Holds() != 0 {
		t.Errorf("%d inodes are still held", im.Holds())
	}
}

// A File is what *os.File is: offsets, the end, appending, what is refused.
func TestFile(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	tr := im.Tree()
	f, err := tr.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteString("hello, world"); n != 12 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := f.WriteAt([]byte("W"), 7); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if off, err := f.Seek(-5, io.SeekEnd); off != 7 || err != nil {
		t.Errorf("offset %d, %v", off, err)
	}
	if b, err := io.ReadAll(f); string(b) != "World" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if off, err := f.Seek(-2, io.SeekCurrent); off != 10 || err != nil {
		t.Errorf("offset %d, %v", off, err)
	}
	for _, s := range [][2]int64{{-1, io.SeekStart}, {-13, io.SeekEnd}, {0, 9}} {
		if _, err := f.Seek(s[0], int(s[1])); !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("seek %v: %v", s, err)
		}
	}
	p := make([]byte, 20)
	if n, err := f.ReadAt(p, 7); n != 5 || err != io.EOF {
		t.Errorf("read beyond the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(p[:5], 7); n != 5 || err != nil {
		t.Errorf("read up to the end: %d, %v", n, err)
	}
	if _, err := f.ReadAt(p, -1); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("negative offset: %v", err)
	}
	if err := f.Truncate(5); err != nil {
		t.Error(err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Chown(1, 2), f.Sync()); err != nil {
		t.Error(err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != 5 || st.Mode() != 0o600 || st.Name() != "f" || st.Sys().(volume.Attr).GID != 2 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := f.ReadDir(-1); !errors.Is(err, volume.ErrNotDir) {
		t.Errorf("readdir: %v", err)
	}

	a, err := tr.OpenFile("f", os.O_WRONLY|os.O_APPEND|os.O_SYNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.Writer{a, f, a} { // f overwrites what a appended first
		if _, err := w.Write([]byte("+x")); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := tr.ReadFile("f"); string(b) != "hello+x+x" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := a.WriteAt([]byte("x"), 0); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("WriteAt with O_APPEND: %v", err)
	}
	if _, err := a.Read(p); !errors.Is(err, volume.ErrBadFile) {
		t.Errorf("read of what is open for writing: %v", err)
	}
	r, err := tr.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(p); !errors.Is(err, volume.ErrBadFile) {
		t.Errorf("write of what is open for reading: %v", err)
	}
	if err := r.Truncate(0); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("truncate of what is open for reading: %v", err)
	}
	d, err := tr.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(p); !errors.Is(err, volume.ErrIsDir) {
		t.Errorf("read of a directory: %v", err)
	}
	if err := tr.Mknod("p", fs.ModeNamedPipe|0o600, 0, 0); err != nil {
		t.Fatal(err)
	}
	pipe, err := tr.OpenFile("p", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipe.Read(p); !errors.Is(err, volume.ErrNoDevice) {
		t.Errorf("read of a pipe: %v", err)
	}
	for _, f := range []*volume.File{f, a, r, d, pipe} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"close": f.Close(), "read": second(f.Read(p)), "write": second(f.Write(p)), "seek": second(f.Seek(0, 0)), "stat": second(f.Stat()),
			"sync": f.Sync(), "truncate": f.Truncate(0), "readdir": second(f.ReadDir(1)), "readat": second(f.ReadAt(p, 0)), "chmod": f.Chmod(0),
		} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s of a closed file: %v", name, err)
			}
		}
	}
}

// A directory handle lists in pieces, and again from its start.
func TestFileReadDir(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	im.add("d/")
	want := map[string]bool{}
	for i := range 200 {
		im.add(fmt.Sprintf("d/%d", i))
		want[fmt.Sprint(i)] = true
	}
	f, err := im.Tree().Open("d")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for round := range 3 {
		seen := map[string]bool{}
		for {
			list, err := f.ReadDir(7 * (round + 1))
			if err == io.EOF {
				break
			}
			if err != nil || len(list) > 7*(round+1) {
				t.Fatal(len(list), err)
			}
			for _, e := range list {
				if seen[e.Name()] {
					t.Errorf("%s twice", e.Name())
				}
				seen[e.Name()] = true
				if info, err := e.Info(); err != nil || info.Name() != e.Name() || info.Size() != int64(len("d/"+e.Name())) {
					t.Errorf("%v, %v", info, err)
				}
			}
		}
		if len(seen) != len(want) {
			t.Errorf("round %d: %d of %d names", round, len(seen), len(want))
		}
		if list, err := f.ReadDir(-1); len(list) != 0 || err != nil {
			t.Errorf("behind the end: %d entries, %v", len(list), err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
	}
	list, err := f.ReadDir(0)
	if err != nil || len(list) != 200 {
		t.Fatal(len(list), err)
	}
	if err := im.Tree().Remove("d/" + list[0].Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := list[0].Info(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of what is gone: %v", err)
	}
}

// What is held outlives its last name, and not its last holder.
func TestHold(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	empty := im.statfs()
	data := []byte(strings.Repeat("still here ", 20000))
	im.add("d/")
	if err := im.Tree().WriteFile("d/f", data, 0o644); err != nil {
		t.Fatal(err)
	}
	im.add("d/g = d/f", "other")
	f, err := im.Tree().OpenFile("d/f", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	g, err := im.Tree().Open("d/g")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := im.Tree().Open("d")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(im.Tree().Remove("d/f"), im.Tree().Rename("other", "d/g"), im.Tree().RemoveAll("d"), im.Sync()); err != nil {
		t.Fatal(err)
	}
	if a, err := im.Getattr(f.Ino()); err != nil || a.Links != 0 {
		t.Errorf("%+v, %v", a, err)
	}
	if list, err := dir.ReadDir(-1); len(list) != 0 || err != nil {
		t.Errorf("a removed directory: %d entries, %v", len(list), err)
	}
	if _, err := im.Lookup(dir.Ino(), ".."); !errors.Is(err, volume.ErrNotExist) {
		t.Errorf("dot dot of a removed directory: %v", err)
	}
	if _, err := f.WriteAt([]byte("STILL"), 0); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	got := make([]byte, len(data))
	if n, err := g.ReadAt(got, 0); n != len(data) || err != nil || string(got[:11]) != "STILL here " || string(got[11:]) != string(data[11:]) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	volume.CheckDevice(t, im.dev) // with orphans on their list (I8)
	ino := g.Ino()
	if err := errors.Join(g.Close(), dir.Close()); err != nil {
		t.Error(err)
	}
	if _, err := im.Getattr(ino); !errors.Is(err, volume.ErrStale) {
		t.Errorf("behind the last holder: %v", err)
	}
	im.reopen()
	if s := im.statfs(); s.Free != empty.Free || s.FreeInodes != empty.FreeInodes {
		t.Errorf("free are %d blocks and %d inodes, were %d and %d", s.Free, s.FreeInodes, empty.Free, empty.FreeInodes)
	}

	// The same with a crash, and with a close, instead of the release.
	for name, end := range map[string]func(){"crash": im.crash, "close": im.reopen} {
		before := im.statfs()
		if err := im.Tree().WriteFile("f", data, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := im.Tree().Open("f")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(im.Tree().Remove("f"), im.Sync()); err != nil {
			t.Fatal(err)
		}
		end()
		if _, err := im.Getattr(f.Ino()); !errors.Is(err, volume.ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
		if s := im.statfs(); s.Free != before.Free || s.FreeInodes != before.FreeInodes {
			t.Errorf("%s: free are %d blocks and %d inodes, were %d and %d", name, s.Free, s.FreeInodes, before.Free, before.FreeInodes)
		}
	}
}
