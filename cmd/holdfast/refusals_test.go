package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Every verb meets the same mistakes with one line on stderr that begins with its name, and the
// same statuses; an image is not changed by them.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	img, text := filepath.Join(dir, "t.img"), filepath.Join(dir, "text")
	if _, errOut, ok := ourRun(t, "mkfs", "-q", img, "4m"); !ok {
		t.Fatal(errOut)
	}
	if err := os.WriteFile(text, bytes.Repeat([]byte("no image\n"), 2000), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	// @ is an operand that names nothing.
	verbs := map[string][]string{
		"ls": {"@"}, "cat": {"@"}, "stat": {"@"}, "tree": {"@"}, "du": {"@"}, "df": {"@"}, "find": {"@"}, "readlink": {"@"}, "cp": {"@", filepath.Join(dir, "out")},
		"mv": {"@", "@2"}, "ln": {"@", "@2"}, "rm": {"@"}, "rmdir": {"@"}, "mkdir": {"@/x"}, "mknod": {"@/x", "p"}, "touch": {"@/x"}, "truncate": {"-s", "1", "@/x"},
		"chmod": {"600", "@"}, "chown": {"1", "@"}, "dump": {"@"},
	}
	for _, c := range newRoot("").Commands() {
		if _, ok := verbs[c.Name()]; !ok && !slices.Contains([]string{"mkfs", "fsck", "crash", "fault", "scrub", "mount", "tar", "version", "completion", "man", "help", "journal"}, c.Name()) {
			t.Logf("%s is not in the table", c.Name())
		}
	}
	for verb, words := range verbs {
		with := func(operand string) []string {
			argv := []string{verb}
			for _, w := range words {
				argv = append(argv, strings.ReplaceAll(w, "@", operand))
			}
			return argv
		}
		for _, c := range []struct {
			what   string
			argv   []string
			status int
		}{
			{"an unknown flag", append(with(img+":/"), "--no-such-flag"), exitUsage},
			{"no operand", []string{verb}, exitUsage},
			{"a missing image", with(filepath.Join(dir, "none") + ":/x"), exitFailure},
			{"a directory for an image", with(dir + ":/x"), exitFailure},
			{"no image", with(text + ":/x"), exitFailure},
			{"a missing file", with(img + ":/none"), exitFailure},
			{"a way through what is missing", with(img + ":/none/of/them"), exitFailure},
			{"a file of the host that is not there", with(filepath.Join(dir, "none")), exitFailure},
		} {
			if verb == "df" && strings.HasPrefix(c.what, "a way") || verb == "df" && c.what == "a missing file" {
				continue // it looks at the image only
			}
			if verb == "cp" && strings.HasPrefix(c.what, "a file of the host") {
				continue // both sides are of the host then
			}
			var stdout, stderr bytes.Buffer
			status := run(c.argv, strings.NewReader(""), &stdout, &stderr)
			line := stderr.String()
			if status != c.status || !strings.HasPrefix(line, "holdfast "+verb+": ") || strings.Count(line, "\n") != 1 {
				t.Errorf("%s, %s: status %d, want %d: %q", verb, c.what, status, c.status, line)
			}
			if out := stdout.String(); out != "" && verb != "du" {
				t.Errorf("%s, %s: prints %q", verb, c.what, out)
			}
		}
	}
	if os.Getuid() != 0 { // who may write everything is not refused
		if err := os.Chmod(img, 0o444); err != nil {
			t.Fatal(err)
		}
		_, errOut, ok := ourRun(t, "touch", img+":/x")
		if ok || !strings.HasSuffix(errOut, "t.img: permission denied\n") {
			t.Errorf("an image that may only be read: %q", errOut)
		}
		if _, errOut, ok := ourRun(t, "ls", img); !ok {
			t.Error(errOut)
		}
	}
	after, err := os.ReadFile(img)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the image has changed: %v", err)
	}
}

// full is an output that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// Output that is lost is a failure, whatever printed it.
func TestOutputLost(t *testing.T) {
	img := filepath.Join(t.TempDir(), "t.img")
	for _, argv := range [][]string{{"mkfs", "-q", img, "4m"}, {"mkdir", img + ":/d"}, {"ln", "-s", "x", img + ":/l"}, {"truncate", "-s", "100k", img + ":/f"}} {
		if _, errOut, ok := ourRun(t, argv...); !ok {
			t.Fatal(errOut)
		}
	}
	for _, argv := range [][]string{{"cat", img + ":/f", img + ":/f"}, {"ls", img}, {"ls", "--json", img}, {"stat", img}, {"tree", img}, {"du", img}, {"df", img}, {"find", img},
		{"readlink", img + ":/l"}, {"cp", img + ":/f", "-"}, {"mkdir", "-v", img + ":/new"}, {"dump", img}, {"man"}, {"version"}} {
		var stderr bytes.Buffer
		status := run(argv, strings.NewReader(""), full{}, &stderr)
		if status != exitFailure || !strings.HasSuffix(stderr.String(), "no space left on device\n") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%q: status %d: %q", argv, status, stderr.String())
		}
	}
}
