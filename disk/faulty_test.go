package disk

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// scripted is a faulty device over under with the rules of a script.
func scripted(t testing.TB, under Device, script string) *Faulty {
	t.Helper()
	rules, err := ParseFaults(script)
	if err != nil {
		t.Fatal(err)
	}
	return NewFaulty(under, sectorSize, FaultOptions{Rules: rules})
}

// show is the sectors of d as letters: what was written there, '.' zeros, '!' bad, '~' soft,
// 'E' an injected error, 'X' crashed.
func show(t testing.TB, d Device) string {
	t.Helper()
	var b strings.Builder
	p := make([]byte, sectorSize)
	for off := int64(0); off < d.Size(); off += sectorSize {
		_, err := d.ReadAt(p, off)
		switch {
		case err == nil && bytes.Count(p, p[:1]) != len(p):
			t.Fatalf("sector at %d is torn inside", off)
		case err == nil && p[0] == 0:
			b.WriteByte('.')
		case err == nil:
			b.WriteByte(p[0])
		case errors.Is(err, ErrCrashed):
			b.WriteByte('X')
		case errors.Is(err, ErrBadSector):
			b.WriteByte('!')
		case errors.Is(err, ErrSoft):
			b.WriteByte('~')
		case errors.Is(err, ErrInjected):
			b.WriteByte('E')
		default:
			t.Fatal(err)
		}
	}
	return b.String()
}

