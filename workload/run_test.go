package workload

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// variants are the parameters that every golden workload also runs with.
var variants = []struct{ name, override string }{
	{"512", ""},
	{"4096", "sector=4096 block=4k size=4m"},
}

// base makes the image of a run and plays its setup.
func base(r *Run) (*disk.Memory, error) {
	dev := disk.NewMemory(r.Script.Image.Size)
	if err := volume.Format(dev, r.FormatOptions()); err != nil {
		return nil, fmt.Errorf("format: %w", err)
	}
	v, err := volume.Open(dev, r.Options())
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := r.Setup(v); err != nil {
		return nil, err
	}
	return dev, v.Close()
}

// play records a whole run; the tree is compared with the model behind each operation.
func play(r *Run) (*disk.Trace, error) {
	dev, err := base(r)
	if err != nil {
		return nil, err
	}
	rec := disk.NewRecorder(dev, r.Script.Image.Sector)
	v, err := volume.Open(rec, r.Options())
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := Compare(v, r.States[0]); err != nil {
		return nil, fmt.Errorf("after the setup: %w", err)
	}
	var differs error
	err = r.Play(v, func(m Mark) {
		rec.Mark(m.String())
		if m.Kind == Finished && differs == nil {
			if err := Compare(v, r.States[m.K]); err != nil {
				differs = fmt.Errorf("after operation %d, %s: %w", m.K, r.Script.Ops[m.K-1], err)
			}
		}
	})
	if err = errors.Join(err, differs); err != nil {
		return nil, err
	}
	if err := v.Close(); err != nil {
		return nil, fmt.Errorf("close: %w", err)
	}
	r.Closed(func(m Mark) { rec.Mark(m.String()) })
	return rec.Trace(), reopen(r, dev)
}

// reopen compares a closed image with the last state.
func reopen(r *Run, dev disk.Device) error {
	v, err := volume.Open(dev, r.Options())
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	n := len(r.Script.Ops)
	if k, err := r.Judge(v, Progress{n, n, n}); err != nil || k != n {
		return fmt.Errorf("opened again it is the state after %d of %d: %w", k, n, err)
	}
	return v.Close()
}

