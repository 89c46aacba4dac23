package disk

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrFaultScript says that a fault script cannot be read.
var ErrFaultScript = errors.New("bad fault script")

// FaultRule is one rule of a fault script; see the package documentation for the language.
type FaultRule struct {
	after   bool
	event   faultEvent // eventNone: a change of state before the first event
	from    int64      // which of the matching events, from 1
	to      int64      // the last one; maxCount: no end
	lo, hi  int64      // sectors; lo is -1 if none were named
	actions []faultAction
}

type faultEvent uint8

const (
	eventNone faultEvent = iota
	eventWrite
	eventRead
	eventFlush
)

var eventNames = [...]string{eventWrite: "write", eventRead: "read", eventFlush: "flush"}

// faultAction is a verb with what follows it.
type faultAction struct {
	verb    string
	n       int64        // soft: how many; misdirect: how far; decay, revive: the sector
	lo, hi  int64        // decay: the decay set; lo is -1 if none was named
	fates   []sectorFate // tear
	crashBy CrashMode    // crash
}

// sectorFate is what a write does to a sector.
type sectorFate uint8

const (
	fateNew sectorFate = iota
	fateOld
	fateBad
)

var fateNames = [...]string{fateNew: "new", fateOld: "old", fateBad: "bad"}

// Bounds of the numbers in a script; products with a sector size do not overflow.
const (
	maxCount      = 1 << 40
	maxSector     = 1 << 44
	maxFates      = 1 << 12
	maxFaultRules = 1 << 12
)

// verbs says which verbs may follow which event; state marks those that change the state and
// so may also stand alone or follow "after".
var verbs = map[string]struct {
	events []faultEvent
	state  bool
}{
	"null":      {events: []faultEvent{eventWrite}},
	"tear":      {events: []faultEvent{eventWrite}},
	"misdirect": {events: []faultEvent{eventWrite}},
	"phantom":   {events: []faultEvent{eventWrite}},
	"bad":       {events: []faultEvent{eventWrite, eventRead}},
	"error":     {events: []faultEvent{eventWrite, eventRead, eventFlush}},
	"soft":      {events: []faultEvent{eventRead}},
	"lie":       {events: []faultEvent{eventFlush}},
	"crash":     {events: []faultEvent{eventWrite, eventRead, eventFlush}, state: true},
	"decay":     {state: true},
	"revive":    {state: true},
	"scrub":     {state: true},
}

// exclusive lists the verbs that say what becomes of a write: at most one of them in a rule.
var exclusive = []string{"null", "bad", "tear", "phantom"}

