package volume_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast/layout"
	"holdfast/volume"
)

// Attributes of every kind of inode are what a map says, over reopening and crashes, while the
// files that have them grow, shrink and lose extents.
func TestXattrModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bs := rapid.SampledFrom([]int{1024, 4096}).Draw(rt, "block")
		im := makeImage(rt, bs, 4<<20)
		im.add("dir/", "file", "link -> target", "long -> "+strings.Repeat("t", 200), "pipe|")
		paths := []string{"dir", "file", "link", "long", "pipe"}
		want := map[string]map[string][]byte{}
		for _, p := range paths {
			want[p] = map[string][]byte{}
		}
		check := func() {
			for _, p := range paths {
				ino := im.ino(p)
				names, err := im.Listxattr(ino)
				if err != nil {
					rt.Fatal(err)
				}
				if got := slices.Sorted(slices.Values(names)); !slices.Equal(got, slices.Sorted(maps.Keys(want[p]))) {
					rt.Fatalf("%s has %q, want %q", p, got, slices.Sorted(maps.Keys(want[p])))
				}
				for name, value := range want[p] {
					if got, err := im.Getxattr(ino, name); err != nil || !bytes.Equal(got, value) {
						rt.Fatalf("%s %s: %d bytes, %v; want %d", p, name, len(got), err, len(value))
					}
				}
			}
		}
		content := []byte("file") // as add has written it
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			p := rapid.SampledFrom(paths).Draw(rt, "path")
			ino := im.ino(p)
			space := rapid.SampledFrom([]string{"user.", "trusted.", "security."}).Draw(rt, "space")
			name := space + rapid.SampledFrom([]string{"a", "b", "capability", strings.Repeat("n", 240)}).Draw(rt, "name")
			value, has := want[p][name]
			_ = value
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				v := bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(rt, "byte"))}, rapid.SampledFrom([]int{0, 1, 10, 30, 60, 100, 900, 1000, 5000, 65536}).Draw(rt, "length"))
				flags := rapid.IntRange(0, 2).Draw(rt, "flags")
				err := im.Setxattr(ino, name, v, flags)
				switch {
				case space == "user." && p != "file" && p != "dir":
					if !errors.Is(err, volume.ErrPermission) {
						rt.Fatalf("user attribute of %s: %v", p, err)
					}
				case has && flags == volume.XattrCreate:
					if !errors.Is(err, volume.ErrExist) {
						rt.Fatal(err)
					}
				case !has && flags == volume.XattrReplace:
					if !errors.Is(err, volume.ErrNoAttr) {
						rt.Fatal(err)
					}
				case errors.Is(err, volume.ErrNoSpace): // two of the largest are too many
				case err != nil:
					rt.Fatal(err)
				default:
					want[p][name] = v
				}
			case 3:
				err := im.Removexattr(ino, name)
				if has != (err == nil) || err != nil && !errors.Is(err, volume.ErrNoAttr) {
					rt.Fatalf("remove, %v there: %v", has, err)
				}
				delete(want[p], name)
			case 4: // the file takes extents, scattered
				at := rapid.IntRange(0, 30).Draw(rt, "at") * 2 * bs
				if n := at + 3; n > len(content) {
					content = append(content, make([]byte, n-len(content))...)
				}
				copy(content[at:], "xyz")
				if _, err := im.Write(im.ino("file"), []byte("xyz"), int64(at)); err != nil {
					rt.Fatal(err)
				}
			case 5:
				size := uint64(rapid.IntRange(0, len(content)).Draw(rt, "size"))
				if _, err := im.Setattr(im.ino("file"), volume.SetAttr{Size: &size}); err != nil {
					rt.Fatal(err)
				}
				content = content[:size:size]
			case 6:
				if rapid.Bool().Draw(rt, "sync") {
					if err := im.Sync(); err != nil {
						rt.Fatal(err)
					}
					im.crash()
				} else {
					im.reopen()
				}
				check()
			}
		}
		check()
		if got, err := im.Tree().ReadFile("file"); err != nil || !bytes.Equal(got, content) {
			rt.Fatalf("the file has %d bytes, %v; want %d", len(got), err, len(content))
		}
		for _, p := range []string{"link", "long"} {
			if target, err := im.Readlink(im.ino(p)); err != nil || len(target) == 0 {
				rt.Fatalf("%s: %q, %v", p, target, err)
			}
		}
		if err := im.Close(); err != nil {
			rt.Fatal(err)
		}
		volume.CheckDevice(t, im.dev)
		im.open()
		free := im.statfs().Free
		for _, p := range paths {
			if err := im.Tree().Remove(p); err != nil {
				rt.Fatal(err)
			}
		}
		if err := im.Close(); err != nil {
			rt.Fatal(err)
		}
		volume.CheckDevice(t, im.dev)
		im.open()
		if now := im.statfs().Free; now < free {
			rt.Fatalf("%d blocks are free, %d were", now, free)
		}
		_ = im.Close()
	})
}

