package volume_test

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/layout"
	"holdfast/volume"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

const (
	dirMode  = layout.ModeDir | 0o755
	fileMode = layout.ModeFile | 0o644
	linkMode = layout.ModeLink
)

var (
	long    = strings.Repeat("n", 255)
	tooLong = strings.Repeat("n", 256)
)

// refusals has a tree, an operation on it, and what it answers; no answer is success. A
// refusal changes nothing: the tree, and what the volume says of its space, stay as they are.
var refusals = []struct {
	name string
	tree []string
	do   func(im *image) error
	want error
}{
	{"lookup", []string{"f"}, lookup("", "f"), nil},
	{"lookup of nothing", nil, lookup("", "f"), volume.ErrNotExist},
	{"lookup of an empty name", nil, lookup("", ""), volume.ErrNotExist},
	{"lookup in a file", []string{"f"}, lookup("f", "x"), volume.ErrNotDir},
	{"lookup of the longest name", nil, lookup("", long), volume.ErrNotExist},
	{"lookup of a longer name", nil, lookup("", tooLong), volume.ErrNameTooLong},
	{"lookup of a slash", nil, lookup("", "a/b"), volume.ErrInvalid},
	{"lookup of NUL", nil, lookup("", "a\x00"), volume.ErrInvalid},
	{"lookup of dot", nil, lookup("", "."), nil},
	{"lookup of dot dot in the root", nil, lookup("", ".."), nil},
	{"lookup of dot in a file", []string{"f"}, lookup("f", "."), volume.ErrNotDir},
	{"lookup in no inode", nil, func(im *image) error { _, err := im.Lookup(1<<40, "x"); return err }, volume.ErrStale},
	{"lookup in inode 0", nil, func(im *image) error { _, err := im.Lookup(0, "x"); return err }, volume.ErrStale},

	{"getattr of a free inode", nil, func(im *image) error { _, err := im.Getattr(2); return err }, volume.ErrStale},
	{"getattr beyond all inodes", nil, func(im *image) error { _, err := im.Getattr(1 << 60); return err }, volume.ErrStale},

	{"create", nil, create("", "f", fileMode), nil},
	{"create with the longest name", nil, create("", long, fileMode), nil},
	{"create with a longer name", nil, create("", tooLong, fileMode), volume.ErrNameTooLong},
	{"create without a name", nil, create("", "", fileMode), volume.ErrNotExist},
	{"create with a slash", nil, create("", "a/b", fileMode), volume.ErrInvalid},
	{"create with NUL", nil, create("", "a\x00b", fileMode), volume.ErrInvalid},
	{"create over a file", []string{"f"}, create("", "f", fileMode), volume.ErrExist},
	{"create over a link to nothing", []string{"l -> x"}, create("", "l", fileMode), volume.ErrExist},
	{"create dot", nil, create("", ".", dirMode), volume.ErrExist},
	{"create dot dot", nil, create("", "..", dirMode), volume.ErrExist},
	{"create in a file", []string{"f"}, create("f", "x", fileMode), volume.ErrNotDir},
	{"create of no type", nil, create("", "f", 0o644), volume.ErrInvalid},
	{"create of an unknown type", nil, create("", "f", 0o170000), volume.ErrInvalid},
	{"create of an unknown type over a file", []string{"f"}, create("", "f", 0o170000), volume.ErrInvalid},
	{"create in a removed directory", []string{"d/"}, removed("d", func(im *image, d volume.Ino) error {
		_, err := im.Create(d, "x", volume.NewNode{Mode: fileMode})
		return err
	}), volume.ErrNotExist},
	{"mkdir over a file", []string{"f"}, create("", "f", dirMode), volume.ErrExist},
	{"mkdir below too many", []string{"d/"}, limited("d", create("d", "x", dirMode)), volume.ErrTooManyLinks},
	{"create below too many", []string{"d/"}, limited("d", create("d", "x", fileMode)), nil},
	{"mkdir over a name below too many", []string{"d/", "d/x/"}, limited("d", create("d", "x", dirMode)), volume.ErrExist},
	{"symlink without a target", nil, symlink("", ""), volume.ErrNotExist},
	{"symlink of the longest target", nil, symlink("", strings.Repeat("t", 4095)), nil},
	{"symlink of a longer target", nil, symlink("", strings.Repeat("t", 4096)), volume.ErrNameTooLong},
	{"symlink with NUL", nil, symlink("", "a\x00b"), volume.ErrInvalid},
	{"symlink over a file", []string{"l"}, symlink("", "x"), volume.ErrExist},

	{"readlink", []string{"l -> x"}, readlink("l"), nil},
	{"readlink of a file", []string{"f"}, readlink("f"), volume.ErrInvalid},
	{"readlink of a directory", []string{"d/"}, readlink("d"), volume.ErrInvalid},

	{"link", []string{"f"}, link("f", "", "g"), nil},
	{"link over a file", []string{"f", "g"}, link("f", "", "g"), volume.ErrExist},
	{"link over itself", []string{"f"}, link("f", "", "f"), volume.ErrExist},
	{"link of a directory", []string{"d/"}, link("d", "", "e"), volume.ErrPermission},
	{"link of a directory over a file", []string{"d/", "f"}, link("d", "", "f"), volume.ErrExist},
	{"link as dot", []string{"f"}, link("f", "", "."), volume.ErrExist},
	{"link of a symbolic link", []string{"l -> x"}, link("l", "", "m"), nil},
	{"link of a pipe", []string{"p|"}, link("p", "", "q"), nil},
	{"link in a file", []string{"f"}, link("f", "f", "x"), volume.ErrNotDir},
	{"link with a long name", []string{"f"}, link("f", "", tooLong), volume.ErrNameTooLong},
	{"link without a name", []string{"f"}, link("f", "", ""), volume.ErrNotExist},
	{"link with too many", []string{"f"}, limited("f", link("f", "", "g")), volume.ErrTooManyLinks},
	{"link of a removed file", []string{"f"}, removed("f", func(im *image, f volume.Ino) error {
		_, err := im.Link(f, volume.Root, "g")
		return err
	}), volume.ErrNotExist},
	{"link in a removed directory", []string{"f", "d/"}, removed("d", func(im *image, d volume.Ino) error {
		_, err := im.Link(im.ino("f"), d, "g")
		return err
	}), volume.ErrNotExist},
	{"link of nothing", nil, func(im *image) error { _, err := im.Link(99, volume.Root, "x"); return err }, volume.ErrStale},

	{"unlink", []string{"f"}, unlink("", "f"), nil},
	{"unlink of a symbolic link", []string{"d/", "l -> d"}, unlink("", "l"), nil},
	{"unlink of a pipe", []string{"p|"}, unlink("", "p"), nil},
	{"unlink of nothing", nil, unlink("", "f"), volume.ErrNotExist},
	{"unlink of a directory", []string{"d/"}, unlink("", "d"), volume.ErrIsDir},
	{"unlink of dot", nil, unlink("", "."), volume.ErrIsDir},
	{"unlink of dot dot", []string{"d/"}, unlink("d", ".."), volume.ErrIsDir},
	{"unlink in a file", []string{"f"}, unlink("f", "x"), volume.ErrNotDir},
	{"unlink of a long name", nil, unlink("", tooLong), volume.ErrNameTooLong},
	{"unlink of an empty name", nil, unlink("", ""), volume.ErrNotExist},

	{"rmdir", []string{"d/"}, rmdir("", "d"), nil},
	{"rmdir of nothing", nil, rmdir("", "d"), volume.ErrNotExist},
	{"rmdir of a file", []string{"f"}, rmdir("", "f"), volume.ErrNotDir},
	{"rmdir of a link to a directory", []string{"d/", "l -> d"}, rmdir("", "l"), volume.ErrNotDir},
	{"rmdir with a name in it", []string{"d/", "d/f"}, rmdir("", "d"), volume.ErrNotEmpty},
	{"rmdir of dot", []string{"d/"}, rmdir("d", "."), volume.ErrInvalid},
	{"rmdir of dot dot", []string{"d/"}, rmdir("d", ".."), volume.ErrNotEmpty},
	{"rmdir in a file", []string{"f"}, rmdir("f", "x"), volume.ErrNotDir},
	{"rmdir of a long name", nil, rmdir("", tooLong), volume.ErrNameTooLong},

	{"rename", []string{"f"}, rename("", "f", "", "g"), nil},
	{"rename of nothing", nil, rename("", "f", "", "g"), volume.ErrNotExist},
	{"rename to itself", []string{"f"}, rename("", "f", "", "f"), nil},
	{"rename of a directory to itself", []string{"d/", "d/x"}, rename("", "d", "", "d"), nil},
	{"rename over another name", []string{"f", "g = f"}, rename("", "f", "", "g"), nil},
	{"rename over a file", []string{"f", "g"}, rename("", "f", "", "g"), nil},
	{"rename over an empty directory", []string{"d/", "e/"}, rename("", "d", "", "e"), nil},
	{"rename over an empty directory elsewhere", []string{"d/", "d/x", "e/", "e/f/"}, rename("", "d", "e", "f"), nil},
	{"rename over a full directory", []string{"d/", "e/", "e/x"}, rename("", "d", "", "e"), volume.ErrNotEmpty},
	{"rename of a file over a directory", []string{"f", "d/"}, rename("", "f", "", "d"), volume.ErrIsDir},
	{"rename of a file over a full directory", []string{"f", "d/", "d/x"}, rename("", "f", "", "d"), volume.ErrIsDir},
	{"rename of a directory over a file", []string{"f", "d/"}, rename("", "d", "", "f"), volume.ErrNotDir},
	{"rename into itself", []string{"d/"}, rename("", "d", "d", "x"), volume.ErrInvalid},
	{"rename into what is below", []string{"d/", "d/e/", "d/e/f/"}, rename("", "d", "d/e/f", "x"), volume.ErrInvalid},
	{"rename over a file below itself", []string{"d/", "d/f"}, rename("", "d", "d", "f"), volume.ErrInvalid},
	{"rename over the directory above", []string{"d/", "d/e/"}, rename("d", "e", "", "d"), volume.ErrNotEmpty},
	{"rename of a file over the directory above", []string{"d/", "d/f"}, rename("d", "f", "", "d"), volume.ErrNotEmpty},
	{"rename of dot", []string{"d/"}, rename("d", ".", "", "e"), volume.ErrBusy},
	{"rename to dot dot", []string{"d/"}, rename("", "d", "d", ".."), volume.ErrBusy},
	{"rename in a file", []string{"f"}, rename("f", "x", "", "y"), volume.ErrNotDir},
	{"rename into a file", []string{"f", "g"}, rename("", "f", "g", "y"), volume.ErrNotDir},
	{"rename of a long name", nil, rename("", tooLong, "", "y"), volume.ErrNameTooLong},
	{"rename to a long name", []string{"f"}, rename("", "f", "", tooLong), volume.ErrNameTooLong},
	{"rename of nothing to a long name", nil, rename("", "f", "", tooLong), volume.ErrNotExist},
	{"rename below too many", []string{"d/", "e/"}, limited("d", rename("", "e", "d", "x")), volume.ErrTooManyLinks},
	{"rename of a file below too many", []string{"d/", "f"}, limited("d", rename("", "f", "d", "x")), nil},
	{"rename within too many", []string{"d/", "d/e/"}, limited("d", rename("d", "e", "d", "x")), nil},
	{"rename over one of too many", []string{"d/", "d/e/", "e/"}, limited("d", rename("", "e", "d", "e")), nil},
	{"rename into a removed directory", []string{"f", "d/"}, removed("d", func(im *image, d volume.Ino) error {
		return im.Rename(volume.Root, "f", d, "g", 0)
	}), volume.ErrNotExist},
	{"rename with unknown flags", []string{"f"}, renameFlags("", "f", "", "g", 1<<3), volume.ErrInvalid},
	{"rename without replacing", []string{"f"}, renameFlags("", "f", "", "g", volume.RenameNoReplace), nil},
	{"rename without replacing a file", []string{"f", "g"}, renameFlags("", "f", "", "g", volume.RenameNoReplace), volume.ErrExist},
	{"rename without replacing itself", []string{"f"}, renameFlags("", "f", "", "f", volume.RenameNoReplace), volume.ErrExist},
	{"rename without replacing dot", []string{"f"}, renameFlags("", "f", "", ".", volume.RenameNoReplace), volume.ErrExist},
	{"rename without replacing, of nothing", []string{"g"}, renameFlags("", "f", "", "g", volume.RenameNoReplace), volume.ErrNotExist},
	{"rename without replacing a directory", []string{"f", "d/"}, renameFlags("", "f", "", "d", volume.RenameNoReplace), volume.ErrExist},

	{"size of a directory", []string{"d/"}, truncate("d", 0), volume.ErrIsDir},
	{"size of a pipe", []string{"p|"}, truncate("p", 0), volume.ErrInvalid},
	{"size of a symbolic link", []string{"l -> x"}, truncate("l", 0), volume.ErrInvalid},
	{"size too large", []string{"f"}, truncate("f", volume.MaxFileSize+1), volume.ErrFileTooBig},
	{"largest size", []string{"f"}, truncate("f", volume.MaxFileSize), nil},
	{"mode of a symbolic link", []string{"l -> x"}, chmod("l", 0o600), volume.ErrNotSupported},
	{"mode of another type", []string{"f"}, chmod("f", layout.ModeDir|0o600), volume.ErrInvalid},
	{"mode with its type", []string{"f"}, chmod("f", layout.ModeFile|0o600), nil},
	{"setattr of nothing", nil, func(im *image) error { _, err := im.Setattr(77, volume.SetAttr{}); return err }, volume.ErrStale},

	{"readdir of a file", []string{"f"}, func(im *image) error {
		return im.ReadDir(im.ino("f"), 0, func(volume.DirEntry) bool { return true })
	}, volume.ErrNotDir},
	{"readdir of nothing", nil, func(im *image) error {
		return im.ReadDir(55, 0, func(volume.DirEntry) bool { return true })
	}, volume.ErrStale},
	{"hold of nothing", nil, func(im *image) error { return im.Hold(55) }, volume.ErrStale},
	{"release of what nobody holds", []string{"f"}, func(im *image) error { return im.Release(im.ino("f")) }, volume.ErrInvalid},
}

