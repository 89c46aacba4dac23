package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/klauspost/crc32"

	"holdfast/disk"
)

// A journal as small as they come: two home sectors that must always hold the same value, a log
// for one transaction (commit record, two payloads), two headers written in turn.
const (
	toyHome   = 0 // and 1
	toyHeader = 2 // and 3
	toyLog    = 4 // commit record, then the payloads
	toyTwin   = 7 // the log again, where there are two
	toySize   = 10
)

// toy breaks one rule of the journal at a time.
type toy struct {
	noFlushAfterLog    bool // home writes may overtake the log
	noPayloadSum       bool // the commit record does not vouch for the payloads
	sealedPayload      bool // its checksum is over parts that end in their own: it is the same for all of them
	headerEarly        bool // the tail moves before the home writes are flushed
	headerInPlace      bool // one header instead of two in turn
	ackEarly           bool // an operation counts as synced before the flush
	recoveryNoFlush    bool // recovery moves the tail in the epoch of its home writes
	recoveryIncrements bool // recovery adds instead of setting
	badIsZero          bool // a home that cannot be read counts as never written
	lostHeaderIsZero   bool // without a good header the log begins at the first transaction
	olderHeader        bool // (healthy) the log is replayed with either header
	twoLogs            bool // (healthy) the log is written twice: one of its sectors may decay
	recoveryNoHeader   bool // (healthy) recovery leaves the tail
}

func toySector(words ...uint64) []byte {
	p := make([]byte, testSector)
	for i, w := range words {
		binary.LittleEndian.PutUint64(p[8*i:], w)
	}
	return seal(p, 0)
}

func toyWord(p []byte, i int) uint64 { return binary.LittleEndian.Uint64(p[8*i:]) }

func (j toy) write(dev disk.Device, sector int, p []byte) error {
	_, err := dev.WriteAt(p, int64(sector)*testSector)
	return err
}

func (j toy) header(dev disk.Device, seq uint64) error {
	at := toyHeader + int(seq%2)
	if j.headerInPlace {
		at = toyHeader
	}
	return j.write(dev, at, toySector(seq))
}

// commit is one operation: both homes become value.
func (j toy) commit(dev disk.Device, seq, value uint64, mark func(string, ...any)) error {
	home := toySector(value)
	payload := make([]byte, 2*testSector)
	for i := range 2 {
		binary.LittleEndian.PutUint64(payload[i*testSector:], value)
	}
	if j.sealedPayload {
		payload = append(append([]byte(nil), home...), home...)
	}
	sum := crc32.Update(0, testTable, payload)
	err := errors.Join(
		j.write(dev, toyLog, toySector(seq, uint64(sum))),
		j.write(dev, toyLog+1, payload))
	if j.twoLogs {
		err = errors.Join(err,
			j.write(dev, toyTwin, toySector(seq, uint64(sum))),
			j.write(dev, toyTwin+1, payload))
	}
	if j.ackEarly {
		mark("synced %d", seq)
	}
	if !j.noFlushAfterLog {
		err = errors.Join(err, dev.Flush())
	}
	if !j.ackEarly && !j.noFlushAfterLog {
		mark("synced %d", seq)
	}
	err = errors.Join(err, j.write(dev, toyHome, home), j.write(dev, toyHome+1, home))
	if !j.headerEarly {
		err = errors.Join(err, dev.Flush())
	}
	return errors.Join(err, j.header(dev, seq), dev.Flush())
}

// logs is where the n-th sector of the log lies.
func (j toy) logs(n int64) []int64 {
	if j.twoLogs {
		return []int64{(toyLog + n) * testSector, (toyTwin + n) * testSector}
	}
	return []int64{(toyLog + n) * testSector}
}

var (
	errOpen       = errors.New("cannot open")
	errAtomicity  = errors.New("atomicity")
	errDurability = errors.New("durability")
)

func (j toy) recover(dev disk.Device) error {
	p := make([]byte, testSector)
	var seq uint64
	var found bool
	headers := 2
	if j.headerInPlace {
		headers = 1
	}
	for i := range headers {
		if _, err := dev.ReadChecked(p, disk.Check{Want: residue}, int64(toyHeader+i)*testSector); err == nil {
			seq, found = max(seq, toyWord(p, 0)), true
		}
	}
	if !found && !j.lostHeaderIsZero {
		return fmt.Errorf("%w: no header", errOpen)
	}
	check := disk.Check{Want: residue, Accept: func(p []byte) bool {
		n := toyWord(p, 0)
		return n == seq+1 || j.olderHeader && n == seq+2 // the newer header is lost
	}}
	if _, err := dev.ReadChecked(p, check, j.logs(0)...); err != nil {
		return nil // nothing to replay
	}
	seq = toyWord(p, 0)
	payload := make([]byte, 2*testSector)
	if j.noPayloadSum {
		if err := disk.ReadFull(dev, payload, (toyLog+1)*testSector); err != nil {
			return nil
		}
	} else if _, err := dev.ReadChecked(payload, disk.Check{Want: uint32(toyWord(p, 1))}, j.logs(1)...); err != nil {
		return nil
	}
	for i := range 2 {
		home := toySector(toyWord(payload[i*testSector:], 0))
		if j.recoveryIncrements {
			old := make([]byte, testSector)
			if _, err := dev.ReadChecked(old, disk.Check{Want: residue}, int64(toyHome+i)*testSector); err == nil && toyWord(old, 0)%10 == 0 {
				home = toySector(toyWord(old, 0) + 10)
			}
		}
		if err := j.write(dev, toyHome+i, home); err != nil {
			return err
		}
	}
	if !j.recoveryNoFlush {
		if err := dev.Flush(); err != nil {
			return err
		}
	}
	if j.recoveryNoHeader {
		return nil
	}
	return errors.Join(j.header(dev, seq), dev.Flush())
}

