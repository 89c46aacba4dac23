package volume

import (
	"encoding/binary"
	"slices"

	"holdfast/layout"
)

// POSIX ACLs (acl(5), draft 17 of POSIX 1003.1e) are attributes with a meaning: the access ACL
// and the permission bits say the same, and what is made in a directory inherits its default
// ACL. The values have the form of the system call: version 2, then entries of a tag, the
// permissions and an id.

// Names of the attributes that are ACLs.
const (
	ACLAccess  = "system.posix_acl_access"
	ACLDefault = "system.posix_acl_default"
)

func isACL(name string) bool { return name == ACLAccess || name == ACLDefault }

// Tags of ACL entries, in the order in which they must come.
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20

	aclVersion = 2
	aclEntry   = 8
)

// acl is a value as it is stored: it has been found valid.
type acl []byte

func (a acl) len() int            { return (len(a) - 4) / aclEntry }
func (a acl) tag(i int) uint16    { return binary.LittleEndian.Uint16(a[4+i*aclEntry:]) }
func (a acl) perm(i int) uint16   { return binary.LittleEndian.Uint16(a[6+i*aclEntry:]) }
func (a acl) set(i int, p uint16) { binary.LittleEndian.PutUint16(a[6+i*aclEntry:], p&7) }

// parseACL validates a value as posix_acl_valid of Linux does: one entry for the owner, the
// group and others, a mask where users or groups are named, all in order.
func parseACL(p []byte) (acl, error) {
	if len(p) < 4 || (len(p)-4)%aclEntry != 0 || binary.LittleEndian.Uint32(p) != aclVersion {
		return nil, ErrInvalid
	}
	a := acl(slices.Clone(p))
	seen, last, named := uint16(0), uint16(0), false
	for i := range a.len() {
		t := a.tag(i)
		switch t {
		case aclUser, aclGroup:
			named = true
		case aclUserObj, aclGroupObj, aclMask, aclOther:
			if seen&t != 0 {
				return nil, ErrInvalid
			}
		default:
			return nil, ErrInvalid
		}
		if t < last || a.perm(i)&^7 != 0 {
			return nil, ErrInvalid
		}
		seen, last = seen|t, t
	}
	const base = aclUserObj | aclGroupObj | aclOther
	if seen&base != base || named && seen&aclMask == 0 {
		return nil, ErrInvalid
	}
	return a, nil
}

// mode is the permission bits that say what the ACL says, and whether they say all of it.
func (a acl) mode() (mode uint16, all bool) {
	all = true
	var group, mask uint16
	masked := false
	for i := range a.len() {
		p := a.perm(i)
		switch a.tag(i) {
		case aclUserObj:
			mode |= p << 6
		case aclGroupObj:
			group = p
		case aclMask:
			mask, masked, all = p, true, false
		case aclOther:
			mode |= p
		default:
			all = false
		}
	}
	if masked {
		group = mask
	}
	return mode | group<<3, all
}

// chmod makes the ACL say what new permission bits say: the group's bits are those of the mask,
// if there is one.
func (a acl) chmod(mode uint16) {
	group := -1
	for i := range a.len() {
		switch a.tag(i) {
		case aclUserObj:
			a.set(i, mode>>6)
		case aclOther:
			a.set(i, mode)
		case aclGroupObj:
			if group < 0 {
				group = i
			}
		case aclMask:
			group = i
		}
	}
	a.set(group, mode>>3)
}

// restrict takes from a default ACL what the mode of a new inode does not allow, and returns the
// permission bits of the result.
func (a acl) restrict(mode uint16) uint16 {
	bits, _ := a.mode()
	bits &= mode & 0o777
	a.chmod(bits)
	return bits
}

// setACL checks the value of an ACL for an inode and sets the inode's mode to what an access
// ACL says; keep says whether there is more in it than the mode says.
func setACL(in *layout.Inode, name string, value []byte) (keep bool, err error) {
	if in.Type() == layout.ModeLink {
		return false, ErrNotSupported
	}
	if len(value) >= 4 && binary.LittleEndian.Uint32(value) != aclVersion {
		return false, ErrNotSupported
	}
	if len(value) == 0 || len(value) == 4 { // as setxattr(2) of no entries: removed
		return false, nil
	}
	if name == ACLDefault && !in.IsDir() {
		return false, ErrAccess
	}
	a, err := parseACL(value)
	if err != nil {
		return false, err
	}
	if name == ACLDefault {
		return a.len() > 0, nil
	}
	mode, all := a.mode()
	in.Mode = in.Mode&^0o777 | mode
	return !all, nil
}

// findACL is the place of an ACL in a list of attributes.
func findACL(list []layout.Xattr, name string) (int, acl, error) {
	key, err := xattrKey(name)
	if err != nil {
		return -1, nil, err
	}
	i, found := slices.BinarySearchFunc(list, key, layout.CompareXattrs)
	if !found {
		return -1, nil, nil
	}
	a, err := parseACL(list[i].Value)
	return i, a, err
}

// chmodACL makes the access ACL of an inode, if it has one, follow its new mode.
func (o *op) chmodACL(ino Ino, in *layout.Inode) error {
	if in.XattrLen == 0 && in.Xattr == 0 {
		return nil
	}
	list, err := o.xattrs(ino, in)
	if err != nil {
		return err
	}
	i, a, err := findACL(list, ACLAccess)
	if err != nil || a == nil {
		return err
	}
	a.chmod(in.Mode)
	list[i].Value = a
	return o.putXattrs(ino, in, list)
}

// inheritACL gives a new inode what the directory that it is made in has as its default ACL;
// without one, umask is what the mode loses. The inode is not put yet.
func (o *op) inheritACL(dir Ino, din *layout.Inode, ino Ino, in *layout.Inode, umask uint16) error {
	if in.Type() == layout.ModeLink {
		return nil
	}
	plain := func() error { in.Mode &^= umask & 0o777; return nil }
	if din.XattrLen == 0 && din.Xattr == 0 {
		return plain()
	}
	list, err := o.xattrs(dir, din)
	if err != nil {
		return err
	}
	_, a, err := findACL(list, ACLDefault)
	switch {
	case err != nil:
		return err
	case a == nil:
		return plain()
	}
	var own []layout.Xattr
	access := slices.Clone(a)
	in.Mode = in.Mode&^0o777 | access.restrict(in.Mode)
	if _, all := access.mode(); !all {
		own = append(own, layout.Xattr{Space: layout.XattrSystem, Name: ACLAccess[len("system."):], Value: access})
	}
	if in.IsDir() {
		own = append(own, layout.Xattr{Space: layout.XattrSystem, Name: ACLDefault[len("system."):], Value: a})
	}
	if len(own) == 0 {
		return nil
	}
	return o.putXattrs(ino, in, own)
}
