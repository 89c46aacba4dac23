package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSplitImagePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"t.img", "a:b", "c"} {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("d", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		arg, image, inside string
		ok                 bool
	}{
		{"t.img:/x", "t.img", "/x", true}, {"t.img:x/", "t.img", "/x/", true}, {"t.img:", "t.img", "/", true}, {"t.img", "", "", false},
		{"t.img:/x:y", "t.img", "/x:y", true}, {"a:b:/x", "a:b", "/x", true}, {"./a:b", "", "", false}, {"./a:b:/x", "./a:b", "/x", true},
		{"a:b", "a", "/b", true},                                           // no file a: named as the image that is missing
		{"c:b", "c", "/b", true},                                           // there is one
		{"./new:name", "", "", false},                                      // a file of the host
		{"d/new:name", "", "", false}, {"d/none:/x", "d/none", "/x", true}, // as in scp
		{dir + "/t.img:/x", dir + "/t.img", "/x", true}, {dir + "/none:/x", dir + "/none", "/x", true}, {dir + "/none:/", dir + "/none", "/", true}, {dir + "/new:name", "", "", false},
		{"../none/t.img:/x", "../none/t.img", "/x", true}, {"d:/x", "d", "/x", true}, {":x", "", "", false}, {"-", "", "", false}, {"", "", "", false},
		{filepath.Join(dir, "d"), "", "", false},
	} {
		image, inside, ok := splitImagePath(c.arg)
		if image != c.image || inside != c.inside || ok != c.ok {
			t.Errorf("%q: %q %q %v, want %q %q %v", c.arg, image, inside, ok, c.image, c.inside, c.ok)
		}
	}
}

// The parent and the prefixes of an operand keep what was typed.
func TestOperandNames(t *testing.T) {
	for _, c := range []struct{ name, path, base, parent, parentPath string }{
		{"i:/a/b", "/a/b", "b", "i:/a/", "/a/"}, {"i:a/b//", "/a/b//", "b", "i:a/", "/a/"}, {"i:a", "/a", "a", "i:", "/"}, {"i:/", "/", "", "i:", ""},
	} {
		o := operand{&image{name: "i"}, c.name, c.path}
		if o.base() != c.base {
			t.Errorf("%s: base %q", c.name, o.base())
		}
		if c.base == "" {
			continue
		}
		if p := o.parent(); p.name != c.parent || p.path != c.parentPath {
			t.Errorf("%s: parent %q %q", c.name, p.name, p.path)
		}
	}
}
