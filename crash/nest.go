package crash

import (
	"bytes"
	"cmp"
	"maps"
	"math/big"
	"slices"

	"holdfast/disk"
)

// nest is the space of a crash at a cut of the run that the device has just made: what the run
// found up to there, with flushed over it, and on top those of inFlight, of which each is
// what the model makes of it. What the outer crash left undecided stays so.
func (d *lazy) nest(c *cut, flushed []patch, inFlight []disk.Event, opt *Options) (*space, error) {
	outer := d.sp
	sector := int64(outer.sector)
	added := sectorCount(inFlight, sector)
	s := &space{
		base: outer.base, sector: outer.sector,
		vars: append(make([]variable, 0, len(outer.vars)+added), outer.vars...), mask: slices.Clone(c.mask), grp: slices.Clone(c.grp),
		total: new(big.Int).Set(d.statesAt(c.at)), levels: append(slices.Clip(outer.levels), len(outer.vars)),
	}
	if outer.decay != nil {
		s.decay = &decay{}
		s.decay.set(&c.decay)
		s.healed = maps.Clone(outer.healed)
		if s.healed == nil {
			s.healed = map[int64]struct{}{}
		}
	}
	over := make(map[int64]*content, len(flushed)+len(outer.chains)) // by sector: what has become certain
	for i := range flushed {
		p := &flushed[i]
		over[p.sector] = &p.content
		if s.decay != nil {
			s.healed[p.sector] = struct{}{}
		}
	}
	// What lies below the writes in flight: chains of the outer space, unless overwritten.
	index := make(map[int64]int, len(outer.chains)+added)
	s.chains = make([]chain, 0, len(outer.chains)+added)
	for i := range outer.chains {
		under := &outer.chains[i]
		at := under.sector
		if over[at] != nil {
			continue
		}
		if is, ok := under.settled(c.mask); ok && is.data != nil {
			if _, _, ok := under.above(c.mask, under.top); ok && s.decay != nil {
				s.healed[at] = struct{}{}
			}
			over[at] = is
			continue
		}
		index[at] = len(s.chains)
		s.chains = append(s.chains, *under)
		top := &s.chains[len(s.chains)-1].layers
		*top = slices.Clip(*top) // a layer put on them makes them another slice
	}
	below := func(at int64) content {
		if is := over[at]; is != nil {
			return *is
		}
		if i, ok := slices.BinarySearchFunc(outer.patches, at, func(p patch, at int64) int { return cmp.Compare(p.sector, at) }); ok {
			return outer.patches[i].content
		}
		return contentOf(s.base[at*sector:][:sector:sector])
	}
	from := len(s.vars)
	switch opt.Model {
	case Atomic:
		s.stackWrites(inFlight, index, below)
		s.close(from)
	case Prefix:
		s.stackPrefix(inFlight, index, below)
	default:
		top := map[int64]struct{}{}
		for _, e := range inFlight {
			for done := int64(0); done < int64(len(e.Data)); done += sector {
				top[(e.Off+done)/sector] = struct{}{}
			}
		}
		for _, at := range sortedKeys(top) {
			i, ok := index[at]
			if !ok {
				i = len(s.chains)
				index[at] = i
				s.chains = append(s.chains, chain{sector: at, bottom: below(at)})
			}
			s.chains[i].layers = slices.Insert(s.chains[i].layers, 0, layer{ // there is room for what is not written, one version, and bad
				v: int32(len(s.vars)), fall: 1, data: make([]content, 1, 3),
			})
			s.vars = append(s.vars, variable{sector: at, versions: make([]int, 1, 3)})
		}
		if err := s.addVersions(inFlight, index); err != nil {
			return nil, err
		}
		s.finish(opt.Bad, from)
	}
	if s.decay != nil {
		for i := range s.chains {
			c := &s.chains[i]
			added := 0
			for added < len(c.layers) && int(c.layers[added].v) >= from {
				added++
			}
			c.top += added
		}
	}
	s.patches = make([]patch, 0, len(outer.patches)+len(over))
	add := func(at int64, is *content) {
		if _, ok := index[at]; !ok && !bytes.Equal(is.data, s.base[at*sector:][:sector]) {
			s.patches = append(s.patches, patch{at, *is})
		}
	}
	old := outer.patches
	for _, at := range sortedKeys(over) {
		for len(old) > 0 && old[0].sector < at {
			add(old[0].sector, &old[0].content)
			old = old[1:]
		}
		if len(old) > 0 && old[0].sector == at {
			old = old[1:]
		}
		add(at, over[at])
	}
	for i := range old {
		add(old[i].sector, &old[i].content)
	}
	return s, nil
}

// sectorCount is how many sectors are written, some perhaps more than once.
func sectorCount(writes []disk.Event, sector int64) int {
	n := int64(0)
	for _, e := range writes {
		n += int64(len(e.Data)) / sector
	}
	return int(n)
}
