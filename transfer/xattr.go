package transfer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/pkg/xattr"

	"holdfast/volume"
)

// keepXattr reports whether an attribute belongs to the file rather than to the host: what users
// set, capabilities and access control lists; not the labels of a security module.
func keepXattr(name string) bool {
	switch name {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.")
}

// xattrsOf is the attributes of a file of the host that are kept.
func (s *hostSource) xattrsOf(rel string) (map[string][]byte, error) {
	if !s.Preserve {
		return nil, nil
	}
	return readXattrs(s.root, rel)
}

// collectXattrs reads what is kept of a list of attributes. One that is gone by now is left out.
func collectXattrs(list func() ([]string, error), get func(name string) ([]byte, error)) (map[string][]byte, error) {
	names, err := list()
	if err != nil || len(names) == 0 {
		if noXattrs(err) {
			err = nil
		}
		return nil, err
	}
	var m map[string][]byte
	for _, name := range names {
		if !keepXattr(name) {
			continue
		}
		value, err := get(name)
		if errors.Is(err, xattr.ENOATTR) || noXattrs(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if m == nil {
			m = map[string][]byte{}
		}
		m[name] = value
	}
	return m, nil
}

// openXattrs reads the attributes of what can be opened.
func openXattrs(root *os.Root, rel string) (map[string][]byte, error) {
	f, err := root.OpenFile(rel, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return collectXattrs(func() ([]string, error) { return xattr.FList(f) },
		func(name string) ([]byte, error) { return xattr.FGet(f, name) })
}

// setXattrs gives ino these attributes.
func setXattrs(v *volume.Volume, ino volume.Ino, m map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if err := v.Setxattr(ino, name, m[name], 0); err != nil {
			return fmt.Errorf("attribute %q of %d bytes: %w", name, len(m[name]), err)
		}
	}
	return nil
}

// clearXattrs takes attributes away that an inode is not to have.
func clearXattrs(v *volume.Volume, ino volume.Ino, keep map[string][]byte) error {
	names, err := v.Listxattr(ino)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := keep[name]; ok {
			continue
		}
		if err := v.Removexattr(ino, name); err != nil {
			return err
		}
	}
	return nil
}

// getXattrs is the attributes of ino.
func getXattrs(v *volume.Volume, ino volume.Ino) (map[string][]byte, error) {
	names, err := v.Listxattr(ino)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	m := map[string][]byte{}
	for _, name := range names {
		if m[name], err = v.Getxattr(ino, name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// putXattrs gives a file of the host attributes; fn is told of those that it does not take.
func putXattrs(root *os.Root, rel string, m map[string][]byte, fn func(name string, err error)) {
	if len(m) == 0 {
		return
	}
	err := withXattrs(root, rel, func(set func(name string, value []byte) error) error {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if err := set(name, m[name]); err != nil {
				fn(name, err)
			}
		}
		return nil
	})
	if err != nil {
		fn("all", err)
	}
}

// openWithXattrs is withXattrs for what can be opened.
func openWithXattrs(root *os.Root, rel string, fn func(set func(name string, value []byte) error) error) error {
	f, err := root.OpenFile(rel, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(func(name string, value []byte) error { return bareXattr(xattr.FSet(f, name, value)) })
}

// bareXattr is an error without the path that the library puts in.
func bareXattr(err error) error {
	var e *xattr.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
