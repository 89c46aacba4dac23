//go:build linux

package fusefs

import (
	"fmt"
	"os/exec"
	"strings"
)

// fusermountDetach is umount2(2) with MNT_DETACH for those who are not root.
func fusermountDetach(dir string) error {
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		if bin, err = exec.LookPath("fusermount"); err != nil {
			return err
		}
	}
	if out, err := exec.Command(bin, "-u", "-z", "--", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s", bin, strings.TrimSpace(string(out)))
	}
	return nil
}
