//go:build linux

package fusefs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"holdfast/volume"
)

// operations is what requests do to a volume.
type operations interface {
	Getattr(ino volume.Ino) (volume.Attr, error)
	Lookup(dir volume.Ino, name string) (volume.Attr, error)
	Readlink(ino volume.Ino) (string, error)
	Read(ino volume.Ino, p []byte, off int64) (int, error)
	ReadDir(dir volume.Ino, pos uint64, fn func(volume.DirEntry) bool) error
	SeekData(ino volume.Ino, off int64) (int64, error)
	SeekHole(ino volume.Ino, off int64) (int64, error)
	Getxattr(ino volume.Ino, name string) ([]byte, error)
	Listxattr(ino volume.Ino) ([]string, error)
	Statfs() (volume.Statfs, error)

	Create(dir volume.Ino, name string, n volume.NewNode) (volume.Attr, error)
	CreateTemp(dir volume.Ino, n volume.NewNode, flag int) (volume.Attr, error)
	Link(ino, dir volume.Ino, name string) (volume.Attr, error)
	Unlink(dir volume.Ino, name string) error
	Rmdir(dir volume.Ino, name string) error
	Rename(odir volume.Ino, oname string, ndir volume.Ino, nname string, flags uint) error
	Setattr(ino volume.Ino, s volume.SetAttr) (volume.Attr, error)
	Setxattr(ino volume.Ino, name string, value []byte, flags int) error
	Removexattr(ino volume.Ino, name string) error
	Write(ino volume.Ino, p []byte, off int64) (int, error)
	Fallocate(ino volume.Ino, mode uint32, off, length int64) error
	Fsync(ino volume.Ino) error
	Sync() error
}

var (
	_ operations = (*volume.Volume)(nil)
	_ operations = (*ordering)(nil)
)

// Ordered is a line of the ordering log, which says in which order the operations of a mount took effect:
// one JSON object a line. Each operation has two lines with the same N: what it is, written before it begins,
// and what became of it (Done), written before the program has its answer. N counts from 1; where the second line
// is missing, because the server was killed, nothing comes after, and the operation has taken effect or not.
// A line with Durable alone says that a crash from now on keeps the operations up to there.
//
// Names, targets and names of attributes are percent-encoded (net/url, path segment). Inode numbers are those of
// stat(2). What has no meaning for an operation is left out, and so is zero.
type Ordered struct {
	N uint64 `json:"n,omitempty"`

	// create, temp, link, unlink, rmdir, rename, setattr, setxattr, removexattr, write, fallocate
	Op     string     `json:"op,omitempty"`
	Dir    volume.Ino `json:"dir,omitempty"`    // where Name is
	Name   string     `json:"name,omitempty"`   // of an attribute: with setxattr, removexattr
	NewDir volume.Ino `json:"newdir,omitempty"` // rename
	New    string     `json:"new,omitempty"`    // rename
	Flags  uint       `json:"flags,omitempty"`  // of renameat2(2), fallocate(2), setxattr(2)
	Ino    volume.Ino `json:"ino,omitempty"`    // of what is changed; with Done: of what create and temp have made
	Mode   *uint16    `json:"mode,omitempty"`   // create, temp: asked for, with the type; setattr; with Done: what it has now
	UID    *uint32    `json:"uid,omitempty"`    // create, temp, setattr; with Done: what it has now
	GID    *uint32    `json:"gid,omitempty"`    // the same
	Major  uint32     `json:"major,omitempty"`
	Minor  uint32     `json:"minor,omitempty"`
	Target string     `json:"target,omitempty"` // of a symbolic link
	Size   *uint64    `json:"size,omitempty"`   // setattr
	Atime  *time.Time `json:"atime,omitempty"`  // setattr
	Mtime  *time.Time `json:"mtime,omitempty"`  // setattr
	Offset int64      `json:"offset,omitempty"` // bytes: write, fallocate
	Length int64      `json:"length,omitempty"` // bytes: fallocate; with Done: of a write, what was written
	Data   []byte     `json:"data,omitempty"`   // write, setxattr; base64

	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"` // with Done: it failed, and nothing is changed

	Durable uint64 `json:"durable,omitempty"`
}

// ordering does the operations that change something one after the other, and says so in a log.
type ordering struct {
	*volume.Volume
	mu  sync.Mutex
	log *json.Encoder // one write a line
	n   uint64
	err error // the log could not be written
}

func newOrdering(v *volume.Volume, log io.Writer) *ordering {
	return &ordering{Volume: v, log: json.NewEncoder(log)}
}

// say writes a line; mu is held. Without its line an operation does not happen.
func (o *ordering) say(line *Ordered) error {
	if o.err == nil {
		if err := o.log.Encode(line); err != nil {
			o.err = fmt.Errorf("%w: ordering log: %w", volume.ErrIO, err)
		}
	}
	return o.err
}

// do is one operation: fn does it, and completes the second line.
func (o *ordering) do(line *Ordered, fn func(done *Ordered) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n++
	line.N = o.n
	if err := o.say(line); err != nil {
		return err
	}
	done := &Ordered{N: o.n, Done: true}
	err := fn(done)
	if err != nil {
		done.Error = err.Error()
	}
	return errors.Join(err, o.say(done))
}

