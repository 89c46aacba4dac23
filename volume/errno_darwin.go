package volume

import "syscall"

const errnoNoAttr = syscall.ENOATTR