// in is the inode of a path below the root; "" is the root.
func (im *image) in(path string) volume.Ino { im.tb.Helper(); return im.ino("/" + path) }

func lookup(dir, name string) func(*image) error {
	return func(im *image) error { _, err := im.Lookup(im.in(dir), name); return err }
}
func create(dir, name string, mode uint16) func(*image) error {
	return func(im *image) error {
		_, err := im.Create(im.in(dir), name, volume.NewNode{Mode: mode})
		return err
	}
}
func symlink(dir, target string) func(*image) error {
	return func(im *image) error {
		a, err := im.Create(im.in(dir), "l", volume.NewNode{Mode: linkMode, Target: target})
		if err != nil {
			return err
		}
		if got, err := im.Readlink(a.Ino); err != nil || got != target || a.Size != uint64(len(target)) {
			return fmt.Errorf("target %q, size %d, %w", got, a.Size, err)
		}
		return nil
	}
}
func readlink(path string) func(*image) error {
	return func(im *image) error { _, err := im.Readlink(im.in(path)); return err }
}
func link(path, dir, name string) func(*image) error {
	return func(im *image) error { _, err := im.Link(im.in(path), im.in(dir), name); return err }
}
func unlink(dir, name string) func(*image) error {
	return func(im *image) error { return im.Unlink(im.in(dir), name) }
}
func rmdir(dir, name string) func(*image) error {
	return func(im *image) error { return im.Rmdir(im.in(dir), name) }
}
func rename(odir, oname, ndir, nname string) func(*image) error {
	return renameFlags(odir, oname, ndir, nname, 0)
}
func renameFlags(odir, oname, ndir, nname string, flags uint) func(*image) error {
	return func(im *image) error { return im.Rename(im.in(odir), oname, im.in(ndir), nname, flags) }
}
func truncate(path string, size uint64) func(*image) error {
	return func(im *image) error { _, err := im.Setattr(im.in(path), volume.SetAttr{Size: &size}); return err }
}
func chmod(path string, mode uint16) func(*image) error {
	return func(im *image) error { _, err := im.Setattr(im.in(path), volume.SetAttr{Mode: &mode}); return err }
}

