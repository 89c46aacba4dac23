package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// onInterrupt calls clean when the program is told to end, and ends it as the signal would have.
// What it returns gives that up.
func onInterrupt(clean func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	quit := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			clean()
			status := 128
			if n, ok := s.(syscall.Signal); ok {
				status += int(n)
			}
			os.Exit(status)
		case <-quit:
		}
	}()
	return sync.OnceFunc(func() { signal.Stop(signals); close(quit) })
}
