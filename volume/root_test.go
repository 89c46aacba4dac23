package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"holdfast/layout"
	"holdfast/volume"
)

// A tree below a directory stays below it, whatever happens outside.
func TestOpenRoot(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("a/", "a/in/", "a/in/f", "secret", "a/up -> ../secret", "a/abs -> /secret", "a/in/here -> /in/f", "b/")
	tr := im.Tree()
	a, err := tr.OpenRoot("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up", "abs", "../secret", "in/../../secret", "/../secret"} {
		if _, err := a.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s leads out: %v", name, err)
		}
	}
	if p, err := a.ReadFile("in/here"); err != nil || string(p) != "a/in/f" {
		t.Errorf("an absolute link within: %q, %v", p, err)
	}
	// The directory is moved, and another one takes its name.
	if err := tr.Rename("a", "b/moved"); err != nil {
		t.Fatal(err)
	}
	im.add("a/", "a/in/", "a/in/f = secret")
	if p, err := a.ReadFile("in/f"); err != nil || string(p) != "a/in/f" {
		t.Errorf("after the move: %q, %v", p, err)
	}
	if err := a.WriteFile("../new", []byte("x"), 0o600); err != nil { // ".." of the top is the top
		t.Fatal(err)
	}
	if _, err := tr.Lstat("b/moved/new"); err != nil {
		t.Error(err)
	}
	// Between two trees.
	b, err := tr.OpenRoot("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RenameTo("new", b, "got", 0); err != nil {
		t.Fatal(err)
	}
	if err := b.LinkTo("got", a, "again"); err != nil {
		t.Fatal(err)
	}
	if err := b.RenameTo("moved", a, "inside", 0); !errors.Is(err, volume.ErrInvalid) {
		t.Errorf("a directory into itself: %v", err)
	}
	other := newImage(t, 1024, 4<<20)
	if err := a.RenameTo("again", other.Tree(), "x", 0); !errors.Is(err, volume.ErrCrossDevice) {
		t.Error(err)
	}
	if _, err := tr.OpenRoot("secret"); !errors.Is(err, volume.ErrNotDir) {
		t.Error(err)
	}
	// Removed: empty, and nothing can be made in it.
	if err := tr.RemoveAll("b/moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Create("late"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in a removed directory: %v", err)
	}
	if list, err := a.ReadDir("."); err != nil || len(list) != 0 {
		t.Errorf("a removed directory lists %v, %v", list, err)
	}
	for _, tr := range []*volume.Tree{a, b} {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A walk of a directory that is renamed all the while sees each of its files once.
func TestWalkWhileRenamed(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	im.add("a/", "b/")
	const n = 300
	for i := range n {
		im.add(fmt.Sprintf("a/%d", i))
	}
	root, err := im.Tree().OpenRoot("a")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		at := "a"
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			to := []string{"b/x", "a"}[i%2]
			if err := im.Tree().Rename(at, to); err != nil {
				t.Error(err)
				return
			}
			at = to
		}
	})
	seen := map[string]int{}
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			seen[path]++
			_, err = root.ReadFile(path)
		}
		return err
	})
	close(stop)
	wg.Wait()
	if err != nil || len(seen) != n {
		t.Errorf("%d files seen, %v", len(seen), err)
	}
	if err := root.Close(); err != nil {
		t.Error(err)
	}
}

// A link put in place of a file between a look at it and opening it is not followed, and a pid
// file that has been replaced is not removed.
func TestNamesThatChange(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("secret", "data", "pid")
	tr := im.Tree()
	if i, err := tr.Lstat("data"); err != nil || !i.Mode().IsRegular() {
		t.Fatal(i, err)
	}
	if err := errors.Join(tr.Remove("data"), tr.Symlink("secret", "data")); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.OpenFile("data", os.O_RDWR|os.O_TRUNC|volume.O_NOFOLLOW, 0); !errors.Is(err, volume.ErrLoop) {
		t.Errorf("opening the link: %v", err)
	}
	if p, err := tr.ReadFile("secret"); err != nil || string(p) != "secret" {
		t.Errorf("%q, %v", p, err)
	}
	mine, err := tr.Open("pid")
	if err != nil {
		t.Fatal(err)
	}
	im.add("theirs")
	if err := tr.Rename("theirs", "pid"); err != nil {
		t.Fatal(err)
	}
	if err := tr.RemoveFile("pid", mine); !errors.Is(err, volume.ErrChanged) {
		t.Errorf("removing what is another file by now: %v", err)
	}
	if p, err := tr.ReadFile("pid"); err != nil || string(p) != "theirs" {
		t.Errorf("%q, %v", p, err)
	}
	if err := tr.LinkFile(mine, "mine"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("naming a file whose last name is gone: %v", err)
	}
	if err := mine.Close(); err != nil {
		t.Fatal(err)
	}
	now, err := tr.Open("pid")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.RemoveFile("pid", now); err != nil {
		t.Error(err)
	}
	if err := tr.RemoveFile("pid", now); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := now.Close(); err != nil {
		t.Fatal(err)
	}
}

