//go:build linux

package fusefs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// readAhead lets the kernel read as far ahead on a new mount as one request can ask for: what it begins
// with is an eighth of that, and the protocol only has a way to make it less. Where it cannot be set,
// reads are slower. dir is an absolute path without symbolic links.
func readAhead(dir string) {
	device := mountedDevice(dir)
	if device == "" {
		return
	}
	_ = os.WriteFile("/sys/class/bdi/"+device+"/read_ahead_kb", []byte(strconv.Itoa(maxWrite>>10)), 0)
}

// mountedDevice is the number, as MAJOR:MINOR, of what was last mounted on dir, "" if nothing is. It
// asks the kernel's list of mounts, proc_pid_mountinfo(5), not the mount, whose server may be we.
func mountedDevice(dir string) (device string) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		if word := strings.Fields(line); len(word) > 4 && unescape.Replace(word[4]) == dir {
			device = word[2]
		}
	}
	return device
}

// realPath is the absolute path without symbolic links.
func realPath(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(name)
}
