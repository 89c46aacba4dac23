package disk

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// newImage makes an image of size bytes, closed, and gives its path.
func newImage(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	d, err := CreateFile(path, size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileLock(t *testing.T) {
	rw, ro := FileOptions{}, FileOptions{ReadOnly: true}
	forced := FileOptions{ForceShare: true}
	low := FileOptions{Length: 4096}
	high := FileOptions{Offset: 4096}
	for _, test := range []struct {
		name          string
		first, second FileOptions
		want          error
		linux         bool // elsewhere the lock is on the whole file
	}{
		{"two writers", rw, rw, ErrInUse, false},
		{"writer, reader", rw, ro, ErrInUse, false},
		{"reader, writer", ro, rw, ErrInUse, false},
		{"two readers", ro, ro, nil, false},
		{"forced beside a writer", rw, forced, nil, false},
		{"writer beside one that was forced", forced, rw, nil, false},
		{"two parts", low, high, nil, true},
		{"a part and the whole", high, rw, ErrInUse, false},
	} {
		if test.linux && !rangeLocks {
			continue
		}
		path := newImage(t, 8192)
		a, err := OpenFile(path, test.first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := OpenFile(path, test.second)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name %s", test.name, err, path)
		}
		if b != nil {
			b.Close()
		}
		a.Close()
		again, err := OpenFile(path, rw)
		if err != nil {
			t.Errorf("%s: Close kept the lock: %v", test.name, err)
			continue
		}
		again.Close()
	}
}

func TestCreateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	const size = 1 << 40
	d, err := CreateFile(path, size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	if d.Size() != size || d.Name() != path {
		t.Errorf("size %d, name %s", d.Size(), d.Name())
	}
	mustWrite(t, d, pattern(512, 1), size-512)
	mustWrite(t, d, pattern(512, 2), 0)
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateFile(path, 512, 0o600, false); !errors.Is(err, ErrInUse) {
		t.Errorf("an image in use was made anew: %v", err)
	}
	if !bytes.Equal(mustRead(t, d, 512, size-512), pattern(512, 1)) {
		t.Error("a refused CreateFile cut the image")
	}
	d.Close()
	if _, err := CreateFile(path, 512, 0o600, true); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exclusive: %v", err)
	}
	if d, err = CreateFile(path, 4096, 0o600, false); err != nil {
		t.Fatal(err)
	}
	if d.Size() != 4096 || !bytes.Equal(mustRead(t, d, 4096, 0), make([]byte, 4096)) {
		t.Error("CreateFile kept old content")
	}
	d.Close()
	if _, err := CreateFile(path, -1, 0o600, false); !errors.Is(err, ErrRange) {
		t.Errorf("negative size: %v", err)
	}
	if _, err := CreateFile(filepath.Join(dir, "none", "image"), 1, 0o600, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

func TestOpenFileRefuses(t *testing.T) {
	path := newImage(t, 8192)
	for name, opt := range map[string]FileOptions{
		"negative offset":     {Offset: -1},
		"negative length":     {Length: -1},
		"offset too large":    {Offset: 8193},
		"length too large":    {Length: 8193},
		"window beyond":       {Offset: 8000, Length: 193},
		"window that wraps":   {Offset: 8000, Length: 1<<63 - 1},
		"offset that is huge": {Offset: 1<<63 - 1, ForceShare: true},
	} {
		_, err := OpenFile(path, opt)
		if !errors.Is(err, ErrRange) && !strings.HasPrefix(name, "window that") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
	if _, err := OpenFile(filepath.Dir(path), FileOptions{ReadOnly: true, ForceShare: true}); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := OpenFile(path+"x", FileOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestFileWindow(t *testing.T) {
	path := newImage(t, 16384)
	d, err := OpenFile(path, FileOptions{Offset: 4096, Length: 8192})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mustWrite(t, d, pattern(8192, 1), 0)
	_, err = d.WriteAt(make([]byte, 1), 8192)
	wantErr(t, "beyond the window", err, ErrRange)
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := append(append(make([]byte, 4096), pattern(8192, 1)...), make([]byte, 4096)...); !bytes.Equal(all, want) {
		t.Error("the window is not where it should be")
	}
	rest, err := OpenFile(path, FileOptions{Offset: 12288, ReadOnly: true, ForceShare: true})
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	if rest.Size() != 4096 {
		t.Errorf("without a length the size is %d", rest.Size())
	}
}

func TestFileReadOnly(t *testing.T) {
	path := newImage(t, 8192)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	d, err := OpenFile(path, FileOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = d.WriteAt(make([]byte, 512), 0)
	wantErr(t, "write", err, ErrReadOnly)
	if err := d.Flush(); err != nil {
		t.Errorf("a flush with nothing to flush: %v", err)
	}
	mustRead(t, d, 8192, 0)
}

func TestFileErrors(t *testing.T) {
	path := newImage(t, 8192)
	d, err := OpenFile(path, FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	host := &fs.PathError{Op: "read", Path: path, Err: syscall.EIO}
	err = d.readError(host, 512, 0)
	wantErr(t, "EIO", err, ErrBadSector)
	if !strings.Contains(err.Error(), path) {
		t.Errorf("%v does not name the file", err)
	}
	if err := d.readError(os.ErrClosed, 512, 0); errors.Is(err, ErrBadSector) {
		t.Error("a closed file is no bad sector")
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	_, err = d.ReadAt(make([]byte, 512), 0)
	wantErr(t, "a file that shrank", err, ErrRange)
	if errors.Is(err, io.EOF) {
		t.Error("the end of a device is no end of a file")
	}
	d.Close()
	_, err = d.ReadAt(make([]byte, 512), 0)
	wantErr(t, "read after Close", err, os.ErrClosed)
	first := d.Flush()
	wantErr(t, "flush after Close", first, os.ErrClosed)
	if again := d.Flush(); again != first {
		t.Errorf("the failure of a flush was forgotten: %v", again)
	}
}
