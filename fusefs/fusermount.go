//go:build linux

package fusefs

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// fusermount is umount2(2), perhaps with MNT_DETACH, for those who are not root.
func fusermount(dir string, detach bool) error {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		if bin, err = exec.LookPath("fusermount"); err != nil {
			return err
		}
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
