package crash

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"holdfast/disk"
)

// The ID of a crash state is text that any process can turn into the same bytes:
//
//	hf1-<hash of the trace>-p<point><model>-<versions>[-d<most>{.<sector>}]{-n<point>-<versions>}
//
// The hash has 16 hexadecimal digits, the model is s (sectors), a (atomic writes) or
// p (prefixes). The versions are those of the sectors in flight, ascending, or of the writes in
// flight, in order, or of the blocks of prefixBlock writes, in order, as tokens joined by dots; what no token names holds what it held before. A token is
//
//	<skip><version>[x<run>]
//
// so many variables are skipped, and so many (1 without x) have that version: v<k> is the k-th
// content written to the sector in the epoch (v1: the write is there; k writes of the block are),
// b is bad. A single "0"
// says that there are no tokens. The -d part names the sectors that decayed, ascending, and how
// many could have. Each -n part is a crash inside the check's run on the state
// before it, at the crash point of that run with this number.
type stateID struct {
	hash   uint64
	point  int
	model  Model
	levels []level

	decay   int     // how many sectors could decay
	decayed []int64 // those that did; if there are none, decay is 0
}

// level is one crash: at which point (of the check's run; unused for the first), and the
// version of each variable, without trailing zeros; -1 is bad.
type level struct {
	point    int
	versions []int
}

const idPrefix = "hf1"

// modelLetters names the models, in their order.
const modelLetters = "sap"

func (id stateID) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s-%016x-p%d%c", idPrefix, id.hash, id.point, modelLetters[id.model])
	for i, l := range id.levels {
		if i > 0 {
			fmt.Fprintf(&b, "-n%d", l.point)
		}
		b.WriteByte('-')
		b.WriteString(l.text())
		if i == 0 && id.decayed != nil {
			fmt.Fprintf(&b, "-d%d", id.decay)
			for _, s := range id.decayed {
				fmt.Fprintf(&b, ".%d", s)
			}
		}
	}
	return b.String()
}

func (l *level) text() string {
	var tokens []string
	skip := 0
	for i := 0; i < len(l.versions); {
		v := l.versions[i]
		run := 1
		for i+run < len(l.versions) && l.versions[i+run] == v {
			run++
		}
		i += run
		if v == 0 {
			skip = run
			continue
		}
		token := strconv.Itoa(skip)
		if skip = 0; v < 0 {
			token += "b"
		} else {
			token += "v" + strconv.Itoa(v)
		}
		if run > 1 {
			token += "x" + strconv.Itoa(run)
		}
		tokens = append(tokens, token)
	}
	if tokens == nil {
		return "0"
	}
	return strings.Join(tokens, ".")
}

// ID is what an ID says before its versions.
type ID struct {
	Trace uint64 // its hash
	Point int    // crash point
	Model Model
	Depth int // crashes inside the check
	Decay int // sectors that could decay; 0 if none did
}

// ParseID reads an ID; the error matches [ErrID].
func ParseID(text string) (ID, error) {
	id, err := parseID(text)
	if err != nil {
		return ID{}, err
	}
	return ID{id.hash, id.point, id.model, len(id.levels) - 1, id.decay}, nil
}

// maxVariables bounds how many variables an ID may speak about.
const maxVariables = 1 << 24

