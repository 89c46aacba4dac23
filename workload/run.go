package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"holdfast/volume"
)

// The clock of a run. Setup and recorded operations happen in different years, so that a time
// says at once which operation it belongs to: operation k is at second k of its year.
const (
	setupEpoch = 1577836800 // 2020-01-01, when the image is made
	playEpoch  = 1609459200 // 2021-01-01
)

// setupTime and playTime are when operation k (from 1) of the setup and of the recorded ones
// happens; the nanoseconds make no two the same.
func setupTime(k int) Time { return Time{setupEpoch + int64(k), uint32(k) * 1009 % 1e9} }
func playTime(k int) Time  { return Time{playEpoch + int64(k), uint32(k) * 1013 % 1e9} }

// clock stands still until the run sets it.
type clock struct{ now atomic.Pointer[time.Time] }

func (c *clock) set(t Time) {
	at := time.Unix(t.Sec, int64(t.Nsec)).UTC()
	c.now.Store(&at)
}

func (c *clock) read() time.Time { return *c.now.Load() }

// MarkKind says what a Mark says.
type MarkKind uint8

// The kinds of marks.
const (
	Started  MarkKind = 1 + iota // operation K is about to be called
	Finished                     // it has returned, and its result is the model's
	Synced                       // it and everything before it is durable
)

// Mark notes where in a trace an operation is.
type Mark struct {
	Kind MarkKind
	K    int // number of the operation, from 1
}

// String is "started 3"; Progress.Note reads it back.
func (m Mark) String() string {
	verb := map[MarkKind]string{Started: "started", Finished: "finished", Synced: "synced"}[m.Kind]
	return verb + " " + strconv.Itoa(m.K)
}

// Progress is how far a run had come at some moment: 0 <= Synced <= Finished <= Started. A
// crash at that moment may leave the state after any k operations, Synced <= k <= Started.
type Progress struct{ Synced, Finished, Started int }

// Note takes a mark in. Its error says that the text is no mark of a run.
func (p *Progress) Note(mark string) error {
	verb, number, _ := strings.Cut(mark, " ")
	k, err := strconv.Atoi(number)
	if err != nil || k < 0 {
		return fmt.Errorf("mark %q: want started, finished or synced, and a number", mark)
	}
	switch verb {
	case "started":
		p.Started = max(p.Started, k)
	case "finished":
		p.Finished = max(p.Finished, k)
	case "synced":
		p.Synced = max(p.Synced, k)
	default:
		return fmt.Errorf("mark %q: want started, finished or synced", mark)
	}
	return nil
}

// Run plays a script. The order of calls is
//
//	r := NewRun(script)
//	volume.Format(dev, r.FormatOptions())
//	v, _ := volume.Open(dev, r.Options());      r.Setup(v);      v.Close()
//	v, _ = volume.Open(recorder, r.Options());  r.Play(v, mark); v.Close(); r.Closed(mark)
//
// after which States is what Judge needs. A Run is used by one goroutine, its States by any
// number.
type Run struct {
	Script *Script
	States []*State // States[k] is the tree after k recorded operations; States[0] after the setup
	Full   int      // operations that the volume refused for lack of space

	before  int // operations of the run before it, for the clock
	clock   clock
	handles map[string]volume.Ino
	buf     []byte
}

// NewRun is a run of the script that has not begun.
func NewRun(s *Script) *Run {
	r := &Run{Script: s, handles: map[string]volume.Ino{}}
	r.clock.set(setupTime(0))
	r.States = []*State{NewState(0o755, 0, 0, setupTime(0))}
	return r
}

// NewRunAfter is a run of the script on an image on which another run has done the same setup;
// setup is the States[0] of that one. Setup is not called then.
func NewRunAfter(s *Script, setup *State) *Run {
	r := NewRun(s)
	r.States = []*State{setup}
	return r
}

// FormatOptions makes the image that the script asks for; nothing in it is left to chance.
func (r *Run) FormatOptions() volume.FormatOptions {
	o := volume.FormatOptions{
		Label:          "workload",
		BlockSize:      r.Script.Image.Block,
		SectorSize:     r.Script.Image.Sector,
		InodesPerGroup: r.Script.Image.Inodes,
		RunBlocks:      r.Script.Image.Run,
		NoJournal:      r.Script.Image.None,
		Reserved:       r.Script.Image.Reserved,
		Copies:         r.Script.Image.Copies,
		Size:           r.Script.Image.Size * int64(max(1, r.Script.Image.Copies)),
		Now:            r.clock.read(),
		RootMode:       0o755,
	}
	copy(o.UUID[:], "holdfast workloa")
	copy(o.HashKey[:], "names are hashed")
	return o
}

