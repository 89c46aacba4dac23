package volume

import "syscall"

const (
	errnoStale  = syscall.ENOENT
	errnoNoAttr = syscall.ENODATA
)
