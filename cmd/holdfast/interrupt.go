package main

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// endSignals are those by which a program is told to end. That of a terminal which is gone is one, unless it is to be
// ignored (nohup).
func endSignals() []os.Signal {
	list := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		list = append(list, syscall.SIGHUP)
	}
	return list
}

// onInterrupt calls clean when the program is told to end, and ends it as the signal would have.
// What it returns gives that up.
func onInterrupt(clean func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	quit := make(chan struct{})
	signal.Notify(signals, endSignals()...)
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

// untilInterrupt gives a channel that is closed when the program is told to end, so that long work
// can stop and say how far it came. A second signal ends the program at once. What it returns
// beside the channel gives that up.
func untilInterrupt() (done <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 1)
	told, quit := make(chan struct{}), make(chan struct{})
	signal.Notify(signals, endSignals()...)
	go func() {
		select {
		case <-signals:
			signal.Stop(signals)
			close(told)
		case <-quit:
		}
	}()
	return told, sync.OnceFunc(func() { signal.Stop(signals); close(quit) })
}
