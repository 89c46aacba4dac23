//go:build !linux

package main

func isLeaving(string) bool { return false }
