//go:build linux

package fusefs_test

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// hostMagic are the file systems whose answers a mount is held to.
var hostMagic = map[int64]string{0xEF53: "ext4", 0x58465342: "xfs"}

// Every case of testdata/conformance.txt runs on the mount and on a directory of the host's own file system,
// and must be answered alike: the results, and the errors.
func TestConformance(t *testing.T) {
	canMount(t)
	host := openDir(t)
	var st unix.Statfs_t
	if err := unix.Statfs(host, &st); err != nil {
		t.Fatal(err)
	}
	if hostMagic[st.Type] == "" {
		t.Skipf("the host's file system, %#x, is none to compare with", st.Type)
	}
	text, err := os.ReadFile("testdata/conformance.txt")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, newImage(t, 64<<20))
	n := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		n++
		want, got := runCase(t, caseDir(host, n), line), runCase(t, caseDir(s.dir, n), line)
		if got != want {
			t.Errorf("%s\nthe host:\n%s\nthe mount:\n%s", line, indent(want), indent(got))
		}
	}
	if n < 150 {
		t.Errorf("only %d cases", n)
	}
	t.Logf("%d cases", n)
	s.stop(t)
}

// runCase runs a case in a new directory, on a thread that may become another user's.
func runCase(t *testing.T, dir, script string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	answers := make(chan string)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		c := newCaller(dir)
		text := c.run(script)
		c.end()
		answers <- text
	}()
	return <-answers
}

func indent(s string) string { return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") }
