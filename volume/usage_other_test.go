//go:build !unix

package volume_test

import (
	"runtime"
	"time"
)

var started = time.Now()

// cpuTime stands for the processor time of this process.
func cpuTime() time.Duration { return time.Since(started) }

// peakMemory stands for the most memory in bytes that this process has had.
func peakMemory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}
