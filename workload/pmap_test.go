package workload

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func contents(m pmap[uint64, int]) (keys []uint64, values map[uint64]int) {
	values = map[uint64]int{}
	m.all(func(k uint64, v int) bool {
		keys = append(keys, k)
		values[k] = v
		return true
	})
	return keys, values
}

// A pmap is a map, and what is done to one never changes another that it came from.
func TestPmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			m    pmap[uint64, int]
			want map[uint64]int
		}
		all := []version{{want: map[uint64]int{}}}
		for i := range rapid.IntRange(0, 60).Draw(t, "steps") {
			from := all[rapid.IntRange(0, len(all)-1).Draw(t, "from")]
			k := rapid.Uint64Range(0, 20).Draw(t, "key")
			next := version{want: maps.Clone(from.want)}
			if rapid.Bool().Draw(t, "put") {
				next.m = from.m.put(k, i)
				next.want[k] = i
			} else {
				next.m = from.m.del(k)
				delete(next.want, k)
			}
			all = append(all, next)
		}
		for i, v := range all {
			keys, got := contents(v.m)
			if !maps.Equal(got, v.want) || !slices.IsSorted(keys) || v.m.len() != len(v.want) {
				t.Fatalf("version %d: found %v (%d), want %v", i, got, v.m.len(), v.want)
			}
			for k := range uint64(21) {
				found, ok := v.m.get(k)
				want, has := v.want[k]
				if found != want || ok != has {
					t.Fatalf("version %d: get %d: %d %v, want %d %v", i, k, found, ok, want, has)
				}
			}
		}
	})
}

// The shape depends on the keys alone, and is not deep even for keys that come sorted.
func TestPmapShape(t *testing.T) {
	var depth func(n *pnode[uint64, int]) int
	depth = func(n *pnode[uint64, int]) int {
		if n == nil {
			return 0
		}
		return 1 + max(depth(n.left), depth(n.right))
	}
	var m pmap[uint64, int]
	for i := range uint64(10000) {
		m = m.put(i, 0)
	}
	if d := depth(m.root); d > 50 {
		t.Errorf("10000 keys are %d deep", d)
	}
	order := rand.New(rand.NewPCG(1, 2)).Perm(10000)
	var o pmap[uint64, int]
	for _, i := range order {
		o = o.put(uint64(i), 0)
	}
	var same func(a, b *pnode[uint64, int]) bool
	same = func(a, b *pnode[uint64, int]) bool {
		if a == nil || b == nil {
			return a == b
		}
		return a.key == b.key && same(a.left, b.left) && same(a.right, b.right)
	}
	if !same(m.root, o.root) {
		t.Error("the shape depends on the order of the insertions")
	}
}

func TestFill(t *testing.T) {
	whole := make([]byte, 1000)
	Fill(whole, 7, 0)
	for _, pos := range []int{0, 1, 7, 8, 9, 511, 999} {
		part := make([]byte, len(whole)-pos)
		Fill(part, 7, uint64(pos))
		if !slices.Equal(part, whole[pos:]) {
			t.Errorf("the bytes from %d on are others", pos)
		}
	}
	other := make([]byte, 1000)
	Fill(other, 8, 0)
	equal := 0
	for i := range other {
		if other[i] == whole[i] {
			equal++
		}
	}
	if equal > 30 { // 4 by chance
		t.Errorf("two seeds share %d of 1000 bytes", equal)
	}
	if slices.Equal(whole[:8], whole[8:16]) {
		t.Error("the data repeats")
	}
}
