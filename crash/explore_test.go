package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/crc32"
	"pgregory.net/rapid"

	"holdfast/disk"
)

// plainTrace is a trace over n sectors of zeros; each write is sectors that start with these
// letters, at a sector; a nil write is a flush.
type plainWrite struct {
	at      int
	letters string
}

var flush = plainWrite{at: -1}

func plainTrace(n int, writes ...plainWrite) *disk.Trace {
	t := &disk.Trace{SectorSize: testSector, Base: make([]byte, n*testSector)}
	for _, w := range writes {
		if w.at < 0 {
			t.Events = append(t.Events, disk.Event{Kind: disk.EventFlush})
			continue
		}
		p := make([]byte, len(w.letters)*testSector)
		for i := range w.letters {
			p[i*testSector] = w.letters[i]
		}
		t.Events = append(t.Events, disk.Event{Kind: disk.EventWrite, Off: int64(w.at) * testSector, Data: p})
	}
	return t
}

// letters reads the first byte of each sector: a dot for zero, a question mark for bad.
func letters(dev disk.Device) string {
	var b strings.Builder
	p := make([]byte, testSector)
	for off := int64(0); off < dev.Size(); off += testSector {
		switch _, err := dev.ReadAt(p, off); {
		case errors.Is(err, disk.ErrBadSector):
			b.WriteByte('?')
		case err != nil:
			panic(err)
		case p[0] == 0:
			b.WriteByte('.')
		default:
			b.WriteByte(p[0])
		}
	}
	return b.String()
}

func noteLetters(s *State) error {
	s.Note(letters(s.Dev))
	return nil
}

func mustExplore(t testing.TB, tr *disk.Trace, opt Options, check Check) *Report {
	t.Helper()
	r, err := Explore(tr, opt, check)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func labels(list []LabelCount) string {
	var parts []string
	for _, l := range list {
		parts = append(parts, fmt.Sprintf("%s %d/%v", l.Label, l.Leaves, l.States))
	}
	return strings.Join(parts, ", ")
}

func TestModels(t *testing.T) {
	for _, c := range []struct {
		name string
		tr   *disk.Trace
		opt  Options
		want string // label leaves/states
	}{
		{"one sector", plainTrace(1, plainWrite{0, "a"}), Options{}, ". 1/1, a 1/1"},
		{"bad", plainTrace(1, plainWrite{0, "a"}), Options{Bad: true}, ". 1/1, a 1/1, ? 1/1"},
		{"torn", plainTrace(2, plainWrite{0, "aa"}), Options{}, ".. 1/1, .a 1/1, a. 1/1, aa 1/1"},
		{"identical bytes", plainTrace(1, plainWrite{0, "a"}, plainWrite{0, "b"}, plainWrite{0, "a"}, plainWrite{0, "\x00"}),
			Options{Bad: true}, ". 1/2, a 1/2, b 1/1, ? 1/1"},
		{"two epochs", plainTrace(1, plainWrite{0, "a"}, flush, plainWrite{0, "b"}), Options{}, ". 1/1, a 2/2, b 1/1"},
		{"atomic", plainTrace(3, plainWrite{0, "aa"}, plainWrite{1, "bb"}), Options{Model: Atomic},
			"abb 1/1, aa. 1/1, .bb 1/1, ... 1/1"},
		{"atomic, covered", plainTrace(1, plainWrite{0, "a"}, plainWrite{0, "b"}, plainWrite{0, "b"}), Options{Model: Atomic},
			"b 1/6, a 1/1, . 1/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := mustExplore(t, c.tr, c.opt, noteLetters)
			if got := labels(r.Labels); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if !r.Complete() {
				t.Error("not complete")
			}
		})
	}
}

