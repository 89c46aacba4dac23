package main

import (
	"fmt"
	"strings"
	"time"

	"holdfast/layout"
	"holdfast/volume"
)

// statJSON is a file in JSON: a line of ls, stat and find. What cannot be read of it is left
// out, and error says why. Texts that are not UTF-8 have their bytes in the field _b64 beside.
type statJSON struct {
	Path       string     `json:"path"`
	PathB64    string     `json:"path_b64,omitempty"`
	Image      string     `json:"image"`
	Inode      uint64     `json:"inode"`
	Generation uint32     `json:"generation"`
	Mode       string     `json:"mode,omitempty"`
	Type       string     `json:"type,omitempty"`
	Links      uint32     `json:"links"`
	UID        uint32     `json:"uid"`
	GID        uint32     `json:"gid"`
	Size       uint64     `json:"size"`
	Blocks     uint64     `json:"blocks"`
	Atime      *time.Time `json:"atime,omitempty"`
	Mtime      *time.Time `json:"mtime,omitempty"`
	Ctime      *time.Time `json:"ctime,omitempty"`
	Btime      *time.Time `json:"btime,omitempty"`
	Major      uint32     `json:"major,omitempty"`
	Minor      uint32     `json:"minor,omitempty"`
	Target     string     `json:"target,omitempty"`
	TargetB64  string     `json:"target_b64,omitempty"`
	Error      string     `json:"error,omitempty"`
}

func utc(t time.Time) *time.Time { t = t.UTC(); return &t }

// fileJSON is the JSON of what an operand names; err says why a has only inode and type.
func fileJSON(o operand, a volume.Attr, target string, err error) statJSON {
	j := statJSON{Path: o.path, PathB64: b64(o.path), Image: o.im.name, Inode: uint64(a.Ino), Type: typeName(a.Mode)}
	if err != nil {
		j.Error = cause(err).Error()
		return j
	}
	j.Generation, j.Mode, j.Links, j.UID, j.GID = a.Generation, fmt.Sprintf("%04o", a.Mode&layout.ModePerm), a.Links, a.UID, a.GID
	j.Size, j.Blocks, j.Major, j.Minor = a.Size, a.Blocks, a.Major, a.Minor
	j.Atime, j.Mtime, j.Ctime, j.Btime = utc(a.Atime), utc(a.Mtime), utc(a.Ctime), utc(a.Btime)
	j.Target, j.TargetB64 = target, b64(target)
	return j
}

// diskBytes is the space that a file takes.
func (im *image) diskBytes(a volume.Attr) uint64 { return a.Blocks * uint64(im.blockSize) }

// kilobytes are bytes in units of 1024, rounded up.
func kilobytes(n uint64) uint64 { return (n + 1023) / 1024 }

// sized prints bytes as -h or in kilobytes.
func sized(n uint64, units bool) string {
	if units {
		return human(n)
	}
	return fmt.Sprint(kilobytes(n))
}

// column pads a text to a width: positive, on the left; negative, on the right.
func column(text string, width int) string {
	pad := strings.Repeat(" ", max(0, max(width, -width)-len(text)))
	if width < 0 {
		return text + pad
	}
	return pad + text
}
