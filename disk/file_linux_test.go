package disk

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const rangeLocks = true

// TestNoImage: opening a pipe would wait for its other end, and a terminal has no blocks.
func TestNoImage(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/null", t.TempDir()} {
		_, err := OpenFile(path, FileOptions{ReadOnly: true})
		if err == nil || !strings.Contains(err.Error(), path+": neither a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := CreateFile("/dev/null", 512, 0o600, false); err == nil || !strings.Contains(err.Error(), "/dev/null: neither") {
		t.Errorf("CreateFile of /dev/null: %v", err)
	}
}
