package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// byteBar shows how far long work has come, on a terminal; elsewhere it does nothing. max is in
// bytes, -1 if it is not known. done takes the line away again.
func byteBar(w io.Writer, what string, max int64) (add func(n int64), done func()) {
	f := terminal(w)
	if f == nil {
		return func(int64) {}, func() {}
	}
	bar := progressbar.NewOptions64(max, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth())
	return func(n int64) { _ = bar.Add64(n) }, func() { _ = bar.Finish() }
}
