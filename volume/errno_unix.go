//go:build !windows

package volume

import "syscall"

const errnoStale = syscall.ESTALE
