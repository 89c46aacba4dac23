//go:build linux

package fusefs_test

import (
	"bytes"
	"os/exec"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	page   = 4096
	rdonly = unix.PROT_READ
	rdwr   = unix.PROT_READ | unix.PROT_WRITE
)

// mmap maps n bytes of an open file, and writes a failure down.
func (c *caller) mmap(fd, n, prot, how int) []byte {
	m, err := unix.Mmap(fd, 0, n, prot, how)
	if err != nil {
		c.say("mmap", err)
		return nil
	}
	c.maps = append(c.maps, m)
	return m
}

// touch is whether a byte can be read, or lies on a page behind the end of its file.
func touch(p []byte, i int) (answer string) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			answer = "SIGBUS"
		}
	}()
	return text(p[i : i+1])
}

var mapFeatures = []feature{
	{"a shared mapping is the file", func(c *caller) {
		c.run("put f 5000*a")
		m := c.mmap(c.open("f", unix.O_RDWR), 5000, rdwr, unix.MAP_SHARED)
		copy(m[4000:], "mapped")
		c.run("get f; open w f w; pwrite w 0 written")
		c.say("map", text(m[:8]), text(m[3998:4008]))
		c.say("msync", unix.Msync(m, unix.MS_SYNC))
		c.run("get f; fstat w")
	}},
	{"a private mapping is not", func(c *caller) {
		c.run("put f 5000*a")
		m := c.mmap(c.open("f", unix.O_RDONLY), 5000, rdwr, unix.MAP_PRIVATE)
		copy(m, "mine")
		c.run("get f; open w f w; pwrite w 4096 theirs")
		c.say("map", text(m[:8]), text(m[4094:4104]))
	}},
	{"what a mapping may do depends on how the file is open", func(c *caller) {
		c.run("put f x")
		r, w := c.open("f", unix.O_RDONLY), c.open("f", unix.O_WRONLY)
		c.mmap(r, 1, rdwr, unix.MAP_SHARED)
		c.mmap(r, 1, rdwr, unix.MAP_PRIVATE)
		c.mmap(w, 1, rdonly, unix.MAP_SHARED)
		c.mmap(w, 1, unix.PROT_WRITE, unix.MAP_SHARED)
		c.mmap(c.open("f", unix.O_PATH), 1, rdonly, unix.MAP_SHARED)
		c.mmap(c.open(".", unix.O_RDONLY), 1, rdonly, unix.MAP_SHARED)
		c.say("mprotect", unix.Mprotect(c.mmap(r, 1, rdonly, unix.MAP_SHARED), rdwr))
	}},
	{"a mapping ends with the file", func(c *caller) {
		c.run("put f 5000*a")
		m := c.mmap(c.open("f", unix.O_RDWR), 3*page, rdwr, unix.MAP_SHARED)
		c.say("inside", touch(m, 4999), "in the last page", touch(m, 5001), "behind it", touch(m, 2*page))
		c.run("truncate f 100")
		c.say("cut off", touch(m, 99), touch(m, 100), touch(m, page))
		c.run("truncate f 9000")
		c.say("grown", touch(m, 99), touch(m, 4999), touch(m, 8999))
	}},
	{"what a mapping writes behind the end is not kept", func(c *caller) {
		c.run("put f 100*a")
		m := c.mmap(c.open("f", unix.O_RDWR), page, rdwr, unix.MAP_SHARED)
		copy(m[90:], bytes.Repeat([]byte("m"), 100))
		c.say("msync", unix.Msync(m, unix.MS_SYNC))
		c.run("stat f; truncate f 300; get f")
	}},
	{"a mapping of a hole gets blocks", func(c *caller) {
		c.run("open f f rw,creat 600; ftruncate f 65536")
		m := c.mmap(c.fds["f"], 65536, rdwr, unix.MAP_SHARED)
		c.say("hole", text(m[:4]))
		m[40000] = 'x'
		c.say("msync", unix.Msync(m, unix.MS_SYNC))
		c.run("blocks f; fsync f; seek f data 0; seek f hole 36864; pread f 39990 20")
	}},
	{"a mapping keeps an unlinked file", func(c *caller) {
		c.run("put f 5000*a")
		fd := c.open("f", unix.O_RDWR)
		m := c.mmap(fd, 5000, rdwr, unix.MAP_SHARED)
		c.run("unlink f; ls .")
		c.closeOne(fd)
		m[1] = 'b'
		c.say("map", text(m[:4]), unix.Msync(m, unix.MS_SYNC), text(m[:4]))
	}},
	{"two names map to the same pages", func(c *caller) {
		c.run("put f 100*a; link f g")
		m, n := c.mmap(c.open("f", unix.O_RDWR), 100, rdwr, unix.MAP_SHARED), c.mmap(c.open("g", unix.O_RDWR), 100, rdonly, unix.MAP_SHARED)
		m[7] = 'b'
		c.say("other", text(n[:10]))
	}},
	{"a mapping that writes moves the times", func(c *caller) {
		c.run("put f 100*a; snap f")
		m := c.mmap(c.open("f", unix.O_RDWR), 100, rdwr, unix.MAP_SHARED)
		m[0] = 'b'
		c.say("msync", unix.Msync(m, unix.MS_SYNC))
		c.run("moved f")
	}},
	{"a punched hole and a direct write show in a mapping", func(c *caller) {
		c.run("put f 16384*a; open f f rw")
		m := c.mmap(c.fds["f"], 16384, rdwr, unix.MAP_SHARED)
		c.say("before", touch(m, 5000))
		c.run("fallocate f punch 4096 4096")
		c.say("after", touch(m, 5000), touch(m, 8192))
		d := c.open("f", unix.O_WRONLY|unix.O_DIRECT)
		n, err := unix.Pwrite(d, aligned(page, 'd'), 8192)
		c.say("direct", n, err, touch(m, 8192))
	}},
	{"a semaphore in a file, as sem_open makes it", func(c *caller) {
		c.run("open t sem.tmp rw,creat,excl 600; write t 32*_; link sem.tmp sem.x; link sem.tmp sem.x; unlink sem.tmp; ls .")
		a := c.mmap(c.open("sem.x", unix.O_RDWR|unix.O_NOFOLLOW), 32, rdwr, unix.MAP_SHARED)
		b := c.mmap(c.open("sem.x", unix.O_RDWR|unix.O_NOFOLLOW), 32, rdwr, unix.MAP_SHARED)
		if a == nil || b == nil {
			return
		}
		x, y := (*uint32)(unsafe.Pointer(&a[0])), (*uint32)(unsafe.Pointer(&b[0]))
		atomic.StoreUint32(x, 0)
		woken := make(chan syscall.Errno)
		go func() {
			const wait = 0
			for atomic.LoadUint32(y) == 0 {
				if _, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(y)), wait, 0, 0, 0, 0); errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
					woken <- errno
					return
				}
			}
			woken <- 0
		}()
		atomic.AddUint32(x, 1)
		for {
			const wake = 1
			unix.Syscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(x)), wake, 1)
			select {
			case errno := <-woken:
				c.say("woken", errno == 0)
				return
			case <-time.After(time.Millisecond):
			}
		}
	}},
	{"a program runs, and cannot be written meanwhile", func(c *caller) {
		c.program("sleep", "sleep", 0o755)
		cmd := exec.Command(c.path("sleep"), "100")
		if err := cmd.Start(); err != nil {
			c.say("start", err)
			return
		}
		c.run("open a sleep w; open a sleep rw,trunc; truncate sleep 0; open a sleep r; rename sleep s; unlink s; ls .")
		c.say("kill", cmd.Process.Kill())
		_ = cmd.Wait()
	}},
	{"a program that is open for writing does not run", func(c *caller) {
		c.program("true", "true", 0o755)
		fd := c.open("true", unix.O_WRONLY)
		c.say("run", exec.Command(c.path("true")).Run())
		c.closeOne(fd)
		c.say("run", exec.Command(c.path("true")).Run())
	}},
	{"what has no permission to run does not", func(c *caller) {
		c.program("true", "true", 0o644)
		c.say("run", exec.Command(c.path("true")).Run())
		c.run("chmod true 100")
		c.say("run", exec.Command(c.path("true")).Run())
		c.say("run as another", c.runAs(1000, "true"))
		c.run("chmod true 711")
		c.say("run as another", c.runAs(1000, "true"))
	}},
	{"a script runs by its first line", func(c *caller) {
		c.say("script", c.writeProgram("s", []byte("#!/bin/sh\necho $1 from $(basename $0)\n"), 0o700))
		out, err := exec.Command(c.path("s"), "hello").CombinedOutput()
		c.say("run", string(out), err)
	}},
	{"a set-user-ID program runs as its owner", func(c *caller) {
		c.program("id", "id", 0o4755)
		c.say("run", c.runAs(1000, "id", "-u"))
		c.run("chmod id 755")
		c.say("run", c.runAs(1000, "id", "-u"))
		c.run("chown id 5 6; chmod id 2755")
		c.say("run", c.runAs(1000, "id", "-g"))
	}},
}
