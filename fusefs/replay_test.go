//go:build linux

package fusefs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/disk"
	"holdfast/fusefs"
	"holdfast/volume"
)

// A tree is what a volume holds, by inode number, or what it should hold after some lines of an ordering log:
// everything but times, and what is not reached by a name.
type tree map[volume.Ino]*inode

type inode struct {
	mode         uint16 // with the type
	uid, gid     uint32
	major, minor uint32
	target       string
	links        int // not of directories
	data         []byte
	xattrs       map[string]string
	names        map[string]volume.Ino
}

func isDir(mode uint16) bool { return mode&unix.S_IFMT == unix.S_IFDIR }

func (a *inode) equal(b *inode) bool {
	return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid && a.major == b.major && a.minor == b.minor && a.target == b.target &&
		(isDir(a.mode) || a.links == b.links) && bytes.Equal(a.data, b.data) && maps.Equal(a.xattrs, b.xattrs) && maps.Equal(a.names, b.names)
}

// readTree is the tree of an image.
func readTree(t testing.TB, image string) tree {
	t.Helper()
	f, err := disk.OpenFile(image, disk.FileOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := volume.Open(f, volume.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	found := tree{}
	if err := found.read(v, volume.Root); err != nil {
		t.Fatal(err)
	}
	return found
}

func (t tree) read(v *volume.Volume, ino volume.Ino) error {
	if t[ino] != nil {
		return nil
	}
	a, err := v.Getattr(ino)
	if err != nil {
		return err
	}
	n := &inode{mode: a.Mode, uid: a.UID, gid: a.GID, major: a.Major, minor: a.Minor, links: int(a.Links), xattrs: map[string]string{}}
	t[ino] = n
	names, err := v.Listxattr(ino)
	if err != nil {
		return err
	}
	for _, name := range names {
		value, err := v.Getxattr(ino, name)
		if err != nil {
			return err
		}
		n.xattrs[name] = string(value)
	}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.data = make([]byte, a.Size)
		got, err := v.Read(ino, n.data, 0)
		if err == nil && got != len(n.data) {
			err = fmt.Errorf("inode %d: read %d bytes of %d", ino, got, len(n.data))
		}
		return err
	case unix.S_IFLNK:
		n.target, err = v.Readlink(ino)
		return err
	case unix.S_IFDIR:
		n.names = map[string]volume.Ino{}
		if err := v.ReadDir(ino, 0, func(e volume.DirEntry) bool { n.names[e.Name] = e.Ino; return true }); err != nil {
			return err
		}
		for _, child := range n.names {
			if err := t.read(v, child); err != nil {
				return err
			}
		}
	}
	return nil
}

// clone shares nothing that apply changes.
func (t tree) clone() tree {
	fresh := tree{}
	for ino, n := range t {
		c := *n
		c.data, c.xattrs, c.names = slices.Clone(n.data), maps.Clone(n.xattrs), maps.Clone(n.names)
		fresh[ino] = &c
	}
	return fresh
}

// drop takes one name away from an inode.
func (t tree) drop(ino volume.Ino) {
	if n := t[ino]; isDir(n.mode) {
		n.links = 0
	} else {
		n.links--
	}
}

func unescape(s string) string {
	s, err := url.PathUnescape(s)
	if err != nil {
		panic(err)
	}
	return s
}

// apply does one operation of the log, which has succeeded, and says which inodes it has changed.
func (t tree) apply(op, done *fusefs.Ordered) (changed []volume.Ino) {
	name := unescape(op.Name)
	n := t[op.Ino]
	switch op.Op {
	case "create", "temp":
		n = &inode{major: op.Major, minor: op.Minor, target: unescape(op.Target), xattrs: map[string]string{}, links: 1}
		if isDir(*op.Mode) {
			n.names = map[string]volume.Ino{}
		}
		t[done.Ino] = n
		if op.Op == "temp" {
			n.links = 0
		} else {
			t[op.Dir].names[name] = done.Ino
		}
	case "link":
		t[op.Dir].names[name] = op.Ino
		n.links++
	case "unlink", "rmdir":
		changed = append(changed, t[op.Dir].names[name])
		t.drop(t[op.Dir].names[name])
		delete(t[op.Dir].names, name)
	case "rename":
		from, to, newName := t[op.Dir].names, t[op.NewDir].names, unescape(op.New)
		moved, there := from[name], to[newName]
		changed = append(changed, op.NewDir)
		switch {
		case moved == there:
		case op.Flags&volume.RenameExchange != 0:
			from[name], to[newName] = there, moved
		default:
			if there != 0 {
				t.drop(there)
				changed = append(changed, there)
			}
			delete(from, name)
			to[newName] = moved
			if op.Flags&volume.RenameWhiteout != 0 {
				from[name] = done.Ino
				t[done.Ino] = &inode{xattrs: map[string]string{}, links: 1}
			}
		}
	case "setattr":
		if op.Size != nil {
			n.resize(int64(*op.Size))
		}
	case "setxattr":
		n.xattrs[name] = string(op.Data)
	case "removexattr":
		delete(n.xattrs, name)
	case "write":
		n.resize(max(int64(len(n.data)), op.Offset+done.Length))
		copy(n.data[op.Offset:], op.Data[:done.Length])
	case "fallocate":
		n.fallocate(op)
	default:
		panic("unknown operation " + op.Op)
	}
	if done.Mode != nil {
		n := t[done.Ino]
		n.mode, n.uid, n.gid = *done.Mode, *done.UID, *done.GID
	}
	return append(changed, op.Dir, op.Ino, done.Ino)
}

func (n *inode) resize(size int64) {
	if had := int64(len(n.data)); size > had {
		n.data = append(n.data, make([]byte, size-had)...)
	}
	n.data = n.data[:size]
}

func (n *inode) fallocate(op *fusefs.Ordered) {
	end := op.Offset + op.Length
	if op.Flags&unix.FALLOC_FL_KEEP_SIZE == 0 {
		n.resize(max(int64(len(n.data)), end))
	}
	if op.Flags&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		size := int64(len(n.data))
		clear(n.data[min(op.Offset, size):min(end, size)])
	}
}

