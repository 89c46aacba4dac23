package volume

import "testing"

// TestStatfsAfterRemoval: what has been removed is available at once, though its blocks wait for the
// removal to be durable: who needs them gets them.
func TestStatfsAfterRemoval(t *testing.T) {
	v, _ := newVolume(t, 32<<20, testFormat(4096), Options{})
	before, err := v.Statfs()
	if err != nil {
		t.Fatal(err)
	}
	size := int(before.Available) * 3 / 4 * 4096
	for i := range 4 {
		ino := newFile(t, v, "f")
		if _, err := v.Write(ino, pattern(size, byte(i)), 0); err != nil {
			t.Fatal(err)
		}
		if err := v.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := v.Unlink(Root, "f"); err != nil {
			t.Fatal(err)
		}
		s, err := v.Statfs()
		if err != nil {
			t.Fatal(err)
		}
		if s.Available+64 < before.Available {
			t.Fatalf("round %d: %d blocks available, %d before the file was there", i, s.Available, before.Available)
		}
	}
}
