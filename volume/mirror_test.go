package volume_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// mirrored is the two files of a mirror with some files in it, closed.
func mirrored(t *testing.T) [2]*disk.Memory {
	t.Helper()
	m := [2]*disk.Memory{disk.NewMemory(copySize), disk.NewMemory(copySize)}
	o := volume.FormatOptions{BlockSize: 1024, Twin: m[1], UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: time.Unix(1_000_000, 0)}
	if err := volume.Format(m[0], o); err != nil {
		t.Fatal(err)
	}
	fill(t, together(t, m))
	return m
}

func devices(m [2]*disk.Memory) [2]disk.Device { return [2]disk.Device{m[0], m[1]} }

func together(t *testing.T, m [2]*disk.Memory) disk.Device {
	t.Helper()
	dev, err := volume.Mirror(devices(m), volume.Assembly{})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func clones(m [2]*disk.Memory) [2]*disk.Memory {
	return [2]*disk.Memory{disk.MemoryFrom(bytes.Clone(m[0].Bytes())), disk.MemoryFrom(bytes.Clone(m[1].Bytes()))}
}

// change opens one file alone and writes one more file.
func change(t *testing.T, dev disk.Device, name string) error {
	t.Helper()
	a, err := volume.Alone(dev, volume.Assembly{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(a, volume.Options{})
	if err != nil {
		return err
	}
	if err := v.Tree().WriteFile(name, []byte(name), 0o644); err != nil {
		return err
	}
	return v.Close()
}

func has(t *testing.T, dev disk.Device, name string) bool {
	t.Helper()
	v, err := volume.Open(dev, volume.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	p, err := v.Tree().ReadFile(name)
	return err == nil && string(p) == name
}

func resync(t *testing.T, m [2]*disk.Memory, from int) *volume.ResyncReport {
	t.Helper()
	r, err := volume.Resync(context.Background(), devices(m), volume.ResyncOptions{From: from})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func alone(t *testing.T, dev disk.Device) disk.Device {
	t.Helper()
	a, err := volume.Alone(dev, volume.Assembly{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// scrubbed scrubs an assembled device.
func scrubbed(t *testing.T, dev disk.Device) *volume.ScrubReport {
	t.Helper()
	v, err := volume.Open(dev, volume.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.Scrub(context.Background(), volume.ScrubOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestMirror: both files in either order, either alone, and none taken for a whole image.
func TestMirror(t *testing.T) {
	m := mirrored(t)
	if r := scrubbed(t, together(t, m)); r.Damaged != 0 || r.Copies != 2 {
		t.Errorf("a new mirror: %+v", r)
	}
	volume.CheckDevice(t, together(t, m))
	intact(t, together(t, [2]*disk.Memory{m[1], m[0]}), volume.Options{})
	for i := range m {
		if _, err := volume.Open(m[i], volume.Options{}); !errors.Is(err, volume.ErrHalfMirror) {
			t.Errorf("file %d as an image: %v", i, err)
		}
		c := clones(m)
		intact(t, alone(t, c[i]), volume.Options{ReadOnly: true})
		if !bytes.Equal(c[i].Bytes(), m[i].Bytes()) {
			t.Errorf("file %d: opened alone for reading, and written", i)
		}
		a, err := volume.Alone(c[i], volume.Assembly{})
		if err != nil {
			t.Fatal(err)
		}
		if r := scrubbed(t, a); r.Damaged != 0 || r.Copies != 1 {
			t.Errorf("file %d alone: %+v", i, r)
		}
	}
}

// TestMirrorDamaged: the front of a file, every block, or sectors of both that are no twins of
// each other may be lost: all is there, and a scrub heals it.
func TestMirrorDamaged(t *testing.T) {
	m := mirrored(t)
	for i := range m {
		for _, n := range []int{layout.FrontBytes, 300 << 10} {
			c := clones(m)
			clear(c[i].Bytes()[:n])
			intact(t, together(t, c), volume.Options{})
			if r := scrubbed(t, together(t, c)); r.Damaged != r.Healed {
				t.Errorf("file %d, %d bytes: %+v", i, n, r.Damage)
			}
			intact(t, alone(t, c[i]), volume.Options{ReadOnly: true})
		}
	}
	opened := 0
	for seed := range int64(5) {
		c := clones(m)
		r := rand.New(rand.NewSource(seed))
		for at := 0; at < copySize; at += 512 {
			if r.Intn(3) == 0 {
				r.Read(c[r.Intn(2)].Bytes()[at:][:512])
			}
		}
		dev, err := volume.Mirror(devices(c), volume.Assembly{})
		var me *volume.MirrorError
		if errors.As(err, &me) { // all three superblocks of one
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		opened++
		intact(t, dev, volume.Options{})
		if r := scrubbed(t, together(t, c)); r.Damaged != r.Healed {
			t.Errorf("seed %d: %+v", seed, r.Damage)
		}
		for i := range c {
			intact(t, alone(t, c[i]), volume.Options{ReadOnly: true})
		}
	}
	if opened == 0 {
		t.Error("every seed took all superblocks of one file")
	}
}

// TestMirrorStale: a file that the other was changed without is refused until a resync, as are two
// that were changed without each other, and files that are no pair.
func TestMirrorStale(t *testing.T) {
	m := mirrored(t)
	refused := func(m [2]*disk.Memory) *volume.MirrorError {
		t.Helper()
		_, err := volume.Mirror(devices(m), volume.Assembly{ReadOnly: true})
		var me *volume.MirrorError
		if !errors.As(err, &me) {
			t.Fatalf("they open: %v", err)
		}
		return me
	}
	for i := range m {
		c := clones(m)
		for _, name := range []string{"once", "twice"} {
			if err := change(t, c[i], name); err != nil {
				t.Fatal(err)
			}
			if me := refused(c); !me.Stale || me.File != 1-i {
				t.Errorf("%+v", me)
			}
		}
		if r := resync(t, c, -1); r.From != i || r.Lost != 0 {
			t.Errorf("%+v", r)
		}
		if r := scrubbed(t, together(t, c)); r.Damaged != 0 {
			t.Errorf("after a resync: %+v", r.Damage)
		}
		for k := range c {
			intact(t, alone(t, c[k]), volume.Options{ReadOnly: true})
			if !has(t, alone(t, c[k]), "twice") {
				t.Errorf("file %d has not what was written", k)
			}
		}

		// Both were changed, and one of the two is chosen.
		for k := range c {
			if err := change(t, c[k], fmt.Sprint("only", k)); err != nil {
				t.Fatal(err)
			}
		}
		if me := refused(c); !me.Split {
			t.Errorf("%+v", me)
		}
		if _, err := volume.Resync(context.Background(), devices(c), volume.ResyncOptions{From: -1}); err == nil {
			t.Error("it has chosen")
		}
		resync(t, c, i)
		if dev := together(t, c); !has(t, dev, fmt.Sprint("only", i)) || has(t, dev, fmt.Sprint("only", 1-i)) {
			t.Error("the wrong one")
		}

		// A new file in the place of one that is lost; not in the place of something else.
		c[i] = disk.NewMemory(copySize)
		refused(c)
		copy(c[i].Bytes()[4096:], "something")
		if _, err := volume.Resync(context.Background(), devices(c), volume.ResyncOptions{From: -1}); err == nil {
			t.Error("something is overwritten")
		}
		clear(c[i].Bytes())
		resync(t, c, -1)
		if r := scrubbed(t, together(t, c)); r.Damaged != 0 {
			t.Errorf("a new file: %+v", r.Damage)
		}
	}
	refused([2]*disk.Memory{m[0], clones(m)[0]})
	other := disk.NewMemory(copySize)
	if err := volume.Format(other, volume.FormatOptions{BlockSize: 1024, Twin: disk.NewMemory(copySize)}); err != nil {
		t.Fatal(err)
	}
	refused([2]*disk.Memory{other, m[1]})
	refused([2]*disk.Memory{disk.MemoryFrom(m[0].Bytes()[:copySize/2]), m[1]})
}

// errCut is what a device says that lost its power.
var errCut = errors.New("cut")

// cut is a power failure that stops devices together, after so many writes.
type cut struct {
	left int
	how  int // what becomes of the writes that no flush covers
	dice *rand.Rand
}

// What becomes of them.
const (
	cutOld     = iota // they are lost
	cutNew            // all are there
	cutTorn           // all are there, but superblocks are torn
	cutFirst          // superblocks are there, all else is lost
	cutMixed          // each sector is old or new
	cutOutcome        // how many there are
)

type cutDevice struct {
	*disk.Memory
	cut     *cut
	durable []byte
	pending map[int64]bool // sectors
}

func (d *cutDevice) WriteAt(p []byte, off int64) (int, error) {
	if d.cut.left--; d.cut.left < 0 {
		return 0, errCut
	}
	for at := off / 512; at < (off+int64(len(p))+511)/512; at++ {
		d.pending[at] = true
	}
	return d.Memory.WriteAt(p, off)
}

func (d *cutDevice) Flush() error {
	if d.cut.left <= 0 {
		return errCut
	}
	for at := range d.pending {
		copy(d.durable[at*512:][:512], d.Bytes()[at*512:])
	}
	clear(d.pending)
	return nil
}

// after is what is there when the power is back.
func (d *cutDevice) after() *disk.Memory {
	p := bytes.Clone(d.durable)
	for at := int64(0); at < int64(len(p)/512); at++ {
		if !d.pending[at] {
			continue
		}
		was, now := p[at*512:][:512], d.Bytes()[at*512:][:512]
		super := bytes.HasPrefix(now, layout.Magic[:])
		switch {
		case d.cut.how == cutTorn && super:
			copy(was, now[:100])
			was[200] ^= 0xff
		case d.cut.how == cutNew, d.cut.how == cutTorn, d.cut.how == cutFirst && super, d.cut.how == cutMixed && d.cut.dice.Intn(2) == 0:
			copy(was, now)
		}
	}
	return disk.MemoryFrom(p)
}

func cuts(m [2]*disk.Memory, left, how int) [2]*cutDevice {
	c := &cut{left, how, rand.New(rand.NewSource(int64(left)))}
	m = clones(m)
	return [2]*cutDevice{{m[0], c, bytes.Clone(m[0].Bytes()), map[int64]bool{}}, {m[1], c, bytes.Clone(m[1].Bytes()), map[int64]bool{}}}
}

// everyCut calls run for every write that a power failure may stop, and all that it may leave,
// until run says that the end was reached.
func everyCut(t *testing.T, m [2]*disk.Memory, run func(d [2]*cutDevice, name string) (done bool)) {
	t.Helper()
	for left, done := 1, false; !done; left++ {
		for how := range cutOutcome {
			done = run(cuts(m, left, how), fmt.Sprintf("cut at write %d, outcome %d", left, how))
		}
		if left > 2000 {
			t.Fatal("no end")
		}
	}
}

// TestMirrorCut: wherever the power fails while both files are written, they open together, with
// what was synced; and after that each alone holds what the other does.
func TestMirrorCut(t *testing.T) {
	m := mirrored(t)
	everyCut(t, m, func(d [2]*cutDevice, name string) bool {
		synced := false
		work := func() error {
			dev, err := volume.Mirror([2]disk.Device{d[0], d[1]}, volume.Assembly{Serial: true})
			if err != nil {
				return err
			}
			v, err := volume.Open(dev, volume.Options{})
			if err != nil {
				return err
			}
			f, err := v.Tree().Create("new")
			if err != nil {
				return err
			}
			if _, err := f.Write([]byte("new")); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
			synced = true
			if err := v.Tree().Rename("f9", "f10"); err != nil {
				return err
			}
			if err := v.Tree().Rename("f10", "f9"); err != nil {
				return err
			}
			return v.Close()
		}
		done := work() == nil && d[0].cut.left > 0
		c := [2]*disk.Memory{d[0].after(), d[1].after()}
		intact(t, together(t, c), volume.Options{})
		dev := together(t, c)
		if synced && !has(t, dev, "new") {
			t.Fatalf("%s: what was synced is lost", name)
		}
		volume.CheckDevice(t, dev)
		for i := range c {
			volume.CheckDevice(t, alone(t, c[i]))
			if has(t, alone(t, c[i]), "new") != has(t, dev, "new") {
				t.Fatalf("%s: file %d alone is not like both", name, i)
			}
		}
		return done
	})
}

// TestMirrorCutAlone: wherever the power fails during the first change of a file alone, it opens,
// and together with the other one only if it is still like that.
func TestMirrorCutAlone(t *testing.T) {
	m := mirrored(t)
	for i := range m {
		before := alike(t, m[i]).Bytes()
		everyCut(t, m, func(d [2]*cutDevice, name string) bool {
			done := change(t, d[i], "new") == nil && d[i].cut.left > 0
			c := [2]*disk.Memory{d[0].after(), d[1].after()}
			if dev, err := volume.Mirror(devices(c), volume.Assembly{ReadOnly: true}); err == nil {
				if !bytes.Equal(alike(t, c[i]).Bytes(), before) {
					t.Fatalf("file %d, %s: changed, and not known to be", i, name)
				}
				intact(t, dev, volume.Options{ReadOnly: true})
			}
			intact(t, alone(t, c[i]), volume.Options{ReadOnly: true})
			if done && !has(t, alone(t, c[i]), "new") {
				t.Fatal("nothing was written")
			}
			marked := func() {
				t.Helper()
				for _, off := range []int{layout.SuperOffset0, layout.SuperOffset1} {
					x := clones(c)
					clear(x[i].Bytes()[off:][:512])
					if _, err := volume.Mirror(devices(x), volume.Assembly{ReadOnly: true}); err == nil {
						t.Fatalf("file %d, %s: without the superblock at %d it is not known to be changed", i, name, off)
					}
				}
			}
			if !bytes.Equal(alike(t, c[i]).Bytes(), before) {
				marked()
			}
			if err := change(t, c[i], "then"); err != nil {
				t.Fatal(err)
			}
			marked()
			if d[i].cut.how == cutMixed {
				resync(t, c, -1)
				intact(t, together(t, c), volume.Options{})
			}
			return done
		})
	}
}

// TestMirrorRunOfTwin: what a file has in the run of the log that its twin keeps is of another
// time. Alone it is not looked at, and it is gone before anything is written there.
func TestMirrorRunOfTwin(t *testing.T) {
	for i, dev := range mirrored(t) {
		s, err := volume.ReadSuperblock(dev)
		if err != nil {
			t.Fatal(err)
		}
		g, err := layout.NewGeometry(s)
		if err != nil {
			t.Fatal(err)
		}
		off, n := int64(g.LogRun(1-i))*int64(g.BlockSize), int64(g.RunBlocks)*int64(g.BlockSize)
		run := dev.Bytes()[off:][:n]
		for k := range run {
			run[k] = 0xee
		}
		p := make([]byte, n+1024)
		if err := disk.ReadFull(alone(t, dev), p, off-512); err != nil {
			t.Fatal(err)
		}
		if bytes.Count(p[512:][:n], []byte{0}) != int(n) || !bytes.Equal(p[:512], dev.Bytes()[off-512:off]) {
			t.Errorf("file %d: it is looked at", i)
		}
		if err := change(t, dev, "new"); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(run, bytes.Repeat([]byte{0xee}, 512)) {
			t.Errorf("file %d: it is still there", i)
		}
	}
}

// alike is a file without superblocks and without the run of the log that it does not keep, which
// opening it together does not look at.
func alike(t *testing.T, m *disk.Memory) *disk.Memory {
	t.Helper()
	p := bytes.Clone(m.Bytes())
	s, err := volume.ReadSuperblock(m)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	clear(p[:layout.FrontBytes])
	clear(p[g.BackupOffset():])
	bs := uint64(g.BlockSize)
	clear(p[g.LogRun(int(1-s.Replica))*bs:][:g.RunBlocks*bs])
	return disk.MemoryFrom(p)
}

// TestMirrorCutResync: wherever the power fails during a resync, the newer file has all, the other
// one is not opened before it has too, and the resync can be done again.
func TestMirrorCutResync(t *testing.T) {
	m := mirrored(t)
	for i := range m {
		c := clones(m)
		if err := change(t, c[i], "new"); err != nil {
			t.Fatal(err)
		}
		end := clones(c)
		resync(t, end, -1)
		whole := alike(t, end[1-i]).Bytes()
		everyCut(t, c, func(d [2]*cutDevice, name string) bool {
			_, err := volume.Resync(context.Background(), [2]disk.Device{d[0], d[1]}, volume.ResyncOptions{From: -1})
			done := err == nil && d[0].cut.left > 0
			a := [2]*disk.Memory{d[0].after(), d[1].after()}
			intact(t, alone(t, a[i]), volume.Options{ReadOnly: true})
			if !has(t, alone(t, a[i]), "new") {
				t.Fatalf("%s: lost", name)
			}
			if dev, err := volume.Mirror(devices(a), volume.Assembly{ReadOnly: true}); err == nil {
				if !has(t, dev, "new") {
					t.Fatalf("%s: the stale one is opened", name)
				}
				intact(t, dev, volume.Options{ReadOnly: true})
			} else if done {
				t.Fatal(err)
			}
			// Alone the stale one is what it was, or whole, or refused.
			if other, err := volume.Alone(a[1-i], volume.Assembly{ReadOnly: true}); err == nil {
				got := alike(t, a[1-i]).Bytes()
				if !bytes.Equal(got, alike(t, c[1-i]).Bytes()) && !bytes.Equal(got, whole) {
					t.Fatalf("%s: a mix is opened", name)
				}
				intact(t, other, volume.Options{ReadOnly: true})
			}
			resync(t, a, -1)
			if dev := together(t, a); !has(t, dev, "new") {
				t.Fatalf("%s: the second resync lost it", name)
			}
			return done
		})
	}
}
