package transfer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// An access control list is kept as Linux has it in an attribute (linux/posix_acl_xattr.h): version
// 2, then entries of a tag, permissions and a number, little-endian, in the order of the tags.
const (
	aclVersion   = 2
	aclUserObj   = 0x01
	aclUser      = 0x02
	aclGroupObj  = 0x04
	aclGroup     = 0x08
	aclMask      = 0x10
	aclOther     = 0x20
	aclUndefined = math.MaxUint32
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// parseACL reads the text form, acl(5): user:NAME:rwx and so on, separated by commas or lines.
// A name must be a number, or be followed by one as a fourth field, as star writes it: the names
// of a system mean nothing in an image.
func parseACL(text string) ([]byte, error) {
	tags := map[string][2]uint16{"user": {aclUserObj, aclUser}, "u": {aclUserObj, aclUser}, "group": {aclGroupObj, aclGroup}, "g": {aclGroupObj, aclGroup},
		"mask": {aclMask, 0}, "m": {aclMask, 0}, "other": {aclOther, 0}, "o": {aclOther, 0}}
	var list []aclEntry
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 1 && f[0] == "" {
			continue
		}
		if len(f) == 2 { // mask:rwx
			f = []string{f[0], "", f[1]}
		}
		tag, ok := tags[f[0]]
		if !ok || len(f) < 3 || len(f) > 4 {
			return nil, fmt.Errorf("entry %q", line)
		}
		e := aclEntry{tag: tag[0], id: aclUndefined}
		if f[1] != "" {
			number := f[len(f)-1]
			if len(f) == 3 {
				number = f[1]
			}
			id, err := strconv.ParseUint(number, 10, 32)
			if err != nil || tag[1] == 0 {
				return nil, fmt.Errorf("entry %q: %q is not a number (tar --numeric-owner writes them)", line, f[1])
			}
			e.tag, e.id = tag[1], uint32(id)
		}
		for _, c := range strings.TrimSpace(f[2]) {
			bit, ok := map[rune]uint16{'r': 4, 'w': 2, 'x': 1, '-': 0}[c]
			if !ok {
				return nil, fmt.Errorf("entry %q: permissions %q", line, f[2])
			}
			e.perm |= bit
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(list, func(a, b aclEntry) int {
		return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id))
	})
	p := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range list {
		p = binary.LittleEndian.AppendUint16(p, e.tag)
		p = binary.LittleEndian.AppendUint16(p, e.perm)
		p = binary.LittleEndian.AppendUint32(p, e.id)
	}
	return p, nil
}

// formatACL is the inverse of parseACL; empty for what is no access control list.
func formatACL(p []byte) string {
	tags := map[uint16]string{aclUserObj: "user", aclUser: "user", aclGroupObj: "group", aclGroup: "group", aclMask: "mask", aclOther: "other"}
	if len(p) < 4 || len(p)%8 != 4 || binary.LittleEndian.Uint32(p) != aclVersion {
		return ""
	}
	var list []string
	for p = p[4:]; len(p) > 0; p = p[8:] {
		tag, perm, id := binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint16(p[2:]), ""
		name, ok := tags[tag]
		if !ok {
			return ""
		}
		if tag == aclUser || tag == aclGroup {
			id = strconv.FormatUint(uint64(binary.LittleEndian.Uint32(p[4:])), 10)
		}
		bits := []byte("rwx")
		for i := range bits {
			if perm&(4>>i) == 0 {
				bits[i] = '-'
			}
		}
		list = append(list, name+":"+id+":"+string(bits))
	}
	return strings.Join(list, ",")
}

// chmodACL is an access control list behind a chmod: the bits of the group are those of the mask, where there is one.
func chmodACL(p []byte, mode uint16) []byte {
	if formatACL(p) == "" { // the volume says so
		return p
	}
	p = slices.Clone(p)
	group := -1 // where the bits of the group go
	for i := 4; i < len(p); i += 8 {
		switch binary.LittleEndian.Uint16(p[i:]) {
		case aclUserObj:
			binary.LittleEndian.PutUint16(p[i+2:], mode>>6&7)
		case aclOther:
			binary.LittleEndian.PutUint16(p[i+2:], mode&7)
		case aclGroupObj:
			if group < 0 {
				group = i
			}
		case aclMask:
			group = i
		}
	}
	if group >= 0 {
		binary.LittleEndian.PutUint16(p[group+2:], mode>>3&7)
	}
	return p
}
