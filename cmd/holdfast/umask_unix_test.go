//go:build unix

package main

import "syscall"

// The permissions of what is made depend on it.
func init() { syscall.Umask(0o022) }