func parseID(text string) (id stateID, err error) {
	bad := func(what string) (stateID, error) {
		return stateID{}, fmt.Errorf("%w: %q: %s", ErrID, text, what)
	}
	parts := strings.Split(text, "-")
	if len(parts) < 4 || parts[0] != idPrefix {
		return bad("want " + idPrefix + "-HASH-POINT-VERSIONS")
	}
	if id.hash, err = strconv.ParseUint(parts[1], 16, 64); err != nil || len(parts[1]) != 16 {
		return bad("hash of the trace")
	}
	p, ok := strings.CutPrefix(parts[2], "p")
	if !ok || len(p) < 2 || strings.IndexByte(modelLetters, p[len(p)-1]) < 0 {
		return bad("crash point")
	}
	id.model, p = Model(strings.IndexByte(modelLetters, p[len(p)-1])), p[:len(p)-1]
	if id.point, ok = number(p); !ok {
		return bad("crash point")
	}
	for i := 3; i < len(parts); i++ {
		if text, found := strings.CutPrefix(parts[i], "d"); found && i == 4 {
			if !id.parseDecay(text) {
				return bad("decayed sectors " + strconv.Quote(parts[i]))
			}
			continue
		}
		var l level
		if i > 3 {
			p, nested := strings.CutPrefix(parts[i], "n")
			if l.point, ok = number(p); !ok || !nested || i+1 == len(parts) {
				return bad("nested crash point")
			}
			i++
		}
		if l.versions, ok = parseVersions(parts[i]); !ok {
			return bad("versions " + strconv.Quote(parts[i]))
		}
		id.levels = append(id.levels, l)
	}
	if id.String() != text {
		return bad("not in its shortest form")
	}
	return id, nil
}

// parseDecay reads what follows "-d".
func (id *stateID) parseDecay(text string) (ok bool) {
	most, sectors, _ := strings.Cut(text, ".")
	if id.decay, ok = number(most); !ok || id.decay > maxDecay {
		return false
	}
	for s := range strings.SplitSeq(sectors, ".") {
		at, err := strconv.ParseInt(s, 10, 64)
		if n := len(id.decayed); err != nil || at < 0 || n == id.decay || n > 0 && id.decayed[n-1] >= at {
			return false
		}
		id.decayed = append(id.decayed, at)
	}
	return true
}

// number reads a decimal number of a few digits.
func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

func parseVersions(text string) (versions []int, ok bool) {
	if text == "0" {
		return nil, true
	}
	for token := range strings.SplitSeq(text, ".") {
		at := strings.IndexAny(token, "vb")
		if at < 0 {
			return nil, false
		}
		what, times, several := strings.Cut(token[at+1:], "x")
		skip, ok := number(token[:at])
		if !ok {
			return nil, false
		}
		run := 1
		if several {
			if run, ok = number(times); !ok {
				return nil, false
			}
		}
		v := -1
		if token[at] == 'v' {
			if v, ok = number(what); !ok || v == 0 {
				return nil, false
			}
		} else if what != "" {
			return nil, false
		}
		if run == 0 || skip > maxVariables || run > maxVariables || len(versions)+skip+run > maxVariables {
			return nil, false
		}
		versions = append(versions, make([]int, skip)...)
		versions = append(versions, slices.Repeat([]int{v}, run)...)
	}
	return versions, true
}

// levels is one concrete state of those that the device's run stands for: the first, variable
// by variable, where each is as old as it can be.
func (d *lazy) levels(path []int) []level {
	class := make([]int, len(d.sp.vars))
	seen := map[*group]struct{}{}
	for v := range class {
		g := d.grp[v]
		if g == nil {
			class[v] = bits.TrailingZeros64(d.mask[v])
			continue
		}
		if _, ok := seen[g]; ok {
			continue
		}
		seen[g] = struct{}{}
		for i, c := range g.least() {
			class[g.vars[i]] = c
		}
	}
	var list []level
	from := 0
	for i := 0; i <= len(path); i++ {
		l, to := level{}, len(class)
		if i > 0 {
			l.point = path[i-1]
		}
		if i < len(d.sp.levels) {
			to = d.sp.levels[i]
		}
		for v := from; v < to; v++ {
			l.versions = append(l.versions, d.sp.vars[v].versions[class[v]])
		}
		for n := len(l.versions); n > 0 && l.versions[n-1] == 0; n-- {
			l.versions = l.versions[:n-1]
		}
		list = append(list, l)
		from = to
	}
	return list
}

func (l *level) version(i int) int {
	if i < len(l.versions) {
		return l.versions[i]
	}
	return 0
}

