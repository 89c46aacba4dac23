package journal

import (
	"fmt"
	"testing"
)

// TestScrub decays what an open log needs: any sector of it in one run or in both, a header, or
// both of them. The scrub names it, heals it, and what it leaves survives the decay of the other
// half; where it is interrupted nothing is lost that was not.
func TestScrub(t *testing.T) {
	g := geometry(t, 512, 300, 60)
	build := func() (*medium, *client) {
		m, c := start(t, g)
		for i := range 4 {
			c.bump(c.changes(counter(g)+1+uint64(i), c.bytes(g.BlockSize)))
		}
		return m, c
	}
	m, c := build()
	if c.log.head == c.log.oldTail {
		t.Fatal("the log is empty: the test shows nothing")
	}
	if r, err := c.log.Scrub(true); err != nil || len(r.Parts) > 0 || r.Heads != 2 || r.Sectors != 2*int(c.log.head-c.log.oldTail) {
		t.Fatalf("a whole log: %+v, %v", r, err)
	}
	if m.writes > 10 {
		t.Fatalf("%d writes", m.writes)
	}
	head := func(i int) int64 { return int64(g.LogHead(i)) * int64(g.BlockSize) / m.sector }
	sector := func(run int, pos uint64) int64 {
		return runOffset(g, run)/m.sector + int64(pos%c.log.sectors)
	}
	cases := map[string][]int64{"header 0": {head(0)}, "header 1": {head(1)}, "both headers": {head(0), head(1)},
		"a header and a sector": {head(0), sector(0, c.log.oldTail)}, "a header and both runs": {head(1), sector(0, c.log.oldTail), sector(1, c.log.oldTail)}}
	for pos := c.log.oldTail; pos < c.log.head; pos++ {
		cases[fmt.Sprintf("run A, position %d", pos)] = []int64{sector(0, pos)}
		cases[fmt.Sprintf("run B, position %d", pos)] = []int64{sector(1, pos)}
		cases[fmt.Sprintf("position %d", pos)] = []int64{sector(0, pos), sector(1, pos)}
	}
	for name, bad := range cases {
		m, c := build()
		decay := func(m *medium) {
			for _, s := range bad {
				m.bad[s] = true
			}
		}
		decay(m)
		if r, err := c.log.Scrub(false); err != nil || len(r.Parts) != len(bad) || m.bad[bad[0]] == false {
			t.Fatalf("%s: a look: %+v, %v", name, r, err)
		}
		r, err := c.log.Scrub(true)
		if err != nil || len(r.Parts) != len(bad) {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		for _, p := range r.Parts {
			if !p.Healed || p.Err == nil {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if r, err := c.log.Scrub(false); err != nil || len(r.Parts) > 0 {
			t.Errorf("%s: scrubbed twice: %+v, %v", name, r, err)
		}
		c.wants(m, c.k)
		// It is as good as it was: either half is enough, and the log goes on.
		for i := range 2 {
			m := m.clone()
			m.bad[head(i)] = true
			for pos := c.log.oldTail; pos < c.log.head; pos++ {
				m.bad[sector(i, pos)] = true
			}
			c.wants(m, c.k)
		}
		c.bump()
		c.wants(m, c.k)
		if len(bad) > 1 {
			continue // two decays in one pair: a crash before the scrub has healed one may lose it
		}
		for budget := 1; ; budget++ {
			m, c := build()
			decay(m)
			m.budget = budget
			_, err := c.log.Scrub(true)
			m.budget = 0
			c.wants(m, c.k)
			if err == nil {
				break
			}
			if c.log.Err() == nil {
				t.Errorf("%s: after a failed write the log goes on", name)
			}
		}
	}
}
