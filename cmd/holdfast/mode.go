package main

import (
	"strconv"
	"strings"

	"holdfast/layout"
)

// modeString prints a mode as ls -l does.
func modeString(mode uint16) string {
	b := []byte("?rwxrwxrwx")
	b[0] = typeLetter(mode)
	for i := range 9 {
		if mode>>(8-i)&1 == 0 {
			b[1+i] = '-'
		}
	}
	special := func(bit uint16, at int, set, clear byte) {
		if mode&bit == 0 {
			return
		}
		if b[at] == 'x' {
			b[at] = set
		} else {
			b[at] = clear
		}
	}
	special(0o4000, 3, 's', 'S')
	special(0o2000, 6, 's', 'S')
	special(0o1000, 9, 't', 'T')
	return string(b)
}

// typeLetter is the type of a mode as ls -l shows it.
func typeLetter(mode uint16) byte {
	switch mode & layout.ModeType {
	case layout.ModeFile:
		return '-'
	case layout.ModeDir:
		return 'd'
	case layout.ModeLink:
		return 'l'
	case layout.ModeFIFO:
		return 'p'
	case layout.ModeSocket:
		return 's'
	case layout.ModeChar:
		return 'c'
	case layout.ModeBlock:
		return 'b'
	}
	return '?'
}

// typeName is the type of a mode as stat says it.
func typeName(mode uint16) string {
	switch mode & layout.ModeType {
	case layout.ModeFile:
		return "regular file"
	case layout.ModeDir:
		return "directory"
	case layout.ModeLink:
		return "symbolic link"
	case layout.ModeFIFO:
		return "fifo"
	case layout.ModeSocket:
		return "socket"
	case layout.ModeChar:
		return "character special file"
	case layout.ModeBlock:
		return "block special file"
	}
	return "weird file"
}

// modeChange is a change of permissions as chmod(1) takes it: octal, or symbolic.
type modeChange []modeStep

// modeStep is one action of a symbolic mode: an operator, whom it concerns, and what.
type modeStep struct {
	op       byte   // = + -
	affected uint16 // the bits of whom it concerns; 0: nobody was named
	bits     uint16
	copyFrom byte   // u, g or o: the bits of that class; 0: those in bits
	x        bool   // execute for directories and for what somebody may execute
	mentions uint16 // the bits it speaks about
}

// parseMode reads a mode, chmod(1): octal digits, or [ugoa]*([-+=]([rwxXst]*|[ugo]|octal))+ and
// so on behind commas.
func parseMode(s string) (modeChange, error) {
	bad := usage("invalid mode: %q", s)
	if s != "" && strings.Trim(s, "01234567") == "" {
		n, err := strconv.ParseUint(s, 8, 12)
		if err != nil {
			return nil, bad
		}
		// Five digits and more speak about a directory's set-ID bits; fewer leave them.
		mentions := uint16(n)&0o6000 | 0o1777
		if len(s) > 4 {
			mentions = layout.ModePerm
		}
		return modeChange{{op: '=', affected: layout.ModePerm, bits: uint16(n), mentions: mentions}}, nil
	}
	var change modeChange
	for _, clause := range strings.Split(s, ",") {
		i := 0
		var who uint16
		for ; i < len(clause) && strings.IndexByte("ugoa", clause[i]) >= 0; i++ {
			switch clause[i] {
			case 'u':
				who |= 0o4700
			case 'g':
				who |= 0o2070
			case 'o':
				who |= 0o1007
			case 'a':
				who |= layout.ModePerm
			}
		}
		if i == len(clause) {
			return nil, bad
		}
		for i < len(clause) {
			step := modeStep{op: clause[i], affected: who}
			if strings.IndexByte("=+-", step.op) < 0 {
				return nil, bad
			}
			i++
			digits := 0
			for i+digits < len(clause) && clause[i+digits] >= '0' && clause[i+digits] <= '7' {
				digits++
			}
			switch {
			case digits > 0:
				n, err := strconv.ParseUint(clause[i:i+digits], 8, 12)
				if err != nil || who != 0 || i+digits < len(clause) {
					return nil, bad
				}
				step.affected, step.bits, step.mentions = layout.ModePerm, uint16(n), layout.ModePerm
				i += digits
			case i < len(clause) && strings.IndexByte("ugo", clause[i]) >= 0:
				step.copyFrom = clause[i]
				i++
			default:
				for ; i < len(clause) && strings.IndexByte("=+-", clause[i]) < 0; i++ {
					switch clause[i] {
					case 'r':
						step.bits |= 0o444
					case 'w':
						step.bits |= 0o222
					case 'x':
						step.bits |= 0o111
					case 'X':
						step.x = true
					case 's':
						step.bits |= 0o6000
					case 't':
						step.bits |= 0o1000
					default:
						return nil, bad
					}
				}
				if step.mentions = step.bits; who != 0 {
					step.mentions &= who
				}
			}
			change = append(change, step)
		}
	}
	return change, nil
}

// apply is the permissions that the change makes of old, which are those of a directory or not.
// What names nobody leaves what the umask says. A directory keeps its set-ID bits unless the
// mode speaks about them.
func (c modeChange) apply(old uint16, dir bool, umask uint16) uint16 {
	mode := old & layout.ModePerm
	for _, s := range c {
		value := s.bits
		switch s.copyFrom {
		case 'u':
			value = spread(mode >> 6)
		case 'g':
			value = spread(mode >> 3)
		case 'o':
			value = spread(mode)
		}
		if s.x && (dir || mode&0o111 != 0) {
			value |= 0o111
		}
		var omit uint16 // bits that stay as they are
		if dir {
			omit = 0o6000 &^ s.mentions
		}
		keep := omit // what "=" does not clear: without a class, everything else
		if s.affected == 0 {
			value &^= umask | omit
		} else {
			value &= s.affected &^ omit
			keep |= ^s.affected
		}
		switch s.op {
		case '=':
			mode = mode&keep | value
		case '+':
			mode |= value
		case '-':
			mode &^= value
		}
	}
	return mode & layout.ModePerm
}

// spread gives the three bits of one class to all.
func spread(m uint16) uint16 { m &= 7; return m<<6 | m<<3 | m }
