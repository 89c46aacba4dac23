//go:build unix

package main

import "syscall"

// umask is what the process takes from the permissions of what it makes.
func umask() uint16 {
	m := syscall.Umask(0) // there is no call that only asks
	syscall.Umask(m)
	return uint16(m) & 0o777
}
