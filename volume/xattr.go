package volume

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"holdfast/layout"
	"holdfast/volume/internal/extents"
)

// Extended attributes are read and written as one stream (layout.Xattr): in the inode while it
// is short, else in a chain of blocks. Setting one rewrites the stream; what does not change of
// a block costs the log nothing.

// Flags of Setxattr; the values are those of setxattr(2).
const (
	XattrCreate  = 1 // ErrExist if the attribute exists
	XattrReplace = 2 // ErrNoAttr if it does not
)

const (
	// maxInlineXattrs is how many bytes of attributes a file or directory keeps in its inode:
	// three extents stay beside them.
	maxInlineXattrs = layout.InlineSize - 3*layout.ExtentSize
	// maxXattrs bounds the attributes of one inode in bytes, so that one operation can log them.
	maxXattrs = layout.MaxXattrs
	// maxXattrName is the longest name with its name space, xattr(7).
	maxXattrName = 255
)

var xattrSpaces = [...]string{layout.XattrUser: "user.", layout.XattrTrusted: "trusted.", layout.XattrSecurity: "security.", layout.XattrSystem: "system."}

// xattrKey splits the full name of an attribute.
func xattrKey(name string) (x layout.Xattr, err error) {
	switch {
	case strings.IndexByte(name, 0) >= 0:
		return x, ErrInvalid
	case len(name) > maxXattrName:
		return x, ErrRange
	}
	for space, prefix := range xattrSpaces {
		rest, ok := strings.CutPrefix(name, prefix)
		if space == 0 || !ok {
			continue
		}
		if rest == "" {
			return x, ErrInvalid
		}
		x.Space, x.Name = uint8(space), rest
		if x.Space == layout.XattrSystem && !isACL(name) {
			return x, ErrNotSupported
		}
		return x, nil
	}
	return x, ErrNotSupported
}

func xattrName(x *layout.Xattr) string { return xattrSpaces[x.Space] + x.Name }

// attrs is the attributes of one inode, on the blocks of a store.
type attrs struct {
	s    extents.Store
	g    *layout.Geometry
	ino  Ino
	in   *layout.Inode
	near uint64 // where blocks are looked for

	// fresh: a changed stream goes to other blocks, so that the inode goes from one chain to
	// the other.
	fresh bool
}

func (o *op) attrs(ino Ino, in *layout.Inode) *attrs {
	return &attrs{o, &o.v.g, ino, in, o.v.near(ino), o.v.steps != nil}
}

// xattrs reads all attributes of an inode.
func (o *op) xattrs(ino Ino, in *layout.Inode) ([]layout.Xattr, error) {
	return o.attrs(ino, in).list()
}

// putXattrs stores the attributes of an inode in place of those that it has; the caller puts
// the inode.
func (o *op) putXattrs(ino Ino, in *layout.Inode, list []layout.Xattr) error {
	if err := o.placeFile(ino, in); err != nil {
		return err
	}
	return o.attrs(ino, in).put(list)
}

// list reads all of them.
func (a *attrs) list() ([]layout.Xattr, error) {
	stream := a.in.Inline[layout.InlineSize-int(a.in.XattrLen):]
	block, off := a.g.InodePlace(uint64(a.ino))
	if a.in.Xattr != 0 {
		stream = slices.Clone(stream)
		block, off = a.in.Xattr, layout.HeaderSize
	}
	for no, i := a.in.Xattr, uint64(0); no != 0; i++ {
		h, body, err := a.block(no, i)
		if err != nil {
			return nil, err
		}
		stream = append(stream, body...)
		no = h.Aux
	}
	var list []layout.Xattr
	for len(stream) > 0 {
		x, rest, err := layout.NextXattr(stream)
		if err != nil {
			return nil, layout.Corrupt(fmt.Sprintf("attributes of inode %d", a.ino), block, off, err.Error(), nil)
		}
		list, stream = append(list, x), rest
	}
	return list, nil
}

// block reads block i of the chain and verifies that it is the one.
func (a *attrs) block(no, i uint64) (layout.Header, []byte, error) {
	p, err := a.s.Read(no, layout.KindXattr)
	if err != nil {
		return layout.Header{}, nil, err
	}
	if err := layout.CheckHeader(p, no, layout.KindXattr, uint64(a.ino), i); err != nil {
		return layout.Header{}, nil, err
	}
	h, body := layout.DecodeHeader(p), layout.BlockBody(p)
	switch {
	case h.Aux2 != uint64(a.in.Generation):
		return h, nil, layout.Corrupt("attributes", no, 40, fmt.Sprintf("generation %d", h.Aux2), a.in.Generation)
	case int(h.Count) > len(body), h.Count == 0:
		return h, nil, layout.Corrupt("attributes", no, 4, fmt.Sprintf("%d bytes", h.Count), "1 to what a block holds")
	case i > maxXattrs/uint64(len(body)):
		return h, nil, layout.Corrupt("attributes", no, 32, fmt.Sprintf("a chain of more than %d blocks", i), nil)
	}
	return h, body[:h.Count], nil
}

