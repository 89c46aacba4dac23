package workload

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is the verb of an operation.
type Kind uint8

// The kinds of operations, in the order of the language in the package comment.
const (
	OpMkdir Kind = 1 + iota
	OpCreate
	OpMknod
	OpLink
	OpSymlink
	OpRemove
	OpRmdir
	OpRename
	OpWrite
	OpAppend
	OpTruncate
	OpChmod
	OpChown
	OpTouch
	OpOpen
	OpClose
	OpWriteHandle
	OpAppendHandle
	OpTruncateHandle
	OpFsyncHandle
	OpFsync
	OpFdatasync
	OpFdatasyncHandle
	OpSync
	OpAlloc
	OpPunch
	OpZero
	OpSetxattr
	OpRemovexattr
	OpTemp
	OpLinkHandle
	kinds
)

var verbs = [kinds]string{
	OpMkdir: "mkdir", OpCreate: "create", OpMknod: "mknod", OpLink: "ln", OpSymlink: "ln -s",
	OpRemove: "rm", OpRmdir: "rmdir", OpRename: "mv", OpWrite: "write", OpAppend: "append",
	OpTruncate: "truncate", OpChmod: "chmod", OpChown: "chown", OpTouch: "touch",
	OpOpen: "open", OpClose: "close", OpWriteHandle: "writeh", OpAppendHandle: "appendh",
	OpTruncateHandle: "truncateh", OpFsyncHandle: "fsynch", OpFsync: "fsync", OpFdatasync: "fdatasync",
	OpFdatasyncHandle: "fdatasynch", OpSync: "sync",
	OpAlloc: "alloc", OpPunch: "punch", OpZero: "zero", OpSetxattr: "setxattr", OpRemovexattr: "rmxattr",
	OpTemp: "temp", OpLinkHandle: "lnh",
}

// String is the verb in the script language.
func (k Kind) String() string {
	if k == 0 || k >= kinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return verbs[k]
}

// Sync reports whether the operation makes itself and everything before it durable.
func (k Kind) Sync() bool {
	switch k {
	case OpFsync, OpFsyncHandle, OpFdatasync, OpFdatasyncHandle, OpSync:
		return true
	}
	return false
}

// Flags of OpRename, with their values in renameat2(2).
const (
	RenameNoReplace uint = 1 << 0
	RenameExchange  uint = 1 << 1
	RenameWhiteout  uint = 1 << 2
)

// renameOptions are the flags in the language.
var renameOptions = map[string]uint{"-n": RenameNoReplace, "-x": RenameExchange, "-w": RenameWhiteout}

// KeepSize is a flag of OpAlloc and OpZero: the size stays.
const KeepSize uint = 1 << 0

// Time is a moment: seconds since 1970 and nanoseconds (0 to 999,999,999).
type Time struct {
	Sec  int64
	Nsec uint32
}

// Op is one operation. Which fields have a meaning depends on Kind.
type Op struct {
	Kind         Kind
	Path         string // from the root, without a leading slash; "" is the root itself
	New          string // OpLink, OpLinkHandle, OpSymlink, OpRename: the new name
	Attr         string // OpSetxattr, OpRemovexattr: the attribute, with its name space
	Target       string // OpSymlink
	Handle       string // OpOpen, OpClose and the handle forms
	Mode         uint16 // POSIX type and permission bits of a new node; OpChmod: permission bits
	Major, Minor uint32
	UID, GID     uint32
	Offset       uint64 // bytes
	Length       uint64 // bytes, at most MaxWrite
	Size         uint64 // bytes, OpTruncate
	Seed         uint64
	Time         Time // OpTouch
	Flags        uint // OpRename, OpAlloc, OpZero

	Any    bool  // any result is right that the model has, too
	Expect Errno // the result that the operation must have, OK by default
	Line   int   // in the script, 0 if it was not read from one
}

// Bounds of a script.
const (
	MaxWrite = 1 << 20 // bytes of one write: longer ones would be several operations of the volume
	MaxOps   = 1 << 16 // operations after repeat is expanded
	maxXattr = 1 << 16 // bytes of the value of an attribute
	maxSize  = 1 << 60 // bytes, of what a script may name
	maxDepth = 3       // of nested repeats
)

