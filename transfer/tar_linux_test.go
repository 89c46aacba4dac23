package transfer

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pkg/xattr"

	"holdfast/volume"
)

// needs skips the test where a program is missing.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

// fullZoo is zoo with odd names and, where the host has them, attributes.
func fullZoo(t *testing.T) (dir string, attrs bool) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "src")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"-dash", "new\nline", "\xff\xfe", "sp ace", "back\\slash", strings.Repeat("n", 255), strings.Repeat("long/", 60) + "leaf"} {
		write(t, filepath.Join(dir, n), n)
	}
	dense := make([]byte, 3<<20) // many runs, at odd places
	for i := 0; i < len(dense); i += 70_001 {
		copy(dense[i:], "data")
	}
	write(t, filepath.Join(dir, "runs"), string(dense))
	attrs = xattr.Set(filepath.Join(dir, "sp ace"), "user.test", []byte("a\x00b")) == nil
	if attrs {
		if err := xattr.Set(filepath.Join(dir, "long"), "user.dir", []byte("of a directory")); err != nil {
			t.Fatal(err)
		}
	}
	zoo(t, dir)
	return dir, attrs
}

// hostXattrs is all user attributes in a tree of the host.
func hostXattrs(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, n := range []string{"sp ace", "long"} {
		names, err := xattr.List(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		for _, name := range names {
			if !strings.HasPrefix(name, "user.") {
				continue
			}
			v, err := xattr.Get(filepath.Join(dir, n), name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %s=%q\n", n, name, v)
		}
	}
	return b.String()
}

// gnuTar runs tar in a directory.
func gnuTar(t *testing.T, dir string, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("tar", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tar %q: %v\n%s%s", args, err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes()
}

// Archives of GNU tar in each of its forms become the same volume as the tree itself, and the
// archive of that is, to GNU tar, no different from the tree.
func TestGNUTar(t *testing.T) {
	needs(t, "tar")
	src, attrs := fullZoo(t)
	if err := os.Remove(filepath.Join(src, "socket")); err != nil { // no archive has them
		t.Fatal(err)
	}
	im := newImage(t, 4096, 32<<20)
	im.fromDir(t, src, Options{Preserve: true})
	want := im.list(t)
	st, err := newImage(t, 4096, 32<<20).Statfs() // of an empty one
	if err != nil {
		t.Fatal(err)
	}
	// All but PAX has times in seconds: those are compared without the rest.
	for _, format := range []string{"--format=posix", "--format=posix --sparse", "--format=posix --sparse --sparse-version=0.1", "--format=posix --sparse --sparse-version=0.0",
		"--format=posix --sparse --gzip", "--format=gnu --sparse"} {
		args := append(strings.Fields(format), "--xattrs", "-cf", "-", ".")
		if strings.Contains(format, "gnu") {
			args = slices.DeleteFunc(args, func(a string) bool { return a == "--xattrs" })
		}
		p := gnuTar(t, src, nil, args...)
		from := newImage(t, 4096, 32<<20)
		s, err := FromTar(from.Volume, volume.Root, bytes.NewReader(p), "a.tar", Options{Preserve: true})
		if err != nil || len(s.Warnings) > 0 || s.Bytes > 2<<20 {
			t.Fatal(format, err, s.Warnings, s.Bytes)
		}
		if !sameBuilt(t, p, from, nil) {
			t.Errorf("%s: not to be built", format)
		}
		got := from.list(t)
		if strings.Contains(format, "gnu") {
			got, want := strings.Join(withoutTimes(got), "\n"), strings.Join(withoutTimes(want), "\n")
			if got != want {
				t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
			}
			continue
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", format, got, want)
		}
		// Sizing it needs no more than is said.
		need, err := Options{Preserve: true}.MeasureTar(bytes.NewReader(p), "a.tar", 4096)
		full, _ := from.Statfs()
		if used := st.Free - full.Free; err != nil || used > need.Blocks || st.FreeInodes-full.FreeInodes+1 != need.Files {
			t.Errorf("%s: %d blocks are used, measured %+v (%v)", format, used, need, err)
		}
		var out bytes.Buffer
		if _, err := ToTar(from.Volume, volume.Root, "", &out, Options{}); err != nil {
			t.Fatal(err)
		}
		if n := out.Len(); n > 2<<20 {
			t.Errorf("%s: an archive of %d bytes", format, n)
		}
		gnuTar(t, src, out.Bytes(), "--compare", "--xattrs", "-f", "-")
		dst := t.TempDir()
		gnuTar(t, dst, out.Bytes(), "-x", "--xattrs", "-f", "-")
		if got, want := hostList(t, dst), hostList(t, src); got != want {
			t.Errorf("%s: unpacked\n%s\nwant\n%s", format, got, want)
		}
		if attrs {
			if got, want := hostXattrs(t, dst), hostXattrs(t, src); got != want || want == "" {
				t.Errorf("%s: attributes\n%s\nwant\n%s", format, got, want)
			}
		}
	}
}

// withoutTimes is the lines of a list without the column of times.
func withoutTimes(list string) []string {
	var lines []string
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		lines = append(lines, strings.Join(slices.DeleteFunc(f, func(w string) bool { return strings.Contains(w, "T") && strings.HasSuffix(w, "Z") }), " "))
	}
	return lines
}

// What goes through a volume and back is, to rsync, no different from the tree.
func TestRsync(t *testing.T) {
	needs(t, "rsync")
	src, _ := fullZoo(t)
	im := newImage(t, 4096, 32<<20)
	im.fromDir(t, src, Options{Preserve: true})
	dst := filepath.Join(t.TempDir(), "dst")
	if _, err := ToDir(im.Volume, volume.Root, dst, Options{Preserve: true}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("rsync", "-aHAXnc", "--delete", "--itemize-changes", src+"/", dst+"/").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// Attributes go into a volume and back.
func TestHostXattrs(t *testing.T) {
	src, attrs := fullZoo(t)
	if !attrs {
		t.Skip("no user attributes where tests have their files")
	}
	if os.Geteuid() == 0 {
		// A list with a user of its own, and a capability.
		acl, err := parseACL("user::rw-,user:42:r--,group::r--,mask::r--,other::---")
		if err != nil {
			t.Fatal(err)
		}
		if err := xattr.Set(filepath.Join(src, "sp ace"), aclAccess, acl); err != nil {
			t.Skip(err)
		}
		capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
		if err := xattr.Set(filepath.Join(src, "runs"), "security.capability", capability); err != nil {
			t.Log(err)
		}
	}
	want := hostXattrs(t, src)
	im := newImage(t, 4096, 32<<20)
	im.fromDir(t, src, Options{Preserve: true})
	im.reopen(t)
	dst := filepath.Join(t.TempDir(), "dst")
	s, err := ToDir(im.Volume, volume.Root, dst, Options{Preserve: true})
	if err != nil || len(s.Warnings) > 0 {
		t.Fatal(err, s.Warnings)
	}
	if got := hostXattrs(t, dst); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got, want := hostList(t, dst), hostList(t, src); got != want {
		t.Errorf("back on the host\n%s\nwant\n%s", got, want)
	}
	for _, n := range []string{"sp ace", "runs"} {
		for _, name := range []string{aclAccess, "security.capability"} {
			a, _ := xattr.Get(filepath.Join(src, n), name)
			b, _ := xattr.Get(filepath.Join(dst, n), name)
			if !bytes.Equal(a, b) {
				t.Errorf("%s, %s: %x, want %x", n, name, b, a)
			}
		}
	}
	// GNU tar takes access control lists from an archive of ours.
	if _, err := exec.LookPath("tar"); err == nil {
		var p bytes.Buffer
		if _, err := ToTar(im.Volume, volume.Root, "", &p, Options{}); err != nil {
			t.Fatal(err)
		}
		unpacked := t.TempDir()
		gnuTar(t, unpacked, p.Bytes(), "-x", "-p", "--acls", "-f", "-")
		a, _ := xattr.Get(filepath.Join(src, "sp ace"), aclAccess)
		if b, _ := xattr.Get(filepath.Join(unpacked, "sp ace"), aclAccess); !bytes.Equal(a, b) {
			t.Errorf("unpacked by tar --acls: %x, want %x", b, a)
		}
	}
	// Without Preserve they are no concern of a copy.
	plain := newImage(t, 4096, 32<<20)
	plain.fromDir(t, src, Options{})
	ino, err := plain.Tree().Resolve("/sp ace", false)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := plain.Listxattr(ino); err != nil || len(names) > 0 {
		t.Errorf("%q, %v", names, err)
	}
}
