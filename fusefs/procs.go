//go:build linux

package fusefs

import (
	"os"
	"runtime"
)

// waiting is how many goroutines of go-fuse may wait for a request at a time, if New was called with so many
// processors.
func waiting(procs int) int { return min(max(procs, 2), 16) + 1 }

// OwnProcess is for a process that does nothing but serve one mount, to be called when [New] has returned: requests
// take a fifth less of its time. Who waits for a request is in read(2) of the kernel's device, and to the Go scheduler
// has a processor (GOMAXPROCS) there; with more who wait than processors it takes them away all the time, looking
// every 20 microseconds, and a request that has come waits for one. One more than wait leaves it nothing to take.
// A GOMAXPROCS of the environment is left as it is.
func OwnProcess() {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	procs := runtime.GOMAXPROCS(0)
	if need := waiting(procs) + 1; procs < need {
		runtime.GOMAXPROCS(need)
	}
}
