package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"testing"
	"time"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/layout"
	"holdfast/volume"
)

func TestUnlinkAll(t *testing.T) {
	for _, block := range []int{1024, 4096} {
		t.Run(fmt.Sprint(block), func(t *testing.T) {
			im := newImage(t, block, 8<<20)
			im.add("d/", "d/e/", "f", "g", "s -> f", "d/s2 = s", "d/f2 = f", "d/e/f3 = f", "d/other = g")
			want := []string{"/d/e/f3", "/d/f2", "/f"}
			for i := range 200 { // some leaves, and an index
				name := fmt.Sprintf("d/e/%0100d", i)
				im.add(name + " = f")
				want = append(want, "/"+name)
			}
			slices.Sort(want)
			before, err := im.Statfs()
			if err != nil {
				t.Fatal(err)
			}
			ino := im.ino("f")
			got, err := im.UnlinkAll(ino)
			if slices.Sort(got); err != nil || !slices.Equal(got, want) {
				t.Fatalf("removed %q, %v", got, err)
			}
			for _, name := range want {
				if _, err := im.Tree().Lstat(name); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if after, _ := im.Statfs(); after.FreeInodes != before.FreeInodes+1 {
				t.Errorf("%d free inodes, before %d", after.FreeInodes, before.FreeInodes)
			}
			if _, err := im.UnlinkAll(ino); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a second time: %v", err)
			}
			if got, err := im.UnlinkAll(im.ino("s")); err != nil || len(got) != 2 {
				t.Errorf("a link: %q, %v", got, err)
			}
			if _, err := im.UnlinkAll(im.ino("d")); !errors.Is(err, volume.ErrIsDir) {
				t.Errorf("a directory: %v", err)
			}
			// What is held lives on without a name.
			g := im.ino("g")
			if err := im.Hold(g); err != nil {
				t.Fatal(err)
			}
			if _, err := im.UnlinkAll(g); err != nil {
				t.Fatal(err)
			}
			if _, err := im.UnlinkAll(g); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("without a name: %v", err)
			}
			p := make([]byte, 1)
			if n, err := im.Read(g, p, 0); n != 1 || err != nil {
				t.Errorf("held: %d bytes, %v", n, err)
			}
			if err := im.Release(g); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A link count that no names bear out is damage (I6): nothing is removed.
func TestUnlinkAllMiscounted(t *testing.T) {
	for _, links := range []uint32{1, 2, 4} {
		im := makeImage(t, 1024, 2<<20)
		im.add("d/", "f", "d/f2 = f", "d/f3 = f")
		if err := im.EditInode(im.ino("f"), func(in *layout.Inode) { in.Links = links }); err != nil {
			t.Fatal(err)
		}
		if got, err := im.UnlinkAll(im.ino("f")); !errors.Is(err, layout.ErrCorrupt) || got != nil {
			t.Errorf("count %d: %q, %v", links, got, err)
		}
		for _, name := range []string{"f", "d/f2", "d/f3"} {
			im.ino(name)
		}
		_ = im.Close()
	}
}

// So many names that their removal is more than the log takes at once: an error, and all stay.
func TestUnlinkAllTooMany(t *testing.T) {
	im := newImage(t, 1024, 16<<20)
	im.add("f")
	const dirs = 900
	for i := range dirs {
		im.add(fmt.Sprintf("d%d/", i), fmt.Sprintf("d%d/f = f", i))
	}
	got, err := im.UnlinkAll(im.ino("f"))
	if !errors.Is(err, volume.ErrNoSpace) || got != nil {
		t.Fatalf("removed %d names: %v", len(got), err)
	}
	for i := range dirs {
		im.ino(fmt.Sprintf("d%d/f", i))
	}
}

// After every crash all names are there or none is.
func TestUnlinkAllExplored(t *testing.T) {
	clock := func() time.Time { return time.Unix(1_000_000, 0) }
	dev := disk.NewMemory(1 << 20)
	o := volume.FormatOptions{BlockSize: 1024, InodesPerGroup: 256, UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: clock()}
	if err := volume.Format(dev, o); err != nil {
		t.Fatal(err)
	}
	names := []string{"f", "a/f", "a/b/f", "a/g"}
	for i := range 110 { // removed one by one they would not be one transaction: the log is small
		names = append(names, fmt.Sprintf("d%d/f", i))
	}
	v, err := volume.Open(dev, volume.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	tr := v.Tree()
	err = errors.Join(tr.MkdirAll("a/b", 0o755), tr.WriteFile("f", make([]byte, 3000), 0o644), tr.WriteFile("a/stays", []byte("x"), 0o644))
	for _, n := range names[1:] {
		err = errors.Join(err, tr.MkdirAll(path.Dir(n), 0o755), tr.Link("f", n))
	}
	if err := errors.Join(err, v.Close()); err != nil {
		t.Fatal(err)
	}

	rec := disk.NewRecorder(dev, 512)
	if v, err = volume.Open(rec, volume.Options{Clock: clock}); err != nil {
		t.Fatal(err)
	}
	ino, err := v.Tree().Resolve("a/g", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.UnlinkAll(ino); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	report, err := crash.Explore(rec.Trace(), crash.Options{Bad: true}, func(s *crash.State) error {
		v, err := volume.Open(s.Dev, volume.Options{Clock: clock})
		if err != nil {
			return err
		}
		there := 0
		for _, n := range names {
			switch _, err := v.Tree().Resolve(n, false); {
			case err == nil:
				there++
			case !errors.Is(err, fs.ErrNotExist):
				return err
			}
		}
		if err := v.Close(); err != nil {
			return err
		}
		label := fmt.Sprintf("%d names", there)
		s.Note(label)
		seen[label]++
		if there != 0 && there != len(names) {
			return fmt.Errorf("%d of %d names", there, len(names))
		}
		r, err := fsck.Check(s.Dev, fsck.Options{})
		if err == nil && len(r.Findings) > 0 {
			err = fmt.Errorf("%v", r.Findings)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Points {
		for _, k := range p.Kept {
			t.Errorf("%s: %v %v", k.ID, k.Err, k.Missing)
		}
	}
	if !report.Complete() || len(seen) != 2 {
		t.Errorf("complete: %v; seen %v", report.Complete(), seen)
	}
	t.Logf("%v states, %d leaves, %v", report.States, report.Leaves, seen)
}