// each calls f for every sector of every write: which variable decides it, which version the
// write is, and whether that or a newer one is there.
func (l *level) each(writes []disk.Event, sector int, model Model, f func(write int, at int64, data []byte, variable, version int)) {
	index := map[int64]int{}
	for _, w := range writes {
		for done := 0; done < len(w.Data); done += sector {
			index[(w.Off+int64(done))/int64(sector)] = 0
		}
	}
	for i, at := range sortedKeys(index) {
		index[at] = i
	}
	count := make([]int, len(index))
	for i, w := range writes {
		for done := 0; done < len(w.Data); done += sector {
			at := (w.Off + int64(done)) / int64(sector)
			data := w.Data[done : done+sector]
			switch model {
			case Atomic:
				f(i, at, data, i, 1)
				continue
			case Prefix:
				v, version := prefixVersion(i)
				f(i, at, data, v, version)
				continue
			}
			v := index[at]
			count[v]++
			f(i, at, data, v, count[v])
		}
	}
}

// apply makes image, whose bad sectors are in bad, what the level says of the writes in flight.
// k is the decay from before these writes, nil if there is none.
func (l *level) apply(image []byte, bad map[int64]struct{}, k *decay, writes []disk.Event, sector int, model Model) error {
	used, highest := 0, map[int]int{}
	l.each(writes, sector, model, func(_ int, at int64, data []byte, v, version int) {
		used = max(used, v+1)
		highest[v] = max(highest[v], version)
		switch want := l.version(v); {
		case want == version, model == Prefix && want > version:
			copy(image[at*int64(sector):], data)
			delete(bad, at)
			k.heal(at)
		case want == -1:
			bad[at] = struct{}{}
		}
	})
	if model == Atomic {
		used = len(writes)
	}
	if len(l.versions) > used {
		return fmt.Errorf("%w: %d variables, there are %d", ErrID, len(l.versions), used)
	}
	for v, n := range l.versions {
		if n > highest[v] || n < 0 && model != Sectors {
			return fmt.Errorf("%w: version %d of variable %d", ErrID, n, v)
		}
	}
	if _, ok := l.prefix(); model == Prefix && !ok {
		return fmt.Errorf("%w: the writes that it says are there are no prefix", ErrID)
	}
	return nil
}

// damage says what of the writes in flight is not there, and which sectors are bad.
func (l *level) damage(e *epoch, sector int, model Model) (missing []MissingWrite, bad []disk.Extent) {
	lost, broken := make([]int, len(e.writes)), make([]int, len(e.writes))
	places := map[int64]struct{}{}
	final := map[int][]byte{} // by variable: the version that is there
	l.each(e.writes, sector, model, func(_ int, _ int64, data []byte, v, version int) {
		if model == Sectors && l.version(v) == version {
			final[v] = data
		}
	})
	l.each(e.writes, sector, model, func(i int, at int64, data []byte, v, version int) {
		switch want := l.version(v); {
		case want < 0:
			broken[i]++
			places[at] = struct{}{}
		case want < version && !bytes.Equal(final[v], data):
			lost[i]++
		}
	})
	for i, w := range e.point.InFlight {
		if lost[i]+broken[i] > 0 {
			missing = append(missing, MissingWrite{Write: w, Sectors: w.Len / sector, Lost: lost[i], Bad: broken[i]})
		}
	}
	return missing, extents(places, sector)
}

func set(sectors []int64) map[int64]struct{} {
	m := make(map[int64]struct{}, len(sectors))
	for _, s := range sectors {
		m[s] = struct{}{}
	}
	return m
}

// extents joins sectors to ranges of bytes.
func extents(sectors map[int64]struct{}, sector int) []disk.Extent {
	var list []disk.Extent
	for _, at := range sortedKeys(sectors) {
		e := disk.Extent{Off: at * int64(sector), Len: int64(sector)}
		if n := len(list) - 1; n >= 0 && list[n].End() == e.Off {
			list[n].Len += e.Len
		} else {
			list = append(list, e)
		}
	}
	return list
}