func TestXattrNames(t *testing.T) {
	im := newImage(t, 4096, 4<<20)
	im.add("f")
	f := im.ino("f")
	for name, want := range map[string]error{
		"": volume.ErrNotSupported, "user": volume.ErrNotSupported, "user.": volume.ErrInvalid, "other.x": volume.ErrNotSupported,
		"system.x": volume.ErrNotSupported, "user.a\x00": volume.ErrInvalid, "user." + strings.Repeat("n", 251): volume.ErrRange,
	} {
		if err := im.Setxattr(f, name, nil, 0); !errors.Is(err, want) {
			t.Errorf("set %q: %v, want %v", name, err, want)
		}
		if _, err := im.Getxattr(f, name); !errors.Is(err, want) {
			t.Errorf("get %q: %v, want %v", name, err, want)
		}
	}
	if err := im.Setxattr(f, "user.a", make([]byte, 65537), 0); !errors.Is(err, volume.ErrTooBig) {
		t.Error(err)
	}
	if err := im.Setxattr(f, "user.a", nil, 3); !errors.Is(err, volume.ErrInvalid) {
		t.Error(err)
	}
	if err := im.Setxattr(99, "user.a", nil, 0); !errors.Is(err, volume.ErrStale) {
		t.Error(err)
	}
}

// acl builds the value of an ACL attribute: tag, permissions, id.
func acl(entries ...[3]uint32) []byte {
	p := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		p = binary.LittleEndian.AppendUint16(p, uint16(e[0]))
		p = binary.LittleEndian.AppendUint16(p, uint16(e[1]))
		p = binary.LittleEndian.AppendUint32(p, e[2])
	}
	return p
}

const none = ^uint32(0)

func full(user, group, mask, other uint32) []byte {
	return acl([3]uint32{1, user, none}, [3]uint32{2, 7, 1000}, [3]uint32{4, group, none}, [3]uint32{16, mask, none}, [3]uint32{32, other, none})
}

