//go:build linux

package fusefs

import (
	"os"
	"path/filepath"
	"strconv"
)

// readAhead lets the kernel read as far ahead on a new mount as one request can ask for: what it begins
// with is an eighth of that, and the protocol only has a way to make it less. Where it cannot be set,
// reads are slower. dir is an absolute path without symbolic links.
func readAhead(dir string) {
	m, err := lastMount(dir)
	if err != nil || m.kind != "fuse."+fsName {
		return
	}
	_ = os.WriteFile("/sys/class/bdi/"+m.device+"/read_ahead_kb", []byte(strconv.Itoa(maxWrite>>10)), 0)
}

// realPath is the absolute path without symbolic links.
func realPath(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(name)
}
