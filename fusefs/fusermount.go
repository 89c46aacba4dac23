//go:build linux

package fusefs

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// fusermountProgram is the helper that mounts and unmounts for who is not root, where go-fuse looks for it too.
func fusermountProgram() (string, error) {
	for _, name := range []string{"fusermount3", "/bin/fusermount3", "fusermount", "/bin/fusermount"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin, nil
		}
	}
	return "", errors.New("fusermount3: not found; who is not root needs it to mount (package fuse3)")
}

// fusermount is umount2(2), perhaps with MNT_DETACH, for those who are not root.
func fusermount(dir string, detach bool) error {
	bin, err := fusermountProgram()
	if err != nil {
		return err
	}
	args := []string{"-u", "--", dir}
	if detach {
		args = slices.Insert(args, 1, "-z")
	}
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s", bin, strings.TrimSpace(string(out)))
	}
	return nil
}