// Image says how the image under a script is made and opened. Size, Block and Sector have
// defaults of their own, for small images; another zero field is the default of package volume.
type Image struct {
	Size   int64  // bytes, 1 MiB by default
	Block  int    // bytes, 1024 by default
	Sector int    // bytes, 512 by default
	Run    uint64 // blocks of one log run
	None   bool   // no journal: the ordered mode
	Inodes uint32 // per group
	Copies int    // of every block, 1 by default; Size is that of one
	Mirror bool   // the two copies are two files, which lie behind each other in the device

	Reserved uint64 // blocks kept back for operations that free some
	Dirty    int64  // bytes of dirty data above which the volume commits on its own
	Cache    int64  // bytes
}

// Script is a workload: how the image is made, what is done to it before the recording
// starts, and what is recorded.
type Script struct {
	Name  string // of the file, for messages
	Image Image
	Setup []Op
	Ops   []Op
}

// Parse reads a script; name is used in errors, which are "name:line: message".
func Parse(name, text string) (*Script, error) {
	p := parser{name: name, lines: strings.Split(text, "\n")}
	s := &Script{Name: name}
	ops, err := p.block(nil, s)
	if err != nil {
		return nil, err
	}
	s.Image.defaults()
	if p.setup {
		s.Ops = ops
	} else {
		s.Ops, s.Setup = ops, nil
	}
	return s, nil
}

// Override changes parameters of the image: "sector=4096 block=4k size=4m".
func (s *Script) Override(params string) error {
	words, err := split(params)
	if err != nil {
		return err
	}
	im := s.Image
	for _, w := range words {
		if err := im.set(w); err != nil {
			return err
		}
	}
	im.defaults()
	s.Image = im
	return nil
}

// Relax makes every operation accept the result that the model has, as is needed when
// operations are taken out of a script to make it smaller.
func (s *Script) Relax() {
	for _, ops := range [][]Op{s.Setup, s.Ops} {
		for i := range ops {
			if !ops[i].Expect.refusal() {
				ops[i].Any, ops[i].Expect = true, OK
			}
		}
	}
}

type parser struct {
	name  string
	lines []string
	next  int  // index of the next line
	setup bool // the line "---" has been seen
	image bool
	total int
}

func (p *parser) errorf(line int, format string, a ...any) error {
	return fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, a...))
}

// block reads lines up to the end, or up to "}" inside a repeat; vars are the counters' values.
func (p *parser) block(vars []int64, s *Script) ([]Op, error) {
	var ops []Op
	start := p.next
	for p.next < len(p.lines) {
		text := p.lines[p.next]
		p.next++
		line := p.next
		words, err := split(text)
		if err != nil {
			return nil, p.errorf(line, "%v", err)
		}
		if len(words) == 0 {
			continue
		}
		for i := range words {
			if words[i], err = substitute(words[i], vars); err != nil {
				return nil, p.errorf(line, "%v", err)
			}
		}
		switch {
		case words[0] == "}":
			if len(vars) == 0 || len(words) > 1 {
				return nil, p.errorf(line, "unexpected }")
			}
			return ops, nil
		case words[0] == "---" && len(words) == 1:
			if len(vars) > 0 || p.setup {
				return nil, p.errorf(line, "unexpected ---")
			}
			p.setup = true
			s.Setup, ops = ops, nil
		case words[0] == "image":
			if len(vars) > 0 || p.image || p.setup || len(ops) > 0 {
				return nil, p.errorf(line, "the image line comes first, and once")
			}
			p.image = true
			for _, w := range words[1:] {
				if err := s.Image.set(w); err != nil {
					return nil, p.errorf(line, "%v", err)
				}
			}
		case words[0] == "repeat":
			from, to, err := repeatRange(words)
			if err != nil {
				return nil, p.errorf(line, "%v", err)
			}
			if len(vars) == maxDepth {
				return nil, p.errorf(line, "repeat is nested more than %d deep", maxDepth)
			}
			body, empty := p.next, true
			for i := from; i <= to; i++ {
				p.next = body
				more, err := p.block(append(vars[:len(vars):len(vars)], i), s)
				if err != nil {
					return nil, err
				}
				ops, empty = append(ops, more...), false
				if len(more) == 0 {
					break // nothing to repeat
				}
			}
			if empty { // "repeat 0": read it once for its end
				total := p.total
				if _, err := p.block(append(vars[:len(vars):len(vars)], from), s); err != nil {
					return nil, err
				}
				p.total = total
			}
		default:
			op, err := parseOp(words)
			if err != nil {
				return nil, p.errorf(line, "%v", err)
			}
			if p.total++; p.total > MaxOps {
				return nil, p.errorf(line, "more than %d operations", MaxOps)
			}
			op.Line = line
			ops = append(ops, op)
		}
	}
	if len(vars) > 0 {
		return nil, p.errorf(start, "repeat without }")
	}
	return ops, nil
}

