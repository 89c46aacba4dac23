package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// broken builds the program with a part of one source file replaced: the tester is tested on a
// product that is known to be wrong.
func broken(t *testing.T, file, old, replacement string) (binary string) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program")
	}
	file, err := filepath.Abs(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s has %d places to break, want 1: the test has to follow the code\n%s", file, n, old)
	}
	dir := t.TempDir()
	part := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(part, []byte(strings.Replace(string(text), old, replacement, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{file: part}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	binary = filepath.Join(dir, "holdfast")
	if out, err := exec.Command("go", "build", "-overlay", list, "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// output runs a program that is to end with a status, and returns what it prints.
func output(t *testing.T, status int, name string, args ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
		err = nil
	}
	if err != nil || got != status {
		why := ""
		if ee != nil {
			why = string(ee.Stderr)
		}
		t.Fatalf("holdfast %s: exit status %d, want %d: %v %s%s", strings.Join(args, " "), got, status, err, out, why)
	}
	return out
}

// The flush that makes a commit durable, and the one by which recovery puts the blocks in place
// before it gives the log up.
const (
	commitFlush = `	if err := l.dev.Flush(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head += count`
	noCommitFlush = `	l.mu.Lock()
	defer l.mu.Unlock()
	l.head += count`
	recoveryFlush = `	if err := dev.Flush(); err != nil { // home before the headers give the log up
		return nil, err
	}
`
)
