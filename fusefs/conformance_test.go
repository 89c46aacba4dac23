//go:build linux

package fusefs_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Every case of testdata/conformance.txt, and every feature of features_test.go, runs on the mount and on the
// kernel's ext4, and must be answered alike: the results, the errors, and which times change.
func TestConformance(t *testing.T) {
	canMount(t)
	ext4, what := ext4Dir(t)
	s := start(t, newImage(t, 64<<20))
	t.Logf("the mount is compared with %s", what)
	n := 0
	compare := func(t *testing.T, name string, run func(dir string) string) {
		n++
		want, got := run(caseDir(t, ext4, n)), run(caseDir(t, s.dir, n))
		if got != want {
			t.Errorf("%s\next4:\n%s\nthe mount:\n%s", name, indent(want), indent(got))
		}
		if strings.Contains(want, wrong) { // what both get wrong is the case's own mistake
			t.Errorf("%s\next4:\n%s", name, indent(want))
		}
	}
	for _, section := range readCases(t) {
		t.Run(section.name, func(t *testing.T) {
			for _, script := range section.scripts {
				compare(t, script, func(dir string) string {
					return onThread(dir, func(c *caller) { c.run(script) })
				})
			}
			t.Logf("%d cases", len(section.scripts))
		})
	}
	t.Run("features", func(t *testing.T) {
		for _, f := range features {
			t.Run(f.name, func(t *testing.T) {
				compare(t, f.name, func(dir string) string { return onThread(dir, f.run) })
			})
		}
		t.Logf("%d cases", len(features))
	})
	t.Logf("%d cases", n)
	if n < 400 && !t.Failed() && !filtered() {
		t.Errorf("%d cases, 400 at the least are wanted", n)
	}
	s.stop(t)
}

// wrong is what a case says that knows the right answer by itself, and does not get it.
const wrong = "not what it should be"

// filtered reports whether only some of the cases have been asked for.
func filtered() bool { return strings.Contains(flag.Lookup("test.run").Value.String(), "/") }

// section is the cases of one system call, or a few that belong together.
type section struct {
	name    string
	scripts []string
}

func readCases(t *testing.T) []section {
	t.Helper()
	text, err := os.ReadFile("testdata/conformance.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []section
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "## "); ok {
			list = append(list, section{name: name})
		} else if line != "" && line[0] != '#' {
			last := &list[len(list)-1]
			last.scripts = append(last.scripts, line)
		}
	}
	return list
}

// ext4Dir is a directory of the kernel's ext4: of a new file system on a loop device, where there are such, else
// that of the host.
func ext4Dir(t *testing.T) (dir, what string) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "ext4.img")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(64 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()
	dir = openDir(t)
	out, err := exec.Command("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", image).CombinedOutput()
	if err == nil {
		out, err = exec.Command("mount", "-o", "loop,noatime", image, dir).CombinedOutput()
	}
	if err == nil {
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		return dir, "ext4 on a loop device"
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("no ext4 to compare with: %v: %s; the host's file system is %#x", err, out, st.Type)
	}
	return dir, fmt.Sprintf("the host's ext4 (%v: %s)", err, strings.TrimSpace(string(out)))
}

// caseDir makes the directory of a case.
func caseDir(t *testing.T, root string, n int) string {
	t.Helper()
	dir := filepath.Join(root, fmt.Sprintf("case%03d", n))
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// onThread runs a case on a thread that may become another user's, and that ends with it. What the case cannot
// do is part of its answer.
func onThread(dir string, run func(c *caller)) string {
	answers := make(chan string)
	go func() {
		runtime.LockOSThread() // and never unlocked
		c := newCaller(dir)
		run(c)
		c.end()
		answers <- c.out.String()
	}()
	return <-answers
}

func indent(s string) string { return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") }
