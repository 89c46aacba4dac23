//go:build linux

package fusefs_test

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setlk asks for a lock of fcntl(2) on bytes of a file.
func setlk(fd, cmd int, kind int16, off, n int64) error {
	return unix.FcntlFlock(uintptr(fd), cmd, &unix.Flock_t{Type: kind, Start: off, Len: n})
}

// events reads what an inotify descriptor has; cookies are only compared with the one before.
func events(fd int) string {
	buf := make([]byte, 1<<16)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return errName(err)
	}
	names := []struct {
		bit  uint32
		name string
	}{{unix.IN_ACCESS, "access"}, {unix.IN_ATTRIB, "attrib"}, {unix.IN_CLOSE_WRITE, "close_write"}, {unix.IN_CLOSE_NOWRITE, "close_nowrite"},
		{unix.IN_CREATE, "create"}, {unix.IN_DELETE, "delete"}, {unix.IN_DELETE_SELF, "delete_self"}, {unix.IN_MODIFY, "modify"},
		{unix.IN_MOVE_SELF, "move_self"}, {unix.IN_MOVED_FROM, "moved_from"}, {unix.IN_MOVED_TO, "moved_to"}, {unix.IN_OPEN, "open"},
		{unix.IN_IGNORED, "ignored"}, {unix.IN_UNMOUNT, "unmount"}, {unix.IN_ISDIR, "isdir"}}
	var out []string
	last := uint32(0)
	for p := buf[:max(n, 0)]; len(p) >= unix.SizeofInotifyEvent; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&p[0]))
		var w []string
		for _, b := range names {
			if e.Mask&b.bit != 0 {
				w = append(w, b.name)
			}
		}
		if e.Cookie != 0 && e.Cookie == last {
			w = append(w, "same")
		}
		last = e.Cookie
		name := strings.TrimRight(string(p[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+e.Len]), "\x00")
		out = append(out, fmt.Sprintf("%s(%s)", strings.Join(w, "+"), name))
		p = p[unix.SizeofInotifyEvent+e.Len:]
	}
	return strings.Join(out, " ")
}

// watch is an inotify descriptor that watches one file for everything.
func (c *caller) watch(name string) int {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		c.say("inotify", err)
		return -1
	}
	c.more = append(c.more, fd)
	_, err = unix.InotifyAddWatch(fd, c.path(name), unix.IN_ALL_EVENTS)
	c.say("watch", err)
	return fd
}