// TestFaultScripts tells each fault as a story: words are done on a device of 8 sectors, and
// what they give is compared with the words after the arrow.
//
//	aaa@2   write 3 sectors of a at sector 2: "ok", or the error
//	flush   "ok", or the error
//	show    the sectors
//	reopen, crash, lose, keep, scrub: the methods, no answer
func TestFaultScripts(t *testing.T) {
	for _, test := range []struct{ script, story string }{
		{"", "show > ........ ; aaa@2 > ok ; show > ..aaa... ; flush > ok ; show > ..aaa..."},
		// null: the old content stays.
		{"write 2: null", "aa@0 > ok ; bb@0 > ok ; show > aa......"},
		{"write 2 at 0-3: null", "aa@0 > ok ; c@7 > ok ; bb@0 > ok ; show > aa.....c"},
		{"write at 1: null", "aaa@0 > ok ; show > a.a....."},
		// bad: the sectors are bad until they are written again.
		{"write 1: bad", "aa@0 > ok ; show > !!...... ; b@0 > ok ; show > b!......"},
		{"write 1 at 1-2: bad", "aaaa@0 > ok ; show > a!!a.... ; bbbb@0 > ok ; show > bbbb...."},
		// tear: new, old and bad sectors; the last fate holds for the rest.
		{"write 2: tear new,old,bad", "aaaaa@0 > ok ; bbbbb@0 > ok ; show > ba!!!..."},
		{"write 2: tear old,new", "aaaaa@0 > ok ; bbbbb@0 > ok ; show > abbbb..."},
		{"write 1: tear new,old and error", "aa@0 > injected ; show > a......."},
		{"write 2: tear bad,new", "aa@0 > ok ; bb@0 > ok ; revive@0 ; show > ab......"},
		// error: nothing was written.
		{"write 2-3: error", "aa@0 > ok ; b@0 > injected ; c@0 > injected ; d@0 > ok ; show > da......"},
		{"write 3+: error", "a@0 > ok ; b@1 > ok ; c@2 > injected ; d@3 > injected ; show > ab......"},
		{"read 3: error", "show > ..E....."},
		{"read at 3: error", "show > ...E.... ; show > ...E...."},
		{"read 2 at 3: error", "show > ........ ; show > ...E.... ; show > ........"},
		// soft: it goes away.
		{"read 1 at 3: soft 2", "show > ...~.... ; show > ...~.... ; show > ........"},
		{"read 1 at 3: soft 2 and crash lose", "show > ...XXXXX ; reopen ; show > ...~.... ; show > ........"},
		{"read 2: bad", "a@1 > ok ; show > .!...... ; show > .!......"},
		{"read 1 at 2-3: bad and error", "show > ..E..... ; show > ..!....."},
		// misdirect, phantom, lie: the disasters.
		{"write 1: misdirect +3", "aa@1 > ok ; show > ....aa.. ; lose ; reopen ; show > ........"},
		{"write 1: misdirect -1", "aa@1 > ok ; show > aa......"},
		{"write 1: misdirect -2", "aa@1 > ok ; show > ........"},
		{"write 1: misdirect +6", "aa@1 > ok ; show > ........"},
		{"write 2: phantom", "aa@0 > ok ; bb@0 > ok ; show > bb...... ; flush > ok ; show > aa......"},
		{"write 2: phantom", "aa@0 > ok ; bb@0 > ok ; c@1 > ok ; flush > ok ; show > ac......"},
		{"write 2: phantom", "aa@0 > ok ; flush > ok ; bb@0 > ok ; keep ; reopen ; show > aa......"},
		{"flush 1: lie", "a@0 > ok ; flush > ok ; b@1 > ok ; lose ; reopen ; show > ........"},
		{"flush 1: lie", "a@0 > ok ; flush > ok ; flush > ok ; b@1 > ok ; lose ; reopen ; show > a......."},
		{"flush 1: error", "a@0 > ok ; flush > injected ; lose ; reopen ; show > ........"},
		{"flush 2: error", "a@0 > ok ; flush > ok ; flush > injected ; lose ; reopen ; show > a......."},
		// crash: before the event is acknowledged, or after.
		{"write 2: crash keep", "a@0 > ok ; b@1 > crashed ; show > XXXXXXXX ; flush > crashed ; c@2 > crashed ; reopen ; show > ab......"},
		{"write 2: crash lose", "a@0 > ok ; b@1 > crashed ; reopen ; show > ........"},
		{"after write 2: crash lose", "a@0 > ok ; flush > ok ; b@1 > ok ; c@1 > crashed ; reopen ; show > a......."},
		{"flush 1: crash lose", "a@0 > ok ; flush > crashed ; reopen ; show > ........"},
		{"after flush 1: crash lose", "a@0 > ok ; flush > ok ; flush > crashed ; reopen ; show > a......."},
		{"read 3: crash lose", "a@0 > ok ; show > a.XXXXXX ; reopen ; show > ........"},
		{"after read 3: crash lose", "a@0 > ok ; show > a..XXXXX"},
		{"crash", "show > XXXXXXXX ; reopen ; a@0 > ok"},
		{"", "aa@0 > ok ; flush > ok ; bb@0 > ok ; c@1 > ok ; lose ; reopen ; show > aa......"},
		{"", "aa@0 > ok ; flush > ok ; bb@0 > ok ; c@1 > ok ; keep ; reopen ; show > bc......"},
		// decay and revival.
		{"decay 3", "show > ...!.... ; aaaa@1 > ok ; show > .aaaa..."},
		{"decay 300", "show > ........"},
		{"after write 1: decay 1", "aa@0 > ok ; show > a!...... ; revive@1 ; show > aa......"},
		{"after write 1: decay 1\nafter write 2: revive 1", "aa@0 > ok ; show > a!...... ; c@7 > ok ; show > aa.....c"},
		{"decay 3 in 2-5\ndecay 4 in 2-5\ndecay 6 in 6-7", "show > ...!..!."},
		{"decay 3 in 2-5\nscrub\ndecay 4 in 2-5", "show > ...!!..."},
		{"decay 3 in 2-5\nafter write 1: scrub and decay 4 in 2-5", "a@0 > ok ; show > a..!!..."},
		{"decay 3 in 2-5\nafter write 1: decay 4 in 2-5", "a@3 > ok ; show > ...a...."},
		{"decay 3", "a@3 > ok ; lose ; reopen ; show > ...!...."},
		{"after write 1: decay 3", "a@3 > ok ; keep ; reopen ; show > ...!...."},
		// Rules count for themselves, and all that match apply.
		{"write 1 at 0: null\nwrite 2: bad", "a@1 > ok ; b@0 > ok ; show > !a......"},
		{"write 2: error\nwrite 2: bad", "a@0 > ok ; b@0 > injected ; show > !......."},
	} {
		t.Run(test.script+"/"+test.story, func(t *testing.T) {
			d := scripted(t, NewMemory(8*sectorSize), test.script)
			for step := range strings.SplitSeq(test.story, ";") {
				do, want, _ := strings.Cut(step, ">")
				do, want = strings.TrimSpace(do), strings.TrimSpace(want)
				verb, at, _ := strings.Cut(do, "@")
				var sector int64
				fmt.Sscan(at, &sector)
				got := ""
				switch verb {
				case "show":
					got = show(t, d)
				case "flush":
					got = word(d.Flush())
				case "lose":
					d.Crash(CrashLose)
				case "keep":
					d.Crash(CrashKeep)
				case "reopen":
					d.Reopen()
				case "revive":
					d.Revive(sector)
				default:
					_, err := d.WriteAt(letters(verb), sector*sectorSize)
					got = word(err)
				}
				if got != want {
					t.Fatalf("%s: %s, want %s", do, got, want)
				}
			}
		})
	}
}

// letters is a sector of each letter.
func letters(s string) []byte {
	var p []byte
	for i := range len(s) {
		p = append(p, bytes.Repeat([]byte{s[i]}, sectorSize)...)
	}
	return p
}

func word(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrCrashed):
		return "crashed"
	case errors.Is(err, ErrInjected):
		return "injected"
	}
	return err.Error()
}

