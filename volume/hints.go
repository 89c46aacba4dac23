package volume

import "holdfast/volume/internal/dirs"

// maxHints is how many directories are remembered; a hint has some 200 bytes.
const maxHints = 4096

// dirHints is what is remembered of the space maps of directories that have been changed lately,
// so that a change need not read a map from its start.
type dirHints map[Ino]*dirs.Hint

// hint is what is remembered of a directory, for an operation that may change it.
func (o *op) hint(ino Ino) *dirs.Hint {
	o.hinted = append(o.hinted, ino)
	if h := o.v.hints[ino]; h != nil {
		return h
	}
	if o.v.hints == nil || len(o.v.hints) >= maxHints {
		o.v.hints = dirHints{}
	}
	h := new(dirs.Hint)
	o.v.hints[ino] = h
	return h
}

// forget drops what operations that are undone have noted.
func (d dirHints) forget(list []Ino) {
	for _, ino := range list {
		delete(d, ino)
	}
}
