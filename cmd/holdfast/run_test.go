package main

import (
	"bytes"
	"strings"
	"testing"
)

// ourRun runs a command of ours.
func ourRun(t *testing.T, argv ...string) (out, errOut string, ok bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(argv, strings.NewReader(""), &stdout, &stderr)
	if status != 0 && status != exitFailure {
		t.Fatalf("holdfast %q: status %d: %s", argv, status, stderr.String())
	}
	return stdout.String(), stderr.String(), status == 0
}
