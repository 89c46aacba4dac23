package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/layout"
	"holdfast/volume"
)

// predicate is an expression of find: a test, an action, or several put together.
type predicate func(x *found) bool

// parser reads the expression of find(1).
type parser struct {
	f      *finder
	words  []string
	action bool // there is one beside -prune
	depth  int
}

// parse reads the words of an expression.
func (f *finder) parse(words []string) error {
	p := &parser{f: f, words: words}
	f.test = func(*found) bool { return true }
	if len(words) > 0 {
		e, err := p.or()
		if err != nil {
			return err
		}
		if len(p.words) > 0 {
			return usage("%q is not expected here", p.words[0])
		}
		f.test = e
	}
	if !p.action {
		test := f.test
		f.test = func(x *found) bool { return test(x) && f.print(x, "\n") }
	}
	return nil
}

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *parser) or() (predicate, error) {
	left, err := p.and()
	for err == nil && (p.peek() == "-o" || p.peek() == "-or") {
		p.words = p.words[1:]
		a := left
		var b predicate
		b, err = p.and()
		left = func(x *found) bool { return a(x) || b(x) }
	}
	return left, err
}

func (p *parser) and() (predicate, error) {
	left, err := p.not()
	for err == nil && len(p.words) > 0 && !slices.Contains([]string{"-o", "-or", ")"}, p.peek()) {
		if p.peek() == "-a" || p.peek() == "-and" {
			p.words = p.words[1:]
		}
		a := left
		var b predicate
		b, err = p.not()
		left = func(x *found) bool { return a(x) && b(x) }
	}
	return left, err
}

func (p *parser) not() (predicate, error) {
	switch p.peek() {
	case "":
		return nil, usage("the expression ends too early")
	case "!", "-not":
		p.words = p.words[1:]
		e, err := p.not()
		return func(x *found) bool { return !e(x) }, err
	case "(":
		if p.depth++; p.depth > 1000 {
			return nil, usage("too many parentheses")
		}
		p.words = p.words[1:]
		e, err := p.or()
		if err == nil && p.peek() != ")" {
			err = usage("a ) is missing")
		}
		if err == nil {
			p.words = p.words[1:]
		}
		p.depth--
		return e, err
	}
	word := p.words[0]
	p.words = p.words[1:]
	if e := p.plain(word); e != nil {
		return e, nil
	}
	make, ok := tests[word]
	if !ok {
		return nil, usage("%q is not known", word)
	}
	if len(p.words) == 0 {
		return nil, usage("%s wants an argument", word)
	}
	arg := p.words[0]
	p.words = p.words[1:]
	e, err := make(p.f, arg)
	if err != nil {
		return nil, usage("%s %s: %w", word, quoteName(arg), err)
	}
	return e, nil
}

// plain are the words without an argument; nil: it is none of them.
func (p *parser) plain(word string) predicate {
	f := p.f
	switch word {
	case "-print":
		p.action = true
		return func(x *found) bool { return f.print(x, "\n") }
	case "-print0":
		p.action = true
		return func(x *found) bool { return f.print(x, "\x00") }
	case "-delete":
		p.action, f.post = true, true // what is in a directory goes first
		return f.delete
	case "-quit":
		p.action = true
		return func(*found) bool { f.stopped = true; return true }
	case "-prune":
		return func(x *found) bool { x.prune = true; return true }
	case "-depth", "-d":
		f.post = true
		return func(*found) bool { return true }
	case "-true", "-xdev", "-mount": // an image is one file system
		return func(*found) bool { return true }
	case "-false":
		return func(*found) bool { return false }
	case "-empty":
		return f.empty
	}
	return nil
}

// empty is -empty: a file of no bytes, a directory without entries.
func (f *finder) empty(x *found) bool {
	if !isDir(x.attr) {
		return isFile(x.attr) && x.attr.Size == 0
	}
	empty := true
	err := x.im.ReadDir(x.attr.Ino, 0, func(volume.DirEntry) bool { empty = false; return false })
	f.w.fail(x.at(err))
	return empty && err == nil
}