var lockFeatures = []feature{
	{"flock is of an open file", func(c *caller) {
		c.run("put f x")
		a, b := c.open("f", unix.O_RDONLY), c.open("f", unix.O_RDWR)
		c.say("shared", unix.Flock(a, unix.LOCK_SH|unix.LOCK_NB), unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB))
		c.say("upgrade", unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB))
		c.say("unlock", unix.Flock(b, unix.LOCK_UN))
		c.say("upgrade", unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB), unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB))
		d, err := unix.Dup(a)
		c.say("dup", err, unix.Flock(d, unix.LOCK_SH|unix.LOCK_NB), unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB))
		c.closeOne(a)
		c.say("still", unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB))
		unix.Close(d)
		c.say("closed", unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB))
		c.say("a directory", unix.Flock(c.open(".", unix.O_RDONLY), unix.LOCK_EX|unix.LOCK_NB))
		c.say("an unknown one", unix.Flock(b, 99))
	}},
	{"locks of open file descriptions", func(c *caller) {
		c.run("put f 0123456789")
		a, b := c.open("f", unix.O_RDWR), c.open("f", unix.O_RDWR)
		c.say("a 0-5", setlk(a, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 5))
		c.say("b 4-6", setlk(b, unix.F_OFD_SETLK, unix.F_RDLCK, 4, 2))
		c.say("b 5-", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 5, 0))
		l := unix.Flock_t{Type: unix.F_WRLCK, Len: 100}
		c.say("get", unix.FcntlFlock(uintptr(b), unix.F_OFD_GETLK, &l), l.Type, l.Start, l.Len, l.Pid)
		c.say("a unlocks 2-3", setlk(a, unix.F_OFD_SETLK, unix.F_UNLCK, 2, 1))
		c.say("b 2-3", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 2, 1), "b 1-2", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 1, 1))
		c.closeOne(a)
		c.say("b all", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0))
		r := c.open("f", unix.O_RDONLY)
		c.say("read-only", setlk(r, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 1), setlk(r, unix.F_OFD_SETLK, unix.F_RDLCK, 0, 1))
		c.say("negative", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, -1, 1))
	}},
	{"locks of processes and of open files are one kind", func(c *caller) {
		c.run("put f 0123456789")
		a, b := c.open("f", unix.O_RDWR), c.open("f", unix.O_RDWR)
		c.say("process", setlk(a, unix.F_SETLK, unix.F_WRLCK, 0, 5), setlk(b, unix.F_SETLK, unix.F_WRLCK, 0, 5))
		c.say("open file", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 4, 1), setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 5, 1))
		c.say("process", setlk(a, unix.F_SETLK, unix.F_WRLCK, 5, 1))
		c.say("flock is another", unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB))
		c.closeOne(c.open("f", unix.O_RDONLY)) // which lets go of the locks of the process
		c.say("open file", setlk(b, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 5))
	}},
	{"a lock that is waited for comes", func(c *caller) {
		c.run("put f x")
		a, b := c.open("f", unix.O_RDWR), c.open("f", unix.O_RDWR)
		c.say("a", setlk(a, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0), unix.Flock(a, unix.LOCK_EX))
		got := make(chan error, 2)
		go func() { got <- setlk(b, unix.F_OFD_SETLKW, unix.F_WRLCK, 0, 0); got <- unix.Flock(b, unix.LOCK_EX) }()
		c.closeOne(a)
		c.say("b", <-got, <-got)
	}},
	{"leases", func(c *caller) {
		c.run("put f x")
		r := c.open("f", unix.O_RDONLY)
		_, err := unix.FcntlInt(uintptr(r), unix.F_SETLEASE, unix.F_WRLCK)
		c.say("write", err)
		_, err = unix.FcntlInt(uintptr(r), unix.F_SETLEASE, unix.F_RDLCK)
		n, gerr := unix.FcntlInt(uintptr(r), unix.F_GETLEASE, 0)
		c.say("read", err, n, gerr)
		_, err = unix.FcntlInt(uintptr(r), unix.F_SETLEASE, unix.F_UNLCK)
		c.say("none", err)
		w := c.open("f", unix.O_WRONLY)
		_, err = unix.FcntlInt(uintptr(w), unix.F_SETLEASE, unix.F_RDLCK)
		c.say("read while it is open for writing", err)
	}},
	{"inotify of a directory", func(c *caller) {
		c.run("mkdir d 755")
		w := c.watch("d")
		c.run("open a d/f rw,creat 600; write a x; read a 1; close a; chmod d/f 644; link d/f d/g; rename d/f d/h; unlink d/h; mkdir d/e 755; rmdir d/e; symlink x d/l; mknod d/p p 600; setx d/g user.a v; truncate d/g 0; utime d/g 1 1")
		c.say("events", events(w))
		c.run("rename d/g g; rename g d/i; chmod d 700; ls d; rename d/i d/l; rename d/l d/p exchange; unlink d/l; unlink d/p; rename d e; rmdir e")
		c.say("events", events(w))
	}},
	{"inotify of a file", func(c *caller) {
		c.run("put f x; link f g")
		w := c.watch("f")
		c.run("open a f rw; write a y; ftruncate a 0; fallocate a alloc 0 10; fchmod a 600; fchown a 1 1; futime a; fsetx a user.a v; frmx a user.a; pread a 0 1; rename f h; unlink g; unlink h; close a")
		c.say("events", events(w))
	}},
	{"inotify of a copy and a splice", func(c *caller) {
		c.run("put f 100*x; put g y; open f f r; open g g rw")
		w := c.watch("g")
		c.run("copy f 0 g 0 50")
		off := int64(0)
		n, err := unix.Sendfile(c.fds["g"], c.fds["f"], &off, 10)
		c.say("sendfile", n, err)
		c.say("events", events(w))
	}},
	{"a FIFO with epoll", func(c *caller) {
		c.run("mknod p p 600; open w p w,nonblock")
		r := c.open("p", unix.O_RDONLY|unix.O_NONBLOCK)
		w := c.open("p", unix.O_WRONLY|unix.O_NONBLOCK)
		ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		c.say("epoll", err)
		c.more = append(c.more, ep)
		c.say("add", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, r, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 1}))
		c.run("put f x; open f f r") // which epoll of a mount takes and ext4 does not: so the kernel has it
		c.say("add a directory", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, c.open(".", unix.O_RDONLY), &unix.EpollEvent{Events: unix.EPOLLIN}))
		poll := func() {
			list := make([]unix.EpollEvent, 4)
			n, err := unix.EpollWait(ep, list, 0)
			c.say("wait", n, err, list[0].Events)
		}
		poll()
		n, err := unix.Write(w, []byte("hello"))
		c.say("write", n, err)
		poll()
		c.closeOne(w)
		poll()
		buf := make([]byte, 9)
		n, err = unix.Read(r, buf)
		c.say("read", n, err)
		poll()
		fds := []unix.PollFd{{Fd: int32(c.fds["f"]), Events: unix.POLLIN | unix.POLLOUT}}
		n, err = unix.Poll(fds, 0)
		c.say("poll of a file", n, err, fds[0].Revents)
	}},
	{"a FIFO waits for its other end", func(c *caller) {
		c.run("mknod p p 600; link p q")
		got := make(chan string)
		path := c.path("p")
		go func() {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			buf := make([]byte, 9)
			n, rerr := unix.Read(fd, buf)
			unix.Close(fd)
			got <- fmt.Sprint(err, n, rerr, string(buf[:max(n, 0)]))
		}()
		w := c.open("q", unix.O_WRONLY)
		n, err := unix.Write(w, []byte("hello"))
		c.say("write", n, err)
		c.say("read", <-got)
	}},
	{"sockets", func(c *caller) {
		s := func(kind int) int {
			fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				c.say("socket", err)
			}
			c.more = append(c.more, fd)
			return fd
		}
		c.run("cd .; umask 27")
		l := s(unix.SOCK_STREAM)
		c.say("bind", unix.Bind(l, &unix.SockaddrUnix{Name: "s"}))
		c.run("stat s; open s s rw; link s t; chmod s 700")
		c.say("bind", unix.Bind(s(unix.SOCK_STREAM), &unix.SockaddrUnix{Name: "s"}))
		c.say("connect before listen", unix.Connect(s(unix.SOCK_STREAM), &unix.SockaddrUnix{Name: "s"}))
		c.say("listen", unix.Listen(l, 5))
		d := s(unix.SOCK_STREAM)
		c.say("connect by the other name", unix.Connect(d, &unix.SockaddrUnix{Name: "t"}))
		a, _, err := unix.Accept(l)
		c.say("accept", err)
		c.more = append(c.more, a)
		n, err := unix.Write(d, []byte("hello"))
		c.say("write", n, err)
		buf := make([]byte, 9)
		n, err = unix.Read(a, buf)
		c.say("read", string(buf[:max(n, 0)]), err)
		c.as(1000, 1000)
		c.say("connect as another", unix.Connect(s(unix.SOCK_STREAM), &unix.SockaddrUnix{Name: "s"}))
		c.as(0, 0)
		c.run("rename s u; unlink t")
		c.say("connect", unix.Connect(s(unix.SOCK_STREAM), &unix.SockaddrUnix{Name: "u"}))
		c.say("connect", unix.Connect(s(unix.SOCK_STREAM), &unix.SockaddrUnix{Name: "s"}))
		c.say("another kind", unix.Connect(s(unix.SOCK_DGRAM), &unix.SockaddrUnix{Name: "u"}))
		c.run("put f x; unlink u")
		c.say("a file", unix.Connect(s(unix.SOCK_STREAM), &unix.SockaddrUnix{Name: "f"}))
		g := s(unix.SOCK_DGRAM)
		c.say("datagrams", unix.Bind(g, &unix.SockaddrUnix{Name: "g"}), unix.Sendto(s(unix.SOCK_DGRAM), []byte("x"), 0, &unix.SockaddrUnix{Name: "g"}))
		c.run("ls .; lstat g")
	}},
}
