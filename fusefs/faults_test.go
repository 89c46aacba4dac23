//go:build linux

package fusefs_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/disk"
	"holdfast/fusefs"
	"holdfast/volume"
)

// failing is a device of which some calls fail, as long as it is told to.
type failing struct {
	disk.Device
	read, write, flush atomic.Pointer[error]
}

func fails(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *failing) ReadAt(p []byte, off int64) (int, error) {
	if err := fails(&d.read); err != nil {
		return 0, err
	}
	return d.Device.ReadAt(p, off)
}

func (d *failing) ReadChecked(p []byte, c disk.Check, places ...int64) (int, error) {
	if err := fails(&d.read); err != nil {
		return 0, err
	}
	return d.Device.ReadChecked(p, c, places...)
}

func (d *failing) WriteAt(p []byte, off int64) (int, error) {
	if err := fails(&d.write); err != nil {
		return 0, err
	}
	return d.Device.WriteAt(p, off)
}

func (d *failing) Flush() error {
	if err := fails(&d.flush); err != nil {
		return err
	}
	return d.Device.Flush()
}

// A device that fails is EIO to the program that reads or waits for durability, and a read-only file system to one
// that changes something afterwards. What was acknowledged as durable is there when it is opened again. The errors
// are those of the host (EIO, ENOSPC) and of the fault model.
func TestDeviceFails(t *testing.T) {
	canMount(t)
	for name, err := range map[string]error{"EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC, "bad sector": disk.ErrBadSector} {
		for what, which := range map[string]func(*failing) *atomic.Pointer[error]{
			"write": func(d *failing) *atomic.Pointer[error] { return &d.write },
			"flush": func(d *failing) *atomic.Pointer[error] { return &d.flush },
		} {
			t.Run(what+" "+name, func(t *testing.T) { deviceFails(t, err, which) })
		}
	}
}

// failingMount is a volume on a device that can be made to fail, served by this process.
type failingMount struct {
	image, dir string
	file       *disk.File
	dev        *failing
	v          *volume.Volume
	m          *fusefs.Mount
}

// mountFailing serves one. The file name in it is there and empty.
func mountFailing(t *testing.T, name string) *failingMount {
	t.Helper()
	x := &failingMount{image: newImage(t, 16<<20), dir: openDir(t)}
	var err error
	if x.file, err = disk.OpenFile(x.image, disk.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	x.dev = &failing{Device: x.file}
	if x.v, err = volume.Open(x.dev, volume.Options{}); err != nil {
		t.Fatal(err)
	}
	if x.m, err = fusefs.New(x.v, x.dir, fusefs.Options{Source: x.image}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(x.dir, syscall.MNT_DETACH) })
	pollFirst(t, filepath.Join(x.dir, name), os.O_CREATE|os.O_RDWR)
	return x
}

func deviceFails(t *testing.T, cause error, which func(*failing) *atomic.Pointer[error]) {
	x := mountFailing(t, "first")
	dir, dev := x.dir, x.dev
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) *os.File {
		t.Helper()
		f, err := os.Create(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		return f
	}
	want := func(what string, err, errno error) {
		t.Helper()
		if !errors.Is(err, errno) {
			t.Errorf("%s: %v, want %v", what, err, errno)
		}
	}

	first := write("first", "hello")
	if err := first.Sync(); err != nil {
		t.Fatal(err)
	}
	second := write("second", "lost")
	which(dev).Store(&cause)
	want("fsync", second.Sync(), syscall.EIO)
	want("fsync again", second.Sync(), syscall.EIO)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want("fsync of a directory", root.Sync(), syscall.EIO)
	root.Close()
	want("mkdir", os.Mkdir(at("third"), 0o755), syscall.EROFS)
	want("rename", os.Rename(at("first"), at("other")), syscall.EROFS)
	if got, err := os.ReadFile(at("first")); string(got) != "hello" {
		t.Errorf("the file that is durable: %q, %v", got, err)
	}
	which(dev).Store(nil) // as good as new: it stays refused all the same
	want("fsync later", second.Sync(), syscall.EIO)
	first.Close()
	second.Close()
	if err := errors.Join(x.m.Unmount(), x.m.ReleaseAll()); err != nil {
		t.Errorf("unmount: %v", err)
	}
	if err := x.v.Close(); !errors.Is(err, cause) {
		t.Errorf("close: %v, want %v", err, cause)
	}
	if err := x.file.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, x.image)
	if n := readTree(t, x.image).walk("first"); n == nil || string(n.data) != "hello" {
		t.Error("what was durable is not there")
	}
}

// What cannot be read is EIO to who reads it. When it can be read again, it is.
func TestReadFails(t *testing.T) {
	canMount(t)
	x := mountFailing(t, "f")
	dir, dev := x.dir, x.dev
	name := filepath.Join(dir, "f")
	g, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Write(fileData(1)); err != nil {
		t.Fatal(err)
	}
	if err := g.Sync(); err != nil {
		t.Fatal(err)
	}
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	drop := func() { _, _, _ = syscall.Syscall6(syscall.SYS_FADVISE64, g.Fd(), 0, 0, dontNeed, 0, 0) }
	drop()
	cause := error(disk.ErrBadSector)
	dev.read.Store(&cause)
	if _, err := g.ReadAt(make([]byte, 4096), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("read: %v, want EIO", err)
	}
	dev.read.Store(nil)
	drop()
	if got, err := os.ReadFile(name); err != nil || string(got) != string(fileData(1)) {
		t.Errorf("when it can be read again: %d bytes, %v", len(got), err)
	}
	g.Close()
	if err := errors.Join(x.m.Unmount(), x.m.ReleaseAll(), x.v.Close(), x.file.Close()); err != nil {
		t.Fatal(err)
	}
	check(t, x.image)
}

// fileData is some noise.
func fileData(seed byte) []byte {
	p := make([]byte, 100_000)
	for i := range p {
		p[i] = byte(i*i>>3) ^ seed
	}
	return p
}