// differences holds which inodes of two trees are not the same.
type differences struct {
	got, want tree
	inos      map[volume.Ino]bool
}

func newDifferences(got, want tree) *differences {
	d := &differences{got, want, map[volume.Ino]bool{}}
	d.look(slices.Collect(maps.Keys(got))...)
	d.look(slices.Collect(maps.Keys(want))...)
	return d
}

func (d *differences) look(inos ...volume.Ino) {
	for _, ino := range inos {
		got, want := d.got[ino], d.want[ino]
		if want != nil && want.links == 0 {
			want = nil // without a name it is not seen
		}
		if got == want || got != nil && want != nil && got.equal(want) {
			delete(d.inos, ino)
		} else {
			d.inos[ino] = true
		}
	}
}

func (d *differences) String() string {
	var s strings.Builder
	inos := slices.Sorted(maps.Keys(d.inos))
	for _, ino := range inos[:min(len(inos), 5)] {
		for _, side := range []struct {
			name string
			n    *inode
		}{{"is", d.got[ino]}, {"should be", d.want[ino]}} {
			if n := side.n; n == nil {
				fmt.Fprintf(&s, "inode %d %s nothing\n", ino, side.name)
			} else {
				fmt.Fprintf(&s, "inode %d %s %o %d:%d, %d links, %d:%d, %d bytes, %v, %v\n", ino, side.name, n.mode, n.uid, n.gid, n.links, n.major, n.minor, len(n.data), n.names, n.xattrs)
			}
		}
	}
	if len(inos) > 5 {
		fmt.Fprintf(&s, "and %d more", len(inos)-5)
	}
	return s.String()
}

// replay holds what a crash has left to the log of its server: it must be what the operations up to some point
// make of the tree that was there before, and those that were durable must be among them. It says how many there
// are, and how many are durable.
func replay(t testing.TB, before, after tree, log string) (all, durable uint64) {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := newDifferences(after, before.clone())
	var matches []uint64 // numbers of operations after which the trees are equal
	var op *fusefs.Ordered
	compare := func(n uint64) {
		if len(d.inos) == 0 {
			matches = append(matches, n)
		}
	}
	compare(0)
	do := func(op, done *fusefs.Ordered) {
		if done.Error == "" || done.Length > 0 {
			d.look(d.want.apply(op, done)...)
		}
		compare(op.N)
	}
	for dec := json.NewDecoder(f); ; {
		line := &fusefs.Ordered{}
		if err := dec.Decode(line); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case line.Durable > 0:
			durable = max(durable, line.Durable)
		case line.Op != "":
			if op != nil || line.N != all+1 {
				t.Fatalf("operation %d begins behind %d", line.N, all)
			}
			op, all = line, line.N
		case line.Done:
			if op == nil || op.N != line.N {
				t.Fatalf("operation %d ends, which has not begun", line.N)
			}
			do(op, line)
			op = nil
		}
	}
	if op != nil {
		do(op, d.guess(op))
	}
	if len(matches) == 0 || matches[len(matches)-1] < durable {
		t.Errorf("%d operations, %d durable: the tree is what these left: %v; after all of them, not:\n%v", all, durable, matches, d)
	}
	return all, durable
}

// guess is the second line of the last operation, if it has taken effect.
func (d *differences) guess(op *fusefs.Ordered) *fusefs.Ordered {
	done := &fusefs.Ordered{N: op.N, Done: true, Length: int64(len(op.Data)), Ino: op.Ino}
	switch {
	case op.Op == "temp":
		done.Error = "not seen"
		return done
	case op.Op == "create" || op.Op == "rename" && op.Flags&volume.RenameWhiteout != 0:
		if dir := d.got[op.Dir]; dir != nil {
			done.Ino = dir.names[unescape(op.Name)]
		}
	}
	switch n := d.got[done.Ino]; {
	case n != nil:
		done.Mode, done.UID, done.GID = &n.mode, &n.uid, &n.gid
	case done.Ino != op.Ino || op.Op == "create":
		done.Error = "not seen"
	}
	return done
}
