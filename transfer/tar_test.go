package transfer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"holdfast/volume"
)

// member is one member of an archive: its header, and data of the header's size unless said.
type member struct {
	tar.Header
	data string
}

func file(name, data string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func dirMember(name string) member {
	return member{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func symlink(name, target string) member {
	return member{tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func hardlink(name, target string) member {
	return member{tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}, ""}
}

// archive is a tar archive of members.
func archive(t *testing.T, list ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range list {
		if m.Typeflag == tar.TypeReg {
			m.Size = int64(len(m.data))
		}
		if m.ModTime.IsZero() && m.Typeflag != tar.TypeXGlobalHeader {
			m.ModTime = testTime.Truncate(time.Second)
		}
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack is FromTar into a new volume.
func unpack(t *testing.T, p []byte) (*image, Stats, error) {
	t.Helper()
	im := newImage(t, 1024, 8<<20)
	s, err := FromTar(im.Volume, volume.Root, bytes.NewReader(p), "a.tar", Options{Preserve: true})
	return im, s, err
}

// names is the paths in a volume, with what is in short files and where links lead.
func (im *image) names(t *testing.T) string {
	t.Helper()
	var list []string
	for line := range strings.Lines(im.list(t)) {
		if p := strings.Fields(line)[0]; strings.HasPrefix(p, "/") {
			list = append(list, p[1:])
		}
	}
	return strings.Join(list, " ")
}

// Each archive that would do harm ends in one line that names the member, and what is in the
// image is what came before.
func TestHostileTar(t *testing.T) {
	raw := func(change func(p []byte) []byte, list ...member) []byte { return change(archive(t, list...)) }
	seal := func(h []byte) {
		copy(h[148:156], "        ")
		sum := 0
		for _, c := range h[:512] {
			sum += int(c)
		}
		copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	}
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		name  string
		data  []byte
		want  string // in the error
		holds string
	}{
		{"parent", archive(t, file("ok", ""), file("../out", "x")), `a.tar: member "../out": its name has ".." in it`, "ok"},
		{"parent inside", archive(t, dirMember("d"), file("d/../../out", "x")), `a.tar: member "d/../../out": `, "d"},
		{"only a parent", archive(t, dirMember("..")), `a.tar: member "..": `, ""},
		{"through a link", archive(t, symlink("l", ".."), file("l/x", "x")), `a.tar: member "l/x": "l" is a symbolic link, which is not followed`, "l"},
		{"through a link to a directory", archive(t, dirMember("d"), symlink("l", "d"), file("l/x", "x")), `a.tar: member "l/x"`, "d l"},
		{"below a file", archive(t, file("f", ""), file("f/x", "x")), `a.tar: member "f/x": "f": not a directory`, "f"},
		{"link to outside", archive(t, hardlink("h", "../../etc/passwd")), `a.tar: member "h": the name it links to, "../../etc/passwd"`, ""},
		{"link to nothing", archive(t, hardlink("h", "none")), `a.tar: member "h": a hard link to "none": no such file`, ""},
		{"link through a link", archive(t, dirMember("d"), file("d/f", ""), symlink("l", "d"), hardlink("h", "l/f")), `a.tar: member "h": a hard link to "l/f": "l" is a symbolic link`, "d d/f l"},
		{"link to a directory", archive(t, dirMember("d"), hardlink("h", "d")), `a.tar: member "h": a hard link to "d": is a directory`, "d"},
		{"long name", archive(t, file("ok", ""), file("d/"+long, "")), `a.tar: member "d/` + long + `": file name too long`, "d ok"},
		{"over a full directory", archive(t, dirMember("d"), file("d/f", ""), file("d", "x")), `a.tar: member "d": a directory: something else`, "d d/f"},
		{"the top as a file", archive(t, file(".", "x")), `a.tar: member ".": it would replace the top`, ""},
		{"empty name", raw(func(p []byte) []byte { clear(p[:100]); seal(p); return p }, file("x", "")), `a.tar: member "": its name is empty`, ""},
		{"empty target", raw(func(p []byte) []byte { clear(p[157:257]); seal(p); return p }, symlink("x", "y")), `a.tar: member "x": a symbolic link to nothing`, ""},
		{"unknown type", raw(func(p []byte) []byte { p[156] = 'Q'; seal(p); return p }, file("x", "")), `a.tar: member "x": unknown type 'Q'`, ""},
		{"cut off in data", archive(t, file("ok", ""), file("f", strings.Repeat("y", 5000)))[:2048], `a.tar: member "f": the archive is cut off: 5000 bytes are claimed, it ends behind 0`, "ok"},
		{"cut off in a header", archive(t, file("ok", ""), file("f", ""))[:700], `a.tar: after member "ok", offset 700: the archive is cut off`, "ok"},
		{"cut off behind data", archive(t, file("ok", ""), file("f", "tiny"))[:1200], `a.tar: after member "f", offset 1200: the archive is cut off`, "f ok"},
		{"damaged first header", raw(func(p []byte) []byte { p[100] ^= 1; return p }, file("f", "")), `a.tar: damaged header`, ""},
		{"cpio", []byte("070701" + strings.Repeat("0", 1000)), `a.tar: not a tar archive: it is cpio`, ""},
		{"claims 8 GiB", raw(func(p []byte) []byte { copy(p[124:136], "77777777777\x00"); seal(p); return p[:1024] }, file("f", "tiny")), `a.tar: member "f": the archive is cut off: 8589934591 bytes`, ""},
		{"claims 2^62", raw(func(p []byte) []byte {
			copy(p[124:136], []byte{0x80, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0})
			copy(p[257:265], "ustar  \x00")
			seal(p)
			return p[:1024]
		}, file("f", "tiny")), `a.tar: member "f": file too large`, ""},
		{"damaged header", raw(func(p []byte) []byte { p[512+100] ^= 1; return p }, file("ok", ""), file("f", "")), `a.tar: after member "ok", offset 1024: damaged header`, "ok"},
		{"text", []byte(strings.Repeat("no archive at all\n", 100)), `a.tar: not a tar archive`, ""},
		{"xz", []byte("\xfd7zXZ\x00 and so on"), `a.tar: compressed with xz`, ""},
		{"uid", archive(t, member{tar.Header{Typeflag: tar.TypeReg, Name: "f", Uid: math.MaxUint32, Format: tar.FormatPAX}, ""}), `a.tar: member "f": uid 4294967295`, ""},
		{"attribute", archive(t, member{tar.Header{Typeflag: tar.TypeReg, Name: "f", PAXRecords: map[string]string{"SCHILY.acl.access": "user:lisa:rwx"}}, ""}), `a.tar: member "f": SCHILY.acl.access: entry "user:lisa:rwx"`, ""},
		{"global size", archive(t, member{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}, ""}), `a global header gives every member the same "path"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, _, err := unpack(t, c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || strings.Count(err.Error(), "a.tar") != 1 {
				t.Errorf("err = %v\nwant %s", err, c.want)
			}
			if got := im.names(t); got != c.holds {
				t.Errorf("the image holds %q, want %q", got, c.holds)
			}
			sameBuilt(t, c.data, im, err)
		})
	}
}

// What can be unpacked is, as GNU tar does it.
func TestTarHabits(t *testing.T) {
	pax := func(m member, key, value string) member { m.PAXRecords = map[string]string{key: value}; return m }
	for _, c := range []struct {
		name, want string
		warnings   int
		list       []member
	}{
		{"implied parents", "a a/b a/b/c", 0, []member{file("a/b/c", "x")}},
		{"dots and slashes", "a a/b", 0, []member{dirMember("./"), dirMember("./a/"), file(".//a/./b", "x")}},
		{"absolute", "etc etc/x y", 1, []member{file("/etc/x", ""), file("//y", "")}},
		{"a later file", "f", 0, []member{file("f", "first"), file("f", "second")}},
		{"a file over a link", "f l", 0, []member{file("f", "x"), symlink("l", "f"), file("l", "y")}},
		{"a directory over a link", "d d/x t", 0, []member{dirMember("t"), symlink("d", "t"), dirMember("d"), file("d/x", "")}},
		{"a file over an empty directory", "d", 0, []member{dirMember("d"), file("d", "x")}},
		{"a directory twice", "d d/x", 0, []member{dirMember("d"), file("d/x", ""), dirMember("d")}},
		{"a link to itself", "f", 0, []member{file("f", "x"), hardlink("f", "f")}},
		{"a link to a link", "a b l", 0, []member{symlink("l", "nowhere"), hardlink("a", "l"), hardlink("b", "./a")}},
		{"the label of a volume", "f", 1, []member{{tar.Header{Typeflag: 'V', Name: "label", Format: tar.FormatGNU}, ""}, file("f", "")}},
		{"a global header", "f", 0, []member{{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""}, file("f", "")}},
		{"an odd record", "f", 0, []member{pax(file("f", ""), "VENDOR.thing", "x")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := archive(t, c.list...)
			im, s, err := unpack(t, p)
			if err != nil || len(s.Warnings) != c.warnings {
				t.Fatal(err, s.Warnings)
			}
			if got := im.names(t); got != c.want {
				t.Errorf("the image holds %q, want %q", got, c.want)
			}
			sameBuilt(t, p, im, nil)
			// In pieces of one byte, and measured, it is the same.
			again := newImage(t, 1024, 8<<20)
			if _, err := FromTar(again.Volume, volume.Root, iotest.OneByteReader(bytes.NewReader(p)), "a.tar", Options{Preserve: true}); err != nil {
				t.Fatal(err)
			}
			if got, want := again.list(t), im.list(t); got != want {
				t.Errorf("in pieces\n%s\nwant\n%s", got, want)
			}
			need, err := Options{Preserve: true}.MeasureTar(bytes.NewReader(p), "a.tar", 1024)
			if err != nil || int(need.Files) < s.Files+s.Links+s.Others {
				t.Errorf("%+v, %v", need, err)
			}
		})
	}
	if _, s, err := unpack(t, archive(t, file("f", ""))[:512]); err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "no mark at its end") {
		t.Errorf("without a mark at the end: %v, %v", s.Warnings, err)
	}
}

// Attributes of all kinds come from an archive, whatever compresses it.
func TestTarAttributes(t *testing.T) {
	when := time.Unix(1_234_567_890, 987_654_321)
	global := member{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"mtime": "-1.5", "uid": "77"}}, ""}
	own := member{tar.Header{Typeflag: tar.TypeReg, Name: "own", Mode: 0o7755, Uid: 4_000_000_000, Gid: 5, ModTime: when, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "\x00bin", "SCHILY.xattr.security.selinux": "label", "SCHILY.acl.access": "user::rwx,user:7:r-x,user:lisa:rw-:9,group::r-x,mask::rwx,other::r-x"}}, "x"}
	p := archive(t, own, global, file("given", ""), member{tar.Header{Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o660, Devmajor: 8, Devminor: 17}, ""})
	var gz, zst bytes.Buffer
	w := gzip.NewWriter(&gz)
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{w, z} {
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var first string
	for name, p := range map[string][]byte{"plain": p, "gzip": gz.Bytes(), "zstd": zst.Bytes()} {
		im, s, err := unpack(t, p)
		if err != nil || len(s.Warnings) > 0 {
			t.Fatal(name, err, s.Warnings)
		}
		if !sameBuilt(t, p, im, nil) {
			t.Error(name, "not to be built")
		}
		if got := im.list(t); first == "" {
			first = got
		} else if got != first {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, first)
		}
		a, err := im.Lookup(volume.Root, "own")
		if err != nil || a.Mode != 0o107775 && a.Mode != 0o107755 || a.UID != 4_000_000_000 || a.GID != 5 || !a.Mtime.Equal(when) {
			t.Errorf("%+v, %v", a, err)
		}
		attrs, err := getXattrs(im.Volume, a.Ino)
		if err != nil || len(attrs) != 2 || string(attrs["user.a"]) != "\x00bin" || len(attrs[aclAccess]) != 4+6*8 {
			t.Errorf("%q, %v", attrs, err)
		}
		if a, err = im.Lookup(volume.Root, "given"); err != nil || a.UID != 77 || !a.Mtime.Equal(time.Unix(-2, 500_000_000)) {
			t.Errorf("%+v, %v", a, err)
		}
		if a, err = im.Lookup(volume.Root, "disk"); err != nil || a.Mode != 0o060660 || a.Major != 8 || a.Minor != 17 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	// A checksum that is wrong behind the end of the archive is not passed over.
	bad := bytes.Clone(gz.Bytes())
	bad[len(bad)-6] ^= 1
	if _, _, err := unpack(t, bad); !errors.Is(err, gzip.ErrChecksum) {
		t.Errorf("a wrong checksum: %v", err)
	}
}

// A sparse file costs what its data costs, in time and memory, in and out.
func TestSparseTar(t *testing.T) {
	h := &tar.Header{Name: "./holes", Mode: 0o640, Uid: 3_000_000, Gid: 4, Size: 1 << 50, ModTime: testTime}
	spans := []span{{512, 7}, {1 << 20, 3000}, {1<<49 + 100, 9}}
	m := sparseText(spans, h.Size)
	data := strings.Repeat("a", 7) + strings.Repeat("b", 3000) + strings.Repeat("c", 9)
	head, err := sparseHeader(h, map[string]string{"SCHILY.xattr.user.k": "v"}, int64(len(m)+len(data)))
	if err != nil {
		t.Fatal(err)
	}
	p := append(append(head, m...), data...)
	p = append(p, make([]byte, -len(p)&511)...)
	p = append(p, archive(t, file("next", "still here"))...)

	im, s, err := unpack(t, p)
	if err != nil || s.Bytes > 10_000 || len(s.Warnings) > 0 {
		t.Fatal(s, err)
	}
	if need, err := (Options{Preserve: true}).MeasureTar(bytes.NewReader(p), "a.tar", 1024); err != nil || need.Twice {
		t.Errorf("%+v, %v", need, err)
	}
	made, ms, err := buildTar(t, 1024, 8<<20, p, Options{Preserve: true})
	if err != nil || ms.Bytes > 10_000 {
		t.Fatal(ms, err)
	}
	a, err := im.Lookup(volume.Root, "holes")
	if err != nil || a.Size != 1<<50 || a.UID != 3_000_000 || !a.Mtime.Equal(testTime) || a.Blocks > 12 {
		t.Fatalf("%+v, %v", a, err)
	}
	var got bytes.Buffer
	if _, err := ToTar(im.Volume, volume.Root, "", &got, Options{}); err != nil {
		t.Fatal(err)
	}
	if got.Len() > 40_000 {
		t.Errorf("an archive of %d bytes", got.Len())
	}
	back, _, err := unpack(t, got.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, im := range []*image{im, back, made} {
		a, err := im.Lookup(volume.Root, "holes")
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for _, r := range spans {
			p := make([]byte, r.n+2)
			if _, err := im.Read(a.Ino, p, r.off-1); err != nil || string(p) != "\x00"+data[at:at+int(r.n)]+"\x00" {
				t.Errorf("at %d: %q, %v", r.off, p, err)
			}
			at += int(r.n)
		}
		if n, err := im.Lookup(volume.Root, "next"); err != nil || n.Size != 10 {
			t.Errorf("what comes behind it: %+v, %v", n, err)
		}
	}

	// A map that the data does not bear out, or that is out of order.
	for name, bad := range map[string][]span{"longer than the data": {{0, 7}, {1 << 20, 9000}}, "overlap": {{0, 1000}, {500, 1000}}, "beyond the end": {{1<<50 - 1, 100}}} {
		m := sparseText(bad, 0)
		head, err := sparseHeader(h, nil, int64(len(m)+len(data)))
		if err != nil {
			t.Fatal(err)
		}
		p := append(append(head, m...), data...)
		p = append(append(p, make([]byte, -len(p)&511)...), archive(t, file("next", strings.Repeat("z", 20_000)))...)
		if _, _, err := unpack(t, p); err == nil || strings.Count(err.Error(), "a.tar: ") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Sizes that are only claimed cost no memory.
func TestClaimedSize(t *testing.T) {
	p := archive(t, file("f", "tiny"))
	copy(p[124:136], "77777777777\x00")
	copy(p[148:156], "        ")
	sum := 0
	for _, c := range p[:512] {
		sum += int(c)
	}
	copy(p[148:156], fmt.Sprintf("%06o\x00 ", sum))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := (Options{}).MeasureTar(bytes.NewReader(p[:1024]), "a.tar", 4096); err == nil {
		t.Error("no error")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// No bytes make the reader panic or hang, and what it takes leaves a good image.
func FuzzFromTar(f *testing.F) {
	add := func(p []byte) { f.Add(p) }
	var t testing.T
	add(archive(&t, file("a/b", "x"), symlink("l", "a"), hardlink("h", "a/b"), file("l/x", "y")))
	h := &tar.Header{Name: "./holes", Size: 1 << 40, ModTime: testTime}
	m := sparseText([]span{{512, 3}}, h.Size)
	head, err := sparseHeader(h, nil, int64(len(m)+3))
	if err != nil {
		f.Fatal(err)
	}
	add(append(append(head, m...), "abc"...))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 64<<10 {
			t.Skip()
		}
		im := newImage(t, 1024, 4<<20)
		_, err := FromTar(im.Volume, volume.Root, bytes.NewReader(p), "a.tar", Options{Preserve: true})
		if err != nil && !strings.HasPrefix(err.Error(), "a.tar: ") {
			t.Errorf("err = %v", err)
		}
		sameBuilt(t, p, im, err)
	})
}

func TestManifest(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"bin/su", "etc/a b", "etc/sub/x", "gone"} {
		write(t, dir+"/"+n, n)
	}
	im := newImage(t, 1024, 8<<20)
	build := func(text string) (Stats, error) {
		m, err := ParseManifest(strings.NewReader(text), "table")
		if err != nil {
			return Stats{}, err
		}
		o := Options{Preserve: true, Manifest: m, Owner: &Owner{9, 9}, Clamp: time.Now()}
		s, err := FromDir(im.Volume, dir, o)
		if need, merr := o.Measure(dir, 1024); merr != nil || need.Twice {
			if err == nil {
				t.Errorf("%s: measured %+v, %v", text, need, merr)
			}
			return s, err
		}
		made, _, berr := buildVolume(t, 1024, 8<<20, func(b *volume.Builder) (Stats, error) { return BuildDir(b, dir, o) })
		switch {
		case err != nil || berr != nil:
			t.Errorf("%s: built: %v, copied: %v", text, berr, err)
		default:
			sameTree(t, made, im)
		}
		return s, err
	}
	if _, err := build(`# a table
/ d 751 1 2
/bin/su f 4755 0 0
etc r - 5 -      # and all below
/etc/a\040b f 600 6 6
/dev d 755 0 0
/dev/null c 666 0 0 1 3 0 0 -
/dev/tty c 620 0 5 4 0 1 2 3
/gone p 600
`); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{"": "drwxr-x--x 1:2", "/bin": "drwxr-xr-x 9:9", "/bin/su": "urwxr-xr-x 0:0", "/etc": "drwxr-xr-x 5:9", "/etc/a b": "-rw------- 6:6",
		"/etc/sub/x": "-rw-r--r-- 5:9", "/dev/null": "Dcrw-rw-rw- 0:0", "/dev/tty3": "Dcrw--w---- 0:5", "/gone": "prw------- 9:9"} {
		ino, err := im.Tree().Resolve("/"+p, false)
		if err != nil {
			t.Error(p, err)
			continue
		}
		a, err := im.Getattr(ino)
		if got := fmt.Sprintf("%v %d:%d", volume.FileMode(a.Mode), a.UID, a.GID); err != nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", p, got, want, err)
		}
		if p == "/dev/tty3" && (a.Major != 4 || a.Minor != 4) {
			t.Errorf("%s: %d, %d", p, a.Major, a.Minor)
		}
	}
	for line, want := range map[string]string{
		"/x":                           "1 words",
		"/x q":                         `type "q"`,
		"/x f 888":                     `mode "888"`,
		"/x f 10000":                   `mode "10000": want a number from 0 to 7777`,
		"/x f 644 -1":                  `uid "-1"`,
		"/x f 644 0 4294967295":        `gid "4294967295"`,
		"/x c 644 0 0 1":               `minor number "-" of type c`,
		"/x c 644 0 0 1 2 0 1 99999":   `count "99999"`,
		"/x p 644 0 0 1 2":             `major number "1" of type p`,
		"/../x f":                      "leads out of the tree",
		`/x\9 f`:                       "three octal digits",
		"/x f 1 2 3 4 5 6 7 8 9":       "11 words",
		"/ f 644":                      "the top directory cannot be of type f",
		"/nosuch f 644":                `"nosuch" is not in the source`,
		"/nosuch r 644":                `"nosuch" is not in the source`,
		"/etc f 644":                   `"etc" is of another type`,
		"/bin/su d 755":                `"bin/su" is of another type`,
		"/bin/su r":                    `"bin/su" is no directory`,
		"/bin/su/x c 666 0 0 1 3":      `"bin/su": not a directory`,
		"/x b 644 0 0 1 1048575 0 1 2": "minor number 1048576 is too large",
		"/x b 644 0 0 1 1048576":       "minor number 1048576 is too large: want one up to 1048575",
		"/x c 644 0 0 4096 1":          "major number 4096 is too large: want one up to 4095",
	} {
		if _, err := build("\n" + line + "\n"); err == nil || !strings.HasPrefix(err.Error(), "table:2: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
}

// What is in the volume comes out as one archive, always the same, which archive/tar reads.
func TestToTar(t *testing.T) {
	im, _, err := unpack(t, archive(t, dirMember("d"), file("d/f", "content"), hardlink("a", "d/f"), symlink("l", strings.Repeat("t", 300)),
		file("d/"+strings.Repeat("n", 255), ""), file("odd\n\xff", "x"), member{tar.Header{Typeflag: tar.TypeChar, Name: "c", Devmajor: 1, Devminor: 3}, ""}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := im.Create(volume.Root, "sock", volume.NewNode{Mode: 0o140600}); err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	s, err := ToTar(im.Volume, volume.Root, "", &one, Options{})
	if err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "sock: a socket is left out") {
		t.Fatal(err, s.Warnings)
	}
	if _, err := ToTar(im.Volume, volume.Root, "", &two, Options{}); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("twice: %v", err)
	}
	var names []string
	for r := tar.NewReader(&one); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%c%s", h.Typeflag, h.Name))
	}
	want := []string{"5./", "0./a", "3./c", "5./d/", "1./d/f", "0./d/" + strings.Repeat("n", 255), "2./l", "0./odd\n\xff"}
	if fmt.Sprintf("%q", names) != fmt.Sprintf("%q", want) {
		t.Errorf("%q\nwant %q", names, want)
	}
	failing := iotestWriter{n: 1000}
	if _, err := ToTar(im.Volume, volume.Root, "", &failing, Options{}); !errors.Is(err, ErrOutput) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a writer that fails: %v", err)
	}
}

// iotestWriter takes n bytes.
type iotestWriter struct{ n int }

func (w *iotestWriter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, os.ErrClosed
	}
	return len(p), nil
}

// An image without inodes says so.
func TestNoInodes(t *testing.T) {
	im := newImage(t, 1024, 4<<20)
	st, err := im.Statfs()
	if err != nil {
		t.Fatal(err)
	}
	var list []member
	for i := range st.FreeInodes + 1 {
		list = append(list, file(fmt.Sprint("f", i), ""))
	}
	_, err = FromTar(im.Volume, volume.Root, bytes.NewReader(archive(t, list...)), "a.tar", Options{})
	if want := fmt.Sprintf("a.tar: member %q: no inode left in the image", fmt.Sprint("f", st.FreeInodes)); err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, volume.ErrNoSpace) {
		t.Errorf("err = %v, want %s", err, want)
	}
}

// What a manifest says of permissions holds for a file with an access control list too, as chmod would have it.
func TestManifestACL(t *testing.T) {
	const list = "user::rw-,user:7:rw-,group::r--,mask::rw-,other::r--"
	p := archive(t, member{tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o664, PAXRecords: map[string]string{paxACL: list}}, "x"},
		member{tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755, PAXRecords: map[string]string{paxACL: "user::rwx,group::r-x,group:9:rwx,mask::rwx,other::r-x"}}, ""},
		member{tar.Header{Typeflag: tar.TypeReg, Name: "other", Mode: 0o664, PAXRecords: map[string]string{paxACL: list}}, "x"})
	m, err := ParseManifest(strings.NewReader("/f f 4750 0 10\n/d d 700\n"), "table")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Preserve: true, Manifest: m}
	built, _, err := buildVolume(t, 1024, 16<<20, func(b *volume.Builder) (Stats, error) { return BuildTar(b, bytes.NewReader(p), "a.tar", o) })
	if err != nil {
		t.Fatal(err)
	}
	filled := newImage(t, 1024, 16<<20)
	if _, err := FromTar(filled.Volume, volume.Root, bytes.NewReader(p), "a.tar", o); err != nil {
		t.Fatal(err)
	}
	for name, im := range map[string]*image{"built": built, "filled": filled} {
		for file, want := range map[string]struct {
			mode uint16
			acl  string
		}{"f": {0o104750, "user::rwx,user:7:rw-,group::r--,mask::r-x,other::---"}, "d": {0o040700, "user::rwx,group::r-x,group:9:rwx,mask::---,other::---"}, "other": {0o100664, list}} {
			a, err := im.Lookup(volume.Root, file)
			if err != nil || a.Mode != want.mode {
				t.Errorf("%s: %s: mode %o, %v; want %o", name, file, a.Mode, err, want.mode)
			}
			acl, err := im.Getxattr(a.Ino, aclAccess)
			if got := formatACL(acl); err != nil || got != want.acl {
				t.Errorf("%s: %s: %s, %v; want %s", name, file, got, err, want.acl)
			}
		}
	}
}

// Names of attributes that a record of an archive cannot have go through one and back, as GNU tar writes them; and
// what no archive can say names the file.
func TestTarAttributeNames(t *testing.T) {
	im := newImage(t, 1024, 16<<20)
	a, err := im.Create(volume.Root, "f", volume.NewNode{Mode: 0o100644})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"user.a=b": "1", "user.100%": "2", "user.%3D": "3", "user.plain": "4"}
	for name, value := range want {
		if err := im.Setxattr(a.Ino, name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	var p bytes.Buffer
	if _, err := ToTar(im.Volume, volume.Root, "", &p, Options{Preserve: true}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"SCHILY.xattr.user.a%3Db=1\n", "SCHILY.xattr.user.100%25=2\n", "SCHILY.xattr.user.%253D=3\n"} {
		if !bytes.Contains(p.Bytes(), []byte(key)) {
			t.Errorf("no record %q", key)
		}
	}
	back, _, err := unpack(t, p.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = back.Lookup(volume.Root, "f"); err != nil {
		t.Fatal(err)
	}
	got, err := getXattrs(back.Volume, a.Ino)
	if err != nil || len(got) != len(want) {
		t.Errorf("%q, %v", got, err)
	}
	for name, value := range want {
		if string(got[name]) != value {
			t.Errorf("%s: %q, want %q", name, got[name], value)
		}
	}
	if _, err := im.Create(volume.Root, "huge", volume.NewNode{Mode: 0o020600, Major: 1, Minor: 1<<32 - 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := ToTar(im.Volume, volume.Root, "", io.Discard, Options{Preserve: true}); err == nil || !errors.Is(err, ErrOutput) || !strings.Contains(err.Error(), "huge: ") {
		t.Errorf("a device that no archive has: %v", err)
	}
}