// removed does something to an inode that has lost its name and is held.
func removed(path string, do func(*image, volume.Ino) error) func(*image) error {
	return func(im *image) error {
		ino := im.in(path)
		if err := im.Hold(ino); err != nil {
			return err
		}
		if err := im.Tree().Remove(path); err != nil {
			return err
		}
		err := do(im, ino)
		if rerr := im.Release(ino); rerr != nil {
			return rerr
		}
		return err
	}
}

// limited does something while the inode of path has as many links as there can be.
func limited(path string, do func(*image) error) func(*image) error {
	return func(im *image) error {
		ino := im.in(path)
		before := im.attr(path).Links
		if err := im.SetLinks(ino, layout.MaxLinks); err != nil {
			return err
		}
		err := do(im)
		// What the operation did to the count stays.
		a, gerr := im.Getattr(ino)
		if gerr != nil {
			return gerr
		}
		if serr := im.SetLinks(ino, a.Links-layout.MaxLinks+before); serr != nil {
			return serr
		}
		return err
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			im := newImage(t, 1024, 2<<20)
			im.add(c.tree...)
			before := im.list()
			free := im.statfs()
			err := c.do(im)
			if c.want == nil && err != nil || !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			after := im.list()
			if err != nil && !strings.Contains(c.name, "removed") {
				if after != before {
					t.Errorf("the refusal changed the tree from\n%sto\n%s", before, after)
				}
				if now := im.statfs(); now != free {
					t.Errorf("the refusal changed the totals from %+v to %+v", free, now)
				}
			}
			im.reopen()
			if got := im.list(); got != after {
				t.Errorf("reopened, the tree is\n%swant\n%s", got, after)
			}
		})
	}
}

