//go:build linux

package fusefs

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"holdfast/volume"
)

// Who changes a file's content without being privileged takes its set-user-ID and set-group-ID bits away. The
// kernel leaves that to the server (HANDLE_KILLPRIV_V2), and for that need not ask for a file's capabilities before
// each write. They go first, in an operation of their own: a crash between the two leaves a file that is not
// changed and has no privileges, never the other way round.

// dropPrivileges does that for who sends h.
func (f *fileSystem) dropPrivileges(h *fuse.InHeader) error {
	a, err := f.v.Getattr(ino(h.NodeId))
	if err != nil {
		return err
	}
	mode := withoutPrivileges(a, h)
	if mode == a.Mode {
		return nil
	}
	mode &= 07777
	_, err = f.v.Setattr(a.Ino, volume.SetAttr{Mode: &mode})
	return err
}

// withoutPrivileges is the mode that a file keeps. Without group execution the set-group-ID bit is a mark, which
// members of the group may leave there.
func withoutPrivileges(a volume.Attr, h *fuse.InHeader) uint16 {
	if a.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return a.Mode
	}
	mode := a.Mode &^ syscall.S_ISUID
	if mode&syscall.S_ISGID != 0 && (mode&syscall.S_IXGRP != 0 || !member(h, a.GID)) {
		mode &^= syscall.S_ISGID
	}
	return mode
}

// member is whether who sends h is in a group, or may act as if. A request has one group; the others are those of its process.
func member(h *fuse.InHeader, gid uint32) bool {
	if h.Uid == 0 || h.Gid == gid { // root is taken to have CAP_FSETID
		return true
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "Groups:"); ok {
			return slices.Contains(strings.Fields(list), strconv.FormatUint(uint64(gid), 10))
		}
	}
	return false
}
