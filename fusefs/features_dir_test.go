//go:build linux

package fusefs_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// dirent is what getdents(2) says of a name.
type dirent struct {
	name string
	next int64
	kind byte
}

// dents is one getdents(2) into a buffer of so many bytes.
func dents(fd, size int) ([]dirent, error) {
	buf := make([]byte, size)
	n, err := unix.Getdents(fd, buf)
	var list []dirent
	for p := buf[:max(n, 0)]; len(p) > 0; {
		length := binary.NativeEndian.Uint16(p[16:])
		name, _, _ := strings.Cut(string(p[19:length]), "\x00")
		list = append(list, dirent{name, int64(binary.NativeEndian.Uint64(p[8:])), p[18]})
		p = p[length:]
	}
	return list, err
}

// rest is all entries from where the descriptor is.
func (c *caller) rest(fd, size int) (list []dirent) {
	for {
		some, err := dents(fd, size)
		if err != nil {
			c.say("getdents", err)
		}
		if len(some) == 0 {
			return list
		}
		list = append(list, some...)
	}
}

func names(list []dirent) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.name)
	}
	slices.Sort(out)
	return out
}

// fill makes files a000 to a(n-1) in d.
func (c *caller) fill(n int) {
	c.run("mkdir d 755")
	for i := range n {
		if err := unix.Mknod(c.path(fmt.Sprintf("d/a%03d", i)), unix.S_IFREG|0o600, 0); err != nil {
			c.say("mknod", err)
			return
		}
	}
}

// twice is which names come more than once.
func twice(list []string) (out []string) {
	for i := range list {
		if i > 0 && list[i] == list[i-1] {
			out = append(out, list[i])
		}
	}
	return out
}