// statfs is what is used of the volume.
func (im *image) statfs() volume.Statfs {
	im.tb.Helper()
	s, err := im.Statfs()
	if err != nil {
		im.tb.Fatal(err)
	}
	return s
}

// Every error is known by errno and by the names of package fs.
func TestErrorsMatch(t *testing.T) {
	im := newImage(t, 1024, 2<<20)
	im.add("f", "d/", "d/x")
	for _, c := range []struct {
		err  error
		want []error
	}{
		{lookup("", "no")(im), []error{volume.ErrNotExist, fs.ErrNotExist, os.ErrNotExist, syscall.ENOENT}},
		{create("", "f", fileMode)(im), []error{volume.ErrExist, fs.ErrExist, syscall.EEXIST}},
		{link("d", "", "e")(im), []error{fs.ErrPermission, syscall.EPERM}},
		{rmdir("", "d")(im), []error{syscall.ENOTEMPTY}},
		{im.Tree().Remove("d"), []error{syscall.ENOTEMPTY}},
		{im.Tree().Rename("no", "x"), []error{fs.ErrNotExist, syscall.ENOENT}},
		{create("", tooLong, fileMode)(im), []error{syscall.ENAMETOOLONG}},
	} {
		for _, w := range c.want {
			if !errors.Is(c.err, w) {
				t.Errorf("%v does not match %v", c.err, w)
			}
		}
	}
}

