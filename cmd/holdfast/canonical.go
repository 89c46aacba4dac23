package main

import (
	"errors"
	"io/fs"
	"strings"

	"holdfast/volume"
)

// missing says which components of a path need not exist, readlink(1).
type missing int

const (
	missingNone missing = iota // -e
	missingLast                // -f
	missingAny                 // -m
)

// canonical is the path of an operand without links, dots and needless slashes.
func canonical(o operand, may missing) (string, error) {
	todo := strings.Split(o.path, "/")
	type step struct {
		name string
		ino  volume.Ino // of the directory before it
	}
	var done []step
	at, known, followed := volume.Root, true, 0
	notDir := false // what has been reached is no directory
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if notDir && (name != "" || may != missingAny) { // a slash behind a file, too
			if may != missingAny {
				return "", o.at(volume.ErrNotDir)
			}
			known = false
		}
		switch name {
		case "", ".":
			continue
		case "..":
			if n := len(done); n > 0 {
				at, known, notDir = done[n-1].ino, done[n-1].ino != 0, false
				done = done[:n-1]
			}
			continue
		}
		before := at
		if !known {
			done = append(done, step{name, 0})
			continue
		}
		a, err := o.im.Lookup(at, name)
		switch {
		case errors.Is(err, fs.ErrNotExist) && (may == missingAny || may == missingLast && strings.Trim(strings.Join(todo, ""), "/") == ""):
			known = false
		case err != nil:
			return "", o.at(err)
		case isLink(a):
			if followed++; followed > volume.MaxFollow {
				return "", o.at(volume.ErrLoop)
			}
			target, err := o.im.Readlink(a.Ino)
			if err != nil {
				return "", o.at(err)
			}
			if strings.HasPrefix(target, "/") {
				at, done = volume.Root, nil
			}
			todo = append(strings.Split(target, "/"), todo...)
			continue
		default:
			at, notDir = a.Ino, !isDir(a)
		}
		done = append(done, step{name, before})
	}
	var b strings.Builder
	for _, s := range done {
		b.WriteString("/" + s.name)
	}
	if b.Len() == 0 {
		return "/", nil
	}
	return b.String(), nil
}
