package transfer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast/volume"
)

// Manifest says of files who owns them and what may be done with them, and of devices that they
// are there: what a directory of somebody who is not root cannot say. It is a device table, as
// mkfs.jffs2, mkfs.ubifs, genext2fs and makedevs read it. A line is
//
//	NAME TYPE MODE UID GID MAJOR MINOR START INC COUNT
//
// with words separated by blanks. NAME is a path from the top, with or without a slash before it;
// a blank, a tab, a backslash or any other byte in it is written \040, three octal digits. TYPE is
//
//	f  a file, or whatever else is in the source and no directory
//	d  a directory, made if the source has none
//	r  a directory of the source, and all that is below it
//	c  a character device, b a block device, p a FIFO: made, in place of what the source has
//
// MODE is octal; UID and GID are numbers. A - in any of them leaves what the source says (else 0,
// and 0755 or 0644). Words that are left out at the end are -. For c and b, COUNT devices are made:
// NAME with START, START+1, ... behind it, whose minor numbers are MINOR, MINOR+INC, ...; without
// COUNT, or with 0, one that is called NAME. A later line overrides an earlier one. What is behind
// a # at the start of a word is a comment.
type Manifest struct {
	name  string
	rules map[string]*rule // by path
	trees []*rule          // of type r, in order
}

// rule is what a line says of a path.
type rule struct {
	path         string
	line         int
	kind         byte
	mode         int64 // -1: not said
	uid, gid     int64
	major, minor uint32
	used         bool
}

// maxCount bounds how many devices a line makes.
const maxCount = 1 << 16

