//go:build !unix

package main

// umask is what is usual where the system has none.
func umask() uint16 { return 0o022 }
