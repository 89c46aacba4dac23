package volume

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast/layout"
)

// TestGroupSet holds next to a walk of one group after the other.
func TestGroupSet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + rnd.Uint64N(40)
		var s groupSet
		in := map[uint64]bool{}
		for range rnd.IntN(80) {
			g, on := rnd.Uint64N(n), rnd.IntN(3) > 0
			s.set(g, on)
			in[g] = on
		}
		start, i := rnd.Uint64N(n), rnd.Uint64N(n+3)
		want := i
		for want < n && in[(start+want)%n] {
			want++
		}
		if got := s.next(start, i, n); got != want {
			t.Fatalf("start %d, step %d of %d: %d, want %d, in %v", start, i, n, got, want, in)
		}
	}
}

// What is remembered of full groups and of space maps changes no byte: of two volumes with the same
// operations, some of which fail and are undone, one forgets it all before each. The inodes run out and come back.
func TestRememberedChangesNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := testFormat(1024)
	f.InodesPerGroup = 16
	v, mem := newVolume(t, 40<<20, f, Options{})
	w, memw := newVolume(t, 40<<20, f, Options{})
	if v.g.Groups < 3 {
		t.Fatalf("%d groups", v.g.Groups)
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	name := func() string { return fmt.Sprintf("%d%s", rnd.IntN(90), strings.Repeat("n", rnd.IntN(3)*100)) }
	undone := errors.New("undone")
	full := 0
	for i := range 3000 {
		var run func(v *Volume) error
		a, b := name(), name()
		switch x := rnd.IntN(10); {
		case x < 5+i/300%2:
			run = func(v *Volume) error {
				_, err := v.Create(Root, a, NewNode{Mode: layout.ModeFile | 0o644})
				return err
			}
		case x < 8:
			run = func(v *Volume) error { return v.Unlink(Root, a) }
		case x < 9: // takes an inode, after which it may fail
			run = func(v *Volume) error { return v.Rename(Root, a, Root, b, RenameWhiteout) }
		case rnd.IntN(3) == 0:
			run = func(v *Volume) error { return v.Sync() }
		default: // changes the directory and empties groups of their inodes, and is undone
			run = func(v *Volume) error {
				return v.update(v.needRename(), func(o *op) error {
					din, err := o.directory(Root)
					if err != nil {
						return err
					}
					for k := range 20 { // fills the holes
						if _, err := o.dir(Root, &din).Insert(fmt.Sprint("undone", k), 1, 8); err != nil {
							return err
						}
					}
					for range 40 {
						ino, in, err := o.allocInode(Root, false)
						if err != nil {
							return err
						}
						in.Mode, in.Links = layout.ModeFile, 1
						if err := o.putInode(ino, &in); err != nil {
							return err
						}
					}
					return undone
				})
			}
		}
		w.fullInodes, w.hints = nil, nil
		got, want := run(v), run(w)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("operation %d: %v, and without memory %v", i, got, want)
		}
		if errors.Is(got, ErrNoSpace) {
			full++
		}
	}
	if full == 0 {
		t.Error("the inodes never ran out")
	}
	for _, v := range []*Volume{v, w} {
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(mem.Bytes(), memw.Bytes()) {
		t.Error("the images differ")
	}
}
