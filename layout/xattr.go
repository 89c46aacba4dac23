package layout

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
)

// Extended attributes are a stream of entries. It lies in the last XattrLen bytes of the
// inode's inline area when it fits, else in a chain of attribute blocks (header kind
// "XATR", count = bytes of the stream in this block, owner = inode, index = place in the
// chain, aux = next block or 0, aux2 = generation of the inode).
//
//	offset size field
//	     0    1 name space: 1 user, 2 trusted, 3 security, 4 system (ACLs)
//	     1    1 length of the name without its name space, 1 to 255
//	     2    2 reserved
//	     4    4 length of the value, 0 to 65536
//	     8      name, value
//
// Entries are in ascending order of name space and name, each once. All of an
// inode are at most MaxXattrs bytes.
type Xattr struct {
	Space uint8
	Name  string
	Value []byte
}

// Name spaces of attributes.
const (
	XattrUser     = 1
	XattrTrusted  = 2
	XattrSecurity = 3
	XattrSystem   = 4
	MaxXattrValue = 65536
	MaxXattrs     = 2 * MaxXattrValue
	xattrHead     = 8
)

// AppendXattr appends the entry of x to stream.
func AppendXattr(stream []byte, x Xattr) []byte {
	var h [xattrHead]byte
	h[0] = x.Space
	h[1] = uint8(len(x.Name))
	le.PutUint32(h[4:], uint32(len(x.Value)))
	stream = append(stream, h[:]...)
	stream = append(stream, x.Name...)
	return append(stream, x.Value...)
}

// CompareXattrs is the order of entries.
func CompareXattrs(a, b Xattr) int {
	return cmp.Or(cmp.Compare(a.Space, b.Space), strings.Compare(a.Name, b.Name))
}

// NextXattr reads the first entry of stream and returns what follows it. Name and value are copies.
func NextXattr(stream []byte) (x Xattr, rest []byte, err error) {
	if len(stream) < xattrHead {
		return x, nil, fmt.Errorf("attribute entry cut off: %d bytes", len(stream))
	}
	n, v := int(stream[1]), le.Uint32(stream[4:])
	switch {
	case stream[0] < XattrUser || stream[0] > XattrSystem:
		return x, nil, fmt.Errorf("attribute name space %d", stream[0])
	case n == 0 || stream[2] != 0 || stream[3] != 0:
		return x, nil, fmt.Errorf("attribute entry malformed")
	case v > MaxXattrValue || len(stream)-xattrHead < n+int(v):
		return x, nil, fmt.Errorf("attribute of %d bytes in %d", v, len(stream))
	}
	p := stream[xattrHead:]
	if bytes.IndexByte(p[:n], 0) >= 0 {
		return x, nil, fmt.Errorf("attribute name with NUL")
	}
	x = Xattr{stream[0], string(p[:n]), append([]byte(nil), p[n:n+int(v)]...)}
	return x, p[n+int(v):], nil
}