// durable does what makes everything before it durable.
func (o *ordering) durable(fn func() error) error {
	o.mu.Lock()
	n := o.n
	o.mu.Unlock()
	if err := fn(); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.say(&Ordered{Durable: n})
}

func (o *ordering) Fsync(ino volume.Ino) error {
	return o.durable(func() error { return o.Volume.Fsync(ino) })
}

func (o *ordering) Sync() error { return o.durable(o.Volume.Sync) }

// has says what an inode has become.
func (line *Ordered) has(a volume.Attr, err error) (volume.Attr, error) {
	if err == nil {
		line.Ino, line.Mode, line.UID, line.GID = a.Ino, &a.Mode, &a.UID, &a.GID
	}
	return a, err
}

func newNode(op string, dir volume.Ino, name string, n *volume.NewNode) *Ordered {
	return &Ordered{Op: op, Dir: dir, Name: url.PathEscape(name), Mode: &n.Mode, UID: &n.UID, GID: &n.GID,
		Major: n.Major, Minor: n.Minor, Target: url.PathEscape(n.Target)}
}

func (o *ordering) Create(dir volume.Ino, name string, n volume.NewNode) (a volume.Attr, err error) {
	err = o.do(newNode("create", dir, name, &n), func(done *Ordered) error {
		a, err = done.has(o.Volume.Create(dir, name, n))
		return err
	})
	return a, err
}

func (o *ordering) CreateTemp(dir volume.Ino, n volume.NewNode, flag int) (a volume.Attr, err error) {
	err = o.do(newNode("temp", dir, "", &n), func(done *Ordered) error {
		a, err = done.has(o.Volume.CreateTemp(dir, n, flag))
		return err
	})
	return a, err
}

func (o *ordering) Link(ino, dir volume.Ino, name string) (a volume.Attr, err error) {
	err = o.do(&Ordered{Op: "link", Ino: ino, Dir: dir, Name: url.PathEscape(name)}, func(*Ordered) error {
		a, err = o.Volume.Link(ino, dir, name)
		return err
	})
	return a, err
}

func (o *ordering) Unlink(dir volume.Ino, name string) error {
	return o.do(&Ordered{Op: "unlink", Dir: dir, Name: url.PathEscape(name)}, func(*Ordered) error {
		return o.Volume.Unlink(dir, name)
	})
}

func (o *ordering) Rmdir(dir volume.Ino, name string) error {
	return o.do(&Ordered{Op: "rmdir", Dir: dir, Name: url.PathEscape(name)}, func(*Ordered) error {
		return o.Volume.Rmdir(dir, name)
	})
}

// Rename may make a whiteout, which is an inode of its own: its second line says which.
func (o *ordering) Rename(odir volume.Ino, oname string, ndir volume.Ino, nname string, flags uint) error {
	line := &Ordered{Op: "rename", Dir: odir, Name: url.PathEscape(oname), NewDir: ndir, New: url.PathEscape(nname), Flags: flags}
	return o.do(line, func(done *Ordered) error {
		err := o.Volume.Rename(odir, oname, ndir, nname, flags)
		if err == nil && flags&volume.RenameWhiteout != 0 {
			_, err = done.has(o.Volume.Lookup(odir, oname))
		}
		return err
	})
}

func (o *ordering) Setattr(ino volume.Ino, s volume.SetAttr) (a volume.Attr, err error) {
	line := &Ordered{Op: "setattr", Ino: ino, Mode: s.Mode, UID: s.UID, GID: s.GID, Size: s.Size, Atime: s.Atime, Mtime: s.Mtime}
	err = o.do(line, func(done *Ordered) error {
		a, err = done.has(o.Volume.Setattr(ino, s))
		return err
	})
	return a, err
}

func (o *ordering) Setxattr(ino volume.Ino, name string, value []byte, flags int) error {
	return o.do(&Ordered{Op: "setxattr", Ino: ino, Name: url.PathEscape(name), Data: value, Flags: uint(flags)}, func(done *Ordered) error {
		err := o.Volume.Setxattr(ino, name, value, flags)
		if err == nil { // of an ACL, the mode follows
			_, err = done.has(o.Getattr(ino))
		}
		return err
	})
}

func (o *ordering) Removexattr(ino volume.Ino, name string) error {
	return o.do(&Ordered{Op: "removexattr", Ino: ino, Name: url.PathEscape(name)}, func(*Ordered) error {
		return o.Volume.Removexattr(ino, name)
	})
}

func (o *ordering) Write(ino volume.Ino, p []byte, off int64) (n int, err error) {
	err = o.do(&Ordered{Op: "write", Ino: ino, Offset: off, Data: p}, func(done *Ordered) error {
		n, err = o.Volume.Write(ino, p, off)
		done.Length = int64(n)
		return err
	})
	return n, err
}

func (o *ordering) Fallocate(ino volume.Ino, mode uint32, off, length int64) error {
	line := &Ordered{Op: "fallocate", Ino: ino, Flags: uint(mode), Offset: off, Length: length}
	return o.do(line, func(*Ordered) error { return o.Volume.Fallocate(ino, mode, off, length) })
}