// counts are the link counts after each operation (I6).
func TestLinkCounts(t *testing.T) {
	im := newImage(t, 1024, 2<<20)
	step := 0
	want := func(counts map[string]uint32) {
		t.Helper()
		step++
		for p, n := range counts {
			if a := im.attr(p); a.Links != n {
				t.Errorf("step %d: %s has %d links, want %d", step, p, a.Links, n)
			}
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want(map[string]uint32{"/": 2})
	im.add("a/", "a/s/", "b/", "f")
	want(map[string]uint32{"/": 4, "a": 3, "a/s": 2, "b": 2, "f": 1})
	do(im.Tree().Link("f", "a/g"))
	want(map[string]uint32{"f": 2, "a/g": 2, "a": 3})
	do(im.Tree().Rename("a/s", "b/s"))
	want(map[string]uint32{"/": 4, "a": 2, "b": 3, "b/s": 2})
	do(im.Tree().Rename("a/g", "b/g"))
	want(map[string]uint32{"a": 2, "b": 3, "f": 2})
	do(im.Tree().Rename("f", "b/g")) // two names of one file
	want(map[string]uint32{"f": 2, "b/g": 2})
	im.add("h")
	do(im.Tree().Rename("h", "b/g"))
	want(map[string]uint32{"f": 1, "b/g": 1})
	im.add("a/e/")
	do(im.Tree().Rename("b/s", "a/e")) // a directory over a directory, across directories
	want(map[string]uint32{"/": 4, "a": 3, "b": 2, "a/e": 2})
	im.add("a/e2/")
	want(map[string]uint32{"a": 4})
	do(im.Tree().Rename("a/e", "a/e2")) // the same in one directory
	want(map[string]uint32{"a": 3, "a/e2": 2})
	if a, err := im.Lookup(im.ino("a/e2"), ".."); err != nil || a.Ino != im.ino("a") {
		t.Errorf("dot dot is inode %d, %v", a.Ino, err)
	}
	do(im.Tree().Rename("a/e2", "e3"))
	want(map[string]uint32{"/": 5, "a": 2})
	if a, err := im.Lookup(im.ino("e3"), ".."); err != nil || a.Ino != volume.Root {
		t.Errorf("dot dot is inode %d, %v", a.Ino, err)
	}
	do(im.Tree().Remove("e3"))
	do(im.Tree().RemoveAll("b"))
	want(map[string]uint32{"/": 3})
	im.reopen()
	want(map[string]uint32{"/": 3, "a": 2, "f": 1})
}

// Which times each operation marks: m and c of the paths named, and no others.
func TestTimes(t *testing.T) {
	size := uint64(3)
	mode := uint16(0o600)
	uid := uint32(5)
	then := time.Unix(77, 7)
	for _, c := range []struct {
		name string
		do   func(im *image) error
		want map[string]string
	}{
		{"create", create("d", "new", fileMode), map[string]string{"d": "mc", "d/new": "amcb"}},
		{"mkdir", create("d", "new", dirMode), map[string]string{"d": "mc", "d/new": "amcb"}},
		{"link", link("f", "d", "new"), map[string]string{"d": "mc", "f": "c", "d/new": "c"}},
		{"unlink one of two", unlink("", "g"), map[string]string{"": "mc", "g2": "c"}},
		{"unlink", unlink("d", "x"), map[string]string{"d": "mc"}},
		{"rmdir", rmdir("d", "e"), map[string]string{"d": "mc"}},
		{"rename in one directory", rename("d", "x", "d", "y"), map[string]string{"d": "mc", "d/y": "c"}},
		{"rename across", rename("d", "x", "", "y"), map[string]string{"": "mc", "d": "mc", "y": "c"}},
		{"rename over one of two", rename("", "f", "", "g"), map[string]string{"": "mc", "g": "c", "g2": "c"}},
		{"rename of a directory", rename("d", "e", "", "y"), map[string]string{"": "mc", "d": "mc", "y": "c"}},
		{"rename to itself", rename("", "g", "", "g2"), nil},
		{"chmod", setattr("f", volume.SetAttr{Mode: &mode}), map[string]string{"f": "c"}},
		{"chown", setattr("f", volume.SetAttr{UID: &uid}), map[string]string{"f": "c"}},
		{"truncate", setattr("f", volume.SetAttr{Size: &size}), map[string]string{"f": "mc"}},
		{"utimes", setattr("f", volume.SetAttr{Atime: &then, Mtime: &then}), map[string]string{"f": "amc"}},
		{"setattr of nothing", setattr("f", volume.SetAttr{}), nil},
		{"lookup", lookup("d", "x"), nil},
		{"readlink", readlink("l"), nil},
		{"write", func(im *image) error { _, err := im.Write(im.in("f"), []byte("x"), 0); return err }, map[string]string{"f": "mc"}},
		{"read", func(im *image) error { _, err := im.Read(im.in("f"), make([]byte, 1), 0); return err }, nil},
		{"refused unlink", func(im *image) error { _ = im.Unlink(volume.Root, "d"); return nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			im := newImage(t, 1024, 2<<20)
			im.add("d/", "d/x", "d/e/", "f", "g", "g2 = g", "l -> f")
			paths := []string{"", "d", "d/x", "d/e", "f", "g", "g2", "l"}
			before := map[volume.Ino]volume.Attr{}
			for _, p := range paths {
				a := im.attr("/" + p)
				before[a.Ino] = a
			}
			start := time.Unix(im.now, 123)
			if err := c.do(im); err != nil {
				t.Fatal(err)
			}
			for p := range c.want {
				if !slices.Contains(paths, p) {
					paths = append(paths, p)
				}
			}
			want := map[volume.Ino]string{}
			for p, w := range c.want {
				want[im.in(p)] = w
			}
			for _, p := range paths {
				ino, err := im.Tree().Resolve("/"+p, false)
				if err != nil {
					continue // removed, or moved
				}
				a, b := im.attr("/"+p), before[ino]
				got := ""
				for _, x := range []struct {
					letter    string
					now, then time.Time
				}{{"a", a.Atime, b.Atime}, {"m", a.Mtime, b.Mtime}, {"c", a.Ctime, b.Ctime}, {"b", a.Btime, b.Btime}} {
					if !x.now.Equal(x.then) {
						got += x.letter
						if !x.now.After(start) && !x.now.Equal(then) {
							t.Errorf("%q: time %s is %v, not now (after %v)", p, x.letter, x.now, start)
						}
					}
				}
				if got != want[ino] {
					t.Errorf("%q: times %q changed, want %q", p, got, want[ino])
				}
			}
		})
	}
}

func setattr(path string, s volume.SetAttr) func(*image) error {
	return func(im *image) error { _, err := im.Setattr(im.in(path), s); return err }
}

// Owners, set-user-ID and set-group-ID, as Linux has them for root.
func TestOwners(t *testing.T) {
	im := newImage(t, 1024, 2<<20)
	mk := func(dir volume.Ino, name string, mode uint16, uid, gid uint32) volume.Attr {
		t.Helper()
		a, err := im.Create(dir, name, volume.NewNode{Mode: mode, UID: uid, GID: gid})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	uid, gid := uint32(9), uint32(8)
	for _, c := range []struct {
		name       string
		mode, want uint16
		set        volume.SetAttr
	}{
		{"file, executable", layout.ModeFile | 0o6755, layout.ModeFile | 0o755, volume.SetAttr{UID: &uid}},
		{"file, by group", layout.ModeFile | 0o6755, layout.ModeFile | 0o755, volume.SetAttr{GID: &gid}},
		{"file, group may not execute", layout.ModeFile | 0o6745, layout.ModeFile | 0o2745, volume.SetAttr{UID: &uid, GID: &gid}},
		{"directory", layout.ModeDir | 0o7755, layout.ModeDir | 0o7755, volume.SetAttr{UID: &uid, GID: &gid}},
		{"pipe", layout.ModeFIFO | 0o6755, layout.ModeFIFO | 0o755, volume.SetAttr{UID: &uid}},
		{"with a mode", layout.ModeFile | 0o6755, layout.ModeFile | 0o4711, volume.SetAttr{UID: &uid, Mode: ptr(uint16(0o4711))}},
		{"no owner", layout.ModeFile | 0o6755, layout.ModeFile | 0o6755, volume.SetAttr{Mtime: ptr(time.Unix(3, 3))}},
	} {
		a := mk(volume.Root, c.name, c.mode, 1, 1)
		b, err := im.Setattr(a.Ino, c.set)
		if err != nil {
			t.Fatal(c.name, err)
		}
		if c.set.UID != nil && b.UID != uid || c.set.UID == nil && b.UID != 1 ||
			c.set.GID != nil && b.GID != gid || c.set.GID == nil && b.GID != 1 {
			t.Errorf("%s: owner %d:%d", c.name, b.UID, b.GID)
		}
		if b.Mode != c.want {
			t.Errorf("%s: mode %#o, want %#o", c.name, b.Mode, c.want)
		}
		if g, err := im.Getattr(a.Ino); err != nil || g != b {
			t.Errorf("%s: getattr %+v, %v; setattr %+v", c.name, g, err, b)
		}
	}
	d := mk(volume.Root, "group", layout.ModeDir|0o2755, 1, 42)
	if f := mk(d.Ino, "f", layout.ModeFile|0o644, 1, 1); f.GID != 42 || f.Mode != layout.ModeFile|0o644 || f.UID != 1 {
		t.Errorf("a file in a set-group-ID directory: %+v", f)
	}
	if e := mk(d.Ino, "e", layout.ModeDir|0o700, 1, 1); e.GID != 42 || e.Mode != layout.ModeDir|0o2700 {
		t.Errorf("a directory in a set-group-ID directory: %+v", e)
	}
	c := mk(volume.Root, "null", layout.ModeChar|0o666, 1, 1)
	if c.Major != 0 || c.Minor != 0 {
		t.Errorf("device %d, %d", c.Major, c.Minor)
	}
	n, err := im.Create(volume.Root, "zero", volume.NewNode{Mode: layout.ModeBlock | 0o600, Major: 259, Minor: 1 << 20})
	if err != nil || n.Major != 259 || n.Minor != 1<<20 {
		t.Errorf("device %d, %d, %v", n.Major, n.Minor, err)
	}
	l, err := im.Create(volume.Root, "l", volume.NewNode{Mode: layout.ModeLink | 0o600, Target: "x", Major: 3})
	if err != nil || l.Mode != layout.ModeLink|0o777 || l.Major != 0 {
		t.Errorf("symbolic link %+v, %v", l, err)
	}
}

func ptr[T any](x T) *T { return &x }

// Targets of all lengths around the inline area and the block size come back after a reopen,
// and their blocks are freed with them.
func TestTargets(t *testing.T) {
	im := newImage(t, 1024, 2<<20)
	before := im.statfs()
	lengths := []int{1, 2, layout.InlineSize - 1, layout.InlineSize, layout.InlineSize + 1, 1023, 1024, 1025, 4094, 4095}
	target := func(n int) string { return strings.Repeat("abcdefg/", n/8+1)[:n] }
	for _, n := range lengths {
		if err := im.Tree().Symlink(target(n), fmt.Sprint(n)); err != nil {
			t.Fatal(n, err)
		}
	}
	for range 2 {
		for _, n := range lengths {
			if got, err := im.Tree().Readlink(fmt.Sprint(n)); err != nil || got != target(n) {
				t.Errorf("target of %d bytes: %d bytes, %v", n, len(got), err)
			}
		}
		im.reopen()
	}
	for _, n := range lengths {
		if err := im.Tree().Remove(fmt.Sprint(n)); err != nil {
			t.Fatal(n, err)
		}
	}
	im.reopen()
	if after := im.statfs(); after.Free != before.Free {
		t.Errorf("%d blocks are free, were %d", after.Free, before.Free)
	}
}

// A position stays good while names come and go.
func TestReadDirPositions(t *testing.T) {
	im := newImage(t, 1024, 32<<20)
	const n = 500
	for i := range n {
		if err := create("", fmt.Sprintf("stay-%03d", i), fileMode)(im); err != nil {
			t.Fatal(err)
		}
		if err := create("", fmt.Sprintf("go-%03d", i), fileMode)(im); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	pos, calls := uint64(0), 0
	for done := false; !done; calls++ {
		done = true
		count := 0
		err := im.ReadDir(volume.Root, pos, func(e volume.DirEntry) bool {
			seen[e.Name]++
			pos = e.Next
			done = false
			count++
			if calls%3 == 0 { // the volume may be used, and changed, meanwhile
				name := fmt.Sprintf("go-%03d", calls%n)
				if err := im.Unlink(volume.Root, name); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
				}
				if err := create("", fmt.Sprintf("new-%03d-%d", calls, count), fileMode)(im); err != nil {
					t.Error(err)
				}
			}
			return count < 7
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if c := seen[fmt.Sprintf("stay-%03d", i)]; c != 1 {
			t.Errorf("stay-%03d was seen %d times", i, c)
		}
	}
	for name, c := range seen {
		if c > 1 {
			t.Errorf("%s was seen %d times", name, c)
		}
	}
	// A directory that goes while it is read has no more entries.
	im.add("d/")
	d := im.ino("d")
	for i := range 200 {
		if err := create("d", fmt.Sprint(i), fileMode)(im); err != nil {
			t.Fatal(err)
		}
	}
	count := 0
	err := im.ReadDir(d, 0, func(volume.DirEntry) bool {
		if count++; count == 1 {
			if err := im.Tree().RemoveAll("d"); err != nil {
				t.Error(err)
			}
			im.add("other/", "other/x") // in the inode that was freed
		}
		return true
	})
	if err != nil || count == 0 || count >= 200 {
		t.Errorf("%d entries, %v", count, err)
	}
}

// TestReadDirPlus wants of each entry what a lookup of its name says, over several batches, and
// from a damaged inode its error in place of its attributes, and the rest of the names.
func TestReadDirPlus(t *testing.T) {
	im := newImage(t, 1024, 8<<20)
	im.add("d/", "d/sub/", "s -> d", "d/link -> sub")
	for i := range 200 {
		im.add(fmt.Sprintf("d/%d", i))
	}
	dir := im.ino("d")
	check := func() (bad []string, seen int) {
		pos := uint64(0)
		for more := true; more; {
			more = false
			err := im.ReadDirPlus(dir, pos, func(e volume.DirEntry, a volume.Attr, err error) bool {
				want, werr := im.Lookup(dir, e.Name)
				if fmt.Sprint(err) != fmt.Sprint(werr) || a != want {
					t.Errorf("%s: %+v, %v; looked up: %+v, %v", e.Name, a, err, want, werr)
				}
				if err != nil {
					bad = append(bad, e.Name)
				} else if a.Ino != e.Ino || a.Mode&layout.ModeType != e.Type {
					t.Errorf("%s: %+v has %+v", e.Name, e, a)
				}
				pos, more = e.Next, true
				seen++
				return seen%70 != 0 // begun again in the middle of a batch
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return bad, seen
	}
	if bad, seen := check(); len(bad) > 0 || seen != 202 {
		t.Errorf("%d names, without attributes %q", seen, bad)
	}
	seven := im.ino("d/7")
	if err := im.ReadDirPlus(seven, 0, nil); !errors.Is(err, volume.ErrNotDir) {
		t.Errorf("a file: %v", err)
	}

	im.reopen()
	s, err := volume.ReadSuperblock(im.dev)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	block, off := g.InodePlace(uint64(seven))
	at := &im.dev.Bytes()[int(block)*g.BlockSize+off+8]
	*at ^= 1
	if bad, seen := check(); !slices.Equal(bad, []string{"7"}) || seen != 202 {
		t.Errorf("with a damaged inode: %d names, without attributes %q", seen, bad)
	}
	*at ^= 1
}