func repeatRange(words []string) (from, to int64, err error) {
	if len(words) != 3 || words[2] != "{" {
		return 0, 0, fmt.Errorf("want: repeat N {")
	}
	a, b, isRange := strings.Cut(words[1], "..")
	if !isRange {
		a, b = "0", a
	}
	x, err1 := strconv.ParseUint(a, 10, 31)
	y, err2 := strconv.ParseUint(b, 10, 31)
	if err1 != nil || err2 != nil || isRange && x > y {
		return 0, 0, fmt.Errorf("repeat %q: want a number, or FROM..TO", words[1])
	}
	if !isRange {
		return 0, int64(y) - 1, nil
	}
	return int64(x), int64(y), nil
}

// split cuts a line into words. A quoted word is a Go string; '#' at the start of a word ends the line.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeft(line, " \t\r")
		if line == "" || line[0] == '#' {
			return words, nil
		}
		if line[0] != '"' {
			n := strings.IndexAny(line, " \t\r")
			if n < 0 {
				n = len(line)
			}
			words, line = append(words, line[:n]), line[n:]
			continue
		}
		q, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, fmt.Errorf("bad quoted word: %s", line)
		}
		w, err := strconv.Unquote(q)
		if err != nil {
			return nil, fmt.Errorf("bad quoted word: %s", q)
		}
		line = line[len(q):]
		if line != "" && !strings.ContainsRune(" \t\r", rune(line[0])) {
			return nil, fmt.Errorf("no blank after %s", q)
		}
		words = append(words, w)
	}
}

// substitute replaces $i, $j, $k (also ${i}) by the counters of the repeats around, and $$ by $.
func substitute(w string, vars []int64) (string, error) {
	if !strings.Contains(w, "$") {
		return w, nil
	}
	var b strings.Builder
	for i := 0; i < len(w); i++ {
		if w[i] != '$' {
			b.WriteByte(w[i])
			continue
		}
		rest := w[i+1:]
		var c byte
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			i++
			continue
		case len(rest) >= 3 && rest[0] == '{' && rest[2] == '}':
			c, i = rest[1], i+3
		case len(rest) >= 1:
			c, i = rest[0], i+1
		}
		depth := int(c) - 'i'
		if depth < 0 || depth >= len(vars) {
			return "", fmt.Errorf("%q: no such counter here ($$ is a dollar)", w)
		}
		b.WriteString(strconv.FormatInt(vars[depth], 10))
	}
	return b.String(), nil
}

func (im *Image) defaults() {
	if im.Size == 0 {
		im.Size = 1 << 20
	}
	if im.Block == 0 {
		im.Block = 1024
	}
	if im.Sector == 0 {
		im.Sector = 512
	}
}

