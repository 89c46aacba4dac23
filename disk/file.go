package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
)

// FileOptions says how a host file becomes a device. The zero value opens the whole file for
// reading and writing, locked.
type FileOptions struct {
	ReadOnly   bool  // no writes; the lock is shared with other readers
	ForceShare bool  // no lock: the caller answers for who else uses the file
	Offset     int64 // bytes, where the device starts in the file; at least 0
	Length     int64 // bytes, the size of the device; 0: up to the end of the file
}

func (o *FileOptions) validate() error {
	if o.Offset < 0 || o.Length < 0 {
		return fmt.Errorf("offset %d, length %d: %w", o.Offset, o.Length, ErrRange)
	}
	return nil
}

// File is a host file or block device, or a part of one, as a [Device].
//
// While it is open it holds a lock on the host file: for writing an exclusive one, for reading
// a shared one. On Linux it is an open-file-description lock on the bytes of the device (see
// fcntl(2)), elsewhere one on the whole file. All such locks are advisory.
//
// After a flush failed every later one fails too: a kernel that could not write a page may
// forget that it was dirty, and the next flush would say that all is well ("Can Applications
// Recover from fsync Failures?", Rebello et al., USENIX ATC 2020).
type File struct {
	f        *os.File
	off      int64
	size     int64
	readOnly bool
	failed   atomic.Pointer[error] // the first failure of a flush
	behind   writeBehind
}

// OpenFile opens an existing image. Errors name the path; one that matches [ErrInUse] says that
// somebody else holds the lock, one that matches [ErrRange] that the file is shorter than
// Offset and Length ask for.
func OpenFile(path string, opt FileOptions) (*File, error) {
	if err := opt.validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	mode := os.O_RDWR
	if opt.ReadOnly {
		mode = os.O_RDONLY
	}
	// Before the open, which would wait for the other end of a pipe.
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := canBeImage(path, st.Mode()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	d, err := newFile(f, opt)
	if err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

// newFile measures and locks f. The caller closes f when it fails.
func newFile(f *os.File, opt FileOptions) (*File, error) {
	if !opt.ForceShare {
		if err := lockFile(f, !opt.ReadOnly, opt.Offset, opt.Length); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	total, regular, err := fileSize(f)
	if err != nil {
		return nil, err
	}
	if opt.Offset > total || opt.Length > total-opt.Offset {
		return nil, fmt.Errorf("%s: offset %d, length %d, file of %d bytes: %w", f.Name(), opt.Offset, opt.Length, total, ErrRange)
	}
	size := opt.Length
	if size == 0 {
		size = total - opt.Offset
	}
	d := &File{f: f, off: opt.Offset, size: size, readOnly: opt.ReadOnly}
	d.behind.cannot.Store(!regular)
	return d, nil
}

// canBeImage refuses what is neither a regular file nor a block device.
func canBeImage(path string, mode fs.FileMode) error {
	if mode.IsRegular() || mode&fs.ModeDevice != 0 && mode&fs.ModeCharDevice == 0 {
		return nil
	}
	return fmt.Errorf("%s: neither a regular file nor a block device (%v)", path, mode.Type())
}

// fileSize is the size of a regular file or a block device in bytes, and whether it is a
// regular file.
func fileSize(f *os.File) (size int64, regular bool, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	if err := canBeImage(f.Name(), st.Mode()); err != nil {
		return 0, false, err
	}
	if st.Mode().IsRegular() {
		return st.Size(), true, nil
	}
	// The size that stat gives for a block device is 0.
	size, err = f.Seek(0, io.SeekEnd)
	return size, false, err
}

// CreateFile makes path an image of size bytes, all zero, without allocating them, and opens it
// for writing. With exclusive it must not exist (the error then matches [fs.ErrExist]);
// otherwise what it held is gone, but only once the lock is ours. A block device keeps its
// content and must have room for size bytes. The name is durable when CreateFile returns.
func CreateFile(path string, size int64, perm fs.FileMode, exclusive bool) (*File, error) {
	if size < 0 {
		return nil, fmt.Errorf("%s: size %d: %w", path, size, ErrRange)
	}
	mode := os.O_RDWR | os.O_CREATE
	if exclusive {
		mode |= os.O_EXCL
	}
	f, err := os.OpenFile(path, mode, perm)
	if err != nil {
		return nil, err
	}
	d, err := create(f, size)
	if err != nil {
		f.Close()
		if exclusive {
			os.Remove(path) // we made it a moment ago
		}
		return nil, err
	}
	return d, nil
}

func create(f *os.File, size int64) (*File, error) {
	// Lock first, so that an image in use is not cut to nothing.
	if err := lockFile(f, true, 0, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	total, regular, err := fileSize(f)
	if err != nil {
		return nil, err
	}
	if !regular {
		if size > total {
			return nil, fmt.Errorf("%s: size %d, block device of %d bytes: %w", f.Name(), size, total, ErrRange)
		}
		d := &File{f: f, size: size}
		d.behind.cannot.Store(true)
		return d, nil
	}
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(f.Name())); err != nil {
		return nil, err
	}
	return &File{f: f, size: size}, nil
}

// Name is the path that the file was opened by.
func (d *File) Name() string { return d.f.Name() }

// Size implements [Device].
func (d *File) Size() int64 { return d.size }

// Close gives back the lock and the file. It flushes nothing.
func (d *File) Close() error { return d.f.Close() }

// ReadAt implements [Device]. An I/O error of the host matches [ErrBadSector].
func (d *File) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, d.size); err != nil {
		return 0, fmt.Errorf("%s: %w", d.f.Name(), err)
	}
	n, err := d.f.ReadAt(p, d.off+off)
	if err != nil {
		return n, d.readError(err, len(p), off)
	}
	return n, nil
}

// readError says in our words why the host could not read n bytes at off.
func (d *File) readError(err error, n int, off int64) error {
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: offset %d, length %d: the file has become shorter: %w", d.f.Name(), off, n, ErrRange)
	case isMediumError(err):
		return fmt.Errorf("%w: %w", ErrBadSector, err)
	default:
		return err // an *fs.PathError: it names the path
	}
}

// ReadChecked implements [Device]; the content is read into p and checked there.
func (d *File) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	return CheckedRead(d, p, c, places...)
}

// WriteAt implements [Device].
func (d *File) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, d.size); err != nil {
		return 0, fmt.Errorf("%s: %w", d.f.Name(), err)
	}
	if d.readOnly {
		return 0, fmt.Errorf("%s: %w", d.f.Name(), ErrReadOnly)
	}
	d.behind.before(d.f, len(p), d.off+off)
	n, err := d.f.WriteAt(p, d.off+off)
	if err == nil {
		if from, length := d.behind.wrote(n, d.off+off+int64(n)); length > 0 {
			startWriteBack(d.f, from, length)
		}
	}
	return n, err
}

// Flush implements [Device].
func (d *File) Flush() error {
	if d.readOnly {
		return nil
	}
	if err := d.failed.Load(); err != nil {
		return *err
	}
	if err := syncFile(d.f); err != nil {
		err = fmt.Errorf("%s: flush: %w", d.f.Name(), err)
		d.failed.CompareAndSwap(nil, &err)
		return err
	}
	// A flush that ran beside ours and failed may have lost writes that ours covered.
	if err := d.failed.Load(); err != nil {
		return *err
	}
	return nil
}
