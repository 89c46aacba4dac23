//go:build linux

package fusefs_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// feature is a case that the script has no words for; it may use them in between.
type feature struct {
	name string
	run  func(c *caller)
}

// features are the cases of all files features_*_test.go.
var features = slices.Concat(mapFeatures, dataFeatures, lockFeatures, nameFeatures, dirFeatures, spaceFeatures, randomFeatures)

// say writes down what has been found.
func (c *caller) say(what string, args ...any) {
	for i, a := range args {
		if err, ok := a.(error); ok {
			args[i] = errName(err)
		}
	}
	fmt.Fprintln(&c.out, what, strings.TrimSpace(fmt.Sprintln(args...)))
}

// open is open(2) of a file of the case; a failure is written down. end closes it.
func (c *caller) open(name string, flags int) int {
	fd, err := c.openNew(name, flags, 0)
	if err != nil {
		c.say("open "+name, err)
	}
	return fd
}

// openNew is open(2); end closes the descriptor.
func (c *caller) openNew(name string, flags int, mode uint32) (int, error) {
	fd, err := unix.Open(c.path(name), flags|unix.O_CLOEXEC, mode)
	if err == nil {
		c.more = append(c.more, fd)
	}
	return fd, err
}

// closeOne closes what open has opened.
func (c *caller) closeOne(fd int) {
	c.more = slices.DeleteFunc(c.more, func(n int) bool { return n == fd })
	unix.Close(fd)
}

func (c *caller) closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// program copies a program of the host.
func (c *caller) program(command, name string, mode uint32) {
	from, err := exec.LookPath(command)
	if err != nil {
		c.say("program", err)
		return
	}
	p, err := os.ReadFile(from)
	if err == nil {
		err = c.writeProgram(name, p, mode)
	}
	c.say("program", err)
}

// writeProgram writes a file that is to run. While it is open for writing it does not, and a process that the
// runtime forks at that moment for somebody else has it open too.
func (c *caller) writeProgram(name string, p []byte, mode uint32) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(c.path(name), p, 0o600); err != nil {
		return err
	}
	return unix.Chmod(c.path(name), mode)
}

// runAs runs a program of the case as another user; the answer is what it says.
func (c *caller) runAs(uid uint32, name string, args ...string) string {
	cmd := exec.Command(c.path(name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return errName(err)
	}
	return string(out)
}