// TestBigSectors: sectors of 4096 bytes, read in parts.
func TestBigSectors(t *testing.T) {
	const size = 4096
	a := bytes.Repeat([]byte{'a'}, 2*size)
	copy(a[size/2:], make([]byte, size/2)) // the second half of the first sector does not change
	tr := &disk.Trace{SectorSize: size, Base: make([]byte, 3*size), Events: []disk.Event{{Kind: disk.EventWrite, Off: size, Data: a}}}
	for off, want := range map[int64]string{
		size:                "[0] 1/3, [97] 1/3, bad 1/3",
		size + size/2:       "[0] 1/6, bad 1/3",
		2*size - 1:          "[0] 1/6, bad 1/3",
		2 * size:            "[0] 1/3, [97] 1/3, bad 1/3",
		size - 1:            "[0] 1/9",
		size + size/2 - 1:   "[0] 1/3, [97] 1/3, bad 1/3",
		2*size + size/2 + 1: "[0] 1/3, [97] 1/3, bad 1/3",
	} {
		r := mustExplore(t, tr, Options{Bad: true}, func(s *State) error {
			p := make([]byte, 1)
			if _, err := s.Dev.ReadAt(p, off); err != nil {
				s.Note("bad")
				return nil
			}
			s.Note(fmt.Sprint(p))
			return nil
		})
		if got := labels(r.Labels); got != want || !r.Complete() {
			t.Errorf("at %d: got %s, want %s", off, got, want)
		}
	}
}

// TestUnread: what the check does not read costs no run, and is counted.
func TestUnread(t *testing.T) {
	tr := &disk.Trace{SectorSize: testSector, Base: make([]byte, 300*testSector)}
	for i := range 300 {
		tr.Events = append(tr.Events, disk.Event{Kind: disk.EventWrite, Off: int64(i) * testSector, Data: bytes.Repeat([]byte{1}, testSector)})
	}
	r := mustExplore(t, tr, Options{Bad: true}, func(s *State) error {
		_, err := s.Dev.ReadAt(make([]byte, 8), 299*testSector)
		if err != nil && !errors.Is(err, disk.ErrBadSector) {
			return err
		}
		return nil
	})
	want := new(big.Int).Exp(big.NewInt(3), big.NewInt(300), nil)
	if r.Leaves != 3 || r.Violations != 0 || r.Covered.Cmp(want) != 0 || !r.Complete() {
		t.Errorf("%d leaves, %v states", r.Leaves, r.Covered)
	}
}