// Options opens the volume of a run, with the clock of the run.
func (r *Run) Options() volume.Options {
	return volume.Options{
		Clock:      r.clock.read,
		CacheBytes: r.Script.Image.Cache,
		DirtyBytes: r.Script.Image.Dirty,
	}
}

// ResultError says that an operation did not have the result that it must have.
type ResultError struct {
	Script string
	K      int // number of the operation in its section, from 1
	Op     Op
	Want   Errno
	Got    error // nil: it succeeded
	By     string
}

func (e *ResultError) Error() string {
	got := "succeeded"
	if e.Got != nil {
		got = e.Got.Error()
	}
	return fmt.Sprintf("%s:%d: operation %d, %s: %s: %s, want %s", e.Script, e.Op.Line, e.K, e.Op, e.By, got, e.Want)
}

// Unwrap is what the volume answered.
func (e *ResultError) Unwrap() error { return e.Got }

// Check runs the script on the model alone: an error says that an operation would not have
// the result that the script states. An operation that must fail with ENOSPC is passed over, and so is one with EOPNOTSUPP.
func (s *Script) Check() error {
	st := NewState(0o755, 0, 0, setupTime(0))
	for i, ops := range [][]Op{s.Setup, s.Ops} {
		for k, op := range ops {
			at := setupTime(k + 1)
			if i == 1 {
				at = playTime(k + 1)
			}
			if op.Expect.refusal() {
				continue
			}
			next, want := st.Apply(op, at)
			if !op.Any && want != op.Expect {
				return &ResultError{Script: s.Name, K: k + 1, Op: op, Want: op.Expect, Got: orNil(want), By: "the model"}
			}
			st = next
		}
		if i == 0 && st.handles.len() > 0 {
			return fmt.Errorf("%s: a handle is still open at the end of the setup", s.Name)
		}
	}
	return nil
}

func orNil(e Errno) error {
	if e == OK {
		return nil
	}
	return e
}

// Setup runs the setup section and syncs. The caller then closes the volume.
func (r *Run) Setup(v *volume.Volume) error {
	st := r.States[0]
	for i, op := range r.Script.Setup {
		next, err := r.step(v, st, op, i+1, setupTime(i+1))
		if err != nil {
			return err
		}
		st = next
	}
	if st.handles.len() > 0 {
		return fmt.Errorf("%s: a handle is still open at the end of the setup", r.Script.Name)
	}
	r.States = []*State{st}
	return v.Sync()
}

// Play runs the recorded operations and calls mark (unless it is nil) around each. It stops
// at the first one whose result is not the model's, with a *ResultError. Handles that are
// still open at the end are released, which changes no name.
func (r *Run) Play(v *volume.Volume, mark func(Mark)) error {
	if mark == nil {
		mark = func(Mark) {}
	}
	st := r.States[0]
	for i, op := range r.Script.Ops {
		k := i + 1
		mark(Mark{Started, k})
		next, err := r.step(v, st, op, k, playTime(r.before+k))
		if err != nil {
			return err
		}
		done := next != st || op.Kind.Sync() && r.ok(st, op)
		st = next
		r.States = append(r.States, st)
		mark(Mark{Finished, k})
		if done && op.Kind.Sync() {
			mark(Mark{Synced, k})
		}
	}
	var left []string
	st.handles.all(func(h string, _ uint64) bool { left = append(left, h); return true })
	for _, h := range left {
		if err := v.Release(r.handles[h]); err != nil {
			return fmt.Errorf("%s: releasing %s at the end: %w", r.Script.Name, h, err)
		}
		delete(r.handles, h)
	}
	return nil
}

// Closed marks everything as durable: the volume has been closed without an error.
func (r *Run) Closed(mark func(Mark)) { mark(Mark{Synced, len(r.Script.Ops)}) }