var dirFeatures = []feature{
	{"all names of a large directory, each once", func(c *caller) {
		c.fill(900)
		for _, size := range []int{300, 4096, 1 << 20} {
			list := names(c.rest(c.open("d", unix.O_RDONLY), size))
			c.say("names", len(list), twice(list), list[0], list[1], list[len(list)-1])
		}
		_, err := dents(c.open("d", unix.O_RDONLY), 10)
		c.say("too small a buffer", err)
	}},
	{"a directory is removed while it is read", func(c *caller) {
		c.fill(600)
		fd := c.open("d", unix.O_RDONLY)
		var seen []string
		for {
			list, err := dents(fd, 1000)
			if len(list) == 0 {
				c.say("end", err)
				break
			}
			for _, e := range list {
				seen = append(seen, e.name)
				if e.name[0] == 'a' {
					if err := unix.Unlink(c.path("d/" + e.name)); err != nil {
						c.say("unlink", err)
					}
				}
			}
		}
		slices.Sort(seen)
		c.say("seen", len(seen), twice(seen))
		c.run("ls d; rmdir d")
		list, err := dents(fd, 1000)
		c.say("removed", len(list), err)
	}},
	{"what stays is seen once while others come and go", func(c *caller) {
		c.fill(600)
		fd := c.open("d", unix.O_RDONLY)
		var seen []string
		for n := 0; ; n++ {
			list, _ := dents(fd, 1000)
			if len(list) == 0 {
				break
			}
			seen = append(seen, names(list)...)
			for i := range 5 {
				_ = unix.Unlink(c.path(fmt.Sprintf("d/a%03d", (n*5+i)%300))) // the first half goes
				_ = unix.Mknod(c.path(fmt.Sprintf("d/b%03d", n*5+i)), unix.S_IFREG|0o600, 0)
			}
		}
		stay := slices.DeleteFunc(seen, func(s string) bool { return s[0] != 'a' || s < "a300" })
		slices.Sort(stay)
		c.say("seen", len(stay), twice(stay))
	}},
	{"positions of a directory stay good", func(c *caller) {
		c.fill(300)
		fd := c.open("d", unix.O_RDONLY)
		list := c.rest(fd, 500)
		for _, i := range []int{0, 10, 100, 299} {
			for _, e := range list[i+1 : min(i+4, len(list))] {
				_ = unix.Unlink(c.path("d/" + e.name)) // may be . or .., which stay
			}
			if _, err := unix.Seek(fd, list[i].next, unix.SEEK_SET); err != nil {
				c.say("seek", err)
			}
			var want []string
			for _, e := range list[i+1:] {
				var st unix.Stat_t
				if unix.Lstat(c.path("d/"+e.name), &st) == nil {
					want = append(want, e.name)
				}
			}
			slices.Sort(want)
			c.say("as before", slices.Equal(want, names(c.rest(fd, 500))))
		}
		_, err := unix.Seek(fd, 0, unix.SEEK_SET)
		c.run("put d/new x")
		c.say("rewound", err, slices.Contains(names(c.rest(fd, 4096)), "new"))
	}},
	{"types of entries", func(c *caller) {
		c.run("mkdir d 755; put d/f x; mkdir d/d 755; symlink x d/l; mknod d/p p 600; mknod d/s s 600; mknod d/c c 600 1 3; mknod d/b b 600 7 0")
		for _, e := range slices.SortedFunc(slices.Values(c.rest(c.open("d", unix.O_RDONLY), 4096)), func(a, b dirent) int { return strings.Compare(a.name, b.name) }) {
			c.say(e.name, e.kind)
		}
	}},
	{"a listing has the inodes that stat has", func(c *caller) {
		c.run("mkdir d 755; mkdir d/e 755; put d/f x; link d/f d/g; symlink x d/l")
		buf := make([]byte, 4096)
		n, err := unix.Getdents(c.open("d", unix.O_RDONLY), buf)
		c.say("getdents", err)
		for p := buf[:max(n, 0)]; len(p) > 0; {
			length := binary.NativeEndian.Uint16(p[16:])
			name, _, _ := strings.Cut(string(p[19:length]), "\x00")
			var st unix.Stat_t
			err := unix.Lstat(c.path("d/"+name), &st)
			if st.Ino != binary.NativeEndian.Uint64(p) {
				c.say("another inode", name, err)
			}
			p = p[length:]
		}
	}},
	{"two readers of one directory", func(c *caller) {
		c.fill(200)
		a, b := c.open("d", unix.O_RDONLY), c.open("d", unix.O_RDONLY)
		first, err := dents(a, 400)
		c.say("first", len(first) > 0, err)
		c.say("other", len(c.rest(b, 400)), "rest", len(c.rest(a, 400))+len(first))
	}},
	{"link counts of many directories", func(c *caller) {
		c.run("mkdir d 755")
		for i := range 300 {
			if err := unix.Mkdir(c.path(fmt.Sprintf("d/%d", i)), 0o755); err != nil {
				c.say("mkdir", err)
			}
		}
		c.run("links d; rmdir d; rename d/7 e; links d; rmdir d/8; links d; rename e d/8; links d")
	}},
	{"many links of a file", func(c *caller) {
		c.run("put f x")
		for i := range 500 {
			if err := unix.Link(c.path("f"), c.path(fmt.Sprintf("l%d", i))); err != nil {
				c.say("link", err)
			}
		}
		c.run("stat f; unlink f; stat l7; get l499")
	}},
	{"a removed directory is empty and takes nothing", func(c *caller) {
		c.run("mkdir d 755; open d d r")
		fd := c.fds["d"]
		c.run("rmdir d")
		c.say("names", len(c.rest(fd, 4096)))
		_, err := unix.Openat(fd, "x", unix.O_CREAT|unix.O_WRONLY, 0o600)
		c.say("create", err, unix.Mkdirat(fd, "x", 0o755), unix.Symlinkat("x", fd, "l"), unix.Mknodat(fd, "p", unix.S_IFIFO, 0))
		c.run("put f x")
		c.say("link", unix.Linkat(unix.AT_FDCWD, c.path("f"), fd, "f", 0), unix.Renameat(unix.AT_FDCWD, c.path("f"), fd, "f"))
		var st unix.Stat_t
		c.say("stat", unix.Fstatat(fd, ".", &st, 0), st.Nlink, unix.Fstatat(fd, "..", &st, 0), unix.Fstatat(fd, "x", &st, 0))
		c.say("attributes", unix.Fchmod(fd, 0o700), unix.Fchown(fd, 1, 1), unix.Fsetxattr(fd, "user.a", []byte("v"), 0), unix.Fsync(fd))
	}},
}
