//go:build unix

package volume_test

import (
	"runtime"
	"syscall"
	"time"
)

// usage is what this process has used; the zero value if the system does not say.
func usage() (u syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u
}

// cpuTime is the processor time of this process, of the kernel for it too.
func cpuTime() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most memory in bytes that this process has had.
func peakMemory() int64 {
	if runtime.GOOS == "darwin" {
		return int64(usage().Maxrss)
	}
	return int64(usage().Maxrss) << 10
}
