package main

import (
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// quoteName makes a name safe to print: one with control characters or bytes that are not
// UTF-8 is written as in Go, and so is one that would look like that.
func quoteName(s string) string {
	if s != "" && s[0] == '"' {
		return fmt.Sprintf("%q", s)
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return fmt.Sprintf("%q", s)
		}
	}
	return s
}

// b64 is the second form of a text in JSON, which has only Unicode: empty if the text is UTF-8,
// else its bytes in base64. The text itself then has U+FFFD for what is not.
func b64(s string) string {
	if utf8.ValidString(s) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(s))
}