// ok reports whether the model lets op succeed.
func (r *Run) ok(st *State, op Op) bool {
	_, e := st.Apply(op, Time{})
	return e == OK
}

// step runs one operation on the volume and on the model and compares the results.
func (r *Run) step(v *volume.Volume, st *State, op Op, k int, at Time) (*State, error) {
	r.clock.set(at)
	next, want := st.Apply(op, at)
	fail := func(want Errno, got error, by string) error {
		return &ResultError{Script: r.Script.Name, K: k, Op: op, Want: want, Got: got, By: by}
	}
	if !op.Any && !op.Expect.refusal() && want != op.Expect {
		return st, fail(op.Expect, orNil(want), "the model")
	}
	err := r.do(v, &op)
	switch got, known := errnoOf(err); {
	case known && got == ENOSPC && want == OK && (op.Any || op.Expect == ENOSPC):
		r.Full++
		return st, nil
	case known && got == EOPNOTSUPP && (op.Any || op.Expect == EOPNOTSUPP):
		return st, nil
	case op.Expect.refusal() && !op.Any:
		return st, fail(op.Expect, err, "the volume")
	case !known || got != want:
		return st, fail(want, err, "the volume")
	}
	return next, nil
}

// errnos maps errors of the volume to results, the first match holds: ENOTEMPTY also is
// fs.ErrExist.
var errnos = []struct {
	errno Errno
	err   error
}{
	{ENOTEMPTY, syscall.ENOTEMPTY}, {EEXIST, syscall.EEXIST}, {ENOENT, syscall.ENOENT},
	{ENOTDIR, syscall.ENOTDIR}, {EISDIR, syscall.EISDIR}, {EINVAL, syscall.EINVAL},
	{ELOOP, syscall.ELOOP}, {ENAMETOOLONG, syscall.ENAMETOOLONG}, {ENOSPC, syscall.ENOSPC},
	{EFBIG, syscall.EFBIG}, {EMLINK, syscall.EMLINK}, {EPERM, syscall.EPERM}, {EPERM, fs.ErrPermission}, {ENODATA, volume.ErrNoAttr},
	{EOPNOTSUPP, volume.ErrNotSupported},
}

// errnoOf is the result that err stands for; ok is false for an error that no operation of a
// script may have, damage for example.
func errnoOf(err error) (e Errno, ok bool) {
	if err == nil {
		return OK, true
	}
	if errors.Is(err, errHandle) {
		return EBADF, true
	}
	for _, m := range errnos {
		if errors.Is(err, m.err) {
			return m.errno, true
		}
	}
	return OK, false
}

var errHandle = errors.New("no such handle, or it is open already")

// do calls the volume.
func (r *Run) do(v *volume.Volume, op *Op) error {
	switch op.Kind {
	case OpMkdir, OpCreate, OpMknod:
		dir, name, err := place(v, op.Path)
		if err != nil {
			return err
		}
		_, err = v.Create(dir, name, volume.NewNode{Mode: op.Mode, Major: op.Major, Minor: op.Minor})
		return err
	case OpSymlink:
		if len(op.Target) > maxPath { // before any path is walked, symlink(2)
			return syscall.ENAMETOOLONG
		}
		dir, name, err := place(v, op.New)
		if err != nil {
			return err
		}
		_, err = v.Create(dir, name, volume.NewNode{Mode: ModeLink | 0o777, Target: op.Target})
		return err
	case OpLink:
		ino, err := v.Tree().Resolve("/"+op.Path, false)
		if err != nil {
			return err
		}
		dir, name, err := place(v, op.New)
		if err != nil {
			return err
		}
		_, err = v.Link(ino, dir, name)
		return err
	case OpRemove, OpRmdir:
		dir, name, err := place(v, op.Path)
		if err != nil {
			return err
		}
		if op.Kind == OpRmdir {
			return v.Rmdir(dir, name)
		}
		return v.Unlink(dir, name)
	case OpRename:
		odir, oname, err := place(v, op.Path)
		if err != nil {
			return err
		}
		ndir, nname, err := place(v, op.New)
		if err != nil {
			return err
		}
		return v.Rename(odir, oname, ndir, nname, op.Flags)
	case OpTemp:
		dir, err := v.Tree().Resolve("/"+op.Path, true)
		if err != nil {
			return err
		}
		if a, err := v.Getattr(dir); err != nil || a.Mode&ModeType != ModeDir {
			return errors.Join(err, syscall.ENOTDIR)
		}
		if _, ok := r.handles[op.Handle]; ok {
			return errHandle
		}
		a, err := v.CreateTemp(dir, volume.NewNode{Mode: op.Mode}, 0)
		if err == nil {
			r.handles[op.Handle] = a.Ino
		}
		return err
	case OpLinkHandle:
		ino, ok := r.handles[op.Handle]
		if !ok {
			return errHandle
		}
		dir, name, err := place(v, op.New)
		if err != nil {
			return err
		}
		_, err = v.Link(ino, dir, name)
		return err
	case OpSync:
		return v.Sync()
	case OpClose:
		ino, ok := r.handles[op.Handle]
		if !ok {
			return errHandle
		}
		delete(r.handles, op.Handle)
		return v.Release(ino)
	case OpWriteHandle, OpAppendHandle, OpTruncateHandle, OpFsyncHandle, OpFdatasyncHandle:
		ino, ok := r.handles[op.Handle]
		if !ok {
			return errHandle
		}
		return r.change(v, op, ino)
	}
	ino, err := v.Tree().Resolve("/"+op.Path, true)
	if err != nil {
		return err
	}
	if op.Kind == OpOpen {
		if _, ok := r.handles[op.Handle]; ok {
			return errHandle
		}
		if err := v.Hold(ino); err != nil {
			return err
		}
		r.handles[op.Handle] = ino
		return nil
	}
	return r.change(v, op, ino)
}

