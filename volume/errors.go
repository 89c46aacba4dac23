package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"holdfast/disk"
	"holdfast/layout"
)

// Error is an error of the volume as callers of a file system know it: it matches the errno of
// the same meaning, and through that fs.ErrExist and its kin, in errors.Is.
type Error struct {
	text  string
	errno syscall.Errno
	kin   error // of io/fs
}

func (e *Error) Error() string { return e.text }

// Errno is the system's number for the error.
func (e *Error) Errno() syscall.Errno { return e.errno }

// Is makes the errno and the error of io/fs match.
func (e *Error) Is(target error) bool {
	return target == error(e.errno) || e.kin != nil && target == e.kin
}

// What operations on the name space and on data answer.
var (
	ErrNotExist     = &Error{"no such file or directory", syscall.ENOENT, fs.ErrNotExist}
	ErrExist        = &Error{"file exists", syscall.EEXIST, fs.ErrExist}
	ErrNotDir       = &Error{"not a directory", syscall.ENOTDIR, nil}
	ErrIsDir        = &Error{"is a directory", syscall.EISDIR, nil}
	ErrNotEmpty     = &Error{"directory not empty", syscall.ENOTEMPTY, nil}
	ErrInvalid      = &Error{"invalid argument", syscall.EINVAL, fs.ErrInvalid}
	ErrPermission   = &Error{"operation not permitted", syscall.EPERM, fs.ErrPermission}
	ErrNameTooLong  = &Error{"file name too long", syscall.ENAMETOOLONG, nil}
	ErrTooManyLinks = &Error{"too many links", syscall.EMLINK, nil}
	ErrLoop         = &Error{"too many levels of symbolic links", syscall.ELOOP, nil}
	ErrStale        = &Error{"no such inode", syscall.Errno(errnoStale), fs.ErrNotExist}
	ErrBusy         = &Error{"device or resource busy", syscall.EBUSY, nil}
	ErrNotSupported = &Error{"operation not supported", syscall.EOPNOTSUPP, errors.ErrUnsupported}
	ErrBadFile      = &Error{"bad file descriptor", syscall.EBADF, nil}
	ErrNoDevice     = &Error{"no such device or address", syscall.ENXIO, nil}
	ErrFileTooBig   = &Error{"file too large", syscall.EFBIG, nil}
	ErrNoSpace      = &Error{"no space left on device", syscall.ENOSPC, nil}
	ErrReadOnly     = &Error{"read-only file system", syscall.EROFS, nil}
	ErrNoAttr       = &Error{"no such attribute", syscall.Errno(errnoNoAttr), nil}
	ErrRange        = &Error{"numerical result out of range", syscall.ERANGE, nil}
	ErrTooBig       = &Error{"argument list too long", syscall.E2BIG, nil}
	ErrCrossDevice  = &Error{"invalid cross-device link", syscall.EXDEV, nil}
	ErrChanged      = &Error{"the name means another file by now", syscall.EDEADLK, nil}
	ErrAccess       = &Error{"permission denied", syscall.EACCES, fs.ErrPermission}
	ErrIO           = &Error{"input/output error", syscall.EIO, nil}
	ErrClosed       = &Error{"the volume is closed", syscall.EBADF, fs.ErrClosed}
)

// Errors of opening and making a volume.
var (
	ErrTruncated = errors.New("the image is cut off")
	ErrTooSmall  = errors.New("too small for a volume")
)

// stopped is the error of a volume that refuses changes after a failed write.
type stopped struct{ cause error }

func (e *stopped) Error() string {
	return fmt.Sprintf("no further changes until the volume is reopened: %v", e.cause)
}
func (e *stopped) Unwrap() []error { return []error{ErrReadOnly, e.cause} }

// isMedia reports whether err says that the medium does not give what was stored on it.
func isMedia(err error) bool {
	return errors.Is(err, layout.ErrCorrupt) || errors.Is(err, disk.ErrBadSector) || errors.Is(err, disk.ErrChecksum) || errors.Is(err, disk.ErrSoft)
}

// public makes damage that leaves the package match EIO as well.
func public(err error) error {
	if err == nil || errors.Is(err, ErrIO) || !isMedia(err) {
		return err
	}
	return &deviceError{err}
}

// ioError makes an error of a device match EIO as well.
func ioError(err error) error {
	if errors.Is(err, disk.ErrBadSector) || errors.Is(err, disk.ErrChecksum) || errors.Is(err, disk.ErrSoft) {
		return &deviceError{err}
	}
	return err
}

type deviceError struct{ cause error }

func (e *deviceError) Error() string   { return e.cause.Error() }
func (e *deviceError) Unwrap() []error { return []error{e.cause, ErrIO} }
func (e *deviceError) Is(t error) bool { return t == layout.ErrCorrupt }