func TestFaultyRefusesPartsOfSectors(t *testing.T) {
	d := scripted(t, NewMemory(8192), "")
	_, err := d.WriteAt(make([]byte, 100), 0)
	wantErr(t, "length", err, ErrUnaligned)
	_, err = d.WriteAt(make([]byte, 512), 100)
	wantErr(t, "offset", err, ErrUnaligned)
}

// TestRandomCrashReachesEveryState counts the states that random crashes leave: two writes to
// the same two sectors, so each sector is old, first, second or bad, whatever the other is.
func TestRandomCrashReachesEveryState(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(3000) {
		d := NewFaulty(NewMemory(2*sectorSize), sectorSize, FaultOptions{Seed: seed})
		mustWrite(t, d, letters("oo"), 0)
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, d, letters("ab"), 0)
		mustWrite(t, d, letters("xy"), 0)
		if err := d.Crash(CrashRandom); err != nil {
			t.Fatal(err)
		}
		d.Reopen()
		seen[show(t, d)]++
	}
	var want []string
	for _, first := range "oax!" {
		for _, second := range "oby!" {
			want = append(want, string(first)+string(second))
		}
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
}

// TestCrashKeepsWhatWasFlushed is the promise of Flush under every seed.
func TestCrashKeepsWhatWasFlushed(t *testing.T) {
	for seed := range uint64(200) {
		d := NewFaulty(NewMemory(4*sectorSize), sectorSize, FaultOptions{Seed: seed})
		mustWrite(t, d, letters("abcd"), 0)
		if err := d.Flush(); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, d, letters("xx"), sectorSize)
		d.Crash(CrashRandom)
		d.Reopen()
		if got := show(t, d); got[0] != 'a' || got[3] != 'd' {
			t.Fatalf("seed %d: %s", seed, got)
		}
	}
}

// session is a fixed run of calls on d, and what each of them gave.
func session(d *Faulty) []string {
	var answers []string
	for i := range 400 {
		n := int64(1 + i%5)
		off := int64(i*37%59) * sectorSize
		_, err := d.WriteAt(pattern(int(n*sectorSize), byte(i)), off)
		answers = append(answers, fmt.Sprint("write ", err))
		p := make([]byte, 4096)
		_, err = d.ReadAt(p, int64(i*13%56)*sectorSize)
		answers = append(answers, fmt.Sprint("read ", p[0], err))
		if i%7 == 0 {
			answers = append(answers, fmt.Sprint("flush ", d.Flush()))
		}
		if d.Crashed() {
			d.Reopen()
		}
	}
	return append(answers, fmt.Sprint(d.Bad()))
}

func TestFaultyIsDeterministic(t *testing.T) {
	rates := FaultRates{
		SoftRead: .05, NullWrite: .05, BadWrite: .05, TornWrite: .05, WriteError: .05, FlushError: .2,
		Decay: .02, Revive: .02, Crash: .02, Misdirect: .05, Phantom: .05, LyingFlush: .2,
	}
	mk := func(seed uint64) *Faulty {
		return NewFaulty(NewMemory(64*sectorSize), sectorSize, FaultOptions{Seed: seed, Rates: rates})
	}
	a, b, other := mk(1), mk(1), mk(2)
	if !slices.Equal(session(a), session(b)) || !slices.Equal(a.Log(), b.Log()) {
		t.Error("the same seed gave other faults")
	}
	if slices.Equal(session(other), session(mk(1))) {
		t.Error("another seed gave the same faults")
	}
	log := strings.Join(a.Log(), "\n")
	for _, fault := range []string{"read of", ": error", ": null", ": bad", ": tear", ": misdirect", ": phantom", ": crash", "crash, ", "decay", "revive", "flush: lie", "flush: error"} {
		if !strings.Contains(log, fault) {
			t.Errorf("no %q among %d faults", fault, len(a.Log()))
		}
	}
}

func TestFaultRates(t *testing.T) {
	kind := reflect.TypeFor[FaultRates]()
	for i := range kind.NumField() {
		var rates FaultRates
		reflect.ValueOf(&rates).Elem().Field(i).SetFloat(1)
		d := NewFaulty(NewMemory(64*sectorSize), sectorSize, FaultOptions{Seed: 3, Rates: rates})
		if kind.Field(i).Name == "Revive" {
			d.Decay(5)
		}
		session(d)
		if len(d.Log()) == 0 {
			t.Errorf("%s: 1 gives no fault", kind.Field(i).Name)
		}
	}
	d := NewFaulty(NewMemory(64*sectorSize), sectorSize, FaultOptions{Seed: 3})
	session(d)
	if len(d.Log()) != 0 {
		t.Errorf("no rates give %v", d.Log())
	}
}

