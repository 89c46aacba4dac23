package main

import (
	"os"
	"syscall"
	"time"
)

// hostAtime is the access time of a file of the host.
func hostAtime(st os.FileInfo) time.Time {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Atim.Unix())
	}
	return st.ModTime()
}
