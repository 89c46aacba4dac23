//go:build !linux

package disk

const rangeLocks = false