// A file without a name is there until it is closed, or has got a name.
func TestCreateTemp(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("d/")
	tr := im.Tree()
	before := im.statfs()
	temp := func(flag int, text string) *volume.File {
		t.Helper()
		f, err := tr.CreateTemp("d", flag, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f
	}
	gone, named, closed := temp(os.O_RDWR, "gone"), temp(os.O_RDWR, "named"), temp(os.O_RDWR|os.O_EXCL, "never")
	if err := tr.LinkFile(closed, "d/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("O_EXCL is linked: %v", err)
	}
	if err := tr.LinkFile(named, "d/name"); err != nil {
		t.Fatal(err)
	}
	if err := tr.Remove("d/name"); err != nil {
		t.Fatal(err)
	}
	if err := tr.LinkFile(named, "d/name"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a second first name: %v", err)
	}
	again := temp(os.O_RDWR, "again")
	if err := tr.LinkFile(again, "d/again"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*volume.File{gone, named, closed} {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	if s := im.statfs(); s.FreeInodes != before.FreeInodes-1 {
		t.Errorf("%d inodes are free, %d were", s.FreeInodes, before.FreeInodes)
	}
	left := temp(os.O_RDWR, strings.Repeat("left", 1000)) // for the crash to free
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	_ = left
	im.crash()
	if p, err := im.Tree().ReadFile("d/again"); err != nil || string(p) != "again" {
		t.Errorf("%q, %v", p, err)
	}
	if s := im.statfs(); s.FreeInodes != before.FreeInodes-1 {
		t.Errorf("after a crash %d inodes are free, %d were", s.FreeInodes, before.FreeInodes)
	}
	if _, err := im.Tree().CreateTemp("d/again", os.O_RDWR, 0); !errors.Is(err, volume.ErrNotDir) {
		t.Error(err)
	}
}

func TestExchange(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("a/", "b/", "a/f", "a/d/", "a/d/x", "b/g", "b/e/", "b/e/y", "l -> x")
	tr := im.Tree()
	swap := func(x, y string, want error) {
		t.Helper()
		if err := tr.RenameFlags(x, y, volume.RenameExchange); !errors.Is(err, want) {
			t.Fatalf("%s and %s: %v, want %v", x, y, err, want)
		}
		im.reopen()
		tr = im.Tree()
		volume.CheckDevice(t, im.dev)
	}
	swap("a/f", "b/g", nil) // two files
	swap("a/d", "b/e", nil) // two directories, across
	swap("a/d", "b/g", nil) // a directory and a file, across
	swap("a/f", "a/d", nil) // in one directory
	swap("a", "l", nil)     // a directory and a symbolic link
	swap("l", "a", nil)
	swap("a/f", "a/f", nil)
	for path, text := range map[string]string{"a/d": "b/g", "b/g/y": "b/e/y", "b/e/x": "a/d/x", "a/f": "a/f"} {
		if p, err := tr.ReadFile(path); err != nil || string(p) != text {
			t.Errorf("%s is %q, %v", path, p, err)
		}
	}
	swap("a", "a/f", volume.ErrInvalid)
	swap("a/f", "a", volume.ErrInvalid)
	swap("a", "none", volume.ErrNotExist)
	swap("none", "a", volume.ErrNotExist)
	swap("l/", "a", volume.ErrNotDir)
	for _, flags := range []uint{volume.RenameExchange | volume.RenameNoReplace, volume.RenameExchange | volume.RenameWhiteout, 8} {
		if err := tr.RenameFlags("a", "b", flags); !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("flags %d: %v", flags, err)
		}
	}
}

func TestWhiteout(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("a/", "b/", "a/f", "a/d/", "b/over")
	tr := im.Tree()
	for _, c := range [][2]string{{"a/f", "b/over"}, {"a/d", "b/d"}, {"b/d", "b/e"}} {
		if err := tr.RenameFlags(c[0], c[1], volume.RenameWhiteout); err != nil {
			t.Fatal(c, err)
		}
		if a := im.attr(c[0]); a.Mode != layout.ModeChar || a.Major != 0 || a.Minor != 0 || a.Links != 1 {
			t.Errorf("%s is %+v", c[0], a)
		}
		if _, err := tr.Lstat(c[1]); err != nil {
			t.Error(err)
		}
	}
	if err := tr.RenameFlags("b/e", "b/over", volume.RenameWhiteout|volume.RenameNoReplace); !errors.Is(err, volume.ErrExist) {
		t.Error(err)
	}
}

func TestSubFS(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	im.add("a/", "a/b/", "a/b/f", "a/b/d/", "a/b/d/g", "a/b/l -> f")
	sub, err := fs.Sub(im.Tree().FS(), "a/b")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "f", "d/g"); err != nil {
		t.Error(err)
	}
	if target, err := fs.ReadLink(sub, "l"); err != nil || target != "f" {
		t.Errorf("%q, %v", target, err)
	}
	if _, err := fs.Sub(im.Tree().FS(), "../a"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
	if _, err := fs.ReadFile(sub, "none"); err == nil || strings.Contains(err.Error(), "a/b") {
		t.Errorf("an error speaks of %v", err)
	}
}

// A file that is closed has no number any more: what has got it meanwhile is neither linked nor
// removed.
func TestClosedFile(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	tr := im.Tree()
	f, err := tr.CreateTemp(".", os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	im.add("next")
	if im.ino("next") != f.Ino() {
		t.Fatalf("the number %d is not used again", f.Ino())
	}
	if err := tr.LinkFile(f, "name"); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("link: %v", err)
	}
	if err := tr.RemoveFile("next", f); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("remove: %v", err)
	}
	if got, want := im.list(), "next\n"; got != want {
		t.Errorf("the tree is %q, want %q", got, want)
	}
}
