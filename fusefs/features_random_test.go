//go:build linux

package fusefs_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// randomFeatures are long walks, from seeds that their names say.
var randomFeatures = walks()

func walks() (list []feature) {
	for seed := range uint64(4) {
		list = append(list,
			feature{fmt.Sprintf("data, seed %d", seed), func(c *caller) { c.dataWalk(rand.New(rand.NewPCG(seed, 1))) }},
			feature{fmt.Sprintf("names, seed %d", seed), func(c *caller) { c.nameWalk(rand.New(rand.NewPCG(seed, 2))) }})
	}
	return list
}

// dataWalk changes one file in every way that there is, as fsx does, and compares it with what is in memory.
func (c *caller) dataWalk(r *rand.Rand) {
	const most = 200_000
	c.run("open f f rw,creat 600")
	fd, direct := c.fds["f"], c.open("f", unix.O_RDWR|unix.O_DIRECT)
	var want []byte
	grow := func(n int) {
		if n > len(want) {
			want = append(want, make([]byte, n-len(want))...)
		}
	}
	for i := range 300 {
		off, n := r.IntN(most), 1+r.IntN(20_000)
		fill := byte('a' + i%26)
		var err error
		var what string
		switch r.IntN(10) {
		case 0, 1:
			what = "write"
			_, err = unix.Pwrite(fd, bytes.Repeat([]byte{fill}, n), int64(off))
			grow(off + n)
			copy(want[off:], bytes.Repeat([]byte{fill}, n))
		case 2:
			what, off, n = "direct write", off/page*page, (n+page-1)/page*page
			_, err = unix.Pwrite(direct, aligned(n, fill), int64(off))
			grow(off + n)
			copy(want[off:], bytes.Repeat([]byte{fill}, n))
		case 3:
			what = "truncate"
			err = unix.Ftruncate(fd, int64(off))
			grow(off)
			want = want[:off:off]
		case 4:
			what = "punch"
			err = unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(n))
			if off < len(want) {
				clear(want[off:min(off+n, len(want))])
			}
		case 5:
			what = "zero"
			err = unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE, int64(off), int64(n))
			grow(off + n)
			clear(want[off : off+n])
		case 6:
			what = "allocate"
			err = unix.Fallocate(fd, 0, int64(off), int64(n))
			grow(off + n)
		case 7:
			what = "mapped write"
			if off >= len(want) {
				continue
			}
			n = min(n, len(want)-off)
			m, merr := unix.Mmap(fd, 0, len(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err = merr; err == nil {
				copy(m[off:], bytes.Repeat([]byte{fill}, n))
				if r.IntN(2) == 0 {
					err = unix.Msync(m, unix.MS_SYNC)
				}
				_ = unix.Munmap(m)
			}
			copy(want[off:], bytes.Repeat([]byte{fill}, n))
		case 8:
			what = "copy"
			from := r.IntN(most)
			if from+n > len(want) || from < off+n && off < from+n {
				continue
			}
			for a, b, left := int64(from), int64(off), n; left > 0 && err == nil; {
				var done int
				done, err = unix.CopyFileRange(fd, &a, fd, &b, left, 0)
				left -= done
			}
			grow(off + n)
			copy(want[off:off+n], want[from:from+n])
		case 9:
			what = "fsync"
			err = unix.Fsync(fd)
		}
		got := make([]byte, most+30_000)
		read, rerr := unix.Pread(fd, got, 0)
		if err != nil || rerr != nil || !bytes.Equal(got[:max(read, 0)], want) {
			c.say(wrong, i, what, off, n, err, rerr, read, len(want))
			return
		}
	}
	got := aligned((most+30_000)/page*page, 0)
	n, err := unix.Pread(direct, got, 0)
	if !bytes.Equal(got[:max(n, 0)], want) {
		c.say(wrong, "read directly", n, err)
	}
}

// nameWalk makes, moves and removes names, a few in a few directories, as fsstress does.
func (c *caller) nameWalk(r *rand.Rand) {
	dirs := []string{".", "d0", "d1", "d0/d2", "d1/d3", "d0/d2/d4"}
	name := func() string {
		d := dirs[r.IntN(len(dirs))]
		switch r.IntN(4) {
		case 0:
			return dirs[1+r.IntN(len(dirs)-1)]
		case 1:
			return fmt.Sprintf("%s/d%d", d, r.IntN(5))
		}
		return fmt.Sprintf("%s/f%d", d, r.IntN(4))
	}
	calls := []func() string{
		func() string { return "mkdir " + name() + " 755" },
		func() string { return "mkdir " + name() + " 755" },
		func() string { return "put " + name() + " x" },
		func() string { return "put " + name() + " yy" },
		func() string { return "rename " + name() + " " + name() },
		func() string { return "rename " + name() + " " + name() },
		func() string { return "rename " + name() + " " + name() + " noreplace" },
		func() string { return "rename " + name() + " " + name() + " exchange" },
		func() string { return "link " + name() + " " + name() },
		func() string { return "symlink " + fmt.Sprintf("f%d", r.IntN(4)) + " " + name() },
		func() string { return "mknod " + name() + " s 600" }, // opening a FIFO would wait
		func() string { return "unlink " + name() },
		func() string { return "rmdir " + name() },
		func() string { return "lstat " + name() },
		func() string { return "links " + name() },
		func() string { return "ls " + name() },
	}
	for range 600 {
		c.run(calls[r.IntN(len(calls))]())
	}
	for _, d := range dirs {
		c.run("ls " + d)
	}
}
