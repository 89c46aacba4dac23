package workload

// Errno is the result of an operation: OK, or the name that POSIX gives to the error.
type Errno string

// The results that the model has, and ENOSPC, which it never has: the model has no limits
// of space. An operation that the volume refuses with ENOSPC must have had no effect.
const (
	OK           Errno = ""
	EBADF        Errno = "EBADF" // a handle that is not open, or open twice: a mistake in the script
	EEXIST       Errno = "EEXIST"
	EFBIG        Errno = "EFBIG"
	EINVAL       Errno = "EINVAL"
	EISDIR       Errno = "EISDIR"
	ELOOP        Errno = "ELOOP"
	EMLINK       Errno = "EMLINK"
	ENAMETOOLONG Errno = "ENAMETOOLONG"
	ENODATA      Errno = "ENODATA" // no such attribute
	ENOENT       Errno = "ENOENT"
	ENOSPC       Errno = "ENOSPC"
	ENOTDIR      Errno = "ENOTDIR"
	ENOTEMPTY    Errno = "ENOTEMPTY"
	EOPNOTSUPP   Errno = "EOPNOTSUPP" // without a journal: see refusal
	EPERM        Errno = "EPERM"
)

// Error makes a result other than OK usable as an error.
func (e Errno) Error() string { return e.String() }

func (e Errno) String() string {
	if e == OK {
		return "success"
	}
	return string(e)
}

// refusal reports whether the result is one that the model never has: a volume may refuse an
// operation for lack of space, or because it has no journal, and must not have done any of it.
func (e Errno) refusal() bool { return e == ENOSPC || e == EOPNOTSUPP }

func (e Errno) known() bool {
	switch e {
	case EBADF, EEXIST, EFBIG, EINVAL, EISDIR, ELOOP, EMLINK, ENAMETOOLONG, ENODATA, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EOPNOTSUPP, EPERM:
		return true
	}
	return false
}
