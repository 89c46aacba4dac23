package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"holdfast": main, "mkfs.holdfast": main, "fsck.holdfast": main,
		"mount.holdfast": main, "fuse.holdfast": main, "umount.holdfast": main})
}

// TestScripts runs testdata/script. Commands of their own:
//
//	status N COMMAND...   the command exits with N and, if N is not 0, prints one line on stderr
//	patch FILE OFF HEX    changes bytes of a file; seal FILE: the superblock copies get their checksums
//	damage FILE PATH WHAT the inode or the data of what PATH names fails its check
//	hold FILE             keeps the image open for writing until the script ends
//	hash TRACE VARIABLE   sets an environment variable to the hash of a trace, with which its IDs begin
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "patch": patch, "seal": seal, "hold": hold, "hash": traceHash, "damage": damage,
		},
	})
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	stderr := ts.ReadFile("stderr")
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s: %s", got, args[0], stderr)
	}
	if n := strings.Count(strings.TrimSpace(stderr), "\n"); n > 0 {
		ts.Fatalf("%d lines of errors:\n%s", n+1, stderr)
	}
	if got != 0 && ts.ReadFile("stdout") == "" && strings.TrimSpace(stderr) == "" {
		ts.Fatalf("exit status %d without a word", got)
	}
}

func patch(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	p, err := os.ReadFile(name)
	ts.Check(err)
	off, err := strconv.Atoi(args[1])
	ts.Check(err)
	for i := 0; i+1 < len(args[2]); i += 2 {
		b, err := strconv.ParseUint(args[2][i:i+2], 16, 8)
		ts.Check(err)
		p[off+i/2] = byte(b)
	}
	ts.Check(os.WriteFile(name, p, 0o644))
}

func seal(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	p, err := os.ReadFile(name)
	ts.Check(err)
	for i := range 2 {
		layout.Seal(p[layout.SuperOffset(i):][:layout.SuperblockSize], 0)
	}
	ts.Check(os.WriteFile(name, p, 0o644))
}

func traceHash(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	t, err := disk.ReadTrace(f)
	ts.Check(errors.Join(err, f.Close()))
	ts.Setenv(args[1], fmt.Sprintf("%016x", t.Hash()))
}

func hold(ts *testscript.TestScript, _ bool, args []string) {
	f, err := disk.OpenFile(ts.MkAbs(args[0]), disk.FileOptions{})
	ts.Check(err)
	ts.Defer(func() { _ = f.Close() })
}

func damage(ts *testscript.TestScript, _ bool, args []string) {
	// A command that another script starts would hold the lock of a file that is open here from its
	// fork to its exec.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	ts.Check(damageFile(ts.MkAbs(args[0]), args[1], args[2]))
}

// damageFile changes a byte of the inode or of the first data block of a file in an image. It
// takes no lock: another script may just be starting a command, which holds all files for a moment.
func damageFile(name, path, what string) error {
	p, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	dev := disk.MemoryFrom(p)
	v, err := volume.Open(dev, volume.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	ino, err := v.Tree().Resolve(path, false)
	if err := errors.Join(err, v.Close()); err != nil {
		return err
	}
	d, err := newDumper(dev)
	if err != nil {
		return err
	}
	block, off := d.g.InodePlace(uint64(ino))
	if what == "data" {
		in, err := d.readInode(uint64(ino))
		if err != nil {
			return err
		}
		extents, err := d.extents(in, uint64(ino))
		if err != nil || len(extents) == 0 {
			return errors.Join(err, errors.New("no data"))
		}
		block, off = extents[0].Block, 0
	}
	p[int(block)*d.g.BlockSize+off+20] ^= 0xff
	return os.WriteFile(name, p, 0o644)
}
