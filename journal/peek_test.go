package journal

import (
	"path/filepath"
	"reflect"
	"testing"

	"holdfast/disk"
)

// A device that can be read many sectors at once gives the same verdict as one where each is read
// by itself, whatever has become of the log: sectors lost in either run or in both, old laps, a
// sector far behind the head that says what was durable.
func TestPeek(t *testing.T) {
	g := geometry(t, 512, 400, 90)
	m, c := start(t, g)
	for range 25 {
		c.bump(c.changes(counter(g)+1+c.rng.Uint64N(20), c.bytes(g.BlockSize)))
	}
	f, err := disk.CreateFile(filepath.Join(t.TempDir(), "image"), m.Size(), 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	verdicts := map[bool]int{}
	for i := range 150 {
		m := m.clone()
		for range c.rng.IntN(40) {
			run, pos := c.rng.IntN(2), c.log.head+uint64(c.rng.IntN(30))-25
			at := runOffset(g, run) + int64(pos%c.log.sectors)*512
			switch c.rng.IntN(4) {
			case 0: // what another position holds
				copy(m.Bytes()[at:at+512], m.Bytes()[runOffset(g, run)+int64(c.rng.Uint64N(c.log.sectors))*512:][:512])
			case 1:
				clear(m.Bytes()[at : at+512])
			default:
				m.Bytes()[at+int64(c.rng.IntN(512))]++
			}
		}
		if _, err := f.WriteAt(m.Bytes(), 0); err != nil {
			t.Fatal(err)
		}
		want, werr := Scan(m, g, testSeeds)
		got, gerr := Scan(f, g, testSeeds)
		if (werr == nil) != (gerr == nil) || werr != nil && werr.Error() != gerr.Error() || !reflect.DeepEqual(want, got) {
			t.Fatalf("image %d: one by one %+v, %v; at once %+v, %v", i, want, werr, got, gerr)
		}
		verdicts[werr == nil]++
	}
	if verdicts[true] < 10 || verdicts[false] < 10 {
		t.Errorf("%d good logs and %d damaged ones: too few of one kind", verdicts[true], verdicts[false])
	}
}