// ParseFaults reads a fault script. The error matches [ErrFaultScript] and names the line.
func ParseFaults(script string) ([]FaultRule, error) {
	var rules []FaultRule
	for i, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		rule, err := parseFault(line)
		if err == nil && len(rules) == maxFaultRules {
			err = fmt.Errorf("more than %d rules", maxFaultRules)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrFaultScript, i+1, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func parseFault(line string) (FaultRule, error) {
	r := FaultRule{lo: -1, from: 1, to: maxCount}
	event, actions, found := strings.Cut(line, ":")
	if !found {
		words := strings.Fields(line)
		if slices.Contains(words, "and") {
			return r, fmt.Errorf("%q: a change of state stands alone", strings.TrimSpace(line))
		}
		a, err := parseAction(words)
		if err == nil && !verbs[a.verb].state {
			err = fmt.Errorf("%q needs an event before it, as in %q", a.verb, "write 1: "+a.String())
		}
		r.actions = []faultAction{a}
		return r, err
	}
	if err := r.parseEvent(strings.Fields(event)); err != nil {
		return r, err
	}
	words := strings.Fields(actions)
	for more := true; more; {
		one := words
		i := slices.Index(words, "and")
		if more = i >= 0; more {
			one, words = words[:i], words[i+1:]
		}
		a, err := parseAction(one)
		if err != nil {
			return r, err
		}
		if err := r.admit(a); err != nil {
			return r, err
		}
		r.actions = append(r.actions, a)
	}
	return r, nil
}

// admit says whether a may join the actions of r.
func (r *FaultRule) admit(a faultAction) error {
	v := verbs[a.verb]
	if r.after && !v.state {
		return fmt.Errorf("%q cannot come after the event", a.verb)
	}
	if !r.after && !slices.Contains(v.events, r.event) {
		if v.state {
			return fmt.Errorf("%q needs %q before the event", a.verb, "after")
		}
		return fmt.Errorf("%q is no fault of a %s", a.verb, eventNames[r.event])
	}
	if a.verb == "soft" && r.to != r.from && a.n != 1 {
		return fmt.Errorf("%q needs the number of one read", a.String())
	}
	for _, b := range r.actions {
		if a.verb == b.verb && !v.state || slices.Contains(exclusive, a.verb) && slices.Contains(exclusive, b.verb) {
			return fmt.Errorf("%q and %q in one rule", b.verb, a.verb)
		}
	}
	return nil
}

func (r *FaultRule) parseEvent(words []string) error {
	if len(words) > 0 && words[0] == "after" {
		r.after, words = true, words[1:]
	}
	if len(words) == 0 {
		return errors.New("no event before the colon")
	}
	i := slices.Index(eventNames[:], words[0])
	if i <= int(eventNone) {
		return fmt.Errorf("unknown event %q, want write, read or flush", words[0])
	}
	r.event, words = faultEvent(i), words[1:]
	if len(words) > 0 && words[0] != "at" {
		var err error
		if r.from, r.to, err = parseWhich(words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) > 0 && words[0] == "at" {
		if r.event == eventFlush {
			return errors.New("a flush has no sectors")
		}
		if len(words) != 2 {
			return errors.New(`want one range of sectors after "at"`)
		}
		var err error
		r.lo, r.hi, err = parseSectors(words[1])
		return err
	}
	if len(words) > 0 {
		return fmt.Errorf("unexpected %q before the colon", words[0])
	}
	return nil
}

func parseWhich(s string) (from, to int64, err error) {
	if s == "*" {
		return 1, maxCount, nil
	}
	if n, found := strings.CutSuffix(s, "+"); found {
		from, err = parseNumber(n, 1, maxCount)
		return from, maxCount, err
	}
	return parseRange(s, 1, maxCount)
}

func parseSectors(s string) (lo, hi int64, err error) { return parseRange(s, 0, maxSector) }

// parseRange reads "N" or "N-M", both in bounds and N not above M.
func parseRange(s string, low, high int64) (from, to int64, err error) {
	a, b, found := strings.Cut(s, "-")
	if from, err = parseNumber(a, low, high); err != nil || !found {
		return from, from, err
	}
	if to, err = parseNumber(b, low, high); err == nil && to < from {
		err = fmt.Errorf("range %q runs backwards", s)
	}
	return from, to, err
}

// parseNumber reads decimal digits.
func parseNumber(s string, low, high int64) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("bad number %q", s)
	}
	if int64(n) < low || int64(n) > high {
		return 0, fmt.Errorf("%s is not in %d to %d", s, low, high)
	}
	return int64(n), nil
}

func parseAction(words []string) (faultAction, error) {
	a := faultAction{lo: -1}
	if len(words) == 0 {
		return a, errors.New("no action")
	}
	a.verb, words = words[0], words[1:]
	if _, known := verbs[a.verb]; !known {
		return a, fmt.Errorf("unknown action %q", a.verb)
	}
	argument := ""
	if len(words) > 0 {
		argument = words[0]
	}
	used := min(1, len(words))
	var err error
	switch a.verb {
	case "soft":
		a.n = 1
		if used > 0 {
			a.n, err = parseNumber(argument, 1, maxCount)
		}
	case "tear":
		a.fates, err = parseFates(argument)
	case "misdirect":
		sign := int64(1)
		digits, plus := strings.CutPrefix(argument, "+")
		if !plus {
			var minus bool
			if digits, minus = strings.CutPrefix(argument, "-"); !minus {
				return a, fmt.Errorf("misdirect %q: want +N or -N", argument)
			}
			sign = -1
		}
		a.n, err = parseNumber(digits, 1, maxSector)
		a.n *= sign
	case "crash":
		if used > 0 {
			i := slices.Index(crashNames[:], argument)
			if a.crashBy = CrashMode(i); i <= int(CrashRandom) {
				err = fmt.Errorf("unknown crash %q, want keep or lose", argument)
			}
		}
	case "decay", "revive":
		if a.n, err = parseNumber(argument, 0, maxSector); err == nil && a.verb == "decay" && len(words) > 1 {
			if words[1] != "in" || len(words) != 3 {
				return a, errors.New("want decay S in A-B")
			}
			used = 3
			a.lo, a.hi, err = parseSectors(words[2])
			if err == nil && (a.n < a.lo || a.n > a.hi) {
				err = fmt.Errorf("sector %d is not in its decay set %d-%d", a.n, a.lo, a.hi)
			}
		}
	default:
		used = 0
	}
	if err == nil && len(words) > used {
		err = fmt.Errorf("unexpected %q after %s", words[used], a.verb)
	}
	return a, err
}

func parseFates(s string) ([]sectorFate, error) {
	var fates []sectorFate
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(fateNames[:], name)
		if i < 0 {
			return nil, fmt.Errorf("tear %q: want new, old or bad, separated by commas", s)
		}
		if fates = append(fates, sectorFate(i)); len(fates) > maxFates {
			return nil, fmt.Errorf("tear of more than %d sectors", maxFates)
		}
	}
	return fates, nil
}

// String is the rule as a script says it; ParseFaults reads it back.
func (r FaultRule) String() string {
	var b strings.Builder
	if r.event != eventNone {
		if r.after {
			b.WriteString("after ")
		}
		b.WriteString(eventNames[r.event])
		switch {
		case r.from == 1 && r.to == maxCount:
		case r.to == maxCount:
			fmt.Fprintf(&b, " %d+", r.from)
		default:
			b.WriteString(" " + rangeText(r.from, r.to))
		}
		if r.lo >= 0 {
			b.WriteString(" at " + rangeText(r.lo, r.hi))
		}
		b.WriteString(": ")
	}
	for i, a := range r.actions {
		if i > 0 {
			b.WriteString(" and ")
		}
		b.WriteString(a.String())
	}
	return b.String()
}

func rangeText(lo, hi int64) string {
	if lo == hi {
		return strconv.FormatInt(lo, 10)
	}
	return fmt.Sprintf("%d-%d", lo, hi)
}

func (a faultAction) String() string {
	switch a.verb {
	case "soft", "revive":
		return fmt.Sprintf("%s %d", a.verb, a.n)
	case "misdirect":
		return fmt.Sprintf("misdirect %+d", a.n)
	case "tear":
		names := make([]string, len(a.fates))
		for i, f := range a.fates {
			names[i] = fateNames[f]
		}
		return "tear " + strings.Join(names, ",")
	case "crash":
		if a.crashBy != CrashRandom {
			return "crash " + crashNames[a.crashBy]
		}
	case "decay":
		if a.lo >= 0 {
			return fmt.Sprintf("decay %d in %s", a.n, rangeText(a.lo, a.hi))
		}
		return fmt.Sprintf("decay %d", a.n)
	}
	return a.verb
}