// crashes judges what recovery makes of a few of a trace's crash states: cut behind each write
// with all before it there and, just before each flush, with all writes of the epoch lost, and
// with each one lost alone. Of all these it takes one in step. (All states there are is what
// the explorer is for.)
func crashes(r *Run, tr *disk.Trace, step int) error {
	var p Progress
	var epoch []disk.Event
	stable := bytes.Clone(tr.Base) // as of the last flush
	count := 0
	judge := func(event int, what string, keep func(write int) bool) error {
		if count++; count%step != 0 {
			return nil
		}
		image := bytes.Clone(stable)
		for i, e := range epoch {
			if keep(i) {
				copy(image[e.Off:], e.Data)
			}
		}
		fail := func(err error) error { return fmt.Errorf("crash at event %d, %s: %w", event, what, err) }
		dev := disk.MemoryFrom(image)
		v, err := volume.Open(dev, r.Options())
		if err != nil {
			return fail(err)
		}
		if _, err := r.Judge(v, p); err != nil {
			return fail(err)
		}
		if err := v.Close(); err != nil {
			return fail(err)
		}
		return nil
	}
	for i, e := range tr.Events {
		var err error
		switch e.Kind {
		case disk.EventMark:
			err = p.Note(e.Mark)
		case disk.EventWrite:
			epoch = append(epoch, e)
			err = judge(i, "all writes there", func(int) bool { return true })
		case disk.EventFlush:
			err = judge(i, "the epoch lost", func(int) bool { return false })
			for lost := range epoch {
				if err == nil {
					err = judge(i, fmt.Sprintf("write %d of the epoch lost", lost), func(w int) bool { return w != lost })
				}
			}
			for _, e := range epoch {
				copy(stable[e.Off:], e.Data)
			}
			epoch = epoch[:0]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// The golden workloads have the model's results on a volume, and the model's tree after each
// operation, when opened again, and when cut off anywhere.
func TestGoldenOnVolume(t *testing.T) {
	for _, variant := range variants {
		for _, s := range golden(t) {
			t.Run(variant.name+"/"+strings.TrimSuffix(s.Name, ".hf"), func(t *testing.T) {
				if err := s.Override(variant.override); err != nil {
					t.Fatal(err)
				}
				r := NewRun(s)
				tr, err := play(r)
				if err != nil {
					t.Fatal(err)
				}
				if tails, wraps := logUse(t, tr); strings.HasPrefix(s.Name, "wrap_") && (tails < 4 || wraps == 0) {
					t.Errorf("the tail moved %d times, the log wrapped %d times", tails, wraps)
				}
				step := 1
				if testing.Short() || len(tr.Events) > 400 {
					step = 1 + len(tr.Events)/100
				}
				if err := crashes(r, tr, step); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Random sequences of operations equal the model.
func TestGeneratedOnVolume(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		image := Image{Size: 1 << 20, Block: 1024, Sector: 512}
		if rapid.Bool().Draw(t, "4096") {
			image = Image{Size: 4 << 20, Block: 4096, Sector: 4096}
		}
		r := NewRun(Generate(rapidDraw(t), GenerateOptions{Image: image, Setup: 10, Ops: 30}))
		tr, err := play(r)
		if err != nil {
			t.Fatal(err)
		}
		if r.Full > 0 {
			t.Fatalf("%d operations found no space", r.Full)
		}
		if err := crashes(r, tr, 1+len(tr.Events)/15); err != nil {
			t.Fatal(err)
		}
	})
}

// Two runs of one script write the same bytes in the same order.
func TestRunDeterministic(t *testing.T) {
	s := Generate(FromSeed(7), GenerateOptions{Image: Image{Block: 1024}, Setup: 10, Ops: 60})
	a, err := play(NewRun(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := play(NewRun(s))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Base, b.Base) {
		t.Error("the base images differ")
	}
	if len(a.Events) != len(b.Events) {
		t.Fatalf("%d and %d events", len(a.Events), len(b.Events))
	}
	for i := range a.Events {
		x, y := a.Events[i], b.Events[i]
		if x.Kind != y.Kind || x.Off != y.Off || x.Mark != y.Mark || !bytes.Equal(x.Data, y.Data) {
			t.Fatalf("event %d differs", i)
		}
	}
}

// What is marked: an operation that fails is never a sync.
func TestRunMarks(t *testing.T) {
	r := NewRun(parse(t, "image block=1k\n---\ncreate a\n!ENOENT fsync b\nfsync a\nopen h a\nfsynch h\nsync"))
	tr, err := play(r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	var p Progress
	for _, e := range tr.Events {
		if e.Kind == disk.EventMark {
			got = append(got, e.Mark)
			if err := p.Note(e.Mark); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := "started 1 finished 1 started 2 finished 2 started 3 finished 3 synced 3 started 4 finished 4 " +
		"started 5 finished 5 synced 5 started 6 finished 6 synced 6 synced 6"
	if strings.Join(got, " ") != want {
		t.Errorf("found %s\nwant  %s", strings.Join(got, " "), want)
	}
	if want := (Progress{6, 6, 6}); p != want {
		t.Errorf("found %+v, want %+v", p, want)
	}
	for _, bad := range []string{"", "started", "started x", "started -1", "ended 3", "synced 3 4"} {
		if err := p.Note(bad); err == nil {
			t.Errorf("%q is taken for a mark", bad)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"---\nrm x", "test.hf:2: operation 1, rm /x: the model: ENOENT, want success"},
		{"---\n!EEXIST create x", "test.hf:2: operation 1, !EEXIST create /x: the model: succeeded, want EEXIST"},
		{"---\n!ENOSPC create x", "test.hf:2: operation 1, !ENOSPC create /x: the volume: succeeded, want ENOSPC"},
		{"create x\nopen h x\n---\nsync", "still open at the end of the setup"},
	} {
		_, err := play(NewRun(parse(t, c.script)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: found %v, want %s", c.script, err, c.want)
		}
	}
}

// judged is a volume after n operations of a script, and the run.
func judged(t *testing.T, script string, n int) (*Run, *volume.Volume) {
	t.Helper()
	full := NewRun(parse(t, script))
	if _, err := play(full); err != nil {
		t.Fatal(err)
	}
	cut := *full.Script
	cut.Ops = cut.Ops[:n]
	r := NewRun(&cut)
	dev, err := base(r)
	if err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(dev, r.Options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Play(v, nil); err != nil {
		t.Fatal(err)
	}
	return full, v
}

const judgeScript = `
image block=1k
mkdir d
create d/f
write d/f 0 9000 1
---
create a
write a 0 3000 2
mv d/f g
rm a
`

func TestJudge(t *testing.T) {
	for n := range 5 {
		r, v := judged(t, judgeScript, n)
		for synced := range 5 {
			for started := synced; started < 5; started++ {
				p := Progress{synced, synced, started}
				k, err := r.Judge(v, p)
				switch {
				case n < synced:
					if !errors.Is(err, ErrDurability) || k != n {
						t.Errorf("after %d, judged by %+v: %d, %v", n, p, k, err)
					}
				case n > started:
					if !errors.Is(err, ErrAtomicity) {
						t.Errorf("after %d, judged by %+v: %d, %v", n, p, k, err)
					}
				case err != nil || k != n:
					t.Errorf("after %d, judged by %+v: %d, %v", n, p, k, err)
				}
			}
		}
	}
	r, v := judged(t, judgeScript, 2)
	if _, err := r.Judge(v, Progress{3, 3, 9}); err == nil || errors.As(err, new(*Verdict)) {
		t.Errorf("progress beyond the run: %v", err)
	}
}

// Each of these changes of a tree is seen, and put into words.
func TestJudgeSees(t *testing.T) {
	write := func(path string, off int64, n int, seed uint64) func(*volume.Volume) error {
		return func(v *volume.Volume) error {
			ino, err := v.Tree().Resolve(path, true)
			if err != nil {
				return err
			}
			a, err := v.Getattr(ino)
			if err != nil {
				return err
			}
			p := make([]byte, n)
			Fill(p, seed, 0)
			if _, err := v.Write(ino, p, off); err != nil {
				return err
			}
			_, err = v.Setattr(ino, volume.SetAttr{Mtime: &a.Mtime})
			return err
		}
	}
	root := func(do func(*volume.Volume, *time.Time) error) func(*volume.Volume) error {
		return func(v *volume.Volume) error {
			a, err := v.Getattr(volume.Root)
			if err != nil {
				return err
			}
			if err := do(v, &a.Mtime); err != nil {
				return err
			}
			_, err = v.Setattr(volume.Root, volume.SetAttr{Mtime: &a.Mtime})
			return err
		}
	}
	set := func(path string, s volume.SetAttr) func(*volume.Volume) error {
		return func(v *volume.Volume) error {
			ino, err := v.Tree().Resolve(path, false)
			if err == nil {
				_, err = v.Setattr(ino, s)
			}
			return err
		}
	}
	mode, id, later := uint16(0o600), uint32(9), time.Unix(5, 6)
	for _, c := range []struct {
		name  string
		do    func(*volume.Volume) error
		class error
		want  string
	}{
		{"bytes", write("/d/f", 8000, 3, 9), ErrData, "+ /d/f: content differs in 3 bytes from 8000 to 8002"},
		{"longer", write("/d/f", 8999, 3, 9), ErrAtomicity, "+ /d/f: size 9002"},
		{"name", root(func(v *volume.Volume, _ *time.Time) error {
			return v.Rename(volume.Root, "a", volume.Root, "b", 0)
		}), ErrAtomicity, "- /a: file 3000 bytes"},
		{"link", root(func(v *volume.Volume, _ *time.Time) error {
			a, err := v.Lookup(volume.Root, "a")
			if err == nil {
				_, err = v.Link(a.Ino, volume.Root, "b")
			}
			return err
		}), ErrAtomicity, "+ /b: file 3000 bytes"},
		{"mode", set("/a", volume.SetAttr{Mode: &mode}), ErrAtomicity, "+ /a: mode 0600"},
		{"owner", set("/d", volume.SetAttr{UID: &id}), ErrAtomicity, "+ /d: owner 9:0"},
		{"time", set("/d/f", volume.SetAttr{Mtime: &later}), ErrAtomicity, "+ /d/f: mtime 5.000000006"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, v := judged(t, judgeScript, 2)
			if err := c.do(v); err != nil {
				t.Fatal(err)
			}
			k, err := r.Judge(v, Progress{1, 2, 3})
			if k != 2 || !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %d, %v\nwant %v, %s", k, err, c.class, c.want)
			}
			var verdict *Verdict
			if !errors.As(err, &verdict) || verdict.Nearest != 2 {
				t.Errorf("verdict %+v", verdict)
			}
			if !strings.Contains(err.Error(), "during operation 3, mv /d/f /g") {
				t.Errorf("the operation is not named: %v", err)
			}
			if err := Compare(v, r.States[2]); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Compare: %v", err)
			}
		})
	}
}

// BenchmarkDigest is what a leaf of the explorer pays for a small tree: 20 inodes, 40 KiB.
func BenchmarkDigest(b *testing.B) {
	var script strings.Builder
	script.WriteString("image block=1k\nmkdir d\nmkdir e\nln -s d/f0 l\n")
	for i := range 16 {
		fmt.Fprintf(&script, "create d/f%d\nwrite d/f%d 0 2500 %d\n", i, i, i)
	}
	r := NewRun(parse(b, script.String()+"---\n"))
	dev, err := base(r)
	if err != nil {
		b.Fatal(err)
	}
	v, err := volume.Open(dev, r.Options())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if sum, err := Digest(v); err != nil || sum != r.States[0].Digest() {
			b.Fatal(err)
		}
	}
}

// logUse is how often a trace moves the tail of the log (twice when a volume changes for the
// first time, once in each checkpoint, that of Close included) and how often the log begins again at the start of its run.
func logUse(t testing.TB, tr *disk.Trace) (tails, wraps int) {
	t.Helper()
	s, err := layout.DecodeSuperblock(tr.Base[layout.SuperOffset(0):][:layout.SlotSize])
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		t.Fatal(err)
	}
	start := int64(g.LogRun(0)) * int64(g.BlockSize)
	end := int64(g.LogRun(1)) * int64(g.BlockSize)
	heads := int64(g.LogHead(0)) * int64(g.BlockSize)
	last := int64(-1)
	for _, e := range tr.Events {
		switch {
		case e.Kind != disk.EventWrite:
		case e.Off >= heads && e.Off < start:
			tails++
		case e.Off >= start && e.Off < end:
			if e.Off < last {
				wraps++
			}
			last = e.Off
		}
	}
	t.Logf("run of %d sectors; log ends at %d", (end-start)/int64(g.SectorSize), (last-start)/int64(g.SectorSize))
	return tails, wraps
}
