//go:build unix

package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInterrupted: a mkfs that is told to end while it fills an image leaves nothing of it.
func TestInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(sig) { // as under nohup: a process that we start ignores it too
			t.Logf("%v is ignored here", sig)
			continue
		}
		dir := t.TempDir()
		cmd := exec.Command("holdfast", "mkfs", "--from", "-", filepath.Join(dir, "a.img"), "8m")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs strings.Builder
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// More than a pipe and the buffers of the reader hold: when it has been taken, the image
		// is being filled.
		w := tar.NewWriter(in)
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: 1 << 30, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, strings.Repeat("n", 4<<20)); err != nil {
			t.Fatal(err)
		}
		parts, err := filepath.Glob(filepath.Join(dir, "a.img.part-*"))
		if err != nil || len(parts) != 1 {
			t.Fatalf("%q, %v: the image is not being made", parts, err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.ExitCode() != 128+int(sig) {
			t.Errorf("%v: %v\n%s", sig, err, errs.String())
		}
		if list, _ := os.ReadDir(dir); len(list) != 0 {
			t.Errorf("%v leaves %v", sig, list)
		}
	}
}

// TestInterruptedExploration: one that is told to end says how far it came, and that this is not all.
func TestInterruptedExploration(t *testing.T) {
	cmd := exec.Command("holdfast", "crash", "explore", "-v", "-j", "1", "--nested", "fix", "--decay", "2", "../../testdata/workloads/large/near_log_limit.hf")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its head is printed when exploring begins, which would take many minutes.
	first := make([]byte, 1)
	if _, err := io.ReadFull(out, first); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.ExitCode() != 3 || !strings.Contains(string(rest), "no certificate") || !strings.Contains(string(rest), "interrupted") {
		t.Errorf("%v\n%s", err, rest)
	}
}
