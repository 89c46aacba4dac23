package transfer

import "testing"

// The text of an access control list is what it was parsed from; what is none has no text.
func TestACLText(t *testing.T) {
	for _, text := range []string{"user::rwx,user:7:r-x,user:4294967294:---,group::r-x,group:0:-w-,mask::rwx,other::r--", "user::rw-,group::r--,other::---"} {
		p, err := parseACL(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := formatACL(p); got != text {
			t.Errorf("%s\nwant %s", got, text)
		}
		for n := range p {
			if got := formatACL(p[:n]); n%8 != 4 && got != "" {
				t.Errorf("%d bytes of it are %q", n, got)
			}
		}
	}
	for _, p := range [][]byte{{1, 0, 0, 0}, {2, 0, 0, 0, 0x40, 0, 7, 0, 0, 0, 0, 0}} {
		if got := formatACL(p); got != "" {
			t.Errorf("%x is %q", p, got)
		}
	}
}