// change does what concerns one inode.
func (r *Run) change(v *volume.Volume, op *Op, ino volume.Ino) error {
	set := func(s volume.SetAttr) error {
		_, err := v.Setattr(ino, s)
		return err
	}
	switch op.Kind {
	case OpWrite, OpWriteHandle:
		return r.write(v, op, ino, op.Offset)
	case OpAppend, OpAppendHandle:
		a, err := v.Getattr(ino)
		if err != nil {
			return err
		}
		return r.write(v, op, ino, a.Size)
	case OpAlloc, OpPunch, OpZero:
		mode := map[Kind]uint32{OpPunch: volume.FallocPunchHole, OpZero: volume.FallocZeroRange}[op.Kind]
		if op.Kind == OpPunch || op.Flags&KeepSize != 0 {
			mode |= volume.FallocKeepSize
		}
		return v.Fallocate(ino, mode, int64(op.Offset), int64(op.Length))
	case OpSetxattr:
		value := make([]byte, op.Length)
		Fill(value, op.Seed, 0)
		return v.Setxattr(ino, op.Attr, value, 0)
	case OpRemovexattr:
		return v.Removexattr(ino, op.Attr)
	case OpTruncate, OpTruncateHandle:
		return set(volume.SetAttr{Size: &op.Size})
	case OpChmod:
		return set(volume.SetAttr{Mode: &op.Mode})
	case OpChown:
		return set(volume.SetAttr{UID: &op.UID, GID: &op.GID})
	case OpTouch:
		t := time.Unix(op.Time.Sec, int64(op.Time.Nsec)).UTC()
		return set(volume.SetAttr{Atime: &t, Mtime: &t})
	case OpFsync, OpFsyncHandle, OpFdatasync, OpFdatasyncHandle: // volume has one durability for both
		return v.Fsync(ino)
	}
	return fmt.Errorf("operation %s is unknown", op.Kind)
}

func (r *Run) write(v *volume.Volume, op *Op, ino volume.Ino, off uint64) error {
	if uint64(cap(r.buf)) < op.Length {
		r.buf = make([]byte, op.Length)
	}
	p := r.buf[:op.Length]
	Fill(p, op.Seed, 0)
	n, err := v.Write(ino, p, int64(off))
	if err == nil && n != len(p) {
		err = fmt.Errorf("wrote %d of %d bytes without an error", n, len(p))
	}
	return err
}

// place is the directory of a path and the name in it. The slash behind makes anything but a
// directory ENOTDIR there, before the rest of the operation is looked at.
func place(v *volume.Volume, p string) (dir volume.Ino, name string, err error) {
	up, name := path.Split(p)
	dir, err = v.Tree().Resolve("/"+up, true)
	return dir, name, err
}
