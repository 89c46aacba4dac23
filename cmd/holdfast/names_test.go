package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// Names that are no text come out whole: as JSON with their bytes beside, and as lines that
// hold no control characters and are not taken for another name.
func TestStrangeNames(t *testing.T) {
	img := filepath.Join(t.TempDir(), "t.img")
	if _, errOut, ok := ourRun(t, "mkfs", "-q", img, "4m"); !ok {
		t.Fatal(errOut)
	}
	names := []string{"a\xffb", "a\xfeb", "line\nfeed", "\x1b[31mred", "tab\t", `"quoted"`, "\u00e9t\u00e9", "back\\slash", "<&>", "\ufffd", " space "}
	im, err := openImage(img, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		err = errors.Join(err, im.Tree().Symlink("to "+n, n))
	}
	if err := im.close(err); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"ls", img}, {"ls", "-l", img}, {"find", img}, {"tree", img}, {"du", "-a", img}, {"stat", img + ":/" + names[0]}} {
		out, errOut, ok := ourRun(t, argv...)
		if !ok {
			t.Fatalf("%q: %s", argv, errOut)
		}
		if !utf8.ValidString(out) || strings.ContainsAny(out, "\x1b\x7f") {
			t.Errorf("%q prints %q", argv, out)
		}
		if argv[0] == "ls" && len(argv) == 2 {
			lines := map[string]bool{}
			for _, l := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
				lines[l] = true
			}
			if len(lines) != len(names) {
				t.Errorf("%d names in %d different lines: %q", len(names), len(lines), out)
			}
		}
	}
	for _, c := range []struct {
		argv   []string
		field  string
		prefix string
	}{
		{[]string{"ls", "--json", "-l", img}, "path", "/"}, {[]string{"find", img, "--json"}, "path", "/"}, {[]string{"du", "-a", "--json", img}, "path", "/"},
		{[]string{"ls", "--json", "-l", img}, "target", "to "}, {[]string{"tree", "--json", img}, "name", ""}, {[]string{"dump", "--json", img, "dir", "1"}, "name", ""},
	} {
		out, errOut, ok := ourRun(t, c.argv...)
		if !ok || !utf8.ValidString(out) {
			t.Errorf("%q: %q %s", c.argv, out, errOut)
			continue
		}
		got := map[string]bool{}
		for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
			var v any
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			texts(v, c.field, got)
		}
		for _, n := range names {
			if !got[c.prefix+n] {
				t.Errorf("%q: %q is missing among %v", c.argv, c.prefix+n, got)
			}
		}
	}
	for _, n := range names {
		out, errOut, ok := ourRun(t, "readlink", "-n", img+":/"+n)
		if !ok || out != "to "+n {
			t.Errorf("readlink %q: %q %s", n, out, errOut)
		}
	}
	if out, _, _ := ourRun(t, "find", img, "-print0", "-name", names[0]); !strings.Contains(out, "/"+names[0]+"\x00") {
		t.Errorf("-print0: %q", out)
	}
}

// texts collects what a field says anywhere in a value, from its bytes where it has them.
func texts(v any, field string, to map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			texts(x, field, to)
		}
	case map[string]any:
		for k, x := range v {
			if k != field {
				texts(x, field, to)
				continue
			}
			raw, _ := json.Marshal(map[string]any{"b": v[field+"_b64"]})
			var b struct{ B []byte }
			if err := json.Unmarshal(raw, &b); err == nil && b.B != nil {
				to[string(b.B)] = true
			} else {
				to[x.(string)] = true
			}
		}
	}
}
