package disk

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseFaults(t *testing.T) {
	for _, test := range []struct{ script, want string }{ // want: as String says it, if not the same
		{"write 3 at 10-20: bad", ""},
		{"write 3 at 10: null", ""},
		{"read 1 at 5: soft 2", ""},
		{"read 1 at 5: soft", "read 1 at 5: soft 1"},
		{"read: soft", "read: soft 1"},
		{"read 2: bad", ""},
		{"read 2+: error", ""},
		{"flush 2: lie", ""},
		{"flush *: error", "flush: error"},
		{"flush 1+: error", "flush: error"},
		{"flush 3-3: crash", "flush 3: crash"},
		{"write 4: misdirect +8", ""},
		{"write 4: misdirect -8", ""},
		{"write 4-6: phantom", ""},
		{"after write 7: crash", ""},
		{"write 7: crash lose", ""},
		{"read 7: crash keep", ""},
		{"write 2: tear new,old,bad", ""},
		{"write 2: tear new and error", ""},
		{"write 2: error and misdirect +1 and bad", ""},
		{"decay 40 in 32-63", ""},
		{"decay 40", ""},
		{"revive 40", ""},
		{"scrub", ""},
		{"crash", ""},
		{"after read 1 at 3-4: decay 5 and decay 6 in 6-9 and revive 7 and scrub", ""},
		{"  write\t2 :  bad # comment", "write 2: bad"},
		{"write 1099511627776: bad", "write 1099511627776+: bad"},
	} {
		rules, err := ParseFaults(test.script)
		if err != nil || len(rules) != 1 {
			t.Errorf("%q: %d rules, %v", test.script, len(rules), err)
			continue
		}
		if test.want == "" {
			test.want = test.script
		}
		if got := rules[0].String(); got != test.want {
			t.Errorf("%q reads as %q, want %q", test.script, got, test.want)
		}
	}
	rules, err := ParseFaults("\n# nothing\n\nwrite 1: bad\r\n   \nflush 1: lie")
	if err != nil || len(rules) != 2 {
		t.Errorf("several lines: %v, %v", rules, err)
	}
}

func TestParseFaultsRefuses(t *testing.T) {
	for script, want := range map[string]string{
		"write 1":                         `unknown action "write"`,
		"bad":                             `"bad" needs an event`,
		"null and bad":                    "stands alone",
		": bad":                           "no event",
		"after : crash":                   "no event",
		"open 1: bad":                     `unknown event "open"`,
		"after after write: crash":        `unknown event "after"`,
		"write 0: bad":                    "0 is not in 1 to",
		"write -1: bad":                   "bad number",
		"write x: bad":                    `bad number "x"`,
		"write 3-2: bad":                  "runs backwards",
		"write 3-: bad":                   "bad number",
		"write 99999999999999999999: bad": "bad number",
		"write 2000000000000: bad":        "is not in",
		"write 1 2: bad":                  `unexpected "2"`,
		"write at: bad":                   "one range of sectors",
		"write at 1 2: bad":               "one range of sectors",
		"write at 5-4: bad":               "runs backwards",
		"flush at 5: error":               "a flush has no sectors",
		"write 1:":                        "no action",
		"write 1: bad and":                "no action",
		"write 1: explode":                `unknown action "explode"`,
		"write 1: soft":                   `"soft" is no fault of a write`,
		"write 1: lie":                    `"lie" is no fault of a write`,
		"read 1: null":                    `"null" is no fault of a read`,
		"flush 1: bad":                    `"bad" is no fault of a flush`,
		"write 1: decay 4":                `needs "after"`,
		"after write 1: bad":              `"bad" cannot come after`,
		"write 1: bad now":                `unexpected "now"`,
		"write 1: bad and null":           "in one rule",
		"write 1: error and error":        "in one rule",
		"write 1: tear":                   "tear",
		"write 1: tear new,,old":          "want new, old or bad",
		"write 1: tear " + strings.Repeat("new,", maxFates) + "new": "more than",
		"write 1: misdirect":    "want +N or -N",
		"write 1: misdirect 8":  "want +N or -N",
		"write 1: misdirect +0": "0 is not in",
		"write 1: crash now":    `unknown crash "now"`,
		"read 1: soft 0":        "0 is not in",
		"read 1-2: soft 2":      "the number of one read",
		"decay":                 "bad number",
		"decay 4 in":            "want decay S in A-B",
		"decay 4 of 1-5":        "want decay S in A-B",
		"decay 4 in 5-6":        "not in its decay set",
		"scrub 1":               `unexpected "1"`,
		strings.Repeat("scrub\n", maxFaultRules+1): "more than",
	} {
		rules, err := ParseFaults("scrub # fine\n\n" + script)
		if !errors.Is(err, ErrFaultScript) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, %v, want %q", script, rules, err, want)
			continue
		}
		if line := "line 3:"; !strings.Contains(err.Error(), line) && !strings.HasPrefix(script, "scrub\n") {
			t.Errorf("%.40q: %v does not say %s", script, err, line)
		}
	}
}

func FuzzParseFaults(f *testing.F) {
	f.Add("write 3 at 10-20: bad\nread 1 at 5: soft 2\nflush 2: lie")
	f.Add("write 4: misdirect +8\nafter write 7: crash lose\nwrite 2: tear new,old,bad and error")
	f.Add("decay 40 in 32-63\nrevive 4\nscrub # x\nread 1-4: bad\nwrite 2+: phantom")
	f.Fuzz(func(t *testing.T, script string) {
		rules, err := ParseFaults(script)
		if err != nil {
			if !errors.Is(err, ErrFaultScript) {
				t.Fatal(err)
			}
			return
		}
		var b strings.Builder
		for _, r := range rules {
			b.WriteString(r.String() + "\n")
		}
		back, err := ParseFaults(b.String())
		if err != nil || !reflect.DeepEqual(rules, back) {
			t.Fatalf("%q reads back as %v, %v", b.String(), back, err)
		}
		// Whatever the rules say, a device answers.
		d := NewFaulty(NewMemory(16<<10), sectorSize, FaultOptions{Rules: rules})
		for i := range 6 {
			d.WriteAt(pattern(2048, byte(i)), int64(i)*2048)
			d.ReadAt(make([]byte, 4096), int64(i)*1024)
			d.Flush()
			if d.Crashed() && i%2 == 0 {
				d.Reopen()
			}
		}
	})
}
