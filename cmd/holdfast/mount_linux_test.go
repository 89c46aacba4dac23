package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"holdfast/disk"
)

// TestMountScripts runs testdata/mount, with root and FUSE whole. Commands of their own, beside status:
//
//	guard DIR...           what is mounted there is taken away when the script ends
//	waitmount DIR          until something is mounted there
//	keep FILE              holds the file open until the script ends
//	unmount [-l] DIR IMAGE and wait until the server has let go of the image
func TestMountScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/mount",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "patch": patch, "seal": seal, "guard": guard, "waitmount": waitMount, "unmount": unmountAndWait, "keep": keep},
		Condition: func(cond string) (bool, error) {
			if cond != "mount" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
			if err != nil {
				return false, nil
			}
			return os.Geteuid() == 0, f.Close()
		},
	})
}

func guard(ts *testscript.TestScript, _ bool, args []string) {
	for _, dir := range args {
		dir = ts.MkAbs(dir)
		ts.Defer(func() {
			for range 3 {
				_ = syscall.Unmount(dir, syscall.MNT_DETACH)
			}
		})
	}
}

func keep(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = f.Close() })
}

// until waits for what another process is about to do.
func until(ts *testscript.TestScript, what string, done func() bool) {
	for end := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			ts.Fatalf("%s: not within 20 seconds", what)
		}
	}
}

func waitMount(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	until(ts, "mount", func() bool {
		text, err := os.ReadFile("/proc/self/mounts")
		ts.Check(err)
		return strings.Contains(string(text), " "+dir+" fuse.holdfast ")
	})
}

func unmountAndWait(ts *testscript.TestScript, _ bool, args []string) {
	flags := 0
	if args[0] == "-l" {
		flags, args = syscall.MNT_DETACH, args[1:]
	}
	ts.Check(syscall.Unmount(ts.MkAbs(args[0]), flags))
	until(ts, "unmount", func() bool {
		f, err := disk.OpenFile(ts.MkAbs(args[1]), disk.FileOptions{})
		if errors.Is(err, disk.ErrInUse) {
			return false
		}
		ts.Check(err)
		ts.Check(f.Close())
		return true
	})
}
