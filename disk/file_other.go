//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || windows)

package disk

import (
	"errors"
	"os"
	"syscall"
)

// lockFile does nothing: this system has no lock that belongs to an open file.
func lockFile(*os.File, bool, int64, int64) error { return nil }

// syncFile puts the file on stable storage.
func syncFile(f *os.File) error { return f.Sync() }

// isMediumError reports whether the host says that the medium cannot give the data.
func isMediumError(err error) bool { return errors.Is(err, syscall.EIO) }

// syncDir does nothing where it is not known that a directory can be flushed.
func syncDir(string) error { return nil }