func (im *Image) set(word string) error {
	key, value, ok := strings.Cut(word, "=")
	if !ok {
		return fmt.Errorf("image: %q: want name=value", word)
	}
	if word == "journal=none" {
		im.None = true
		return nil
	}
	if word == "copies=mirror" {
		im.Copies, im.Mirror = 2, true
		return nil
	}
	n, err := parseSize(value)
	if err != nil {
		return fmt.Errorf("image: %s: %v", key, err)
	}
	limit := uint64(maxSize)
	switch key {
	case "size":
		im.Size = int64(n)
	case "block":
		im.Block, limit = int(n), 1<<20
	case "sector":
		im.Sector, limit = int(n), 1<<20
	case "run":
		im.Run = n
	case "inodes":
		im.Inodes, limit = uint32(n), math.MaxUint32
	case "copies":
		im.Copies, im.Mirror, limit = int(n), false, 2
	case "reserved":
		im.Reserved = n
	case "dirty":
		im.Dirty = int64(n)
	case "cache":
		im.Cache = int64(n)
	default:
		return fmt.Errorf("image: unknown parameter %q", key)
	}
	if n > limit {
		return fmt.Errorf("image: %s: %d is too large", key, n)
	}
	return nil
}

func parseSize(s string) (uint64, error) {
	shift, digits := 0, s
	if s != "" {
		if i := strings.IndexByte("kmgKMG", s[len(s)-1]); i >= 0 {
			shift, digits = 10*(i%3+1), s[:len(s)-1]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > maxSize>>shift {
		return 0, fmt.Errorf("size %q: want a number of bytes, or a number and one of k m g", s)
	}
	return n << shift, nil
}

// args takes the words of one operation, keeping the first error.
type args struct {
	words []string
	err   error
}

func (a *args) fail(format string, v ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, v...)
	}
}

func (a *args) more() bool { return len(a.words) > 0 }

