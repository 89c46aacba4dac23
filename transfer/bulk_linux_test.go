package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// buildImage makes an image of a directory by Build.
func buildImage(t *testing.T, blockSize int, size int64, dir string, o Options) (*image, Stats, error) {
	t.Helper()
	return buildVolume(t, blockSize, size, func(b *volume.Builder) (Stats, error) {
		p, err := o.Plan(dir, blockSize)
		if err != nil {
			return Stats{}, err
		}
		return Build(b, p, o)
	})
}

// crowd makes many files, of all sizes around those where Build does something else.
func crowd(t *testing.T, dir string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	at := dir
	for i := range 90 { // deeper than directories are kept open
		at = filepath.Join(at, fmt.Sprint("d", i))
		write(t, filepath.Join(at, "file"), strings.Repeat("deep", i))
	}
	for i := range 300 {
		size := []int{0, 1, 4095, 4096, 4097, 100_000, bulkSmall - 1, bulkSmall, bulkSmall + 1, bulkBytes + 3}[rng.IntN(10)]
		if i%10 > 0 {
			size = rng.IntN(5000)
		}
		b := make([]byte, size)
		for k := range b {
			b[k] = byte(rng.Uint32())
		}
		write(t, filepath.Join(dir, fmt.Sprint("many", i%7), fmt.Sprint("f", i)), string(b))
	}
}

// Build makes the tree that FromDir makes, whatever is asked to be kept.
func TestBuildIsFromDir(t *testing.T) {
	src := filepath.Join(t.TempDir(), "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	zoo(t, src)
	crowd(t, filepath.Join(src, "void"))
	for i, name := range []string{"file", "void", "dir/sub/deep", "."} {
		err := unix.Setxattr(filepath.Join(src, name), "user.test", bytes.Repeat([]byte{'x'}, 1+i*900), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			t.Fatal(err)
		}
	}
	exclude, err := Match([]string{"f1*", "/void/many3"})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range []Options{{Preserve: true}, {}, {Owner: &Owner{5, 6}}, {Preserve: true, Clamp: time.Unix(1_200_000_000, 0), Exclude: exclude}} {
		for _, bs := range []int{1024, 4096} {
			progress := [2]map[string]int64{{}, {}}
			count := func(k int) func(string, int64) {
				return func(rel string, n int64) {
					if _, begun := progress[k][rel]; begun != (n > 0) {
						t.Errorf("%s: %d bytes done, begun: %v", rel, n, begun)
					}
					progress[k][rel] += n
				}
			}
			o.Progress = count(0)
			plain := newImage(t, bs, 32<<20)
			want := plain.fromDir(t, src, o)
			o.Progress = count(1)
			im, got, err := buildImage(t, bs, 32<<20, src, o)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("case %d: %+v, want %+v", i, got, want)
			}
			for _, name := range []string{"/file", "/void", "/dir/sub/deep", "/"} {
				ino, err := im.Tree().Resolve(name, false)
				if err != nil {
					t.Fatal(err)
				}
				a, err := getXattrs(im.Volume, ino)
				if err != nil {
					t.Fatal(err)
				}
				if ino, err = plain.Tree().Resolve(name, false); err != nil {
					t.Fatal(err)
				}
				if b, err := getXattrs(plain.Volume, ino); err != nil || !maps.EqualFunc(a, b, bytes.Equal) {
					t.Errorf("case %d: attributes of %s: built %q, copied %q (%v)", i, name, a, b, err)
				}
			}
			if a, b := im.list(t), plain.list(t); a != b {
				t.Errorf("case %d: built\n%s\ncopied\n%s", i, a, b)
			}
			for rel := range progress[0] {
				if _, ok := progress[1][rel]; !ok {
					t.Errorf("no progress of %s", rel)
				}
			}
		}
	}
}

// The same tree makes the same bytes, whatever the host keeps as holes and however many
// processors help.
func TestBuildReproducible(t *testing.T) {
	var want []byte
	for i, procs := range []int{1, 2, 4} {
		dir := t.TempDir()
		crowd(t, dir)
		f, err := os.Create(filepath.Join(dir, "sparse"))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			err = f.Truncate(3_000_000)
		} else {
			_, err = f.Write(make([]byte, 3_000_000))
		}
		if _, werr := f.WriteAt([]byte("x"), 1_000_000); err != nil || werr != nil || f.Close() != nil {
			t.Fatal(err, werr)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		old := runtime.GOMAXPROCS(procs)
		im, _, err := buildImage(t, 1024, 32<<20, dir, Options{Preserve: true, Clamp: time.Unix(1000, 0), Owner: &Owner{}})
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		im.close(t)
		if want == nil {
			want = im.mem.Bytes()
		} else if !bytes.Equal(want, im.mem.Bytes()) {
			t.Errorf("%d processors make other bytes", procs)
		}
	}
}

// What changes while it is read, cannot be read or does not fit ends the build with an error
// that names it.
func TestBuildFails(t *testing.T) {
	big := strings.Repeat("0123456789", 300_000)
	for name, c := range map[string]struct {
		change func(string) error
		want   error
		dir    bool // the error is that of the directory
	}{
		"longer":  {func(p string) error { return os.WriteFile(p, []byte(big+"x"), 0o644) }, ErrChanged, false},
		"shorter": {func(p string) error { return os.Truncate(p, 1_500_000) }, ErrChanged, false},
		"gone":    {os.Remove, ErrChanged, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := write(t, filepath.Join(dir, "sub", "file"), big)
			crowd(t, filepath.Join(dir, "zzz"))
			done := false
			_, _, err := buildImage(t, 4096, 32<<20, dir, Options{Progress: func(rel string, n int64) {
				if rel == "sub/file" && n > 0 && !done {
					done = true
					if err := c.change(file); err != nil {
						t.Error(err)
					}
				}
			}})
			want := file
			if c.dir {
				want = filepath.Dir(file)
			}
			if !errors.Is(err, c.want) || strings.Count(err.Error(), want+":") != 1 {
				t.Errorf("err = %v", err)
			}
		})
	}
	t.Run("no space", func(t *testing.T) {
		dir := t.TempDir()
		crowd(t, dir)
		_, _, err := buildImage(t, 4096, 4<<20, dir, Options{})
		if !errors.Is(err, volume.ErrNoSpace) || !strings.Contains(err.Error(), dir) {
			t.Errorf("err = %v", err)
		}
	})
	t.Run("missing", func(t *testing.T) {
		missing := filepath.Join(t.TempDir(), "missing")
		if _, _, err := buildImage(t, 4096, 4<<20, missing, Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
			t.Errorf("err = %v", err)
		}
	})
	if os.Geteuid() != 0 {
		t.Run("unreadable", func(t *testing.T) {
			dir := t.TempDir()
			file := write(t, filepath.Join(dir, "file"), "closed")
			if err := os.Chmod(file, 0); err != nil {
				t.Fatal(err)
			}
			if _, _, err := buildImage(t, 4096, 4<<20, dir, Options{}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), file) {
				t.Errorf("err = %v", err)
			}
		})
	}
	// A build that was given up leaves no volume, and nothing that still runs.
	dev := disk.NewMemory(4 << 20)
	b, err := volume.NewBuilder(dev, volume.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Abort()
	if _, err := volume.ReadSuperblock(dev); !errors.Is(err, layout.ErrNotHoldfast) {
		t.Errorf("after an abort: %v", err)
	}
}
