//go:build !linux

package disk

import "os"

// allocate does nothing: this system has no such hint.
func allocate(*os.File, int64, int64, bool) {}
