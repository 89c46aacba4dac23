//go:build linux

package fusefs_test

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// handle is name_to_handle_at(2).
func (c *caller) handle(name string) (unix.FileHandle, bool) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, c.path(name), 0)
	if err != nil {
		c.say("handle of "+name, err)
	}
	return h, err == nil
}

// byHandle opens a handle and says what it is.
func (c *caller) byHandle(what string, h unix.FileHandle, flags int) {
	fd, err := unix.OpenByHandleAt(c.open(".", unix.O_RDONLY), h, flags|unix.O_CLOEXEC)
	if err != nil {
		c.say(what, err)
		return
	}
	c.more = append(c.more, fd)
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	c.say(what, describe(st), err)
}

var nameFeatures = []feature{
	{"handles of files", func(c *caller) {
		c.run("put f hello; mkdir d 755; symlink x l; mknod p p 600")
		for _, name := range []string{"f", "d", "l", "p", "."} {
			if h, ok := c.handle(name); ok {
				flags := unix.O_RDONLY | unix.O_NONBLOCK
				if name == "l" {
					flags = unix.O_PATH | unix.O_NOFOLLOW
				}
				c.byHandle(name, h, flags)
			}
		}
		_, _ = c.handle("none")
	}},
	{"a handle outlives names", func(c *caller) {
		c.run("put f hello; mkdir d 755; mkdir e 755; put d/g there")
		f, ok := c.handle("f")
		g, ok2 := c.handle("d/g")
		d, ok3 := c.handle("d")
		if !ok || !ok2 || !ok3 {
			return
		}
		c.run("rename f e/h; rename d e/d; link e/h i; unlink e/h")
		c.byHandle("file", f, unix.O_RDWR)
		c.byHandle("below", g, unix.O_RDONLY)
		c.byHandle("directory", d, unix.O_RDONLY|unix.O_DIRECTORY)
		c.run("open a i r; unlink i")
		c.byHandle("unlinked and open", f, unix.O_RDONLY)
	}},
	{"a handle of what is removed is stale", func(c *caller) {
		c.run("put f hello; mkdir d 755")
		f, ok := c.handle("f")
		d, ok2 := c.handle("d")
		if !ok || !ok2 {
			return
		}
		c.run("unlink f; rmdir d")
		c.byHandle("file", f, unix.O_RDONLY)
		c.byHandle("directory", d, unix.O_RDONLY)
		c.run("put g other; put h other; mkdir e 755") // which may get the same numbers
		c.byHandle("file", f, unix.O_RDONLY)
		c.byHandle("directory", d, unix.O_RDONLY)
	}},
	{"handles need privilege", func(c *caller) {
		c.run("put f x")
		f, ok := c.handle("f")
		c.run("as 1000 1000")
		if h, ok2 := c.handle("f"); ok && ok2 {
			c.say("the same", string(h.Bytes()) == string(f.Bytes()))
			c.byHandle("open", h, unix.O_RDONLY)
		}
	}},
	{"chroot", func(c *caller) {
		c.run("mkdir d 755; put d/f inside; put f outside; symlink /f d/l; symlink ../f d/m; mkdir d/e 755")
		c.say("chroot", unix.Chroot(c.path("d")), unix.Chdir("/"))
		c.run("ls ~.; get ~f; get ~/f; get ~l; get ~m; get ~../f; stat ~../..; cwd; cd ~e; cwd; put ~/g x; mkdir ~../h 755; rename ~/g ~i; ls ~/; ls ~.")
		c.run("as 1000 1000")
		c.say("chroot", unix.Chroot("."))
	}},
	{"mount namespaces", func(c *caller) {
		c.run("mkdir a 755; mkdir b 755; put a/f in; put b/g hidden; put h file; put i other")
		c.say("unshare", unix.Unshare(unix.CLONE_NEWNS), unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		c.say("bind", unix.Mount(c.path("a"), c.path("b"), "", unix.MS_BIND, ""))
		c.run("ls b; put b/new x; ls a; rmdir b; rename b c; rename a/f b/f; link a/f b/k; rename b/f b/j; ls a; same a b")
		c.say("bind a file", unix.Mount(c.path("h"), c.path("i"), "", unix.MS_BIND, ""))
		c.run("get i; unlink i; rename i j; rename j i; put i changed; get h")
		c.say("read-only", unix.Mount("", c.path("b"), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		c.run("put b/x y; put a/x y; chmod b/x 600; utime b/x 1 1; setx b/x user.a v; access b/x 2; open o b/x rw; open o b/x r; unlink b/x; truncate b/x 0")
		c.say("noexec", unix.Mount("", c.path("b"), "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_NOEXEC|unix.MS_NODEV, ""))
		c.run("mknod a/z c 666 1 5; open z b/z r; open z a/z r; chmod a/x 755; access b/x 1; access a/x 1")
		c.say("umount", unix.Unmount(c.path("b"), 0), unix.Unmount(c.path("i"), 0))
		c.run("ls b; get i; rmdir b")
	}},
	{"a tmpfs mounted in it", func(c *caller) {
		c.run("mkdir a 755; put f x")
		c.say("unshare", unix.Unshare(unix.CLONE_NEWNS), unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		c.say("mount", unix.Mount("none", c.path("a"), "tmpfs", 0, ""))
		c.run("rename f a/f; link f a/f; put a/g y; stat a/..; ls .; rmdir a; same a a/.")
		c.say("umount", unix.Unmount(c.path("a"), 0))
		c.run("ls a; rmdir a")
	}},
	{"names by a directory that moves", func(c *caller) {
		c.run("mkdir a 755; mkdir b 755; put a/f x")
		d := c.open("a", unix.O_RDONLY|unix.O_DIRECTORY)
		c.run("rename a b/c")
		c.say("mkdirat", unix.Mkdirat(d, "e", 0o755), unix.Mkdirat(d, "e", 0o755))
		c.say("renameat", unix.Renameat(d, "f", d, "g"))
		c.say("symlinkat", unix.Symlinkat("g", d, "l"))
		c.say("linkat", unix.Linkat(d, "l", d, "m", unix.AT_SYMLINK_FOLLOW), unix.Linkat(d, "l", d, "n", 0), unix.Linkat(d, "l", d, "o", 1<<30))
		c.say("unlinkat", unix.Unlinkat(d, "e", 0), unix.Unlinkat(d, "e", unix.AT_REMOVEDIR), unix.Unlinkat(d, "g", unix.AT_REMOVEDIR))
		c.say("mknodat", unix.Mknodat(d, "p", unix.S_IFIFO|0o600, 0))
		c.run("ls b/c; lstat b/c/n")
		c.say("through a file", unix.Mkdirat(c.open("b/c/g", unix.O_RDONLY), "x", 0o755), unix.Mkdirat(999, "x", 0o755))
	}},
	{"openat2 keeps to its rules", func(c *caller) {
		c.run("mkdir d 755; put d/f x; symlink f d/l; symlink ../d/f d/up; symlink /etc/hostname d/abs; mkdir d/e 755")
		d := c.open("d", unix.O_PATH|unix.O_DIRECTORY)
		for _, r := range []uint64{0, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_NO_MAGICLINKS, unix.RESOLVE_NO_XDEV} {
			for _, name := range []string{"f", "l", "up", "e/../f", "../d/f"} {
				fd, err := unix.Openat2(d, name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: r})
				c.say(fmt.Sprint(r, " ", name), err)
				if err == nil {
					unix.Close(fd)
				}
			}
		}
		_, err := unix.Openat2(d, "new", &unix.OpenHow{Flags: unix.O_RDONLY, Mode: 0o600})
		c.say("mode without creat", err)
	}},
	{"a path deeper than PATH_MAX", func(c *caller) {
		c.run("cd .")
		name := strings.Repeat("d", 200)
		for range 25 {
			if err := unix.Mkdir(name, 0o755); err != nil {
				c.say("mkdir", err)
			}
			if err := unix.Chdir(name); err != nil {
				c.say("chdir", err)
			}
		}
		c.run("put ~f deep; get ~f; ls ~.; rename ~f ~g; link ~g ~h; symlink g ~l; get ~l; stat ~..")
		buf := make([]byte, 10000)
		n, err := unix.Getcwd(buf)
		c.say("getcwd", n > 25*200, err)
		_, err = unix.Getcwd(buf[:100])
		c.say("getcwd", err)
	}},
	{"names of any bytes", func(c *caller) {
		for _, name := range []string{"\xff\xfe", "a\nb", " ", "\x01", "ä", "é", "é", "...", ".a", "a.", "*", "\\", "-rf", "CON", strings.Repeat("ü", 127)} {
			fd, err := c.openNew(name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
			c.say(fmt.Sprintf("%q", name), err, fd < 0)
		}
		names, err := c.list(".")
		c.say("list", fmt.Sprintf("%q", names), err)
	}},
	{"names differ by case", func(c *caller) {
		c.run("put A 1; put a 2; get A; get a; rename a B; ls .; mkdir b 755; ls .")
	}},
	{"a working directory has a name", func(c *caller) {
		c.run("mkdir a 755; mkdir a/b 755; cd a/b")
		say := func() {
			buf := make([]byte, 5000)
			n, err := unix.Getcwd(buf)
			c.say("getcwd", strings.TrimPrefix(strings.TrimRight(string(buf[:max(n, 0)]), "\x00"), c.dir), err)
		}
		say()
		c.run("rename a c")
		say()
		c.run("rename c/b d")
		say()
		c.run("rmdir d")
		say()
	}},
	{"links by the descriptors of files", func(c *caller) {
		c.run("put f x; open a f r; open b f path; open t . rw,tmpfile 600; symlink f l; open l l path,nofollow; open d . path")
		for _, name := range []string{"a", "b", "t", "l", "d"} {
			c.say(name, unix.Linkat(c.fds[name], "", unix.AT_FDCWD, c.path("x"+name), unix.AT_EMPTY_PATH))
		}
		c.run("ls .; stat f; stat xt; lstat xl")
	}},
	{"xattrs without a name", func(c *caller) {
		c.run("open t . rw,tmpfile 600; fsetx t user.a v; fgetx t user.a; fsetx t system.posix_acl_access acl:u6,U5=6,g4,m6,o0; fstat t; linkfd t f; getx f user.a; lsx f; stat f; born f")
	}},
}
