package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/volume"
)

// buildVolume makes an image like those of newImage by a Builder.
func buildVolume(t *testing.T, blockSize int, size int64, fill func(b *volume.Builder) (Stats, error)) (*image, Stats, error) {
	t.Helper()
	mem := disk.NewMemory(size)
	b, err := volume.NewBuilder(mem, volume.BuildOptions{Format: volume.FormatOptions{
		BlockSize: blockSize, UUID: [16]byte{7}, HashKey: [16]byte{9}, Now: testTime}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	s, err := fill(b)
	if err == nil {
		err = b.Close()
	}
	if err != nil {
		b.Abort()
		if r, ferr := fsck.Check(mem, fsck.Options{}); ferr == nil && r.Clean() {
			t.Errorf("%v, and yet there is a volume", err)
		}
		return nil, s, err
	}
	im := &image{nil, mem}
	im.open(t)
	t.Cleanup(func() { im.close(t) })
	return im, s, nil
}

func buildTar(t *testing.T, blockSize int, size int64, p []byte, o Options) (*image, Stats, error) {
	t.Helper()
	return buildVolume(t, blockSize, size, func(b *volume.Builder) (Stats, error) {
		return BuildTar(b, bytes.NewReader(p), "a.tar", o)
	})
}

// everything is list with all else that an archive or the host says of a file.
func (im *image) everything(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if err := im.Sync(); err != nil { // blocks are counted when they have their place
		t.Fatal(err)
	}
	b.WriteString(im.list(t))
	var walk func(p string, ino volume.Ino)
	walk = func(p string, ino volume.Ino) {
		a, err := im.Getattr(ino)
		if err != nil {
			t.Fatal(p, err)
		}
		blocks := a.Blocks
		attrs, err := getXattrs(im.Volume, ino)
		if err != nil {
			t.Fatal(p, err)
		}
		if isDir(a) { // how full a directory's are depends on how it came to be
			blocks = 0
		}
		fmt.Fprintf(&b, "%s %d links %d blocks %v %v", p, a.Links, blocks, a.Atime.UTC(), a.Btime.UTC())
		for _, k := range slices.Sorted(maps.Keys(attrs)) {
			fmt.Fprintf(&b, " %s=%q", k, attrs[k])
		}
		b.WriteByte('\n')
		if !isDir(a) {
			return
		}
		var list []volume.DirEntry
		if err := im.ReadDir(ino, 0, func(e volume.DirEntry) bool { list = append(list, e); return true }); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(list, func(a, b volume.DirEntry) int { return strings.Compare(a.Name, b.Name) })
		for _, e := range list {
			walk(p+"/"+e.Name, e.Ino)
		}
	}
	walk("", volume.Root)
	return b.String()
}

// sameBuilt holds what FromTar has made of an archive, or its error, against what BuildTar makes
// of it. It reports whether BuildTar was the one to ask.
func sameBuilt(t *testing.T, p []byte, im *image, want error) bool {
	t.Helper()
	st, err := im.Statfs()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Preserve: true}
	need, err := o.MeasureTar(bytes.NewReader(p), "a.tar", st.BlockSize)
	if err != nil {
		if want == nil || !strings.HasPrefix(err.Error(), "a.tar: ") {
			t.Errorf("measured: %v, unpacked: %v", err, want)
		}
		return false
	}
	got, s, err := buildTar(t, st.BlockSize, im.mem.Size(), p, o)
	switch {
	case need.Twice: // nobody asks for this; what comes of it is no bad volume (buildVolume)
		return false
	case want != nil:
		if err == nil || err.Error() != want.Error() {
			t.Errorf("built: %v\nunpacked: %v", err, want)
		}
	case err != nil:
		t.Errorf("built: %v", err)
	default:
		sameTree(t, got, im)
		again, _, err := buildTar(t, st.BlockSize, im.mem.Size(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(contents(t, again.mem), contents(t, got.mem)) {
			t.Error("built twice, two different images")
		}
		if s.Files+s.Dirs+s.Links+s.Others > int(need.Files) {
			t.Errorf("built %+v, measured %+v", s, need)
		}
	}
	return true
}

// sameTree reports lines of everything that differ.
func sameTree(t *testing.T, im, other *image) {
	t.Helper()
	got, want := strings.Split(im.everything(t), "\n"), strings.Split(other.everything(t), "\n")
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d", len(got), len(want))
	}
	bad := 0
	for i := range min(len(got), len(want)) {
		if bad++; got[i] == want[i] {
			bad--
		} else if bad < 5 {
			t.Errorf("%q\nwant %q", got[i], want[i])
		}
	}
}

// contents is all the bytes of a device.
func contents(t *testing.T, dev disk.Device) []byte {
	t.Helper()
	p := make([]byte, dev.Size())
	if err := disk.ReadFull(dev, p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// What an archive says in an order of its own is one tree, whether or not it is built.
func TestBuildTar(t *testing.T) {
	owned := dirMember("late")
	owned.Uid, owned.Gid, owned.Mode, owned.Format = 7, 8, 0o2770, tar.FormatPAX
	owned.PAXRecords = map[string]string{"SCHILY.xattr.user.d": strings.Repeat("v", 900), "SCHILY.acl.default": "user::rwx,user:7:r-x,group::r-x,mask::rwx,other::r-x"}
	big := strings.Repeat("0123456789abcdef", 1<<14)
	list := []member{file("late/deep/er/f", "x"), symlink("late/l", strings.Repeat("t", 2000)), file("z", big), hardlink("late/deep/z", "z"),
		owned, dirMember("late/deep"), file("late/again", big[:4097]), file("holes", big[:3000]+strings.Repeat("\x00", 70_000)+"end"),
		file("only holes", strings.Repeat("\x00", 5000)), hardlink("h", "late/l"), {tar.Header{Typeflag: tar.TypeFifo, Name: "late/p", Mode: 0o600}, ""}}
	for i := range 2000 {
		list = append(list, file(fmt.Sprintf("many/%d/%s", i%3, strings.Repeat("n", i%50)+fmt.Sprint(i)), fmt.Sprint(i)))
		if i%100 == 0 {
			list = append(list, hardlink(fmt.Sprint("linked", i), list[len(list)-1].Name))
		}
	}
	p := archive(t, list...)
	im := newImage(t, 1024, 64<<20)
	_, err := FromTar(im.Volume, volume.Root, bytes.NewReader(p), "a.tar", Options{Preserve: true})
	if err != nil {
		t.Fatal(err)
	}
	if !sameBuilt(t, p, im, nil) {
		t.Error("not to be built")
	}
	// Nor is one built of an archive that has lost its end since it was measured.
	cut := archive(t, file("f", strings.Repeat("y", 5000)))[:1024+512]
	if _, _, err := buildTar(t, 1024, 8<<20, cut, Options{}); err == nil || err.Error() != `a.tar: member "f": the archive is cut off: 5000 bytes are claimed, it ends behind 1024` {
		t.Errorf("err = %v", err)
	}
	// No image is too small to say so in one line.
	for _, c := range []struct{ size, files int }{{1 << 20, 1000}, {2 << 20, 1}} {
		var list []member
		for i := range c.files {
			list = append(list, file(fmt.Sprint("f", i), strings.Repeat("x", 4<<20/c.files)))
		}
		_, _, err := buildTar(t, 1024, int64(c.size), archive(t, list...), Options{})
		if err == nil || !errors.Is(err, volume.ErrNoSpace) || !strings.HasPrefix(err.Error(), `a.tar: member "f`) ||
			!strings.Contains(err.Error(), " left in the image") || strings.Contains(err.Error(), "\n") {
			t.Errorf("err = %v", err)
		}
	}
}

// Archives that are not to be built are told from those that are.
func TestTwice(t *testing.T) {
	for _, c := range []struct {
		want bool
		list []member
	}{
		{false, []member{file("d/e/f", ""), dirMember("d/e"), dirMember("d"), dirMember("."), hardlink("g", "d/e/f"), hardlink("h", "g")}},
		{true, []member{file("f", ""), file("f", "")}},
		{true, []member{file("d/f", ""), file("f", ""), file("./d//f", "")}},
		{true, []member{dirMember("d"), dirMember("d")}},
		{true, []member{dirMember("."), dirMember(".")}},
		{true, []member{file("f", ""), dirMember("f")}},
		{true, []member{dirMember("f"), file("f", "")}},
		{true, []member{file("f/g", ""), symlink("f", "g")}},
		{true, []member{symlink("f", "g"), file("f/x/y", "")}},
		{true, []member{file("f", ""), dirMember("f/x")}},
		{true, []member{hardlink("h", "f"), file("f", "")}},
		{true, []member{dirMember("d"), hardlink("h", "d")}},
		{true, []member{file("f", ""), hardlink("f", "f")}},
		{true, []member{file("f", ""), file("g", ""), hardlink("g", "f")}},
	} {
		var names []string
		for _, m := range c.list {
			names = append(names, m.Name)
		}
		need, err := Options{}.MeasureTar(bytes.NewReader(archive(t, c.list...)), "a.tar", 4096)
		if err != nil || need.Twice != c.want {
			t.Errorf("%q: %v (%v), want %v", names, need.Twice, err, c.want)
		}
	}
}

// A directory that is built is the one that is copied; one that changes meanwhile is refused.
func TestBuildDir(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("0123456789abcdef", aheadBytes/8) // read when it is asked for
	for name, data := range map[string]string{"a/small": "x", "a/holes": strings.Repeat("\x00", 50_000) + "mid" + strings.Repeat("\x00", 50_000), "b/big": big, "empty": ""} {
		write(t, filepath.Join(dir, name), data)
	}
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err == nil {
		_, err = f.WriteAt([]byte(big), 1<<20+5)
	}
	if err == nil {
		err = errors.Join(f.Truncate(4<<20+1), f.Close(), os.Link(filepath.Join(dir, "b/big"), filepath.Join(dir, "a/again")))
	}
	if err == nil { // a small one, with a hole
		err = os.WriteFile(filepath.Join(dir, "late"), nil, 0o600)
	}
	if err == nil {
		f, err = os.OpenFile(filepath.Join(dir, "late"), os.O_WRONLY, 0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte("end"), 100_000)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	o := Options{Preserve: true, Clamp: testTime}
	im := newImage(t, 1024, 16<<20)
	im.fromDir(t, dir, o)
	build := func(o Options) (*image, error) {
		im, _, err := buildVolume(t, 1024, 16<<20, func(b *volume.Builder) (Stats, error) { return BuildDir(b, dir, o) })
		return im, err
	}
	made, err := build(o)
	if err != nil {
		t.Fatal(err)
	}
	sameTree(t, made, im)
	again, err := build(o)
	if err != nil || !bytes.Equal(contents(t, again.mem), contents(t, made.mem)) {
		t.Errorf("built twice, two different images (%v)", err)
	}

	o.Progress = func(rel string, n int64) {
		if rel == "a/again" && n > 0 {
			if err := os.Chtimes(filepath.Join(dir, "a/again"), testTime, testTime); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := build(o); !errors.Is(err, ErrChanged) || !strings.HasPrefix(err.Error(), filepath.Join(dir, "a/again")+": ") {
		t.Errorf("err = %v", err)
	}
}
