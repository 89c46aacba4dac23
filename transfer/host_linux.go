package transfer

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/volume"
)

func attrOf(info os.FileInfo) hostAttr {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return plainAttr(info)
	}
	return hostAttr{dev: st.Dev, ino: st.Ino, links: uint64(st.Nlink), mode: uint16(st.Mode), uid: st.Uid, gid: st.Gid,
		major: unix.Major(st.Rdev), minor: unix.Minor(st.Rdev), size: st.Size,
		mtime: time.Unix(st.Mtim.Unix()), atime: time.Unix(st.Atim.Unix())}
}

// parent opens the directory that a name below the root lies in.
func (x *exporter) parent(host string) (*os.File, error) { return x.root.Open(filepath.Dir(host)) }

func (x *exporter) linkTimes(host string, atime, mtime time.Time) error {
	dir, err := x.parent(host)
	if err != nil {
		return err
	}
	defer dir.Close()
	ts := []unix.Timespec{unix.NsecToTimespec(atime.UnixNano()), unix.NsecToTimespec(mtime.UnixNano())}
	return unix.UtimesNanoAt(int(dir.Fd()), filepath.Base(host), ts, unix.AT_SYMLINK_NOFOLLOW)
}

func (x *exporter) mknod(a volume.Attr, host string) error {
	dir, err := x.parent(host)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Mknodat(int(dir.Fd()), filepath.Base(host), uint32(a.Mode), int(unix.Mkdev(a.Major, a.Minor)))
}