// ParseManifest reads a manifest. Errors name the file and the line.
func ParseManifest(r io.Reader, name string) (*Manifest, error) {
	m := &Manifest{name: name, rules: map[string]*rule{}}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := m.parse(lines.Text(), n); err != nil {
			return nil, m.at(n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func (m *Manifest) at(line int, err error) error {
	return fmt.Errorf("%s:%d: %w", m.name, line, err)
}

func (m *Manifest) parse(text string, line int) error {
	words := strings.Fields(text)
	if i := slices.IndexFunc(words, func(w string) bool { return w[0] == '#' }); i >= 0 {
		words = words[:i]
	}
	if len(words) == 0 {
		return nil
	}
	if len(words) < 2 || len(words) > 10 {
		return fmt.Errorf("%d words: want NAME TYPE MODE UID GID MAJOR MINOR START INC COUNT", len(words))
	}
	for len(words) < 10 {
		words = append(words, "-")
	}
	r := rule{line: line, mode: -1, uid: -1, gid: -1}
	var err error
	if r.path, err = manifestPath(words[0]); err != nil {
		return err
	}
	if len(words[1]) != 1 || !strings.Contains("fdrcbp", words[1]) {
		return fmt.Errorf("type %q: want f, d, r, c, b or p", words[1])
	}
	r.kind = words[1][0]
	var start, inc, count int64
	for _, f := range []struct {
		what string
		word string
		base int
		max  int64
		to   *int64
	}{
		{"mode", words[2], 8, modeBits, &r.mode}, {"uid", words[3], 10, 1<<32 - 2, &r.uid}, {"gid", words[4], 10, 1<<32 - 2, &r.gid},
		{"start", words[7], 10, 1 << 31, &start}, {"inc", words[8], 10, 1 << 31, &inc}, {"count", words[9], 10, maxCount, &count},
	} {
		if f.word == "-" {
			continue
		}
		n, err := strconv.ParseInt(f.word, f.base, 64)
		if err != nil || n < 0 || n > f.max {
			return fmt.Errorf("%s %q: want a number from 0 to %s", f.what, f.word, strconv.FormatInt(f.max, f.base))
		}
		*f.to = n
	}
	device := r.kind == 'c' || r.kind == 'b'
	for i, to := range []*uint32{&r.major, &r.minor} {
		word := words[5+i]
		if word == "-" && !device {
			continue
		}
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil || n != 0 && !device {
			return fmt.Errorf("%s number %q of type %c", []string{"major", "minor"}[i], word, r.kind)
		}
		if most := []uint64{volume.MaxMajor, volume.MaxMinor}[i]; n > most {
			return fmt.Errorf("%s number %d is too large: want one up to %d", []string{"major", "minor"}[i], n, most)
		}
		*to = uint32(n)
	}
	if r.path == "." && r.kind != 'd' && r.kind != 'r' {
		return fmt.Errorf("the top directory cannot be of type %c", r.kind)
	}
	if count > 0 && !device {
		return fmt.Errorf("count %d of type %c: only devices come in numbers", count, r.kind)
	}
	if last := int64(r.minor) + inc*max(0, count-1); last > volume.MaxMinor {
		return fmt.Errorf("minor number %d is too large", last)
	}
	if count == 0 {
		m.add(r)
		return nil
	}
	for i := range count {
		one := r
		one.path += strconv.FormatInt(start+i, 10)
		one.minor += uint32(i * inc)
		m.add(one)
	}
	return nil
}

func (m *Manifest) add(r rule) {
	if r.kind == 'r' {
		m.trees = append(m.trees, &r)
		return
	}
	m.rules[r.path] = &r
}

// manifestPath reads a name with octal escapes.
func manifestPath(word string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] != '\\' {
			b.WriteByte(word[i])
			continue
		}
		if i+4 > len(word) {
			return "", fmt.Errorf("name %q: a backslash wants three octal digits behind it", word)
		}
		n, err := strconv.ParseUint(word[i+1:i+4], 8, 8)
		if err != nil || n == 0 {
			return "", fmt.Errorf("name %q: a backslash wants three octal digits behind it, not 000", word)
		}
		b.WriteByte(byte(n))
		i += 3
	}
	if slices.Contains(strings.Split(b.String(), "/"), "..") {
		return "", fmt.Errorf("name %q leads out of the tree", word)
	}
	return path.Clean("./" + strings.TrimLeft(b.String(), "/")), nil
}

// apply gives an entry what the rule says of owner and permissions.
func (r *rule) apply(e *entry) {
	r.used = true
	if r.mode >= 0 && volume.FileMode(e.mode)&fs.ModeSymlink == 0 {
		e.mode = e.mode&^modeBits | uint16(r.mode)
		if acl, ok := e.xattrs[aclAccess]; ok { // which says permissions too
			e.xattrs = maps.Clone(e.xattrs)
			e.xattrs[aclAccess] = chmodACL(acl, uint16(r.mode))
		}
	}
	if r.uid >= 0 {
		e.uid = uint32(r.uid)
	}
	if r.gid >= 0 {
		e.gid = uint32(r.gid)
	}
}

// manifestSource is a source as a manifest has it.
type manifestSource struct {
	source
	*Manifest
	owner *Owner // of what the manifest does not speak of
	now   time.Time
	rest  []*rule // not nil: the inner source is done
}

// withManifest applies the manifest of o, if it has one. It takes over what o says of owners.
func withManifest(src source, o *Options) source {
	if o.Manifest == nil {
		return src
	}
	s := &manifestSource{source: src, Manifest: o.Manifest, owner: o.Owner, now: o.Clamp}
	if s.now.IsZero() {
		s.now = time.Now()
	}
	o.Owner = nil
	for _, r := range o.Manifest.rules {
		r.used = false
	}
	return s
}

func (s *manifestSource) next() (*entry, error) {
	if s.rest == nil {
		e, err := s.source.next()
		if err == nil {
			return s.change(e)
		}
		if err != io.EOF {
			return nil, err
		}
		s.rest = []*rule{}
		for _, p := range slices.Sorted(maps.Keys(s.rules)) {
			if r := s.rules[p]; !r.used {
				s.rest = append(s.rest, r)
			}
		}
		for _, r := range s.trees {
			if !r.used {
				return nil, pathed{s.at(r.line, fmt.Errorf("%q is not in the source", r.path))}
			}
		}
	}
	if len(s.rest) == 0 {
		return nil, io.EOF
	}
	r := s.rest[0]
	s.rest = s.rest[1:]
	return s.make(r)
}

// change is an entry of the source with what the manifest says of it.
func (s *manifestSource) change(e *entry) (*entry, error) {
	if e.link != "" {
		r := s.rules[e.path]
		if r != nil {
			return nil, pathed{s.at(r.line, fmt.Errorf("%q is one file with %q: a line for that speaks of both", e.path, e.link))}
		}
		return e, nil
	}
	if s.owner != nil {
		e.uid, e.gid = s.owner.UID, s.owner.GID
	}
	for _, r := range s.trees {
		if e.path == r.path && !e.isDir() {
			return nil, pathed{s.at(r.line, fmt.Errorf("%q is no directory in the source", r.path))}
		}
		if e.path == r.path || below(e.path, r.path) {
			r.apply(e)
		}
	}
	r := s.rules[e.path]
	switch {
	case r == nil:
		return e, nil
	case (r.kind == 'd') != e.isDir():
		return nil, pathed{s.at(r.line, fmt.Errorf("%q is of another type in the source", e.path))}
	case r.kind == 'd' || r.kind == 'f':
		r.apply(e)
		return e, nil
	}
	return s.make(r)
}

// make is an entry that the manifest alone speaks of.
func (s *manifestSource) make(r *rule) (*entry, error) {
	e := &entry{path: r.path, where: fmt.Sprintf("%s:%d: %q", s.name, r.line, r.path), mode: 0o644, major: r.major, minor: r.minor, atime: s.now, mtime: s.now}
	switch r.kind {
	case 'f':
		return nil, pathed{s.at(r.line, fmt.Errorf("%q is not in the source", r.path))}
	case 'd':
		e.mode = dirMode | 0o755
	case 'c':
		e.mode |= 0o020000
	case 'b':
		e.mode |= 0o060000
	case 'p':
		e.mode |= 0o010000
	default:
		return nil, errors.New("unknown type of rule")
	}
	if s.owner != nil {
		e.uid, e.gid = s.owner.UID, s.owner.GID
	}
	r.apply(e)
	return e, nil
}
