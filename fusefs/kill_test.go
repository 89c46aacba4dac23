//go:build linux

package fusefs_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/volume"
)

// The server is killed in the middle of a load of 8 processes, at a random moment. The image is whole, has all that
// fsync covered, and is what a beginning of the operations left, as the ordering log has them. Four times of five
// the next load goes on with that image. FUSEFS_CYCLES says how often (3), FUSEFS_SEED with which seed.
func TestKill(t *testing.T) {
	canMount(t)
	cycles, seed := uint64(3), rand.Uint64()
	for name, p := range map[string]*uint64{"FUSEFS_CYCLES": &cycles, "FUSEFS_SEED": &seed} {
		if s := os.Getenv(name); s != "" {
			var err error
			if *p, err = strconv.ParseUint(s, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	if testing.Short() {
		cycles = 1
	}
	t.Logf("seed %d", seed)
	var image string
	for i := range cycles {
		if i%5 == 0 {
			image = newImage(t, 32<<20<<(i/5%4)) // some get full
		}
		if !t.Run(fmt.Sprint(i), func(t *testing.T) { killOnce(t, image, rand.New(rand.NewPCG(seed, i))) }) {
			return
		}
	}
}

func killOnce(t *testing.T, image string, rnd *rand.Rand) {
	before := readTree(t, image)
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("FUSEFS_ORDERING", log)
	if rnd.IntN(4) == 0 {
		t.Setenv("FUSEFS_WRITEBACK", "1")
	}
	t.Setenv("FUSEFS_RARE", fmt.Sprint([]int{2, 20, 200}[rnd.IntN(3)]))
	s := start(t, image)
	var loads []*exec.Cmd
	var outputs []io.Reader
	for range 8 {
		// One that hangs says where.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, os.Args[0])
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGQUIT) }
		c.Env = append(os.Environ(), "FUSEFS_LOAD="+s.dir, fmt.Sprint("FUSEFS_SEED=", rnd.Uint32()))
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		loads, outputs = append(loads, c), append(outputs, out)
	}
	said := make(chan string)
	for _, out := range outputs {
		go func() {
			text, _ := io.ReadAll(bufio.NewReader(out))
			said <- string(text)
		}()
	}
	<-time.After(time.Duration(rnd.Int64N(int64(1500 * time.Millisecond))))
	_ = s.cmd.Process.Kill()
	var lines string
	for range outputs {
		lines += <-said
	}
	for _, c := range loads {
		if err := c.Wait(); err != nil {
			t.Errorf("a load: %v", err)
		}
	}
	s.kill()
	check(t, image)
	after := readTree(t, image)
	all, durable := replay(t, before, after, log)
	synced := 0
	for line := range strings.Lines(lines) {
		var name, want string
		if _, err := fmt.Sscanf(line, "synced %s %s\n", &name, &want); err != nil {
			t.Error(line)
			continue
		}
		synced++
		if n := after.walk(name); n == nil || fmt.Sprintf("%x", sha256.Sum256(n.data)) != want {
			t.Errorf("%s was fsynced, and is not whole", name)
		}
	}
	t.Logf("%d operations, %d durable, %d files fsynced", all, durable, synced)
}

// walk is what a path means, or nil.
func (t tree) walk(path string) *inode {
	n := t[volume.Root]
	for name := range strings.SplitSeq(path, "/") {
		if n != nil {
			n = t[n.names[name]]
		}
	}
	return n
}
