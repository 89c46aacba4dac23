package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/layout"
	"holdfast/volume"
)

// statBlock is the unit of %b, as on Linux.
const statBlock = 512

// formatStat is a FORMAT of stat(1) with its sequences replaced; escapes says that those of
// backslashes are, too.
func formatStat(format string, escapes bool, o operand, a volume.Attr, target string) string {
	var b strings.Builder
	for i := 0; i < len(format); {
		switch c := format[i]; {
		case c == '\\' && escapes:
			text, n := unescape(format[i:])
			b.WriteString(text)
			i += n
		case c == '%' && i+1 < len(format):
			j := i + 1
			for j < len(format) && strings.IndexByte("#-+ 0", format[j]) >= 0 {
				j++
			}
			for j < len(format) && format[j] >= '0' && format[j] <= '9' {
				j++
			}
			if j == len(format) {
				b.WriteString(format[i:])
				return b.String()
			}
			b.WriteString(statSequence(format[i+1:j], format[j], o, a, target))
			i = j + 1
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// statSequence is one sequence; flags is what stands between % and its letter.
func statSequence(flags string, letter byte, o operand, a volume.Attr, target string) string {
	text := func(s string) string {
		flags := strings.Trim(flags, "#+ ")
		if width := strings.TrimLeft(flags, "-0"); len(width) > 6 {
			return s
		}
		return fmt.Sprintf("%"+flags+"s", s)
	}
	number := func(verb byte, n uint64) string {
		if width := strings.TrimLeft(flags, "#-+ 0"); len(width) > 6 {
			return strconv.FormatUint(n, 10)
		}
		if verb == 'o' && n == 0 {
			return fmt.Sprintf("%"+strings.ReplaceAll(flags, "#", "")+"o", n)
		}
		return fmt.Sprintf("%"+flags+string(verb), n)
	}
	seconds := func(t time.Time) string { return fmt.Sprintf("%"+strings.ReplaceAll(flags, "#", "")+"d", t.Unix()) }
	switch letter {
	case '%':
		return "%"
	case 'a':
		return number('o', uint64(a.Mode&layout.ModePerm))
	case 'A':
		return text(modeString(a.Mode))
	case 'b':
		return number('d', o.im.diskBytes(a)/statBlock)
	case 'B':
		return number('d', statBlock)
	case 'f':
		return number('x', uint64(a.Mode))
	case 'F':
		return text(statType(a))
	case 'g':
		return number('d', uint64(a.GID))
	case 'G':
		return text(fmt.Sprint(a.GID))
	case 'h':
		return number('d', uint64(a.Links))
	case 'i':
		return number('d', uint64(a.Ino))
	case 'm':
		return text(quoteName(o.im.name))
	case 'n':
		return text(quoteName(o.name))
	case 'N':
		s := shellQuote(o.name)
		if isLink(a) {
			s += " -> " + shellQuote(target)
		}
		return text(s)
	case 'o':
		return number('d', uint64(o.im.blockSize))
	case 's':
		return number('d', a.Size)
	case 't':
		return number('x', uint64(a.Major))
	case 'T':
		return number('x', uint64(a.Minor))
	case 'u':
		return number('d', uint64(a.UID))
	case 'U':
		return text(fmt.Sprint(a.UID))
	case 'w':
		return text(a.Btime.Local().Format(statTime))
	case 'W':
		return seconds(a.Btime)
	case 'x':
		return text(a.Atime.Local().Format(statTime))
	case 'X':
		return seconds(a.Atime)
	case 'y':
		return text(a.Mtime.Local().Format(statTime))
	case 'Y':
		return seconds(a.Mtime)
	case 'z':
		return text(a.Ctime.Local().Format(statTime))
	case 'Z':
		return seconds(a.Ctime)
	}
	return "?"
}

// shellQuote is a name as %N of stat(1) and -v of cp(1) write it.
func shellQuote(s string) string {
	if q := quoteName(s); q != s {
		return q
	}
	if strings.Contains(s, "'") {
		return strconv.Quote(s)
	}
	return "'" + s + "'"
}

// unescape is what the escape at the start of s means, and how long it is.
func unescape(s string) (string, int) {
	if len(s) < 2 {
		return s, len(s)
	}
	if s[1] >= '0' && s[1] <= '7' {
		n := 1
		for n < 4 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, _ := strconv.ParseUint(s[1:n], 8, 16)
		return string([]byte{byte(v)}), n
	}
	if i := strings.IndexByte(`abefnrtv\"`, s[1]); i >= 0 {
		return "\a\b\x1b\f\n\r\t\v\\\""[i : i+1], 2
	}
	return s[:2], 2
}
