package workload

import "cmp"

// pmap is an immutable sorted map: put and del return a new one that shares all but a path of
// O(log n) nodes with the old one. It is a treap whose priorities are hashes of the keys, so
// its shape depends on its content alone (Seidel and Aragon, "Randomized Search Trees", 1996).
// The zero value is empty.
type pmap[K cmp.Ordered, V any] struct {
	root *pnode[K, V]
	n    int
}

type pnode[K cmp.Ordered, V any] struct {
	key         K
	val         V
	prio        uint64
	left, right *pnode[K, V]
}

func priority[K cmp.Ordered](k K) uint64 {
	switch k := any(k).(type) {
	case string:
		return hashString(k)
	case uint64:
		return mix(k, hashSeed1)
	}
	panic("workload: a key of pmap is a string or a uint64")
}

func (m pmap[K, V]) len() int { return m.n }

func (m pmap[K, V]) get(k K) (v V, ok bool) {
	for n := m.root; n != nil; {
		switch {
		case k < n.key:
			n = n.left
		case k > n.key:
			n = n.right
		default:
			return n.val, true
		}
	}
	return v, false
}

func (m pmap[K, V]) put(k K, v V) pmap[K, V] {
	added := 0
	var insert func(n *pnode[K, V]) *pnode[K, V]
	insert = func(n *pnode[K, V]) *pnode[K, V] {
		if n == nil {
			added = 1
			return &pnode[K, V]{key: k, val: v, prio: priority(k)}
		}
		c := *n
		switch {
		case k < n.key:
			c.left = insert(n.left)
			if l := c.left; l.prio > c.prio { // l is fresh: insert made it
				c.left, l.right = l.right, &c
				return l
			}
		case k > n.key:
			c.right = insert(n.right)
			if r := c.right; r.prio > c.prio {
				c.right, r.left = r.left, &c
				return r
			}
		default:
			c.val = v
		}
		return &c
	}
	root := insert(m.root)
	return pmap[K, V]{root, m.n + added}
}

func (m pmap[K, V]) del(k K) pmap[K, V] {
	if _, ok := m.get(k); !ok {
		return m
	}
	var remove func(n *pnode[K, V]) *pnode[K, V]
	remove = func(n *pnode[K, V]) *pnode[K, V] {
		c := *n
		switch {
		case k < n.key:
			c.left = remove(n.left)
		case k > n.key:
			c.right = remove(n.right)
		default:
			return join(n.left, n.right)
		}
		return &c
	}
	return pmap[K, V]{remove(m.root), m.n - 1}
}

// join makes one treap of two whose keys do not overlap.
func join[K cmp.Ordered, V any](a, b *pnode[K, V]) *pnode[K, V] {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.prio > b.prio:
		c := *a
		c.right = join(a.right, b)
		return &c
	default:
		c := *b
		c.left = join(a, b.left)
		return &c
	}
}

// all calls fn for every entry, keys ascending, until it returns false.
func (m pmap[K, V]) all(fn func(K, V) bool) {
	var walk func(n *pnode[K, V]) bool
	walk = func(n *pnode[K, V]) bool {
		return n == nil || walk(n.left) && fn(n.key, n.val) && walk(n.right)
	}
	walk(m.root)
}
