package workload

import (
	"strings"
	"testing"

	"holdfast/disk"
	"holdfast/volume"
)

// TestJudgeDamaged: what a bad sector took along must fail, and the rest be right; another tree
// is told whatever else is damaged.
func TestJudgeDamaged(t *testing.T) {
	s, err := Parse("damage.hf", "image size=1m block=1k sector=512\nmkdir d\ncreate d/f\nwrite d/f 0 9000 1\nsetxattr d/f user.a 900 1\nln -s t d/l\n---\ncreate d/g\n")
	if err != nil {
		t.Fatal(err)
	}
	r := NewRun(s)
	mem := disk.NewMemory(r.FormatOptions().Size)
	if err := volume.Format(mem, r.FormatOptions()); err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(mem, r.Options())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Setup(v); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	after, _ := r.States[0].Apply(s.Ops[0], playTime(1))
	states := []*State{r.States[0], after}
	whole := make([]byte, mem.Size())
	if err := disk.ReadFull(mem, whole, 0); err != nil {
		t.Fatal(err)
	}
	places, clean := 0, 0
	for at := 0; at < len(whole); at += 512 {
		p := append([]byte(nil), whole...)
		for i := range p[at : at+512] {
			p[at+i] ^= 0x5a
		}
		v, err := volume.Open(disk.MemoryFrom(p), r.Options())
		if err != nil {
			continue // refused
		}
		k, damaged, err := JudgeDamaged(v, states, Progress{Synced: 0, Started: 1})
		if err != nil || k != 0 && len(damaged) == 0 { // damage may hide in what two states differ
			t.Errorf("sector %d: state %d, %v", at/512, k, err)
		}
		if len(damaged) > 0 {
			places++
		} else {
			clean++
		}
		// The tree in which d/g is there is not this one.
		if _, _, err := JudgeDamaged(v, states, Progress{Synced: 1, Started: 1}); len(damaged) == 0 && (err == nil || !strings.Contains(err.Error(), "g")) {
			t.Errorf("sector %d: %v", at/512, err)
		}
	}
	if places < 9000/512 || clean == 0 {
		t.Errorf("%d sectors damage something, %d nothing", places, clean)
	}
	for change, op := range map[string]string{"content": "write d/f 5000 1 2", "size": "truncate d/f 8999", "mode": "chmod 0600 d/f", "name": "mv d/f d/h", "target": "rm d/l",
		"attribute": "setxattr d/f user.a 900 2", "attributes": "setxattr d/f user.b 1 1", "no attribute": "rmxattr d/f user.a"} {
		script, err := Parse("change.hf", "image size=1m block=1k sector=512\n---\n"+op+"\n")
		if err != nil {
			t.Fatal(err)
		}
		other, e := r.States[0].Apply(script.Ops[0], r.States[0].mustTime("/d/f"))
		if e != OK {
			t.Fatalf("%s: %v", op, e)
		}
		v, err := volume.Open(disk.MemoryFrom(append([]byte(nil), whole...)), r.Options())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := JudgeDamaged(v, []*State{other}, Progress{}); err == nil {
			t.Errorf("%s: another tree passes", change)
		}
	}
}

// mustTime is the time at which a path was last changed.
func (s *State) mustTime(path string) Time {
	_, n := s.at(path)
	return n.mtime
}
