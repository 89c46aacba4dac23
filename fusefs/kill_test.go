//go:build linux

package fusefs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"holdfast/disk"
	"holdfast/volume"
)

// A load writes files one after the other, each with one write and every third or so with fsync, and after each
// puts its number into a file by a rename.
type load struct {
	dir    string
	rnd    *rand.Rand
	synced atomic.Int64 // the last file that fsync has covered
}

// fileData is what file n holds.
func fileData(n int64) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	p := make([]byte, 1+rnd.IntN(200_000))
	for i := range p {
		p[i] = byte(rnd.Uint32())
	}
	return p
}

// run writes until something fails.
func (l *load) run() error {
	for n := int64(1); ; n++ {
		if err := l.write(fmt.Sprint(n), fileData(n), l.rnd.IntN(3) == 0); err != nil {
			return err
		}
		if err := l.write("tmp", []byte(fmt.Sprint(n)), false); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(l.dir, "tmp"), filepath.Join(l.dir, "current")); err != nil {
			return err
		}
	}
}

func (l *load) write(name string, data []byte, sync bool) error {
	f, err := os.Create(filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	if err := f.Sync(); err != nil {
		return err
	}
	n, err := strconv.ParseInt(name, 10, 64)
	l.synced.Store(n)
	return err
}

// The server is killed in the middle of a load. The image is whole, has all that fsync covered, and what else
// it has is the beginning of what was done, in its order. FUSEFS_CYCLES says how often (5).
func TestKill(t *testing.T) {
	cycles := 5
	if s := os.Getenv("FUSEFS_CYCLES"); s != "" {
		var err error
		if cycles, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		cycles = 1
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range cycles {
		t.Run(fmt.Sprint(i), func(t *testing.T) { killOnce(t, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
}

func killOnce(t *testing.T, rnd *rand.Rand) {
	image := newImage(t, 256<<20)
	s := start(t, image)
	l := &load{dir: s.dir, rnd: rand.New(rand.NewPCG(rnd.Uint64(), 0))}
	until := 1 + rnd.Int64N(60)
	ended := make(chan error, 1)
	go func() { ended <- l.run() }()
	for l.synced.Load() < until {
		select {
		case err := <-ended:
			t.Fatalf("the load ended by itself: %v", err)
		default:
			syscall.Syscall(syscall.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
	s.kill()
	if err := <-ended; !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.EIO) && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the load ended with %v", err)
	}
	check(t, image)

	f, err := disk.OpenFile(image, disk.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := volume.Open(f, volume.Options{})
	if err != nil {
		t.Fatal(err)
	}
	judge(t, v.Tree(), l.synced.Load())
	if err := errors.Join(v.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	check(t, image)
}

// judge finds the last file, and holds all before it to what they must be.
func judge(t *testing.T, tree *volume.Tree, synced int64) {
	t.Helper()
	entries, err := tree.ReadDir("/")
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil {
			last = max(last, n)
		}
	}
	if last < synced {
		t.Errorf("the last file is %d, and %d was fsynced", last, synced)
	}
	for n := int64(1); n <= last; n++ {
		got, err := tree.ReadFile(fmt.Sprint("/", n))
		if err != nil {
			t.Errorf("%d of %d: %v", n, last, err)
		} else if want := fileData(n); !bytes.Equal(got, want) && (n < last || len(got) > 0 || n == synced) {
			t.Errorf("%d of %d: %d bytes, not the %d that were written", n, last, len(got), len(want))
		}
	}
	text, err := tree.ReadFile("/current")
	current, perr := strconv.ParseInt(string(text), 10, 64)
	if last > 1 && (err != nil || perr != nil || current < last-1) || current > last {
		t.Errorf("current says %q (%v), the last file is %d", text, err, last)
	}
	t.Logf("%d files, %d fsynced", last, synced)
}
