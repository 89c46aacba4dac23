package workload

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// golden reads all golden workloads.
func golden(t testing.TB) []*Script {
	t.Helper()
	names, err := filepath.Glob("../testdata/workloads/*.hf")
	if err != nil || len(names) < 25 {
		t.Fatalf("%d golden workloads (%v), want at least 25", len(names), err)
	}
	var out []*Script
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# ") {
			t.Errorf("%s does not begin with what it covers", name)
		}
		s, err := Parse(filepath.Base(name), string(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// Each golden workload has the results on the model that it states, and together they have
// every kind of operation, recorded and with success.
func TestGoldenOnModel(t *testing.T) {
	kinds := map[Kind]int{}
	for _, s := range golden(t) {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
		roundTrip(t, s)
		for _, op := range s.Ops {
			if op.Expect == OK && !op.Any {
				kinds[op.Kind]++
			}
		}
	}
	for k := OpMkdir; k <= OpSync; k++ {
		if kinds[k] == 0 {
			t.Errorf("no golden workload records %s", k)
		}
	}
}