// room is how long a stream the inode itself can hold.
func (a *attrs) room() int {
	in := a.in
	switch {
	case in.Flags&layout.FlagInlineLink != 0:
		return layout.InlineSize - int(in.Size)
	case in.Type() == layout.ModeFile || in.IsDir() || in.Type() == layout.ModeLink:
		return min(maxInlineXattrs, layout.InlineSize-int(in.Extents)*layout.ExtentSize)
	}
	return layout.InlineSize
}

// put stores a list in place of what is there; the caller puts the inode.
func (a *attrs) put(list []layout.Xattr) error {
	p := stream(list)
	if len(p) > maxXattrs {
		return ErrNoSpace
	}
	in := a.in
	clear(in.Inline[layout.InlineSize-int(in.XattrLen):])
	in.XattrLen = 0
	if len(p) <= a.room() {
		copy(in.Inline[layout.InlineSize-len(p):], p)
		in.XattrLen = uint8(len(p))
		return a.free(&in.Xattr, 0)
	}
	if a.fresh {
		if err := a.free(&in.Xattr, 0); err != nil {
			return err
		}
	}
	return a.chain(p)
}

// stream is attributes as they are stored.
func stream(list []layout.Xattr) (p []byte) {
	for _, x := range list {
		p = layout.AppendXattr(p, x)
	}
	return p
}

// chain writes the stream into the chain of blocks, which grows or shrinks to its length.
func (a *attrs) chain(stream []byte) error {
	body := layout.Body(a.g.BlockSize)
	var before []byte // the block that names the next one; nil: the inode does
	link := func(no uint64) {
		if before == nil {
			a.in.Xattr = no
			return
		}
		h := layout.DecodeHeader(before)
		h.Aux = no
		layout.EncodeHeader(before, h)
	}
	next := a.in.Xattr
	for i := uint64(0); len(stream) > 0; i++ {
		n := min(len(stream), body)
		no, p := next, []byte(nil)
		if no != 0 {
			h, _, err := a.block(no, i)
			if err != nil {
				return err
			}
			next = h.Aux
			if p, err = a.s.Edit(no, layout.KindXattr); err != nil {
				return err
			}
		} else {
			var err error
			if no, p, err = a.s.NewBlock(a.near); err != nil {
				return err
			}
			a.in.Blocks++
			link(no)
		}
		layout.InitBlock(p, layout.KindXattr, uint64(a.ino), i)
		layout.EncodeHeader(p, layout.Header{Kind: layout.KindXattr, Count: uint32(n), Owner: uint64(a.ino), Index: i, Aux: next, Aux2: uint64(a.in.Generation)})
		copy(layout.BlockBody(p), stream[:n])
		before, stream = p, stream[n:]
		if len(stream) == 0 {
			link(0)
			return a.free(&next, i+1)
		}
	}
	return nil
}

// free frees a chain, or the rest of one from block i on, which from names and no longer does
// then.
func (a *attrs) free(from *uint64, i uint64) error {
	for ; *from != 0; i++ {
		h, _, err := a.block(*from, i)
		if err != nil {
			return err
		}
		if err := a.s.FreeBlock(*from); err != nil {
			return err
		}
		a.in.Blocks -= min(a.in.Blocks, 1)
		*from = h.Aux
	}
	return nil
}

// apply puts what is set by name into a list, and what ACLs say of the mode into the inode.
func (a *attrs) apply(set map[string][]byte) ([]layout.Xattr, error) {
	var list []layout.Xattr
	for name, value := range set {
		key, err := xattrKey(name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		case len(value) > layout.MaxXattrValue:
			return nil, fmt.Errorf("attribute %s: %w", name, ErrTooBig)
		}
		if isACL(name) {
			if keep, err := setACL(a.in, name, value); err != nil {
				return nil, fmt.Errorf("attribute %s: %w", name, err)
			} else if !keep {
				continue
			}
		}
		key.Value = value
		list = append(list, key)
	}
	slices.SortFunc(list, layout.CompareXattrs)
	if n := len(stream(list)); n > maxXattrs {
		return nil, fmt.Errorf("%d bytes of attributes: %w", n, ErrTooBig)
	}
	return list, nil
}

// needXattrs bounds the blocks that storing n more bytes of attributes touches: the old chain
// and the new one, their bitmaps, the inode, the totals, and a group that comes into use.
func (v *Volume) needXattrs(in *layout.Inode, n int) int {
	body := layout.Body(v.g.BlockSize)
	blocks := 0
	if in.Xattr != 0 {
		blocks = maxXattrs / body // how long it is, only reading it tells: no more than that
	}
	blocks = min(blocks, maxXattrs/body) + n/body + 2
	return blocks + int(min(uint64(blocks), v.g.Groups)) + 2 + v.needTables()
}