// An access ACL and the permission bits are two views of one thing.
func TestACLAndMode(t *testing.T) {
	im := newImage(t, 4096, 4<<20)
	im.add("f", "d/", "l -> f")
	f := im.ino("f")
	set := func(ino volume.Ino, name string, value []byte) error {
		t.Helper()
		return im.Setxattr(ino, name, value, 0)
	}
	if err := set(f, volume.ACLAccess, full(6, 4, 5, 1)); err != nil {
		t.Fatal(err)
	}
	if m := im.attr("f").Mode & 0o7777; m != 0o651 {
		t.Errorf("mode %o after an ACL with mask 5", m)
	}
	mode := uint16(0o4720)
	if _, err := im.Setattr(f, volume.SetAttr{Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	if got, err := im.Getxattr(f, volume.ACLAccess); err != nil || !bytes.Equal(got, full(7, 4, 2, 0)) {
		t.Errorf("the ACL after chmod: %x, %v", got, err)
	}
	// What the bits say wholly is not kept beside them.
	if err := set(f, volume.ACLAccess, acl([3]uint32{1, 6, none}, [3]uint32{4, 4, none}, [3]uint32{32, 0, none})); err != nil {
		t.Fatal(err)
	}
	if _, err := im.Getxattr(f, volume.ACLAccess); !errors.Is(err, volume.ErrNoAttr) {
		t.Errorf("a minimal ACL is kept: %v", err)
	}
	if m := im.attr("f").Mode & 0o7777; m != 0o4640 {
		t.Errorf("mode %o after a minimal ACL", m)
	}
	for what, v := range map[string][]byte{
		"no version": {}, "cut off": full(7, 7, 7, 7)[:9], "no others": acl([3]uint32{1, 6, none}, [3]uint32{4, 4, none}),
		"user without mask": acl([3]uint32{1, 6, none}, [3]uint32{2, 6, 5}, [3]uint32{4, 4, none}, [3]uint32{32, 4, none}),
		"out of order":      acl([3]uint32{4, 6, none}, [3]uint32{1, 4, none}, [3]uint32{32, 4, none}),
		"twice":             acl([3]uint32{1, 6, none}, [3]uint32{1, 6, none}, [3]uint32{4, 4, none}, [3]uint32{32, 4, none}),
		"permission 8":      full(8, 0, 0, 0), "unknown tag": acl([3]uint32{1, 6, none}, [3]uint32{3, 6, none}, [3]uint32{4, 4, none}, [3]uint32{32, 4, none}),
	} {
		if err := set(f, volume.ACLAccess, v); len(v) > 0 && !errors.Is(err, volume.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Linux: a version without entries removes, another version is not known.
	if err := set(f, volume.ACLAccess, full(6, 4, 5, 1)); err != nil {
		t.Fatal(err)
	}
	if err := set(f, volume.ACLAccess, acl()); err != nil {
		t.Errorf("an ACL without entries: %v", err)
	}
	if _, err := im.Getxattr(f, volume.ACLAccess); !errors.Is(err, volume.ErrNoAttr) {
		t.Errorf("after an ACL without entries: %v", err)
	}
	if err := set(f, volume.ACLDefault, acl()); err != nil {
		t.Errorf("a default ACL without entries, of a file: %v", err)
	}
	if err := set(f, volume.ACLAccess, []byte{1, 0, 0, 0}); !errors.Is(err, volume.ErrNotSupported) {
		t.Errorf("an ACL of version 1: %v", err)
	}
	if err := set(f, volume.ACLDefault, full(7, 7, 7, 7)); !errors.Is(err, volume.ErrAccess) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a default ACL of a file: %v", err)
	}
	if err := set(im.ino("l"), volume.ACLAccess, full(7, 7, 7, 7)); !errors.Is(err, volume.ErrNotSupported) {
		t.Errorf("the ACL of a symbolic link: %v", err)
	}
}

// What is made in a directory with a default ACL has it instead of the umask.
func TestACLInherited(t *testing.T) {
	for _, bs := range []int{1024, 4096} {
		t.Run(fmt.Sprint(bs), func(t *testing.T) {
			im := newImage(t, bs, 4<<20)
			im.add("d/")
			d := im.ino("d")
			if err := im.Setxattr(d, volume.ACLDefault, full(7, 5, 7, 5), 0); err != nil {
				t.Fatal(err)
			}
			make := func(dir volume.Ino, name string, mode uint16) volume.Attr {
				t.Helper()
				a, err := im.Create(dir, name, volume.NewNode{Mode: mode, Umask: 0o077, Target: "x"})
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			if a := make(volume.Root, "plain", layout.ModeFile|0o666); a.Mode != layout.ModeFile|0o600 {
				t.Errorf("without a default ACL: %o", a.Mode)
			}
			a := make(d, "f", layout.ModeFile|0o640)
			if a.Mode != layout.ModeFile|0o640 {
				t.Errorf("file: %o", a.Mode)
			}
			if got, err := im.Getxattr(a.Ino, volume.ACLAccess); err != nil || !bytes.Equal(got, full(6, 5, 4, 0)) {
				t.Errorf("file: %x, %v", got, err)
			}
			if _, err := im.Getxattr(a.Ino, volume.ACLDefault); !errors.Is(err, volume.ErrNoAttr) {
				t.Errorf("a file with a default ACL: %v", err)
			}
			a = make(d, "sub", layout.ModeDir|0o755)
			if got, err := im.Getxattr(a.Ino, volume.ACLDefault); err != nil || !bytes.Equal(got, full(7, 5, 7, 5)) {
				t.Errorf("directory: %x, %v", got, err)
			}
			if got, err := im.Getxattr(a.Ino, volume.ACLAccess); err != nil || !bytes.Equal(got, full(7, 5, 5, 5)) {
				t.Errorf("directory: %x, %v", got, err)
			}
			if a := make(a.Ino, "deep", layout.ModeFile|0o666); a.Mode != layout.ModeFile|0o664 {
				t.Errorf("two down: %o", a.Mode)
			}
			if names, err := im.Listxattr(make(d, "l", layout.ModeLink).Ino); err != nil || len(names) != 0 {
				t.Errorf("a symbolic link: %q, %v", names, err)
			}
		})
	}
}