func (a *args) take(what string) string {
	if len(a.words) == 0 {
		a.fail("%s is missing", what)
		return ""
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

// path takes a path that may be the root.
func (a *args) path() string {
	w := a.take("a path")
	if strings.IndexByte(w, 0) >= 0 {
		a.fail("path %q holds a NUL", w)
	}
	var kept []string
	for c := range strings.SplitSeq(w, "/") {
		switch c {
		case "", ".":
		case "..":
			a.fail("path %q holds ..", w)
		default:
			kept = append(kept, c)
		}
	}
	w = strings.Join(kept, "/")
	if len(w) >= maxPath {
		a.fail("a path of %d bytes is too long", len(w))
	}
	return w
}

// name takes a path that names an entry, so not the root.
func (a *args) name() string {
	p := a.path()
	if p == "" {
		a.fail("the root has no name")
	}
	return p
}

func (a *args) handle() string {
	h := a.take("the name of a handle")
	if h == "" {
		a.fail("the name of a handle is empty")
	}
	return h
}

// attr takes the name of an attribute: one whose value means nothing to the volume.
func (a *args) attr() string {
	w := a.take("an attribute")
	space, name, _ := strings.Cut(w, ".")
	if space != "user" && space != "trusted" && space != "security" || name == "" || len(w) > maxName || strings.IndexByte(w, 0) >= 0 {
		a.fail("attribute %q: want user., trusted. or security. and a name, at most %d bytes", w, maxName)
	}
	return w
}

func (a *args) size(what string) uint64 {
	n, err := parseSize(a.take(what))
	if err != nil {
		a.fail("%s: %v", what, err)
	}
	return n
}

func (a *args) number(what string, bits int) uint64 {
	w := a.take(what)
	n, err := strconv.ParseUint(w, 10, bits)
	if err != nil {
		a.fail("%s: %q is no number", what, w)
	}
	return n
}

func (a *args) mode(w string) uint16 {
	n, err := strconv.ParseUint(w, 8, 12)
	if err != nil {
		a.fail("mode %q: want octal digits", w)
	}
	return uint16(n)
}

func (a *args) optMode(def uint16) uint16 {
	if a.more() {
		return a.mode(a.take("mode"))
	}
	return def
}

func (a *args) length() uint64 {
	n := a.size("length")
	if n > MaxWrite {
		a.fail("length %d is more than one operation can write (%d)", n, MaxWrite)
	}
	return n
}

func parseOp(words []string) (Op, error) {
	var op Op
	first := words[0]
	switch {
	case strings.HasPrefix(first, "?"):
		op.Any = true
		first = first[1:]
	case strings.HasPrefix(first, "!"):
		op.Expect = Errno(first[1:])
		if !op.Expect.known() {
			return op, fmt.Errorf("unknown error %q", first[1:])
		}
		first = ""
	}
	a := &args{words: words[1:]}
	if first == "" {
		first = a.take("an operation")
	}
	switch first {
	case "mkdir":
		op.Kind, op.Path = OpMkdir, a.name()
		op.Mode = ModeDir | a.optMode(0o755)
	case "create":
		op.Kind, op.Path = OpCreate, a.name()
		op.Mode = ModeFile | a.optMode(0o644)
	case "mknod":
		op.Kind, op.Path = OpMknod, a.name()
		switch w := a.take("a type"); w {
		case "p":
			op.Mode = ModeFIFO
		case "s":
			op.Mode = ModeSocket
		case "c":
			op.Mode = ModeChar
		case "b":
			op.Mode = ModeBlock
		default:
			a.fail("type %q: want p, s, c or b", w)
		}
		if op.Mode == ModeChar || op.Mode == ModeBlock {
			op.Major, op.Minor = uint32(a.number("major", 32)), uint32(a.number("minor", 32))
		}
		perm := uint16(0o644)
		if a.more() {
			w := a.take("mode")
			m, ok := strings.CutPrefix(w, "mode=")
			if !ok {
				a.fail("%q: want mode=MODE", w)
			}
			perm = a.mode(m)
		}
		op.Mode |= perm
	case "ln":
		op.Kind = OpLink
		if a.more() && a.words[0] == "-s" {
			a.take("-s")
			op.Kind, op.Target, op.New = OpSymlink, a.take("a target"), a.name()
			if strings.IndexByte(op.Target, 0) >= 0 || op.Target == "" {
				a.fail("target %q is empty or holds a NUL", op.Target)
			}
			break
		}
		op.Path, op.New = a.path(), a.name()
	case "rm":
		op.Kind, op.Path = OpRemove, a.name()
	case "rmdir":
		op.Kind, op.Path = OpRmdir, a.name()
	case "mv":
		op.Kind = OpRename
		for a.more() && renameOptions[a.words[0]] != 0 {
			op.Flags |= renameOptions[a.take("a flag")]
		}
		op.Path, op.New = a.name(), a.name()
	case "write":
		op.Kind, op.Path = OpWrite, a.path()
		op.Offset, op.Length, op.Seed = a.size("offset"), a.length(), a.number("seed", 64)
	case "append":
		op.Kind, op.Path = OpAppend, a.path()
		op.Length, op.Seed = a.length(), a.number("seed", 64)
	case "truncate":
		op.Kind, op.Path = OpTruncate, a.path()
		op.Size = a.size("size")
	case "chmod":
		op.Kind, op.Mode = OpChmod, a.mode(a.take("mode"))
		op.Path = a.path()
	case "chown":
		op.Kind = OpChown
		w := a.take("owner")
		u, g, _ := strings.Cut(w, ":")
		uid, err1 := strconv.ParseUint(u, 10, 32)
		gid, err2 := strconv.ParseUint(g, 10, 32)
		if err1 != nil || err2 != nil {
			a.fail("owner %q: want UID:GID", w)
		}
		op.UID, op.GID, op.Path = uint32(uid), uint32(gid), a.path()
	case "touch":
		op.Kind, op.Path = OpTouch, a.path()
		op.Time = a.time()
	case "open":
		op.Kind, op.Handle, op.Path = OpOpen, a.handle(), a.path()
	case "close":
		op.Kind, op.Handle = OpClose, a.handle()
	case "writeh":
		op.Kind, op.Handle = OpWriteHandle, a.handle()
		op.Offset, op.Length, op.Seed = a.size("offset"), a.length(), a.number("seed", 64)
	case "appendh":
		op.Kind, op.Handle = OpAppendHandle, a.handle()
		op.Length, op.Seed = a.length(), a.number("seed", 64)
	case "truncateh":
		op.Kind, op.Handle = OpTruncateHandle, a.handle()
		op.Size = a.size("size")
	case "fsynch":
		op.Kind, op.Handle = OpFsyncHandle, a.handle()
	case "fdatasynch":
		op.Kind, op.Handle = OpFdatasyncHandle, a.handle()
	case "fsync":
		op.Kind, op.Path = OpFsync, a.path()
	case "fdatasync":
		op.Kind, op.Path = OpFdatasync, a.path()
	case "sync":
		op.Kind = OpSync
	case "alloc", "punch", "zero":
		op.Kind = map[string]Kind{"alloc": OpAlloc, "punch": OpPunch, "zero": OpZero}[first]
		op.Path, op.Offset, op.Length = a.path(), a.size("offset"), a.length()
		if op.Kind != OpPunch && a.more() && a.words[0] == "keep" {
			a.take("keep")
			op.Flags = KeepSize
		}
	case "setxattr":
		op.Kind, op.Path, op.Attr = OpSetxattr, a.path(), a.attr()
		op.Length, op.Seed = a.size("length"), a.number("seed", 64)
		if op.Length > maxXattr {
			a.fail("length %d is more than an attribute holds (%d)", op.Length, maxXattr)
		}
	case "rmxattr":
		op.Kind, op.Path, op.Attr = OpRemovexattr, a.path(), a.attr()
	case "temp":
		op.Kind, op.Handle, op.Path = OpTemp, a.handle(), a.path()
		op.Mode = ModeFile | a.optMode(0o644)
	case "lnh":
		op.Kind, op.Handle, op.New = OpLinkHandle, a.handle(), a.name()
	default:
		a.fail("unknown operation %q; there are %s", first, strings.Join(verbs[1:], ", "))
	}
	if a.more() {
		a.fail("%q is too much", a.words[0])
	}
	return op, a.err
}

func (a *args) time() Time {
	w := a.take("a time")
	sec, frac, dot := strings.Cut(w, ".")
	n, err := strconv.ParseInt(sec, 10, 63)
	t := Time{Sec: n}
	if dot && err == nil {
		var f uint64
		f, err = strconv.ParseUint((frac + "000000000")[:max(9, len(frac))], 10, 32)
		if len(frac) > 9 || frac == "" {
			a.fail("time %q: want at most nine digits behind the dot", w)
		}
		t.Nsec = uint32(f)
	}
	if err != nil {
		a.fail("time %q: want SECONDS or SECONDS.NANOSECONDS", w)
	}
	return t
}

// word quotes a word for the script language where that is needed.
func word(s string) string {
	s = strings.ReplaceAll(s, "$", "$$")
	plain := s != "" && s != "}" && s != "{"
	for i := 0; i < len(s); i++ {
		c := s[i]
		plain = plain && c > ' ' && c < 0x7f && c != '"' && c != '#' && c != '\\'
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// String is the operation in the script language.
func (op Op) String() string {
	var b strings.Builder
	switch {
	case op.Any:
		b.WriteByte('?')
	case op.Expect != OK:
		fmt.Fprintf(&b, "!%s ", op.Expect)
	}
	b.WriteString(op.Kind.String())
	path := "/" + op.Path
	perm := op.Mode & ModePerm
	switch op.Kind {
	case OpMkdir:
		fmt.Fprintf(&b, " %s", word(path))
		if perm != 0o755 {
			fmt.Fprintf(&b, " %04o", perm)
		}
	case OpCreate:
		fmt.Fprintf(&b, " %s", word(path))
		if perm != 0o644 {
			fmt.Fprintf(&b, " %04o", perm)
		}
	case OpMknod:
		fmt.Fprintf(&b, " %s", word(path))
		switch op.Mode & ModeType {
		case ModeFIFO:
			b.WriteString(" p")
		case ModeSocket:
			b.WriteString(" s")
		case ModeChar:
			fmt.Fprintf(&b, " c %d %d", op.Major, op.Minor)
		case ModeBlock:
			fmt.Fprintf(&b, " b %d %d", op.Major, op.Minor)
		}
		if perm != 0o644 {
			fmt.Fprintf(&b, " mode=%04o", perm)
		}
	case OpLink:
		fmt.Fprintf(&b, " %s %s", word(path), word("/"+op.New))
	case OpSymlink:
		fmt.Fprintf(&b, " %s %s", word(op.Target), word("/"+op.New))
	case OpRename:
		for _, flag := range []string{"-n", "-x", "-w"} {
			if op.Flags&renameOptions[flag] != 0 {
				b.WriteString(" " + flag)
			}
		}
		fmt.Fprintf(&b, " %s %s", word(path), word("/"+op.New))
	case OpWrite:
		fmt.Fprintf(&b, " %s %d %d %d", word(path), op.Offset, op.Length, op.Seed)
	case OpAppend:
		fmt.Fprintf(&b, " %s %d %d", word(path), op.Length, op.Seed)
	case OpTruncate:
		fmt.Fprintf(&b, " %s %d", word(path), op.Size)
	case OpChmod:
		fmt.Fprintf(&b, " %04o %s", op.Mode, word(path))
	case OpChown:
		fmt.Fprintf(&b, " %d:%d %s", op.UID, op.GID, word(path))
	case OpTouch:
		fmt.Fprintf(&b, " %s %d.%09d", word(path), op.Time.Sec, op.Time.Nsec)
	case OpRemove, OpRmdir, OpFsync, OpFdatasync:
		fmt.Fprintf(&b, " %s", word(path))
	case OpOpen:
		fmt.Fprintf(&b, " %s %s", word(op.Handle), word(path))
	case OpClose, OpFsyncHandle, OpFdatasyncHandle:
		fmt.Fprintf(&b, " %s", word(op.Handle))
	case OpWriteHandle:
		fmt.Fprintf(&b, " %s %d %d %d", word(op.Handle), op.Offset, op.Length, op.Seed)
	case OpAppendHandle:
		fmt.Fprintf(&b, " %s %d %d", word(op.Handle), op.Length, op.Seed)
	case OpTruncateHandle:
		fmt.Fprintf(&b, " %s %d", word(op.Handle), op.Size)
	case OpAlloc, OpPunch, OpZero:
		fmt.Fprintf(&b, " %s %d %d", word(path), op.Offset, op.Length)
		if op.Flags&KeepSize != 0 {
			b.WriteString(" keep")
		}
	case OpSetxattr:
		fmt.Fprintf(&b, " %s %s %d %d", word(path), word(op.Attr), op.Length, op.Seed)
	case OpRemovexattr:
		fmt.Fprintf(&b, " %s %s", word(path), word(op.Attr))
	case OpTemp:
		fmt.Fprintf(&b, " %s %s", word(op.Handle), word(path))
		if perm != 0o644 {
			fmt.Fprintf(&b, " %04o", perm)
		}
	case OpLinkHandle:
		fmt.Fprintf(&b, " %s %s", word(op.Handle), word("/"+op.New))
	}
	return b.String()
}

// String is the image line of a script.
func (im Image) String() string {
	var b strings.Builder
	b.WriteString("image")
	copies := uint64(im.Copies)
	if im.Mirror {
		b.WriteString(" copies=mirror")
		copies = 0
	}
	for _, f := range []struct {
		key string
		n   uint64
	}{
		{"size", uint64(im.Size)}, {"block", uint64(im.Block)}, {"sector", uint64(im.Sector)},
		{"run", im.Run}, {"inodes", uint64(im.Inodes)}, {"copies", copies}, {"reserved", im.Reserved}, {"dirty", uint64(im.Dirty)}, {"cache", uint64(im.Cache)},
	} {
		switch {
		case f.n == 0:
		case f.n%(1<<20) == 0:
			fmt.Fprintf(&b, " %s=%dm", f.key, f.n>>20)
		case f.n%(1<<10) == 0:
			fmt.Fprintf(&b, " %s=%dk", f.key, f.n>>10)
		default:
			fmt.Fprintf(&b, " %s=%d", f.key, f.n)
		}
	}
	if im.None {
		b.WriteString(" journal=none")
	}
	return b.String()
}

// String is the script as text; Parse reads it back.
func (s *Script) String() string {
	var b strings.Builder
	b.WriteString(s.Image.String())
	b.WriteByte('\n')
	for _, op := range s.Setup {
		b.WriteString(op.String())
		b.WriteByte('\n')
	}
	b.WriteString("---\n")
	for _, op := range s.Ops {
		b.WriteString(op.String())
		b.WriteByte('\n')
	}
	return b.String()
}
