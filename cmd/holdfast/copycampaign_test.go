package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// mixed is one campaign: operations on an image of two copies whose disk makes errors of every
// kind that the model owes full recovery for, all at once, until scrub by scrub.
type mixed struct {
	mem   *disk.Memory
	dev   *disk.Faulty
	g     layout.Geometry
	rng   *rand.Rand
	v     *volume.Volume
	now   map[string]string   // what is durable
	next  []map[string]string // what a crash may leave instead
	crash int
}

// pairs says which sectors are replicas of each other: those at one place of both halves, and of
// the log, of which each half keeps one run, those at one position of the runs.
func pairs(g *layout.Geometry, sector int64) func(s int64) int64 {
	half := int64(g.Blocks) * int64(g.BlockSize) / sector
	per := int64(g.BlockSize) / sector
	run := func(i int) (from, to int64) {
		return int64(g.LogRun(i)) * per, (int64(g.LogRun(i)) + int64(g.RunBlocks)) * per
	}
	return func(s int64) int64 {
		which, at := int(s/half), s%half
		for i := range 2 {
			if from, to := run(i); at >= from && at < to {
				if i == which {
					return 2*half + at - from
				}
				return 4*half + s // nobody keeps anything there
			}
		}
		return at
	}
}

func newMixed(seed uint64) (*mixed, error) {
	const size = 2 << 20
	m := &mixed{mem: disk.NewMemory(2 * size), rng: rand.New(rand.NewPCG(seed, 3)), now: map[string]string{}}
	o := volume.FormatOptions{BlockSize: 1024 << m.rng.IntN(3), Copies: 2, UUID: [16]byte{1}, HashKey: [16]byte{2}, Now: time.Unix(1, 0), RunBlocks: 0}
	if err := volume.Format(m.mem, o); err != nil {
		return nil, err
	}
	_, s, err := volume.Assemble(m.mem, volume.Assembly{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	if m.g, err = layout.NewGeometry(s); err != nil {
		return nil, err
	}
	m.dev = disk.NewFaulty(m.mem, sweepSector, disk.FaultOptions{Seed: seed, Group: pairs(&m.g, sweepSector),
		Rates: disk.FaultRates{SoftRead: 0.01, NullWrite: 0.01, BadWrite: 0.01, Decay: 0.02, Revive: 0.005, Crash: 0.004}})
	return m, m.open()
}

// open opens the volume, again after each crash, and wants what it may hold.
func (m *mixed) open() error {
	for range 200 {
		m.dev.Reopen()
		v, err := volume.Open(m.dev, volume.Options{})
		if err == nil {
			m.v = v
			err = m.same()
		}
		if m.dev.Crashed() {
			m.crash++
			continue
		}
		return err
	}
	return fmt.Errorf("200 crashes on the way up")
}

func (m *mixed) content() (map[string]string, error) {
	got := map[string]string{}
	list, err := m.v.Tree().ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		p, err := m.v.Tree().ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		got[e.Name()] = string(p)
	}
	return got, nil
}

// same wants the tree that is durable, or one that the operation cut off may leave.
func (m *mixed) same() error {
	got, err := m.content()
	if err != nil {
		return err
	}
	for _, want := range append([]map[string]string{m.now}, m.next...) {
		if maps.Equal(got, want) {
			m.now, m.next = want, nil
			return nil
		}
	}
	return fmt.Errorf("another tree: %d files, want %d, dropped: %v", len(got), len(m.now), m.v.Recovery().DroppedWhy)
}

// step is one operation, made durable.
func (m *mixed) step() error {
	tr := m.v.Tree()
	names := slices.Sorted(maps.Keys(m.now))
	after := func(change func(t map[string]string)) map[string]string {
		t := maps.Clone(m.now)
		change(t)
		return t
	}
	var err error
	name := fmt.Sprintf("file%d", m.rng.IntN(25))
	switch k := m.rng.IntN(10); {
	case k < 6 || len(names) < 5:
		p := bytes.Repeat([]byte{byte(m.rng.Uint32())}, m.rng.IntN(12_000))
		m.next = []map[string]string{after(func(t map[string]string) { t[name] = "" }), after(func(t map[string]string) { t[name] = string(p) })}
		err = tr.WriteFile(name, p, 0o644)
	case k < 8:
		old := names[m.rng.IntN(len(names))]
		m.next = []map[string]string{after(func(t map[string]string) { delete(t, old) })}
		err = tr.Remove(old)
	default:
		old := names[m.rng.IntN(len(names))]
		m.next = []map[string]string{after(func(t map[string]string) { p := t[old]; delete(t, old); t[name] = p })}
		err = tr.Rename(old, name)
	}
	if err == nil {
		err = m.v.Sync()
	}
	if err == nil {
		m.now, m.next = m.next[len(m.next)-1], nil
	}
	return err
}

// clean reports whether both copies of all that is in use are good and alike.
func (m *mixed) clean() (bool, error) {
	bad := m.dev.Bad()
	half := int64(m.g.Blocks) * int64(m.g.BlockSize)
	good := true
	err := m.v.Uses(func(u volume.Use) bool {
		for b := range u.Count {
			for s := int64(0); s < int64(m.g.BlockSize); s += sweepSector {
				at := int64(u.Block+b)*int64(m.g.BlockSize) + s
				if s > 0 && (u.Purpose == volume.PurposeSuperblock || u.Purpose == volume.PurposeLogHead) {
					continue
				}
				_, first := slices.BinarySearch(bad, at/sweepSector)
				_, second := slices.BinarySearch(bad, (at+half)/sweepSector)
				good = good && !first && !second && bytes.Equal(m.mem.Bytes()[at:at+sweepSector], m.mem.Bytes()[at+half:at+half+sweepSector])
			}
		}
		return true
	}, nil)
	return good, err
}

func (m *mixed) scrub() error {
	for range 20 {
		r, err := m.v.Scrub(context.Background(), volume.ScrubOptions{Workers: 1})
		if err != nil {
			return err
		}
		if r.Damaged != r.Healed {
			return fmt.Errorf("scrub: %d of %d healed: %+v", r.Healed, r.Damaged, r.Damage)
		}
		if good, err := m.clean(); err != nil {
			return err
		} else if good { // nothing went bad behind it
			m.dev.Scrubbed()
			return nil
		}
	}
	return errors.New("twenty scrubs, and something was bad behind each")
}

// TestCopiesCampaigns: random campaigns of mixed errors within the model, crashes above all,
// lose nothing.
func TestCopiesCampaigns(t *testing.T) {
	n := *campaigns
	if n == 0 {
		n = 12
	}
	crashes, faults := 0, 0
	for seed := range uint64(n) {
		m, err := newMixed(seed)
		if m == nil {
			t.Fatal(err)
		}
		for i := 0; i < 120 && err == nil; i++ {
			switch {
			case i%30 == 29:
				err = m.scrub()
			case i%17 == 16:
				if err = m.v.Close(); err == nil {
					err = m.open()
				}
			default:
				err = m.step()
			}
			if m.dev.Crashed() {
				m.crash++
				err = m.open()
			}
			if err != nil {
				err = fmt.Errorf("step %d: %w", i, err)
			}
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			for _, line := range m.dev.Log()[max(0, len(m.dev.Log())-40):] {
				t.Log(line)
			}
			continue
		}
		t.Logf("seed %d: %d crashes, %d faults", seed, m.crash, len(m.dev.Log()))
		crashes, faults = crashes+m.crash, faults+len(m.dev.Log())
	}
	if crashes == 0 || faults == 0 {
		t.Errorf("%d crashes and %d faults in %d campaigns", crashes, faults, n)
	}
}