// Listxattr is the names of an inode's attributes, in a fixed order.
//
// Errors: ErrStale, and layout.ErrCorrupt for damage.
func (v *Volume) Listxattr(ino Ino) (names []string, err error) {
	err = v.view(func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		list, err := o.xattrs(ino, &in)
		for i := range list {
			names = append(names, xattrName(&list[i]))
		}
		return err
	})
	return names, err
}

// Getxattr is the value of an attribute. The names are those of xattr(7): user., trusted.,
// security., and system.posix_acl_access and _default, whose values are in the form of the
// system call.
//
// Errors: ErrStale, ErrNoAttr, ErrRange (the name is too long), ErrNotSupported (another name
// space), and layout.ErrCorrupt for damage.
func (v *Volume) Getxattr(ino Ino, name string) (value []byte, err error) {
	key, err := xattrKey(name)
	if err != nil {
		return nil, err
	}
	err = v.view(func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		list, err := o.xattrs(ino, &in)
		if err != nil {
			return err
		}
		i, found := slices.BinarySearchFunc(list, key, layout.CompareXattrs)
		if !found {
			return ErrNoAttr
		}
		value = list[i].Value
		return nil
	})
	return value, err
}

// Setxattr sets an attribute, of at most 64 KiB. An access ACL sets the permission bits too,
// and is not kept if these say all of it. The value that is there already is no change.
//
// Errors: ErrStale, ErrExist and ErrNoAttr as flags ask, ErrInvalid (flags, or a value that is
// no ACL), ErrRange, ErrTooBig, ErrNotSupported, ErrPermission (user attributes are for files
// and directories), ErrNoSpace, ErrReadOnly.
func (v *Volume) Setxattr(ino Ino, name string, value []byte, flags int) error {
	key, err := xattrKey(name)
	switch {
	case err != nil:
		return err
	case flags&^(XattrCreate|XattrReplace) != 0 || flags == XattrCreate|XattrReplace:
		return ErrInvalid
	case len(value) > layout.MaxXattrValue:
		return ErrTooBig
	}
	key.Value = slices.Clone(value)
	return v.changeXattr(ino, name, len(name)+len(value), func(o *op, in *layout.Inode, list []layout.Xattr) ([]layout.Xattr, error) {
		if key.Space == layout.XattrUser && !in.IsDir() && in.Type() != layout.ModeFile {
			return nil, ErrPermission
		}
		i, found := slices.BinarySearchFunc(list, key, layout.CompareXattrs)
		switch {
		case found && flags&XattrCreate != 0:
			return nil, ErrExist
		case !found && flags&XattrReplace != 0:
			return nil, ErrNoAttr
		}
		keep, mode := true, in.Mode
		if isACL(name) {
			var err error
			if keep, err = setACL(in, name, value); err != nil {
				return nil, err
			}
		}
		switch {
		case keep && found && bytes.Equal(list[i].Value, value) && in.Mode == mode:
			return nil, errSameXattr
		case keep && found:
			list[i] = key
		case keep:
			list = slices.Insert(list, i, key)
		case found:
			list = slices.Delete(list, i, i+1)
		}
		return list, nil
	})
}

// Removexattr removes an attribute. Errors: as Getxattr, ErrNoSpace, ErrReadOnly.
func (v *Volume) Removexattr(ino Ino, name string) error {
	key, err := xattrKey(name)
	if err != nil {
		return err
	}
	return v.changeXattr(ino, name, 0, func(_ *op, _ *layout.Inode, list []layout.Xattr) ([]layout.Xattr, error) {
		i, found := slices.BinarySearchFunc(list, key, layout.CompareXattrs)
		if !found {
			return nil, ErrNoAttr
		}
		return slices.Delete(list, i, i+1), nil
	})
}

// errSameXattr says that an attribute has its new value already: nothing changes, the change time neither, as in
// ext4.
var errSameXattr = errors.New("the attribute is the same")

// changeXattr is the operation that replaces an inode's attributes by what edit makes of them.
func (v *Volume) changeXattr(ino Ino, name string, n int, edit func(o *op, in *layout.Inode, list []layout.Xattr) ([]layout.Xattr, error)) error {
	need := func(o *op) int {
		in, err := o.inode(ino)
		if err != nil {
			return 1 // the operation itself will say so
		}
		return v.needXattrs(&in, n)
	}
	return v.updateNeed(need, func(o *op) error {
		in, err := o.inode(ino)
		if err != nil {
			return err
		}
		list, err := o.xattrs(ino, &in)
		if err != nil {
			return err
		}
		if list, err = edit(o, &in, list); errors.Is(err, errSameXattr) {
			return nil
		} else if err != nil {
			return err
		}
		if err := o.putXattrs(ino, &in, list); err != nil {
			return err
		}
		in.Ctime = o.now()
		return o.putInode(ino, &in)
	})
}
