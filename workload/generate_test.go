package workload

import (
	"testing"

	"pgregory.net/rapid"
)

func TestGenerateDeterministic(t *testing.T) {
	o := GenerateOptions{Setup: 10, Ops: 50}
	a, b, c := Generate(FromSeed(1), o), Generate(FromSeed(1), o), Generate(FromSeed(2), o)
	if a.String() != b.String() {
		t.Error("one seed made two scripts")
	}
	if a.String() == c.String() {
		t.Error("two seeds made one script")
	}
}

// What is generated can be written and read, and no setup leaves a handle open.
func TestGenerateText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Generate(rapidDraw(t), GenerateOptions{Setup: 15, Ops: 25})
		roundTrip(t, s)
		if err := s.Check(); err != nil {
			t.Fatal(err)
		}
		if len(s.Ops) != 25 || len(s.Setup) < 15 {
			t.Fatalf("%d and %d operations", len(s.Setup), len(s.Ops))
		}
	})
}

// Every kind comes, every result comes that the model has for a script, and most succeed.
func TestGenerateCoverage(t *testing.T) {
	kinds, results, total := map[Kind]int{}, map[Errno]int{}, 0
	for seed := range uint64(60) {
		s := Generate(FromSeed(seed), GenerateOptions{Ops: 100})
		st := NewState(0o755, 0, 0, Time{})
		for i, op := range s.Ops {
			next, e := st.Apply(op, playTime(i+1))
			results[e]++
			total++
			if e == OK {
				kinds[op.Kind]++
			}
			st = next
		}
	}
	for k := OpMkdir; k <= OpSync; k++ {
		if kinds[k] == 0 {
			t.Errorf("%s never succeeded", k)
		}
	}
	for _, e := range []Errno{EBADF, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY} {
		if results[e] == 0 {
			t.Errorf("%s never came", e)
		}
	}
	if results[OK] < total*6/10 {
		t.Errorf("%d of %d succeeded", results[OK], total)
	}
}
