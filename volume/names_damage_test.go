package volume_test

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"holdfast/layout"
	"holdfast/volume"
)

// An image whose inodes are intact but contradict each other is answered with an error that
// says so: not with an absent file, not with a panic, not with an endless walk. And what is
// refused changes nothing.
func TestContradictions(t *testing.T) {
	for _, c := range []struct {
		name string
		ino  string
		edit func(ino func(string) uint64, in *layout.Inode)
		do   map[string]func(*image) error
	}{
		{"I5: an entry of a free inode", "d/f", func(_ func(string) uint64, in *layout.Inode) { *in = layout.Inode{Generation: in.Generation} },
			map[string]func(*image) error{
				"lookup": lookup("d", "f"), "unlink": unlink("d", "f"), "rmdir": rmdir("d", "f"), "rename": rename("d", "f", "", "x"),
				"rename over": rename("", "g", "d", "f"), "stat": func(im *image) error { _, err := im.Tree().Stat("d/f"); return err },
				"remove": func(im *image) error { return im.Tree().Remove("d/f") }, "removeall": func(im *image) error { return im.Tree().RemoveAll("d") },
				"open": func(im *image) error { _, err := im.Tree().Create("d/f"); return err }, "walk": func(im *image) error { return im.Tree().Mkdir("d/f/x", 0o755) },
			}},
		{"I5: an entry of another type", "d/f", func(_ func(string) uint64, in *layout.Inode) { in.Mode = layout.ModeFIFO | 0o644 },
			map[string]func(*image) error{"lookup": lookup("d", "f"), "unlink": unlink("d", "f"), "rename over": rename("", "g", "d", "f")}},
		{"I6: no link", "d/f", func(_ func(string) uint64, in *layout.Inode) { in.Links = 0 },
			map[string]func(*image) error{"unlink": unlink("d", "f"), "rename over": rename("", "g", "d", "f")}},
		{"I6: a directory without a link for its subdirectory", "d", func(_ func(string) uint64, in *layout.Inode) { in.Links = 2 },
			map[string]func(*image) error{"rmdir": rmdir("d", "empty"), "rename": rename("d", "e", "", "x")}},
		{"I7: a cycle", "d", func(ino func(string) uint64, in *layout.Inode) { in.Parent = ino("d/e") },
			map[string]func(*image) error{"rename": rename("", "top", "d/e", "x")}},
		{"I7: a parent that is a file", "d", func(ino func(string) uint64, in *layout.Inode) { in.Parent = ino("g") },
			map[string]func(*image) error{"dot dot": lookup("d", ".."), "rename": rename("", "top", "d/e", "x"),
				"walk": func(im *image) error { return im.Tree().Mkdir("d/../x", 0o755) }}},
		{"I7: a parent out of range", "d", func(_ func(string) uint64, in *layout.Inode) { in.Parent = 1 << 50 },
			map[string]func(*image) error{"dot dot": lookup("d", "..")}},
		{"a symbolic link without a target", "l", func(_ func(string) uint64, in *layout.Inode) { in.Size = 0 },
			map[string]func(*image) error{"readlink": readlink("l"), "walk": func(im *image) error { _, err := im.Tree().Resolve("l/x", true); return err }}},
		{"a symbolic link that is too long", "l", func(_ func(string) uint64, in *layout.Inode) { in.Size, in.Flags = 1<<40, 0 },
			map[string]func(*image) error{"readlink": readlink("l")}},
	} {
		for name, do := range c.do {
			t.Run(c.name+", "+name, func(t *testing.T) {
				im := makeImage(t, 1024, 2<<20)
				im.add("d/", "d/f", "d/e/", "d/empty/", "g", "top/", "l -> d")
				inos := map[string]uint64{"d/e": uint64(im.ino("d/e")), "g": uint64(im.ino("g"))}
				ino := func(path string) uint64 { return inos[path] }
				if err := im.EditInode(im.ino(c.ino), func(in *layout.Inode) { c.edit(ino, in) }); err != nil {
					t.Fatal(err)
				}
				d := im.ino("d")
				entries := func() (list []string) {
					for _, dir := range []volume.Ino{volume.Root, d} {
						err := im.ReadDir(dir, 0, func(e volume.DirEntry) bool {
							list = append(list, fmt.Sprint(dir, e))
							return true
						})
						if err != nil {
							t.Fatal(err)
						}
					}
					return list
				}
				before := fmt.Sprint(entries(), im.statfs())
				err := do(im)
				if !errors.Is(err, layout.ErrCorrupt) || !errors.Is(err, syscall.EIO) || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v", err)
				}
				if name == "removeall" {
					return // many operations, of which one is refused
				}
				if after := fmt.Sprint(entries(), im.statfs()); after != before {
					t.Errorf("from\n%s\nto\n%s", before, after)
				}
			})
		}
	}
}
