package transfer

import "os"

// plainAttr is what any system says of a file.
func plainAttr(info os.FileInfo) hostAttr {
	a := hostAttr{links: 1, size: info.Size(), mtime: info.ModTime(), atime: info.ModTime(), mode: uint16(info.Mode().Perm())}
	switch m := info.Mode(); {
	case m.IsDir():
		a.mode |= typeDir
	case m&os.ModeSymlink != 0:
		a.mode |= typeLink
	case m&os.ModeNamedPipe != 0:
		a.mode |= typeFIFO
	case m&os.ModeSocket != 0:
		a.mode |= typeSocket
	case m&os.ModeCharDevice != 0:
		a.mode |= typeChar
	case m&os.ModeDevice != 0:
		a.mode |= typeBlock
	default:
		a.mode |= typeFile
	}
	return a
}