// tests are the words with an argument.
var tests = map[string]func(f *finder, arg string) (predicate, error){
	"-name":      func(_ *finder, arg string) (predicate, error) { return globTest(arg, "", false) },
	"-iname":     func(_ *finder, arg string) (predicate, error) { return globTest(arg, "(?i)", false) },
	"-path":      func(_ *finder, arg string) (predicate, error) { return globTest(arg, "", true) },
	"-wholename": func(_ *finder, arg string) (predicate, error) { return globTest(arg, "", true) },
	"-ipath":     func(_ *finder, arg string) (predicate, error) { return globTest(arg, "(?i)", true) },
	"-type":      typeTest,
	"-perm":      permTest,
	"-size":      sizeTest,
	"-links":     numberTest(func(_ *finder, x *found) int64 { return int64(x.attr.Links) }),
	"-inum":      numberTest(func(_ *finder, x *found) int64 { return int64(x.attr.Ino) }),
	"-uid":       numberTest(func(_ *finder, x *found) int64 { return int64(x.attr.UID) }),
	"-user":      numberTest(func(_ *finder, x *found) int64 { return int64(x.attr.UID) }),
	"-gid":       numberTest(func(_ *finder, x *found) int64 { return int64(x.attr.GID) }),
	"-group":     numberTest(func(_ *finder, x *found) int64 { return int64(x.attr.GID) }),
	"-mtime":     numberTest(func(f *finder, x *found) int64 { return int64(f.now.Sub(x.attr.Mtime) / (24 * time.Hour)) }),
	"-mmin": numberTest(func(f *finder, x *found) int64 {
		return int64((f.now.Sub(x.attr.Mtime) + time.Minute - 1) / time.Minute)
	}),
	"-maxdepth": func(f *finder, arg string) (predicate, error) { return depthTest(arg, &f.maxDepth) },
	"-mindepth": func(f *finder, arg string) (predicate, error) { return depthTest(arg, &f.minDepth) },
	"-samefile": func(f *finder, arg string) (predicate, error) {
		o, err := f.w.operand(arg)
		if err != nil {
			return nil, err
		}
		a, err := o.resolve(false)
		return func(x *found) bool { return x.im == o.im && x.attr.Ino == a.Ino }, err
	},
	"-newer": func(f *finder, arg string) (predicate, error) {
		_, mtime, err := f.w.timesOf(arg, true)
		return func(x *found) bool { return x.attr.Mtime.After(mtime) }, err
	},
	"-newermt": func(f *finder, arg string) (predicate, error) {
		t, err := parseDate(arg, f.now)
		return func(x *found) bool { return x.attr.Mtime.After(t) }, err
	},
}

// timesOf are access and modification time of IMAGE:PATH or of a file of the host.
func (w *work) timesOf(arg string, follow bool) (atime, mtime time.Time, err error) {
	if _, _, inside := splitImagePath(arg); inside {
		o, err := w.operand(arg)
		if err != nil {
			return atime, mtime, err
		}
		a, err := o.resolve(follow)
		return a.Atime, a.Mtime, err
	}
	st, err := os.Stat(arg)
	if err != nil {
		return atime, mtime, err
	}
	return hostAtime(st), st.ModTime(), nil
}

func depthTest(arg string, to *int) (predicate, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("want a number")
	}
	*to = n
	return func(*found) bool { return true }, nil
}

// compare reads N, +N or -N.
func compare(arg string) (func(n int64) bool, error) {
	digits := strings.TrimLeft(arg, "+-")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || len(arg)-len(digits) > 1 {
		return nil, fmt.Errorf("want a number, or + or - and a number")
	}
	switch arg[0] {
	case '+':
		return func(x int64) bool { return x > n }, nil
	case '-':
		return func(x int64) bool { return x < n }, nil
	}
	return func(x int64) bool { return x == n }, nil
}

