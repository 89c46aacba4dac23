package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/volume"
)

// served is an image of one file that is open as a mount has it, and who answers for it.
func served(t *testing.T) (name string, im *image) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	name = filepath.Join(t.TempDir(), "a.img")
	var out, errOut bytes.Buffer
	if status := run([]string{"mkfs", "-q", name, "16m"}, nil, &out, &errOut); status != 0 {
		t.Fatal(errOut.String())
	}
	im, err := openImage(name, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Tree().WriteFile("file", bytes.Repeat([]byte("content "), 500_000), 0o644); err != nil {
		t.Fatal(err)
	}
	stop := serveControl(im)
	t.Cleanup(func() {
		stop()
		if err := im.close(nil); err != nil {
			t.Error(err)
		}
		if list, _ := os.ReadDir(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "holdfast")); len(list) > 0 {
			t.Errorf("a socket is left: %v", list)
		}
	})
	return name, im
}

func command(args ...string) (status int, out, errOut string) {
	var o, e bytes.Buffer
	status = run(args, nil, &o, &e)
	return status, o.String(), e.String()
}

// TestControl: what scrub and df say of an image that somebody serves is what that one says.
func TestControl(t *testing.T) {
	name, im := served(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	status, out, errOut := command("scrub", link)
	if status != 0 || !strings.HasPrefix(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:], link+": clean: ") {
		t.Fatalf("status %d: %s%s", status, out, errOut)
	}
	status, out, errOut = command("df", "--json", name)
	var full fullJSON
	if err := json.Unmarshal([]byte(out), &full); status != 0 || err != nil || full.Image != name || full.Used < 4_000_000 {
		t.Fatalf("status %d: %s%s%v", status, out, errOut, err)
	}
	// What is not on the device yet is counted: the process says it, not the file.
	if err := im.Tree().WriteFile("more", make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	before := full.Available
	_, out, _ = command("df", "--json", name)
	if err := json.Unmarshal([]byte(out), &full); err != nil || full.Available > before-1<<20 {
		t.Fatalf("%d available before, now %d, %v", before, full.Available, err)
	}
	// Damage below it is found, and named for who asked.
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	var at volume.Use
	if err := im.Uses(func(u volume.Use) bool { at = u; return u.Purpose != volume.PurposeData }, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := im.file.WriteAt(make([]byte, 512), int64(at.Block)*int64(im.blockSize)); err != nil {
		t.Fatal(err)
	}
	status, out, errOut = command("scrub", name)
	if status != scrubDamage || !strings.Contains(out, name+": block ") || !strings.Contains(out, "/file: checksum does not match: NOT healed") {
		t.Fatalf("status %d: %s%s", status, out, errOut)
	}
	if status, _, errOut = command("scrub", "-n", name); status != scrubFailure || !strings.Contains(errOut, "it is mounted") {
		t.Fatalf("status %d: %s", status, errOut)
	}
	if status, _, errOut = command("ls", name); status != exitFailure || !strings.Contains(errOut, "in use by another process") {
		t.Fatalf("status %d: %s", status, errOut)
	}
	// Only the user can ask.
	socket, err := controlName(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "holdfast")
	if st, err := os.Stat(filepath.Join(dir, socket)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", st.Mode(), err)
	}
}

// TestControlRefuses: nonsense and impatience end a request, and nothing else.
func TestControlRefuses(t *testing.T) {
	name, _ := served(t)
	socket, err := controlName(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "nonsense\n", "{\"command\":\"format\"}\n", strings.Repeat("[", 1<<17)} {
		conn, err := net.Dial("unix", filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "holdfast", socket))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.Close()
	}
	if _, err := ask(context.Background(), request{Command: "format", Name: name}, nil); err == nil || !strings.Contains(err.Error(), "unknown request") {
		t.Fatal(err)
	}
	// A slow scrub is taken back by who hangs up, and only one runs at a time.
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan struct{})
	done := make(chan error)
	go func() {
		first := true
		_, err := ask(ctx, request{Command: "scrub", Name: name, Rate: 1 << 20}, func(int64, int64) {
			if first {
				first = false
				close(running)
			}
		})
		done <- err
	}()
	<-running
	if _, err := ask(context.Background(), request{Command: "scrub", Name: name}, nil); err == nil || !strings.Contains(err.Error(), "already") {
		t.Fatalf("a second scrub: %v", err)
	}
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatal(err)
	}
	for { // the server sees it in its own time
		_, err := ask(context.Background(), request{Command: "scrub", Name: name}, nil)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "already") {
			t.Fatal(err)
		}
	}
	if _, err := ask(context.Background(), request{Command: "df", Name: filepath.Join(t.TempDir(), "none")}, nil); !errors.Is(err, errNotServed) {
		t.Fatal(err)
	}
}
