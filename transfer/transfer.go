package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"holdfast/volume"
)

// Errors of a copy. Others are those of the host and of the volume, with the path.
var (
	// ErrChanged: the source was changed while it was read.
	ErrChanged = errors.New("changed while it was read")
	// ErrInTheWay: a directory would replace something else, or something else a directory;
	// with Options.NoClobber, anything would replace anything.
	ErrInTheWay = errors.New("something else of this name is in the way")
	// ErrName: a name of the volume that the host cannot have without leaving the destination.
	ErrName = errors.New("not a name for this system")
)

// Owner is a numeric user and group.
type Owner struct{ UID, GID uint32 }

// Options say what is copied and how; the zero value copies as cp -R does.
type Options struct {
	// Preserve keeps modes, owners and times, as cp -a does. Otherwise permissions are
	// kept without the set-ID bits (on the host: less the umask), all is owned by who
	// copies, and times are those of the copy.
	Preserve bool
	// Owner, if not nil, owns all that is copied.
	Owner *Owner
	// Exclude leaves out what it returns true for, with all that is below it. rel is the
	// path from the top of the copy, with slashes; the top itself is not asked about. info
	// is of the source (in a volume, its Sys is a volume.Attr). See Match.
	Exclude func(rel string, info fs.FileInfo) bool
	// Progress is told of each file when it begins (n is 0) and of each n bytes of it done.
	Progress func(rel string, n int64)
	// Clamp, if not zero, is the latest time that is kept (SOURCE_DATE_EPOCH): later
	// modification times become it, and all access times. Only with Preserve.
	Clamp time.Time
	// NoClobber makes it an error that something exists already; directories still merge.
	NoClobber bool
	// KeepGoing makes ToDir and CopyOut leave out what cannot be read from a damaged volume, and
	// name it in Stats.Warnings, rather than stop there.
	KeepGoing bool
	// Manifest, if not nil, changes what FromDir and FromTar make. Owner is then that of what it does not speak of.
	Manifest *Manifest
	// Dense writes zeros out; otherwise blocks of them become holes.
	Dense bool
}

// Stats says what has been copied.
type Stats struct {
	Files     int   // regular files, by inode
	Dirs      int   // the top included
	Links     int   // symbolic links
	Others    int   // FIFOs, sockets, devices
	HardLinks int   // further names of what is counted above
	Bytes     int64 // of content that was written; holes do not count
	Damaged   int   // left out because the volume is damaged (Options.KeepGoing)
	// Warnings says what could not be kept, by path; one line for all that have lost the same.
	Warnings []string
	losses   []loss
}

// loss is a kind of thing that could not be kept.
type loss struct {
	what, why string
	first     string // path
	n         int    // paths
	at        int    // in Stats.Warnings
}

// reason is an error without the path that is in its text.
func reason(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	var f *fromError
	switch {
	case errors.As(err, &f):
		return f.err
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// loseFile notes a file that could not be kept whole.
func (s *Stats) loseFile(name string, err error) {
	s.Warnings = append(s.Warnings, fmt.Sprintf("%s: content could not be kept: %v", name, reason(err)))
}

// lose notes what could not be kept of a path: one line for all paths that have lost the same in
// the same way.
func (s *Stats) lose(what, name string, err error) {
	why := reason(err).Error()
	for i := range s.losses {
		l := &s.losses[i]
		if l.what == what && l.why == why {
			l.n++
			s.Warnings[l.at] = fmt.Sprintf("%s: %s could not be kept: %s (and so for %d more)", l.first, what, why, l.n-1)
			return
		}
	}
	s.losses = append(s.losses, loss{what, why, name, 1, len(s.Warnings)})
	s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %s could not be kept: %s", name, what, why))
}

// Match makes an Exclude of patterns in the syntax of path.Match. One without a slash is held
// against the last component of a path, at any depth; one with a slash against the whole, from
// the top of the copy (a slash at its start says no more than that).
func Match(patterns []string) (func(rel string, info fs.FileInfo) bool, error) {
	type pattern struct {
		text  string
		whole bool
	}
	list := make([]pattern, 0, len(patterns))
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
		text := path.Clean("/" + p)[1:]
		list = append(list, pattern{text, path.Base(p) != path.Clean(p)})
	}
	return func(rel string, _ fs.FileInfo) bool {
		for _, p := range list {
			name := rel
			if !p.whole {
				name = path.Base(rel)
			}
			if ok, _ := path.Match(p.text, name); ok {
				return true
			}
		}
		return false
	}, nil
}

func (o *Options) excluded(rel string, info fs.FileInfo) bool {
	return o.Exclude != nil && o.Exclude(rel, info)
}

func (o *Options) progress(rel string, n int64) {
	if o.Progress != nil {
		o.Progress(rel, n)
	}
}

// clamp is what is kept of two times.
func (o *Options) clamp(atime, mtime time.Time) (time.Time, time.Time) {
	if !o.Clamp.IsZero() {
		atime = o.Clamp
		if mtime.After(o.Clamp) {
			mtime = o.Clamp
		}
	}
	return atime, mtime
}

// owner is who is to own a copy of what uid and gid own.
func (o *Options) owner(uid, gid uint32) Owner {
	switch {
	case o.Owner != nil:
		return *o.Owner
	case o.Preserve:
		return Owner{uid, gid}
	}
	return Owner{uint32(max(0, os.Getuid())), uint32(max(0, os.Getgid()))}
}

const (
	permBits = 0o777
	modeBits = 0o7777
)

// mode is what is kept of the permission bits of a POSIX mode.
func (o *Options) mode(m uint16) uint16 {
	if o.Preserve {
		return m & modeBits
	}
	return m & permBits
}

// chunk is how many bytes are copied at a time: what a volume writes in one operation.
const chunk = 1 << 20

// join is a path below rel, which is "." at the top.
func join(rel, name string) string {
	if rel == "." {
		return name
	}
	return rel + "/" + name
}

// zero reports whether p is all zeros.
func zero(p []byte) bool {
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

// parts is runs, or with Dense calls fn for the whole of p.
func (o *Options) parts(p []byte, off int64, block int, fn func(p []byte, off int64) error) error {
	if o.Dense {
		return fn(p, off)
	}
	return runs(p, off, block, fn)
}

// runs calls fn for the parts of p, which lies at off, that are not whole blocks of zeros.
func runs(p []byte, off int64, block int, fn func(p []byte, off int64) error) error {
	for len(p) > 0 {
		n := 0 // bytes without a zero block
		for n < len(p) {
			end := min(len(p), n+block-int((off+int64(n))%int64(block)))
			if zero(p[n:end]) {
				if n > 0 {
					break
				}
				p, off = p[end:], off+int64(end)
				continue
			}
			n = end
		}
		if n > 0 {
			if err := fn(p[:n], off); err != nil {
				return err
			}
			p, off = p[n:], off+int64(n)
		}
	}
	return nil
}

// change is a Setattr of what Preserve keeps, beside the owner.
func (o *Options) change(own Owner, mode uint16, atime, mtime time.Time, link bool) volume.SetAttr {
	s := volume.SetAttr{UID: &own.UID, GID: &own.GID}
	if !link {
		s.Mode = &mode
	}
	if o.Preserve {
		atime, mtime = o.clamp(atime, mtime)
		s.Atime, s.Mtime = &atime, &mtime
	}
	return s
}