func TestRandomSoftErrorsGoAway(t *testing.T) {
	d := NewFaulty(NewMemory(8192), sectorSize, FaultOptions{Rates: FaultRates{SoftRead: 1}})
	for i := range 10 {
		if err := ReadFull(d, make([]byte, 512), int64(i%3)*512); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadChecked(make([]byte, 512), checkOf(make([]byte, 512)), 4096); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.Log()) != 20 {
		t.Errorf("%d soft errors in 20 reads", len(d.Log()))
	}
}

func TestGroupLosesOneOfAPair(t *testing.T) {
	const half = 16
	group := PairHalves(2*half + 1)
	both := func(d *Faulty) (n int) {
		bad := d.Bad()
		for _, s := range bad {
			if s == 2*half {
				t.Fatal("an exempt sector decayed")
			}
			if slices.Contains(bad, s+half) {
				n++
			}
		}
		return n
	}
	for seed := range uint64(20) {
		d := NewFaulty(NewMemory((2*half+1)*sectorSize), sectorSize, FaultOptions{
			Seed: seed, Group: group, Rates: FaultRates{Decay: 1, BadWrite: .1, TornWrite: .1},
		})
		for i := range 400 {
			mustWrite(t, d, letters("abc"), int64(i%(2*half-2))*sectorSize)
			if i%50 == 0 {
				d.Crash(CrashRandom)
				d.Reopen()
			}
			if n := both(d); n > 0 {
				t.Fatalf("seed %d, write %d: %d pairs lost both", seed, i, n)
			}
		}
		d.Revive(3)
		d.Revive(3 + half)
		d.Decay(3)
		d.Decay(3 + half) // a method does what it is told
		if both(d) == 0 {
			t.Fatal("Decay was refused")
		}
	}
	if g := PairHalves(1); g(0) >= 0 {
		t.Error("a device of one sector has no halves")
	}
}

func TestScrubbedAllowsTheNextDecay(t *testing.T) {
	d := NewFaulty(NewMemory(2*sectorSize), sectorSize, FaultOptions{Group: PairHalves(2), Rates: FaultRates{Decay: 1}})
	d.ReadAt(make([]byte, 512), 0)
	first := d.Bad()
	if len(first) != 1 {
		t.Fatalf("bad: %v", first)
	}
	d.Revive(first[0])
	for range 50 { // the twin may not decay, the sector itself may, as often as it likes
		d.ReadAt(make([]byte, 512), 0)
	}
	if got := d.Bad(); !slices.Equal(got, first) {
		t.Fatalf("bad: %v, want %v", got, first)
	}
	d.Revive(first[0])
	d.Scrubbed()
	twin := 1 - first[0]
	for range 200 {
		d.ReadAt(make([]byte, 512), 0)
		if slices.Contains(d.Bad(), twin) {
			return
		}
		d.Revive(first[0])
		d.Scrubbed()
	}
	t.Error("after a scrub the twin never decayed")
}

// TestFaultyBelowFails: what the device under it says comes through.
func TestFaultyBelowFails(t *testing.T) {
	below := scripted(t, NewMemory(8192), "write 2+: error\nflush 1: error")
	d := scripted(t, below, "")
	mustWrite(t, d, make([]byte, 512), 0)
	_, err := d.WriteAt(make([]byte, 512), 0)
	wantErr(t, "write", err, ErrInjected)
	wantErr(t, "flush", d.Flush(), ErrInjected)
	wantErr(t, "crash", d.Crash(CrashLose), ErrInjected)
	below.Decay(1)
	d.Reopen()
	_, err = d.ReadAt(make([]byte, 1024), 0)
	wantErr(t, "read", err, ErrBadSector)
}

// TestStableSurvivesTheErrorsOfTheModel runs the promise of two copies: with any decay of one
// of each pair, and soft errors, everything that was written is read.
func TestStableSurvivesTheErrorsOfTheModel(t *testing.T) {
	const blocks = 8
	size := int64(blocks * 4096)
	for seed := range uint64(30) {
		d := NewFaulty(NewMemory(2*size), sectorSize, FaultOptions{
			Seed: seed, Group: PairHalves(2 * size / sectorSize), Rates: FaultRates{Decay: .3, SoftRead: .2},
		})
		s := NewStable(NewStripe(d, 0, size), NewStripe(d, size, size))
		var content [blocks][]byte
		for i := range content {
			content[i] = pattern(4096, byte(i))
			mustWrite(t, s, content[i], int64(i)*4096)
		}
		for i := range 100 {
			block := i * 5 % blocks
			p := make([]byte, 4096)
			if _, err := s.ReadChecked(p, checkOf(content[block]), int64(block)*4096); err != nil || !bytes.Equal(p, content[block]) {
				t.Fatalf("seed %d, read %d: %v; bad %v", seed, i, err, d.Bad())
			}
		}
		if s.Counts().Repaired == 0 {
			t.Errorf("seed %d: nothing was repaired", seed)
		}
	}
}
