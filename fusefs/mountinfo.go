//go:build linux

package fusefs

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Info is what the kernel says of a mount.
type Info struct {
	Dir     string // absolute, without symbolic links
	Source  string
	Options string // those of mount(8) that hold for it, separated by commas
}

// Mounted is the mount of a holdfast volume on a directory: the last one, which hides the others.
//
// Errors: syscall.EINVAL if there is none, and those of reading /proc.
func Mounted(dir string) (Info, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Info{}, err
	}
	// The directory itself may be the mount of a server that is gone, or that does not answer: it is not looked at.
	if above, err := filepath.EvalSymlinks(filepath.Dir(dir)); err == nil {
		dir = filepath.Join(above, filepath.Base(dir))
	}
	m, err := lastMount(dir)
	if err != nil {
		return Info{}, err
	}
	if m.kind != "fuse."+fsName {
		return Info{}, syscall.EINVAL
	}
	return m.Info, nil
}

// mountLine is a line of the kernel's list of mounts.
type mountLine struct {
	Info
	kind   string
	device string // MAJOR:MINOR
}

// lastMount is what was last mounted on dir, an absolute path without symbolic links; empty if nothing is. It asks
// the kernel's list of mounts, not the mount, whose server may be we.
func lastMount(dir string) (last mountLine, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return last, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if m := parseMount(s.Text()); m.Dir == dir {
			last = m
		}
	}
	return last, s.Err()
}

// parseMount reads a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
func parseMount(line string) (m mountLine) {
	before, after, _ := strings.Cut(line, " - ")
	b, a := strings.Fields(before), strings.Fields(after)
	if len(b) < 6 || len(a) < 3 {
		return m
	}
	m = mountLine{Info{Dir: unescape(b[4]), Source: unescape(a[1]), Options: b[5]}, a[0], b[2]}
	for o := range strings.SplitSeq(a[2], ",") {
		if o == "ro" || o == "sync" || o == "dirsync" { // of the file system as a whole; the rest is FUSE's own
			m.Options += "," + o
		}
	}
	return m
}

// unescape undoes the octal escapes of /proc.
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
