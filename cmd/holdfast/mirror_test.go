package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMirrorCommands: what a user does with a mirror: makes it, uses it, loses a file, goes on with
// the other one, is refused both, and puts it right.
func TestMirrorCommands(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	a, b, text := at("a.img"), at("b.img"), at("text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("some text\n"), 3000), 0o644); err != nil {
		t.Fatal(err)
	}
	call := func(status int, argv ...string) (string, string) {
		t.Helper()
		var out, errOut bytes.Buffer
		if got := run(argv, strings.NewReader(""), &out, &errOut); got != status {
			t.Fatalf("holdfast %q: status %d, want %d: %s%s", argv, got, status, out.String(), errOut.String())
		}
		return out.String(), errOut.String()
	}
	refused := func(status int, words string, argv ...string) {
		t.Helper()
		_, errOut := call(status, argv...)
		if strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, words) {
			t.Errorf("holdfast %q: %q, want one line with %q", argv, errOut, words)
		}
	}
	both := func(argv ...string) []string { return append([]string{"--mirror", b}, argv...) }
	keep := func(name string) []byte { return readFile(t, name) }
	put := func(name string, p []byte) {
		t.Helper()
		if err := os.WriteFile(name, p, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	call(0, both("mkfs", "-q", a, "4m")...)
	for _, name := range []string{a, b} {
		if st, err := os.Stat(name); err != nil || st.Size() != 4<<20 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	call(0, both("cp", text, a+":/t")...)
	if out, _ := call(0, "--mirror", a, "cat", b+":/t"); out != string(keep(text)) { // the other way round
		t.Error("what is read is not what was written")
	}
	call(0, both("fsck", "-n", a)...)
	call(0, both("scrub", a)...)
	call(0, both("df", a)...)
	call(0, both("dump", a)...)

	refused(1, "--degraded", "ls", a+":/")
	refused(8, "--degraded", "fsck", "-n", a)
	refused(8, "--degraded", "scrub", a)
	refused(1, "same file", "--mirror", a, "ls", a+":/")
	refused(2, "one of them", both("--degraded", "ls", a+":/")...)
	call(0, "--degraded", "ls", a+":/")
	call(0, "--degraded", "fsck", "-n", b)

	// Damage to one file.
	p := keep(a)
	clear(p[:1<<20])
	put(a, p)
	call(0, both("ls", a+":/t")...)
	if out, _ := call(0, both("cat", a+":/t")...); out != string(keep(text)) {
		t.Error("with the front of one file lost")
	}
	call(1, both("scrub", a)...)
	call(0, both("scrub", a)...)

	// One file is gone, the other one is changed, and the first comes back.
	if err := os.Rename(b, at("away")); err != nil {
		t.Fatal(err)
	}
	refused(1, "--degraded", both("ls", a+":/")...)
	call(0, "--degraded", "cp", text, a+":/t2")
	if err := os.Rename(at("away"), b); err != nil {
		t.Fatal(err)
	}
	refused(1, b+": it is stale", both("ls", a+":/")...)
	refused(8, "scrub --resync --mirror "+b+" "+a, both("scrub", a)...)
	call(0, both("scrub", "--resync", a)...)
	call(0, both("scrub", a)...)
	if out, _ := call(0, "--degraded", "cat", b+":/t2"); out != string(keep(text)) {
		t.Error("the resync has not copied it")
	}

	// Both were changed without each other.
	call(0, "--degraded", "mkdir", a+":/onA")
	call(0, "--degraded", "mkdir", b+":/onB")
	refused(1, "--from", both("ls", a+":/")...)
	refused(8, "--from", both("scrub", "--resync", a)...)
	call(0, both("scrub", "--resync", "--from", b, a)...)
	if out, _ := call(0, both("ls", a+":/")...); !strings.Contains(out, "onB") || strings.Contains(out, "onA") {
		t.Errorf("--from: %s", out)
	}

	// One file is lost for good; in its place there is nothing, then something else.
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	call(0, "--mirror", a, "scrub", "--resync", b)
	call(0, both("scrub", a)...)
	put(a, bytes.Repeat([]byte("mine"), 1<<20))
	refused(8, "--force", both("scrub", "--resync", a)...)
	call(0, both("scrub", "--resync", "--force", a)...)
	call(0, both("fsck", "-n", a)...)

	// Files that are no pair.
	put(at("copy"), keep(a))
	refused(1, "a copy of the other", "--mirror", at("copy"), "ls", a+":/")
	call(0, "--mirror", at("d.img"), "mkfs", "-q", at("c.img"), "4m")
	refused(1, "not of one mirror", "--mirror", at("d.img"), "ls", a+":/")
	call(0, "mkfs", "-q", at("plain.img"), "4m")
	refused(1, "not one of the two files", "--mirror", at("plain.img"), "ls", a+":/")
	refused(1, "not one of the two files", "--degraded", "ls", at("plain.img")+":/")
	put(at("short"), keep(b)[:1<<20])
	refused(1, "short", "--mirror", at("short"), "ls", a+":/")

	// Mistakes of mkfs.
	refused(1, "same file", "--mirror", at("e.img"), "mkfs", "-q", at("e.img"), "4m")
	refused(1, "not empty", "--mirror", b, "mkfs", "-q", at("e.img"), "4m")
	refused(2, "journal", "--mirror", at("f.img"), "mkfs", "-q", "-J", "none", at("e.img"), "4m")
	refused(2, "--mirror", "scrub", "--resync", a)
	refused(2, "--resync", both("scrub", "--from", a, a)...)
	for _, name := range []string{"e.img", "f.img"} {
		if _, err := os.Stat(at(name)); err == nil {
			t.Errorf("%s was made", name)
		}
	}
}

// TestMirrorFrom: mkfs --from fills both files, with either way of filling.
func TestMirrorFrom(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "d", "f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "manifest")
	if err := os.WriteFile(manifest, []byte("/d/null c 666 0 0 1 3 - - -\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, more := range [][]string{nil, {"--manifest", manifest}} {
		a, b := filepath.Join(dir, string(rune('a'+i))), filepath.Join(dir, string(rune('A'+i)))
		argv := append([]string{"--mirror", b, "mkfs", "-q", "--from", tree}, more...)
		if _, errOut, ok := ourRun(t, append(argv, a)...); !ok {
			t.Fatal(errOut)
		}
		for _, argv := range [][]string{{"--mirror", b, "cat", a + ":/d/f"}, {"--degraded", "cat", a + ":/d/f"}, {"--degraded", "cat", b + ":/d/f"}} {
			if out, errOut, ok := ourRun(t, argv...); !ok || out != "text" {
				t.Errorf("%q: %q %s", argv, out, errOut)
			}
		}
		if _, errOut, ok := ourRun(t, "--mirror", b, "scrub", a); !ok {
			t.Error(errOut)
		}
	}
}
