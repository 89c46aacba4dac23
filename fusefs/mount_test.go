//go:build linux

package fusefs_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/fusefs"
	"holdfast/journal"
	"holdfast/layout"
	"holdfast/volume"
)

// TestMain is the tests, or a process that one of them has started: a server (serve), a load (loadMain).
func TestMain(m *testing.M) {
	if dir := os.Getenv("FUSEFS_LOAD"); dir != "" {
		loadMain(dir, os.Getenv("FUSEFS_SEED"))
		os.Exit(0)
	}
	if image := os.Getenv("FUSEFS_IMAGE"); image != "" {
		if err := serve(image, os.Getenv("FUSEFS_DIR")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	unix.Umask(0)
	os.Exit(m.Run())
}

// serve mounts an image until its stdin ends, and says when it is ready.
func serve(image, dir string) error {
	f, err := disk.OpenFile(image, disk.FileOptions{})
	if err != nil {
		return err
	}
	v, err := volume.Open(f, volume.Options{CacheBytes: 64 << 20, Background: true})
	if err != nil {
		return err
	}
	o := fusefs.Options{Source: image, AllowOther: true, Dev: true, Suid: true, Log: os.Stdout, Writeback: os.Getenv("FUSEFS_WRITEBACK") != ""}
	if name := os.Getenv("FUSEFS_ORDERING"); name != "" {
		log, err := os.Create(name)
		if err != nil {
			return err
		}
		defer log.Close()
		o.Ordering = log
	}
	m, err := fusefs.New(v, dir, o)
	if err != nil {
		return err
	}
	fusefs.OwnProcess()
	if name := os.Getenv("FUSEFS_PROFILE"); name != "" {
		profile, err := os.Create(name)
		if err != nil {
			return err
		}
		defer profile.Close()
		if err := pprof.StartCPUProfile(profile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString(0)
	return errors.Join(m.Unmount(), m.ReleaseAll(), v.Close(), f.Close())
}

// canMount skips a test where nothing can be mounted, with the reason.
func canMount(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting without a helper needs root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE here: %v", err)
	}
	f.Close()
}

// openDir is a temporary directory that other users may go into.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newImage makes the file of an empty image.
func newImage(t testing.TB, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "t.img")
	f, err := disk.CreateFile(name, size, 0o600, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(volume.Format(f, volume.FormatOptions{UUID: [16]byte{7}, HashKey: [16]byte{9}}), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// check holds an image to the invariants, as a crash would leave it: its journal is replayed in memory.
func check(t testing.TB, image string) {
	t.Helper()
	f, err := disk.OpenFile(image, disk.FileOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	super, err := volume.ReadSuperblock(f)
	if err != nil {
		t.Fatal(err)
	}
	g, err := layout.NewGeometry(super)
	if err != nil {
		t.Fatal(err)
	}
	o := disk.NewOverlay(f, g.SectorSize)
	if _, err := journal.Recover(o, &g, layout.NewSeeds(super.UUID)); err != nil {
		t.Fatal(err)
	}
	report, err := fsck.Check(o, fsck.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Findings {
		t.Errorf("fsck: %v", p)
	}
}

// server is a process that serves a mount.
type server struct {
	cmd   *exec.Cmd
	dir   string
	image string
	end   func() error
}

// start mounts an image in a process of its own. When the test ends, it is taken away.
func start(t testing.TB, image string) *server {
	t.Helper()
	return startOf(t, os.Args[0], image)
}

// startOf is start of the server in another build of these tests.
func startOf(t testing.TB, tests, image string) *server {
	t.Helper()
	canMount(t)
	dir := openDir(t)
	s := &server{dir: dir, image: image}
	s.cmd = exec.Command(tests)
	s.cmd.Env = append(os.Environ(), "FUSEFS_IMAGE="+image, "FUSEFS_DIR="+dir)
	s.cmd.Stderr = os.Stderr
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.kill() })
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the server says %q, %v", line, err)
	}
	s.end = func() error {
		in.Close()
		rest, _ := lines.ReadString(0)
		if err := s.cmd.Wait(); err != nil || rest != "" {
			return fmt.Errorf("%v: %s", err, rest)
		}
		return nil
	}
	return s
}

// stop unmounts, and checks the image.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	check(t, s.image)
}

// kill ends the server as a crash does, and takes the dead mount away.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	for range 3 { // whatever a test that fails has put over it
		if syscall.Unmount(s.dir, syscall.MNT_DETACH) != nil {
			return
		}
	}
}

// mounted is the type and options of the mount on a directory in /proc/mounts.
func mounted(t testing.TB, dir string) (source, kind, options string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if w := strings.Fields(line); w[1] == dir {
			return w[0], w[2], w[3]
		}
	}
	return "", "", ""
}

// A mount shows what it is, gives back what was put in, and leaves nothing behind: no mount, no
// goroutine, a clean image.
func TestMount(t *testing.T) {
	canMount(t)
	before := runtime.NumGoroutine()
	image, dir := newImage(t, 16<<20), t.TempDir()
	for round, want := range []string{"", "hello"} {
		f, err := disk.OpenFile(image, disk.FileOptions{ReadOnly: round == 1})
		if err != nil {
			t.Fatal(err)
		}
		v, err := volume.Open(f, volume.Options{ReadOnly: round == 1})
		if err != nil {
			t.Fatal(err)
		}
		m, err := fusefs.New(v, dir, fusefs.Options{Source: image, ReadOnly: round == 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		source, kind, options := mounted(t, dir)
		if source != image || kind != "fuse.holdfast" || strings.HasPrefix(options, "ro,") != (round == 1) {
			t.Errorf("mounted as %s %s %s", source, kind, options)
		}
		pollFirst(t, filepath.Join(dir, "p"), []int{unix.O_CREAT | unix.O_RDWR, unix.O_RDONLY}[round])
		name := filepath.Join(dir, "f")
		if got, err := os.ReadFile(name); string(got) != want || err == nil != (round == 1) {
			t.Errorf("round %d: %q, %v", round, got, err)
		}
		err = os.WriteFile(name, []byte("hello"), 0o600)
		if round == 0 && err != nil || round == 1 && !errors.Is(err, syscall.EROFS) {
			t.Errorf("round %d: write: %v", round, err)
		}
		open, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Unmount(); !errors.Is(err, volume.ErrBusy) {
			t.Errorf("unmount in use: %v", err)
		}
		open.Close()
		if err := m.Unmount(); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.ReleaseAll(), v.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if _, kind, _ := mounted(t, dir); kind != "" {
			t.Error("still mounted")
		}
		check(t, image)
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// pollFirst has the kernel learn that there is nothing to poll, by a call that the runtime knows may wait. The
// runtime's own poller would ask while it keeps others of this process, which serves, from running.
func pollFirst(t *testing.T, name string, flags int) {
	t.Helper()
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil {
		t.Fatal(err)
	}
}

// What cannot be mounted on is refused with its reason, the mount of a dead server too.
func TestMountRefused(t *testing.T) {
	canMount(t)
	image := newImage(t, 16<<20)
	s := start(t, image)
	if _, err := os.Stat(s.dir); err != nil { // what the kernel has cached must not hide it
		t.Fatal(err)
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	f, err := disk.OpenFile(image, disk.FileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := volume.Open(f, volume.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for dir, want := range map[string]error{s.dir: syscall.ENOTCONN, image: syscall.ENOTDIR, filepath.Join(t.TempDir(), "none"): syscall.ENOENT} {
		if _, err := fusefs.New(v, dir, fusefs.Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", dir, err, want)
		}
	}
}