// TestCheckedBlock: a torn block of eight sectors is three leaves, one in which a checksum
// accepts the old content, one for the new, and one for all mixes and bad sectors.
func TestCheckedBlock(t *testing.T) {
	old, block := seal(make([]byte, 4096), 0), bytes.Repeat([]byte{7}, 4096)
	seal(block, 0)
	tr := &disk.Trace{SectorSize: testSector, Base: old, Events: []disk.Event{{Kind: disk.EventWrite, Data: block}}}
	r := mustExplore(t, tr, Options{Bad: true}, func(s *State) error {
		p := make([]byte, 4096)
		_, err := s.Dev.ReadChecked(p, disk.Check{Want: residue}, 0)
		if err != nil && (!errors.Is(err, disk.ErrChecksum) || !errors.Is(err, disk.ErrBadSector)) {
			return err
		}
		// The block stays what it was, and its last sector, in the failed leaf, is any of three.
		again := make([]byte, 4096)
		if _, err2 := s.Dev.ReadChecked(again, disk.Check{Want: residue}, 0); (err2 == nil) != (err == nil) || !bytes.Equal(again, p) && err == nil {
			return fmt.Errorf("another answer: %w", err2)
		}
		if err == nil {
			s.Note(fmt.Sprint("good ", p[0]))
			return nil
		}
		_, err = s.Dev.ReadAt(p[:1], 4095)
		s.Note(fmt.Sprint("failed, bad: ", err != nil))
		return nil
	})
	if got, want := labels(r.Labels), "good 0 1/1, good 7 1/1, failed, bad: false 2/4372, failed, bad: true 1/2187"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestPlaces: a twin with the same content is no outcome of its own, and the first place that
// can give it is named.
func TestPlaces(t *testing.T) {
	a := seal(bytes.Repeat([]byte{1}, testSector), 0)
	tr := &disk.Trace{SectorSize: testSector, Base: make([]byte, 3*testSector), Events: []disk.Event{
		{Kind: disk.EventWrite, Off: testSector, Data: a}, {Kind: disk.EventWrite, Off: 2 * testSector, Data: a},
	}}
	check := func(places ...int64) string {
		return labels(mustExplore(t, tr, Options{Bad: true}, func(s *State) error {
			p := make([]byte, testSector)
			i, err := s.Dev.ReadChecked(p, disk.Check{Want: residue}, places...)
			s.Note(fmt.Sprint(i, " ", err == nil))
			if errors.Is(err, disk.ErrRange) {
				s.Note("range")
			}
			return nil
		}).Labels)
	}
	for _, c := range []struct {
		places []int64
		want   string
	}{
		{[]int64{512, 1024}, "0 true 1/5, 0 false 1/4"},
		{[]int64{0, 512, 1024}, "1 true 1/5, 0 false 1/4"},
		{[]int64{0, 0}, "0 false 1/9"},
		{[]int64{512, 512}, "0 true 1/3, 0 false 1/6"},
		{[]int64{512, 4096}, "0 true 1/3, range 1/6"},
		{[]int64{4096, 512}, "range 1/9"},
	} {
		if got := check(c.places...); got != c.want {
			t.Errorf("%v: got %s, want %s", c.places, got, c.want)
		}
	}
}

// TestMeetInTheMiddle: where there are too many mixes to try one by one, the same are found.
func TestMeetInTheMiddle(t *testing.T) {
	const versions = 5 // 5^8 mixes
	tr := plainTrace(8, plainWrite{0, "aaaaaaaa"}, plainWrite{0, "bbbbbbbb"}, plainWrite{0, "cccccccc"}, plainWrite{0, "dddddddd"})
	mix := "ab.cd.ba"
	wanted := make([]byte, 8*testSector)
	for i := range mix {
		if mix[i] != '.' {
			wanted[i*testSector] = mix[i]
		}
	}
	c := disk.Check{Seed: 9, Want: crc32.Update(9, testTable, wanted)}
	// Brute force: how many mixes have that CRC.
	same := 0
	p := make([]byte, len(wanted))
	for n := range 390625 {
		for i, rest := 0, n; i < 8; i, rest = i+1, rest/versions {
			p[i*testSector] = "\x00abcd"[rest%versions]
		}
		if c.Pass(p) {
			same++
		}
	}
	r := mustExplore(t, tr, Options{}, func(s *State) error {
		p := make([]byte, len(wanted))
		_, err := s.Dev.ReadChecked(p, c, 0)
		s.Note(fmt.Sprint(err == nil && c.Pass(p)))
		return nil
	})
	want := fmt.Sprintf("true %d/%d, false 1/%d", same, same, 390625-same)
	if got := labels(r.Labels); got != want || !r.Complete() || same == 0 {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestLimit(t *testing.T) {
	var writes []plainWrite
	for i := range 70 {
		writes = append(writes, plainWrite{0, string(rune('0' + i))})
	}
	r := mustExplore(t, plainTrace(1, writes...), Options{}, noteLetters)
	if r.Complete() || r.Leaves != 0 || !strings.Contains(r.Points[0].Limit, ErrLimit.Error()) {
		t.Errorf("%+v", r.Points[0])
	}
	// A read that has too many mixes stops its branch; the others go on.
	writes = nil
	for i := range 40 {
		writes = append(writes, plainWrite{0, strings.Repeat(string(rune('0'+i)), 9)})
	}
	r = mustExplore(t, plainTrace(9, writes...), Options{}, func(s *State) error {
		p := make([]byte, 8*testSector)
		if _, err := s.Dev.ReadAt(p[:1], 8*testSector); err != nil {
			return err
		}
		if p[0] == '3' {
			_, err := s.Dev.ReadChecked(p, disk.Check{}, 0)
			return err
		}
		return nil
	})
	if r.Complete() || r.Leaves != 40 || r.Violations != 0 || !strings.Contains(r.Points[0].Limit, ErrLimit.Error()) {
		t.Errorf("%d leaves, limit %q", r.Leaves, r.Points[0].Limit)
	}
	if missing := new(big.Int).Sub(r.States, r.Covered); missing.Cmp(new(big.Int).Exp(big.NewInt(41), big.NewInt(8), nil)) != 0 {
		t.Errorf("%v states missing", missing)
	}
}

func TestNotDeterministic(t *testing.T) {
	tr := plainTrace(2, plainWrite{0, "ab"})
	for name, check := range map[string]func(run int, dev disk.Device){
		"another place": func(run int, dev disk.Device) { _, _ = dev.ReadAt(make([]byte, 1), int64(run%2)*testSector) },
		"another length": func(run int, dev disk.Device) {
			_, _ = dev.ReadAt(make([]byte, 1+run%2), 0)
		},
		"another operation": func(run int, dev disk.Device) {
			if run%2 == 0 {
				_, _ = dev.ReadAt(make([]byte, testSector), 0)
			} else {
				_, _ = dev.ReadChecked(make([]byte, testSector), disk.Check{}, 0)
			}
		},
		"nothing": func(run int, dev disk.Device) {
			if run == 0 {
				_, _ = dev.ReadAt(make([]byte, 1), 0)
			}
		},
		"another answer": func(run int, dev disk.Device) {
			want := crc32.Update(0, testTable, make([]byte, testSector))
			_, _ = dev.ReadChecked(make([]byte, testSector), disk.Check{Want: want, Accept: func([]byte) bool { return run%2 == 0 }}, 0)
		},
		"a read before": func(run int, dev disk.Device) {
			if _, _ = dev.ReadAt(make([]byte, 1), 0); run%2 == 1 {
				_, _ = dev.ReadAt(make([]byte, 1), 0)
			}
			_, _ = dev.ReadAt(make([]byte, 1), testSector)
		},
	} {
		run := 0
		_, err := Explore(tr, Options{}, func(s *State) error {
			check(run, s.Dev)
			run++
			return nil
		})
		if !errors.Is(err, ErrNotDeterministic) {
			t.Errorf("%s: %v after %d runs", name, err, run)
		}
	}
}

func TestBudget(t *testing.T) {
	tr := plainTrace(4, plainWrite{0, "abcd"}, flush, plainWrite{0, "x"})
	r := mustExplore(t, tr, Options{MaxLeaves: 5}, noteLetters)
	if r.Complete() || r.Leaves != 7 || r.Points[0].Leaves != 5 || r.Points[0].Covered.Int64() != 5 || r.Points[0].Limit == "" || !r.Points[1].Complete() {
		t.Errorf("%d leaves, %q", r.Leaves, r.Points[0].Limit)
	}
	if r = mustExplore(t, tr, Options{MaxLeaves: 16}, noteLetters); !r.Complete() {
		t.Errorf("a budget that is just enough: %q", r.Points[0].Limit)
	}
	done := make(chan struct{})
	close(done)
	if r = mustExplore(t, tr, Options{Done: done}, noteLetters); r.Complete() || r.Leaves != 0 || r.Points[0].Limit == "" {
		t.Errorf("interrupted: %d leaves", r.Leaves)
	}
	r = mustExplore(t, tr, Options{Points: func(p *Point) bool { return p.End }}, noteLetters)
	if len(r.Points) != 1 || r.Skipped != 1 || r.Points[0].Point.Index != 1 || labels(r.Labels) != "abcd 1/1, xbcd 1/1" {
		t.Errorf("one point: %+v", r)
	}
}

func TestStopFirst(t *testing.T) {
	tr := plainTrace(1, plainWrite{0, "a"}, flush, plainWrite{0, "b"}, flush, plainWrite{0, "c"}, flush, plainWrite{0, "d"})
	for _, workers := range []int{0, 1, 2, 8} {
		r := mustExplore(t, tr, Options{StopFirst: true, Workers: workers}, func(s *State) error {
			if l := letters(s.Dev); l >= "b" {
				return errors.New(l)
			}
			return nil
		})
		if len(r.Points) != 2 || r.Skipped != 2 || r.Violations != 1 || r.Points[1].Kept[0].Err.Error() != "b" {
			t.Errorf("%d workers: %d points, %d violations", workers, len(r.Points), r.Violations)
		}
	}
}

// TestWorkers: the report does not depend on how many there are.
func TestWorkers(t *testing.T) {
	var writes []plainWrite
	for i := range 30 {
		writes = append(writes, plainWrite{i % 5, "abc"}, plainWrite{i % 4, "de"}, flush)
	}
	tr := plainTrace(8, writes...)
	check := func(s *State) error {
		l := letters(s.Dev)
		s.Note(l)
		if strings.Contains(l, "da") {
			return errors.New(l)
		}
		return nil
	}
	one := mustExplore(t, tr, Options{Bad: true}, check)
	progress := 0
	many := mustExplore(t, tr, Options{Bad: true, Workers: 5, Progress: func(*PointReport) { progress++ }}, check)
	one.Options, many.Options = Options{}, Options{}
	if !reflect.DeepEqual(one, many) || one.Violations == 0 {
		t.Error("the reports differ")
	}
	if progress != len(many.Points) {
		t.Errorf("%d calls of Progress, %d points", progress, len(many.Points))
	}
}

var panicText = regexp.MustCompile(`^panic: runtime error: index out of range .* \(crash\.TestPanicIsAViolation\.func1, explore_test\.go:\d+\)$`)

func TestPanicIsAViolation(t *testing.T) {
	r := mustExplore(t, plainTrace(1, plainWrite{0, "a"}), Options{}, func(s *State) error {
		var empty []int
		if letters(s.Dev) == "a" {
			empty[len(s.Marks)] = 1
		}
		return nil
	})
	if !r.Complete() || r.Leaves != 2 || r.Violations != 1 || !panicText.MatchString(r.Points[0].Kept[0].Err.Error()) {
		t.Errorf("%+v", r)
	}
}

func TestPoint(t *testing.T) {
	tr := &disk.Trace{SectorSize: testSector, Base: make([]byte, 2*testSector)}
	mark := func(s string) { tr.Events = append(tr.Events, disk.Event{Kind: disk.EventMark, Mark: s}) }
	mark("started 1")
	tr.Events = append(tr.Events, plainTrace(2, plainWrite{1, "a"}, plainWrite{0, "bc"}, flush).Events...)
	mark("finished 1")
	mark("synced 1")
	mark("started 2")
	label := func(off int64, data []byte) string { return fmt.Sprintf("%c at %d", data[0], off) }
	points, err := Points(tr, label)
	if err != nil {
		t.Fatal(err)
	}
	want := []*Point{
		{Index: 0, Event: 3, Marks: []string{"started 1"}, Started: "1", Sectors: 2,
			InFlight: []Write{{1, 512, 512, "a at 512"}, {2, 0, 1024, "b at 0"}}},
		{Index: 1, Event: 7, End: true, Epoch: 1, Marks: []string{"started 1", "finished 1", "synced 1", "started 2"},
			Started: "2", Finished: "1", Synced: "1"},
	}
	if !reflect.DeepEqual(points, want) {
		t.Errorf("got %+v", points)
	}
	if points[0].Operation() != "1" || points[1].Operation() != "2" || (&Point{Started: "1", Finished: "1"}).Operation() != "" {
		t.Error("operation in flight")
	}
	if got := points[0].InFlight[1].String(); got != "write of 1024 bytes at 0 (b at 0)" {
		t.Error(got)
	}
}

func TestRefusals(t *testing.T) {
	good := plainTrace(1, plainWrite{0, "a"})
	for name, opt := range map[string]Options{
		"model": {Model: 3}, "bad and prefix": {Model: Prefix, Bad: true}, "bad and atomic": {Model: Atomic, Bad: true}, "leaves": {MaxLeaves: -1}, "keep": {Keep: -1},
		"workers": {Workers: -1}, "many workers": {Workers: 1025}, "nested": {Nested: -1}, "deep": {Nested: 9},
	} {
		if _, err := Explore(good, opt, noteLetters); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Count(good, opt); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: Count: %v", name, err)
		}
	}
	event := func(e disk.Event) *disk.Trace {
		return &disk.Trace{SectorSize: testSector, Base: make([]byte, testSector), Events: []disk.Event{e}}
	}
	sector := make([]byte, testSector)
	for name, tr := range map[string]*disk.Trace{
		"sector size": {SectorSize: 100},
		"base":        {SectorSize: 512, Base: make([]byte, 100)},
		"kind":        event(disk.Event{Kind: 9}),
		"empty":       event(disk.Event{Kind: disk.EventWrite}),
		"part":        event(disk.Event{Kind: disk.EventWrite, Data: sector[:9]}),
		"unaligned":   event(disk.Event{Kind: disk.EventWrite, Data: sector, Off: 1}),
		"beyond":      event(disk.Event{Kind: disk.EventWrite, Data: sector, Off: 512}),
		"negative":    event(disk.Event{Kind: disk.EventWrite, Data: sector, Off: -512}),
		"overflow":    event(disk.Event{Kind: disk.EventWrite, Data: sector, Off: 1<<63 - 512}),
	} {
		if _, err := Explore(tr, Options{}, noteLetters); !errors.Is(err, ErrTrace) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Points(tr, nil); !errors.Is(err, ErrTrace) {
			t.Errorf("%s: Points: %v", name, err)
		}
	}
}

// TestIDGolden: IDs and images are the same in every process and every version.
func TestIDGolden(t *testing.T) {
	tr := plainTrace(6, plainWrite{0, "aaaaaa"}, plainWrite{2, "bb"}, plainWrite{5, "c"})
	r := mustExplore(t, tr, Options{Bad: true, Keep: 1 << 20}, func(s *State) error { return errors.New(letters(s.Dev)) })
	byLetters := map[string]*Violation{}
	for _, v := range r.Points[0].Kept {
		byLetters[v.Err.Error()] = v
	}
	for l, tail := range map[string]string{
		"......": "0", "aabbac": "0v1x2.0v2x2.0v1.0v2", "a....?": "0v1.4b", "??bb.a": "0bx2.0v2x2.1v1", "..ab.?": "2v1.0v2.1b",
	} { // tails of IDs, by what the image holds
		v := byLetters[l]
		if v == nil {
			t.Errorf("%s: not found", l)
			continue
		}
		if id := fmt.Sprintf("hf1-%016x-p0s-%s", tr.Hash(), tail); v.ID != id {
			t.Errorf("%s: ID %s, want %s", l, v.ID, id)
		}
	}
	v := byLetters["??bb.a"]
	m, err := Rebuild(tr, v.ID, func(int64, []byte) string { return "x" }, nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(m.Bytes)
	if got := hex.EncodeToString(sum[:8]); got != goldenImage {
		t.Errorf("image %s, want %s", got, goldenImage)
	}
	if !slices.Equal(m.Bad, []disk.Extent{{Off: 0, Len: 1024}}) || !bytes.HasPrefix(m.Bytes, []byte(badPattern+badPattern)) {
		t.Errorf("bad %v", m.Bad)
	}
	if got := fmt.Sprint(m.Missing); got != "[write of 3072 bytes at 0 (x): 1 absent, 2 bad of 6 sectors write of 512 bytes at 2560 (x): absent]" {
		t.Errorf("missing %s", got)
	}
	if got := letters(m.Device()); got != "??bb.a" {
		t.Error(got)
	}
}

// goldenImage is the beginning of the SHA-256 of the image in TestIDGolden.
const goldenImage = "01789ca24e725ae3"

func TestRebuildRefuses(t *testing.T) {
	tr := plainTrace(2, plainWrite{0, "ab"}, flush)
	other := plainTrace(2, plainWrite{0, "ac"}, flush)
	head := fmt.Sprintf("hf1-%016x-", tr.Hash())
	for id, want := range map[string]error{
		head + "p0s-0v1x2":             nil,
		head + "p1s-0":                 nil,
		head + "p0a-0v1":               nil,
		head + "p2s-0":                 ErrID, // no such point
		head + "p0s-0v2":               ErrID, // no such version
		head + "p0s-2v1":               ErrID, // no such sector
		head + "p1s-0v1":               ErrID,
		head + "p0a-0b":                ErrID,
		head + "p0a-0v1x2":             ErrID,
		head + "p0s-0v1.0v1":           ErrID, // not the shortest form
		head + "p0s-0v0":               ErrID,
		head + "p0s-0b1":               ErrID,
		head + "p0s-0v1x0":             ErrID,
		head + "p0s-0v1x2147483647":    ErrID,
		head + "p0s-99999999999999v1":  ErrID,
		head + "p0s-":                  ErrID,
		head + "p0s":                   ErrID,
		head + "p0s-0-n0":              ErrID,
		head + "p0s-0-0":               ErrID,
		head + "p0s-0-n0-0":            ErrID, // needs a check
		head + "ps-0":                  ErrID,
		head + "p0x-0":                 ErrID,
		"":                             ErrID,
		"hf2" + head[3:] + "p0s-0":     ErrID,
		"hf1-12-p0s-0":                 ErrID,
		"hf1-zzzzzzzzzzzzzzzz-p0s-0":   ErrID,
		"hf1-0000000000000000-p0s-0v1": ErrOtherTrace,
		fmt.Sprintf("hf1-%016x-p0s-0v1", other.Hash()): ErrOtherTrace,
	} {
		m, err := Rebuild(tr, id, nil, nil)
		if !errors.Is(err, want) || (m == nil) != (want != nil) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	noWrites := func(*State) error { return nil }
	if _, err := Rebuild(tr, head+"p0s-0-n3-0", nil, noWrites); !errors.Is(err, ErrNotDeterministic) {
		t.Errorf("a crash in a check that writes nothing: %v", err)
	}
}

func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := stateID{hash: rapid.Uint64().Draw(t, "hash"), point: rapid.IntRange(0, 1<<20).Draw(t, "point"), model: Model(rapid.IntRange(0, 2).Draw(t, "model"))}
		for i := range rapid.IntRange(1, 3).Draw(t, "levels") {
			l := level{versions: rapid.SliceOfN(rapid.IntRange(-1, 2), 0, 12).Draw(t, "versions")}
			for n := len(l.versions); n > 0 && l.versions[n-1] == 0; n-- {
				l.versions = l.versions[:n-1]
			}
			if len(l.versions) == 0 {
				l.versions = nil
			}
			if i > 0 {
				l.point = rapid.IntRange(0, 9).Draw(t, "point")
			}
			id.levels = append(id.levels, l)
		}
		back, err := parseID(id.String())
		if err != nil || !reflect.DeepEqual(back, id) {
			t.Fatalf("%s: %+v, %v; want %+v", id, back, err, id)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("hf1-3d8d8a6e5fa37d11-p12s-0v1x2.3b-n2-0v1")
	f.Add("hf1-3d8d8a6e5fa37d11-p0a-0")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := parseID(text); err == nil && id.String() != text {
			t.Errorf("%q became %q", text, id)
		}
	})
}

// TestMinimize: what does not matter arrives, what the failure needs stays missing.
func TestMinimize(t *testing.T) {
	tr := plainTrace(6, plainWrite{0, "aa"}, plainWrite{2, "bb"}, plainWrite{4, "cc"}, plainWrite{0, "d"})
	check := func(s *State) error {
		if l := letters(s.Dev); l[3] != 'b' && l[4] == 'c' {
			return errors.New(l)
		}
		return nil
	}
	r := mustExplore(t, tr, Options{Bad: true}, check)
	v := r.Points[0].Kept[0]
	m, err := Minimize(tr, v.ID, nil, check, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := letters(m.Device()); got != "da..cc" { // absent rather than torn
		t.Errorf("got %s", got)
	}
	if len(m.Missing) != 1 || m.Missing[0].Off != 1024 || m.Missing[0].Lost != 2 {
		t.Errorf("missing %v", m.Missing)
	}
	again, err := Rebuild(tr, m.ID, nil, nil)
	if err != nil || !bytes.Equal(again.Bytes, m.Bytes) {
		t.Errorf("%s: %v", m.ID, err)
	}
	if _, err := Minimize(tr, v.ID, nil, check, func(error) bool { return false }); !errors.Is(err, ErrID) {
		t.Errorf("nothing fails: %v", err)
	}
	if inner, err := Minimize(tr, v.ID+"-n0-0", nil, check, nil); err != nil || inner.ID != m.ID {
		t.Errorf("nested: %v, %v", inner, err)
	}
}

// TestShift: moving a CRC over zeros by algebra is the same as computing it.
func TestShift(t *testing.T) {
	p := make([]byte, 5000)
	p[0], p[1] = 0x5a, 7
	for _, n := range []int{0, 1, 2, 3, 7, 512, 1000, 4096, 4998} {
		if got, want := times(raw(p[:2]), shift(n)), raw(p[:2+n]); got != want {
			t.Errorf("%d: %#x, want %#x", n, got, want)
		}
		seed := uint32(0xfeedbeef)
		if got, want := ^(times(^seed, shift(n)) ^ raw(p[:n])), crc32.Update(seed, testTable, p[:n]); got != want {
			t.Errorf("seed, %d: %#x, want %#x", n, got, want)
		}
	}
}

// TestBoxes: the operations on sets of assignments, against lists of assignments.
func TestBoxes(t *testing.T) {
	const vars, classes = 3, 3
	list := func(rows []uint64) map[[vars]int]int {
		m := map[[vars]int]int{}
		for i := 0; i < len(rows); i += vars {
			for n := range classes * classes * classes {
				a := [vars]int{n % 3, n / 3 % 3, n / 9}
				if (rows[i]>>a[0])&(rows[i+1]>>a[1])&(rows[i+2]>>a[2])&1 != 0 {
					m[a]++
				}
			}
		}
		return m
	}
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SliceOfN(rapid.Uint64Range(1, 7), vars, vars)
		set := row.Draw(t, "start")
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			box := row.Draw(t, "box")
			in, out := intersect(nil, set, box), subtract(nil, set, box)
			before, a, b, inBox := list(set), list(in), list(out), list(box)
			for x, n := range before {
				if n != 1 || a[x]+b[x] != 1 || a[x] != inBox[x] {
					t.Fatalf("%v: %d before, %d inside, %d outside", x, n, a[x], b[x])
				}
			}
			if len(a)+len(b) != len(before) {
				t.Fatal("made of nothing")
			}
			if set = out; len(set) == 0 {
				return
			}
		}
		s := &space{vars: make([]variable, vars)}
		ids := []int32{0, 1, 2}
		for i := range s.vars {
			s.vars[i].mult = []uint64{1, 2, 5}
		}
		want := int64(0)
		for a := range list(set) {
			want += []int64{1, 2, 5}[a[0]] * []int64{1, 2, 5}[a[1]] * []int64{1, 2, 5}[a[2]]
		}
		if got := s.weigh(ids, set); got.big != nil || got.small != uint64(want) || s.weighBig(ids, set).Int64() != want {
			t.Fatalf("weight %+v, want %d", got, want)
		}
		// What reduce says is the same set again.
		var g *group
		masks := make([]uint64, vars)
		for _, e := range reduce(nil, ids, set) {
			masks[e.v] = e.mask
			if e.g != nil {
				g = e.g
			}
		}
		rows := masks
		if g != nil {
			var pos []int
			for _, v := range g.vars {
				pos = append(pos, int(v))
			}
			rows = product(nil, masks, vars, g.boxes, pos)
		}
		if !reflect.DeepEqual(list(rows), list(set)) {
			t.Fatalf("reduced to %v, want %v", list(rows), list(set))
		}
	})
}

// TestWeighBig: sets beyond 64 bits.
func TestWeighBig(t *testing.T) {
	s := &space{}
	var vars []int32
	var row []uint64
	for i := range 70 {
		s.vars = append(s.vars, variable{versions: []int{0, 1, 2, -1}})
		vars = append(vars, int32(i))
		row = append(row, 15)
	}
	want := new(big.Int).Lsh(big.NewInt(1), 140)
	if got := s.weigh(vars, row).int(nil); got.Cmp(want) != 0 {
		t.Errorf("%v, want %v", got, want)
	}
	// 32 variables: 2^64 just does not fit, and twice 2^63 carries.
	if got := s.weigh(vars[:32], row[:32]).int(nil); got.Cmp(new(big.Int).Lsh(big.NewInt(1), 64)) != 0 {
		t.Errorf("%v", got)
	}
	half := slices.Concat([]uint64{3}, row[:31], []uint64{12}, row[:31])
	if got := s.weigh(vars[:32], half).int(nil); got.Cmp(new(big.Int).Lsh(big.NewInt(1), 64)) != 0 {
		t.Errorf("%v", got)
	}
}
