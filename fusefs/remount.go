//go:build linux

package fusefs

import (
	"bufio"
	"errors"
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
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	found := Info{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if m, kind := mountInfo(s.Text()); m.Dir == dir {
			if found = m; kind != "fuse."+fsName {
				found = Info{}
			}
		}
	}
	if err := s.Err(); err != nil {
		return Info{}, err
	}
	if found.Dir == "" {
		return found, syscall.EINVAL
	}
	return found, nil
}

// mountInfo reads a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
func mountInfo(line string) (m Info, kind string) {
	before, after, _ := strings.Cut(line, " - ")
	b, a := strings.Fields(before), strings.Fields(after)
	if len(b) < 6 || len(a) < 3 {
		return m, ""
	}
	m = Info{Dir: unescape(b[4]), Source: unescape(a[1]), Options: b[5]}
	for o := range strings.SplitSeq(a[2], ",") {
		if o == "ro" || o == "sync" || o == "dirsync" { // of the file system as a whole; the rest is FUSE's own
			m.Options += "," + o
		}
	}
	return m, a[0]
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

// Remount changes what the kernel allows on a mount: ReadOnly, Dev, Suid, NoExec. Before it refuses changes, and
// behind those that are under way, all is made durable. syscall.EBUSY: a file is open for writing.
func Remount(m Info, o Options) error {
	d, err := os.Open(m.Dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if o.ReadOnly {
		if err := ignoreReadOnly(d.Sync()); err != nil {
			return err
		}
	}
	if err := syscall.Mount(m.Source, m.Dir, "fuse."+fsName, mountFlags(o)|syscall.MS_REMOUNT, ""); err != nil {
		return &os.PathError{Op: "remount", Path: m.Dir, Err: err}
	}
	if o.ReadOnly {
		return ignoreReadOnly(d.Sync())
	}
	return nil
}

// ignoreReadOnly is for a volume that is open for reading: nothing of it waits to be durable.
func ignoreReadOnly(err error) error {
	if errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}

// Unmount is umount2(2) of a mount of this or another process, by fusermount3 for those who are not root.
func Unmount(m Info, flags int) error {
	if os.Geteuid() == 0 {
		if err := syscall.Unmount(m.Dir, flags); err != nil {
			return &os.PathError{Op: "umount", Path: m.Dir, Err: err}
		}
		return nil
	}
	return fusermount(m.Dir, flags&syscall.MNT_DETACH != 0)
}