// check recovers and holds the promise: both homes say the same k, no less than what was
// synced, no more than what was started.
func (j toy) check(s *State) error {
	if err := j.recover(s.Dev); err != nil {
		return err
	}
	var values [2]uint64
	for i := range values {
		p := make([]byte, testSector)
		if _, err := s.Dev.ReadChecked(p, disk.Check{Want: residue}, int64(toyHome+i)*testSector); err != nil {
			if j.badIsZero {
				continue
			}
			return fmt.Errorf("%w: home %d cannot be read", errAtomicity, i)
		}
		values[i] = toyWord(p, 0)
	}
	if values[0] != values[1] || values[0]%10 != 0 {
		return fmt.Errorf("%w: %v", errAtomicity, values)
	}
	done := values[0] / 10
	s.Note(fmt.Sprintf("after %d", done))
	synced, _ := strconv.ParseUint(s.Synced, 10, 64)
	started, _ := strconv.ParseUint(s.Started, 10, 64)
	if done < synced || done > started {
		return fmt.Errorf("%w: after %d, synced %d, started %d", errDurability, done, synced, started)
	}
	return nil
}

func (j toy) trace(t testing.TB, operations uint64) *disk.Trace {
	t.Helper()
	dev := disk.NewMemory(toySize * testSector)
	if err := errors.Join(
		j.write(dev, toyHome, toySector(0)), j.write(dev, toyHome+1, toySector(0)),
		j.write(dev, toyHeader, toySector(0)), j.write(dev, toyHeader+1, toySector(0)),
	); err != nil {
		t.Fatal(err)
	}
	r := disk.NewRecorder(dev, testSector)
	mark := func(format string, args ...any) { r.Mark(fmt.Sprintf(format, args...)) }
	for k := uint64(1); k <= operations; k++ {
		mark("started %d", k)
		if err := j.commit(r, k, 10*k, mark); err != nil {
			t.Fatal(err)
		}
		mark("finished %d", k)
	}
	return r.Trace()
}

func (j toy) explore(t testing.TB, opt Options) (*disk.Trace, *Report) {
	t.Helper()
	tr := j.trace(t, 3)
	r, err := Explore(tr, opt, j.check)
	if err != nil {
		t.Fatal(err)
	}
	return tr, r
}

var toyModes = map[string]Options{
	"sectors": {},
	"bad":     {Bad: true},
	"atomic":  {Model: Atomic},
	"nested":  {Bad: true, Nested: 3},
	"prefix":  {Model: Prefix},
}

func TestToyJournal(t *testing.T) {
	for name, opt := range toyModes {
		for _, j := range []toy{{}, {recoveryNoHeader: true}} {
			_, r := j.explore(t, opt)
			if !r.Complete() || r.States.Cmp(r.Covered) != 0 {
				t.Errorf("%s: covered %v of %v", name, r.Covered, r.States)
			}
			for _, p := range r.Points {
				for _, v := range p.Kept {
					t.Errorf("%s: %s: %v %v", name, v.ID, v.Err, v.Missing)
				}
			}
			if opt.Nested > 0 && (r.Nested.Leaves == 0 || r.Nested.Points == r.Nested.Distinct) {
				t.Errorf("%s: %+v: no crash inside, or nothing met again", name, r.Nested)
			}
		}
	}
}

// TestKillMatrix: each broken variant is caught by the modes that must catch it, with the right
// verdict, at an ID that shows it again; the modes that cannot see it stay silent.
func TestKillMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		j      toy
		caught string // modes, in alphabetical order
		want   error
	}{
		"no flush after the log":        {toy{noFlushAfterLog: true}, "atomic bad nested sectors", errAtomicity},
		"commit without checksum":       {toy{noPayloadSum: true}, "bad nested sectors", errAtomicity},
		"checksum of checksummed parts": {toy{sealedPayload: true}, "bad nested sectors", errAtomicity},
		"tail advanced early":           {toy{headerEarly: true}, "atomic bad nested sectors", errAtomicity},
		"header in place":               {toy{headerInPlace: true}, "bad nested", errOpen},
		"acknowledged too early":        {toy{ackEarly: true}, "atomic bad nested prefix sectors", errDurability},
		"recovery without a flush":      {toy{recoveryNoFlush: true}, "nested", errAtomicity},
		"recovery is not idempotent":    {toy{recoveryIncrements: true}, "atomic bad nested prefix sectors", errDurability},
	} {
		t.Run(name, func(t *testing.T) {
			var caught []string
			for _, mode := range []string{"atomic", "bad", "nested", "prefix", "sectors"} {
				tr, r := c.j.explore(t, toyModes[mode])
				if !r.Complete() {
					t.Errorf("%s: covered %v of %v, %+v", mode, r.Covered, r.States, r.Nested)
				}
				if r.Violations == 0 {
					continue
				}
				caught = append(caught, mode)
				seen := false
				for _, p := range r.Points {
					for _, v := range p.Kept {
						seen = seen || c.want == nil || errors.Is(v.Err, c.want)
						m, err := Rebuild(tr, v.ID, nil, c.j.check)
						if err != nil {
							t.Fatal(err)
						}
						if _, verdict := m.Judge(c.j.check); verdict == nil || verdict.Error() != v.Err.Error() {
							t.Errorf("%s: explored %v, replayed %v", v.ID, v.Err, verdict)
						}
					}
				}
				if !seen {
					t.Errorf("%s: no verdict is %v", mode, c.want)
				}
			}
			if got := fmt.Sprint(caught); got != "["+c.caught+"]" {
				t.Errorf("caught by %s, want [%s]", got, c.caught)
			}
		})
	}
}
