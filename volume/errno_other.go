//go:build !windows && !darwin

package volume

import "syscall"

const errnoNoAttr = syscall.ENODATA