func numberTest(value func(f *finder, x *found) int64) func(f *finder, arg string) (predicate, error) {
	return func(f *finder, arg string) (predicate, error) {
		cmp, err := compare(arg)
		return func(x *found) bool { return cmp(value(f, x)) }, err
	}
}

// sizeTest is -size: the size in units, rounded up.
func sizeTest(_ *finder, arg string) (predicate, error) {
	unit := uint64(512)
	if arg != "" {
		units := map[byte]uint64{'c': 1, 'w': 2, 'b': 512, 'k': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
		if u, ok := units[arg[len(arg)-1]]; ok {
			unit, arg = u, arg[:len(arg)-1]
		}
	}
	cmp, err := compare(arg)
	return func(x *found) bool { return cmp(int64((x.attr.Size + unit - 1) / unit)) }, err
}

func typeTest(_ *finder, arg string) (predicate, error) {
	letters := map[string]uint16{"f": layout.ModeFile, "d": layout.ModeDir, "l": layout.ModeLink, "p": layout.ModeFIFO,
		"s": layout.ModeSocket, "b": layout.ModeBlock, "c": layout.ModeChar}
	var want []uint16
	for _, l := range strings.Split(arg, ",") {
		t, ok := letters[l]
		if !ok {
			return nil, fmt.Errorf("want letters of f d l p s b c, with commas")
		}
		want = append(want, t)
	}
	return func(x *found) bool { return slices.Contains(want, x.attr.Mode&layout.ModeType) }, nil
}

func permTest(f *finder, arg string) (predicate, error) {
	text := strings.TrimLeft(arg, "-/")
	change, err := parseMode(text)
	if err != nil || len(arg)-len(text) > 1 {
		return nil, fmt.Errorf("want a mode")
	}
	bits := change.apply(0, false, f.umask)
	return func(x *found) bool {
		have := x.attr.Mode & layout.ModePerm
		switch arg[0] {
		case '-':
			return have&bits == bits
		case '/':
			return bits == 0 || have&bits != 0
		}
		return have == bits
	}, nil
}

// globTest is a pattern of fnmatch(3) held against the last component or the whole path, in
// which a slash is a character like others.
func globTest(glob, flags string, whole bool) (predicate, error) {
	text := func(s string) string { return s }
	if !utf8.ValidString(glob) { // bytes, then, and no characters
		text = latin1
	}
	glob = text(glob)
	var b strings.Builder
	b.WriteString("(?s)" + flags + "^")
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		case '[':
			set, n := bracket(glob[i:])
			b.WriteString(set)
			i += n - 1
		case '\\':
			if i+1 < len(glob) {
				i++
			}
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			if c < 0x80 {
				b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
			} else {
				b.WriteByte(c)
			}
		}
	}
	re, err := regexp.Compile(b.String() + "$")
	if err != nil {
		return nil, fmt.Errorf("not a pattern")
	}
	return func(x *found) bool {
		if whole {
			return re.MatchString(text(x.name))
		}
		name := x.base()
		if name == "" {
			name = "/"
		}
		return re.MatchString(text(name))
	}, nil
}

// latin1 makes each byte a character.
func latin1(s string) string {
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// bracket is the set that a pattern begins with as a regular expression, and its length; what
// is not closed means itself.
func bracket(glob string) (string, int) {
	i := 1
	if i < len(glob) && (glob[i] == '!' || glob[i] == '^') {
		i++
	}
	start := i
	for ; i < len(glob); i++ {
		switch {
		case strings.HasPrefix(glob[i:], "[:"):
			if n := strings.Index(glob[i:], ":]"); n > 0 {
				i += n + 1
			}
		case glob[i] == ']' && i > start:
			set := strings.NewReplacer(`\`, `\\`, `[:`, `[:`, `[`, `\[`).Replace(glob[start:i])
			if strings.HasPrefix(set, "]") {
				set = `\` + set
			}
			if start == 2 {
				set = "^" + set
			}
			return "[" + set + "]", i + 1
		}
	}
	return `\[`, 1
}
