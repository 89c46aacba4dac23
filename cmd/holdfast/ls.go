package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

// lsFlags are the flags of ls.
type lsFlags struct {
	long, numeric, all, almost, recursive, reverse, inode, one, itself bool
	by                                                                 string // what they are sorted by beside the name: t, S or nothing
	units, classify, blocks, fullTime, json                            bool
}

func lsCommand() *cobra.Command {
	var o lsFlags
	c := &cobra.Command{
		Use:        "ls IMAGE[:PATH]...",
		SuggestFor: []string{"dir"},
		Short:      "List directories of an image",
		Long: `List directories of an image, a name a line. Owners are numbers. With -l, what a damaged
inode does not say is shown as "?".`,
		Args: cobra.MinimumNArgs(1),
		RunE: verb(false, func(w *work, args []string) error {
			o.long = o.long || o.numeric || o.fullTime
			l := lister{w: w, lsFlags: o}
			l.operands(args)
			return nil
		}),
	}
	f := freeH(c).Flags()
	f.BoolVarP(&o.long, "long", "l", false, "mode, links, owner, group, size, time, name")
	f.BoolVarP(&o.numeric, "numeric-uid-gid", "n", false, "like -l (owners are numbers in any case)")
	f.BoolVarP(&o.all, "all", "a", false, "names that begin with a dot too, and . and ..")
	f.BoolVarP(&o.almost, "almost-all", "A", false, "names that begin with a dot too")
	f.BoolVarP(&o.recursive, "recursive", "R", false, "list subdirectories too")
	f.BoolVarP(&o.reverse, "reverse", "r", false, "in reverse order")
	f.VarPF(&choice{&o.by, "t"}, "time", "t", "the newest first").NoOptDefVal = "true"
	f.VarPF(&choice{&o.by, "S"}, "by-size", "S", "the largest first").NoOptDefVal = "true"
	f.BoolVarP(&o.inode, "inode", "i", false, "show inode numbers")
	f.BoolVarP(&o.blocks, "size", "s", false, "show the space that each takes, in units of 1024 bytes")
	f.BoolVarP(&o.one, "one", "1", false, "a name a line, as in any case")
	f.BoolVarP(&o.itself, "directory", "d", false, "list a directory itself, not what is in it")
	f.BoolVarP(&o.units, "human-readable", "h", false, "sizes with units")
	f.BoolVarP(&o.classify, "classify", "F", false, "show the type by a letter behind the name: / @ | =, * for programs")
	f.BoolVar(&o.fullTime, "full-time", false, "like -l, with whole times")
	f.BoolVar(&o.json, "json", false, "one JSON object a line")
	return c
}

// choice is a flag without a value of which the last of several holds.
type choice struct {
	to   *string
	mean string
}

func (c *choice) String() string { return "false" }
func (c *choice) Type() string   { return "bool" }
func (c *choice) Set(s string) error {
	on, err := strconv.ParseBool(s)
	switch {
	case err == nil && on:
		*c.to = c.mean
	case err == nil && *c.to == c.mean:
		*c.to = ""
	}
	return err
}

// row is a file that is to be listed; err says why its inode cannot be read.
type row struct {
	operand
	show   string
	attr   volume.Attr
	target string
	err    error
}

type lister struct {
	w *work
	lsFlags
	printed bool // something is above: a heading needs an empty line before
}

// operands lists first what is no directory, then the directories.
func (l *lister) operands(args []string) {
	var files, dirs []row
	l.w.each(args, func(o operand) error {
		// A link to a directory stands for it where nothing is asked about the link.
		a, err := o.resolve(!l.long && !l.itself && !l.classify)
		if errors.Is(err, fs.ErrNotExist) {
			a, err = o.resolve(false)
		}
		if err != nil {
			return err
		}
		r := row{operand: o, show: o.name, attr: a}
		if isDir(a) && !l.itself {
			dirs = append(dirs, r)
			return nil
		}
		if l.long {
			l.describe(&r)
		}
		files = append(files, r)
		return nil
	})
	l.sort(files)
	l.sort(dirs)
	l.table(files)
	for _, d := range dirs {
		l.dir(d.operand, d.attr.Ino, len(args) > 1 || l.recursive)
	}
}

// describe reads what ls -l shows beside the attributes.
func (l *lister) describe(r *row) {
	if r.err == nil && isLink(r.attr) {
		r.target, r.err = r.im.Readlink(r.attr.Ino)
	}
	l.w.fail(r.at(r.err))
}

// attributes reports whether more is asked for than names and types.
func (l *lister) attributes() bool { return l.long || l.by != "" || l.blocks || l.classify || l.json }

// entries is what is in a directory, in the order of names, with attributes if they are asked for:
// those are read along with the names. With an error comes what could be read.
func (l *lister) entries(im *image, dir volume.Ino) (list []row, err error) {
	if l.attributes() {
		err = im.ReadDirPlus(dir, 0, func(e volume.DirEntry, a volume.Attr, err error) bool {
			if err != nil {
				a = volume.Attr{Ino: e.Ino, Mode: e.Type}
			}
			list = append(list, row{show: e.Name, attr: a, err: err})
			return true
		})
	} else {
		err = im.ReadDir(dir, 0, func(e volume.DirEntry) bool {
			list = append(list, row{show: e.Name, attr: volume.Attr{Ino: e.Ino, Mode: e.Type}})
			return true
		})
	}
	slices.SortFunc(list, func(a, b row) int { return cmp.Compare(a.show, b.show) })
	return list, err
}

// dir lists one directory, then, if asked, those below it.
func (l *lister) dir(o operand, ino volume.Ino, heading bool) {
	list, err := l.entries(o.im, ino)
	l.w.fail(o.at(err))
	var rows []row
	if l.all {
		for _, dot := range []string{".", ".."} {
			r := row{operand: o.child(dot), show: dot, attr: volume.Attr{Mode: layout.ModeDir}}
			a, err := o.im.Lookup(ino, dot)
			if r.err = err; err == nil {
				r.attr = a
			}
			l.describe(&r)
			rows = append(rows, r)
		}
	}
	for i := range list {
		r := &list[i]
		if r.show[0] == '.' && !l.all && !l.almost {
			continue
		}
		r.operand = o.child(r.show)
		if l.attributes() {
			l.describe(r)
		}
		rows = append(rows, *r)
	}
	l.sort(rows)
	if heading && !l.json {
		if l.printed {
			fmt.Fprintln(l.w.out)
		}
		fmt.Fprintf(l.w.out, "%s:\n", quoteName(o.name))
		l.printed = true
	}
	if (l.long || l.blocks) && !l.json {
		var sum uint64
		for _, r := range rows {
			sum += r.im.diskBytes(r.attr)
		}
		fmt.Fprintf(l.w.out, "total %s\n", sized(sum, l.units))
		l.printed = true
	}
	l.table(rows)
	if !l.recursive {
		return
	}
	for _, r := range rows {
		if isDir(r.attr) && r.show != "." && r.show != ".." {
			l.dir(r.operand, r.attr.Ino, true)
		}
	}
}

// sort orders rows by name, or by what the flags say and then by name.
func (l *lister) sort(rows []row) {
	slices.SortStableFunc(rows, func(a, b row) int {
		c := 0
		switch l.by {
		case "S":
			c = cmp.Compare(b.attr.Size, a.attr.Size)
		case "t":
			c = b.attr.Mtime.Compare(a.attr.Mtime)
		}
		if c == 0 {
			c = cmp.Compare(a.show, b.show)
		}
		if l.reverse {
			c = -c
		}
		return c
	})
}

func (l *lister) table(rows []row) {
	if len(rows) == 0 {
		return
	}
	l.printed = true
	if l.json {
		for _, r := range rows {
			if err := l.w.json(fileJSON(r.operand, r.attr, r.target, r.err)); err != nil {
				return // the end of the command reports it
			}
		}
		return
	}
	cells := make([][]string, len(rows))
	major, minor := 0, 0
	for _, r := range rows {
		if isDevice(r.attr) && r.err == nil {
			major, minor = max(major, len(strconv.Itoa(int(r.attr.Major)))), max(minor, len(strconv.Itoa(int(r.attr.Minor))))
		}
	}
	for i, r := range rows {
		cells[i] = l.cells(r, major, minor)
	}
	width := make([]int, len(cells[0]))
	for _, c := range cells {
		for i, text := range c {
			width[i] = max(width[i], len(text))
		}
	}
	for _, c := range cells {
		for i, text := range c[:len(c)-1] {
			l.w.out.WriteString(column(text, width[i]) + " ")
		}
		l.w.out.WriteString(c[len(c)-1] + "\n")
	}
}

func isDevice(a volume.Attr) bool {
	t := a.Mode & layout.ModeType
	return t == layout.ModeChar || t == layout.ModeBlock
}

// cells are the columns of a row; major and minor are the widths of device numbers.
func (l *lister) cells(r row, major, minor int) (c []string) {
	a := r.attr
	known := func(text string) string {
		if r.err != nil {
			return "?"
		}
		return text
	}
	if l.inode {
		ino := "?"
		if a.Ino != 0 {
			ino = fmt.Sprint(a.Ino)
		}
		c = append(c, ino)
	}
	if l.blocks {
		c = append(c, known(sized(r.im.diskBytes(a), l.units)))
	}
	name := quoteName(r.show)
	if !l.long {
		return append(c, name+l.indicator(a, r.err))
	}
	size := fmt.Sprint(a.Size)
	switch {
	case isDevice(a):
		size = fmt.Sprintf("%*d, %*d", major, a.Major, minor, a.Minor)
	case l.units:
		size = human(a.Size)
	}
	format := "2006-01-02 15:04"
	if l.fullTime {
		format = "2006-01-02 15:04:05.000000000 -0700"
	}
	mode := modeString(a.Mode)
	if r.err != nil {
		mode = string(typeLetter(a.Mode)) + "?????????"
	}
	if r.target != "" {
		name += " -> " + quoteName(r.target)
		if l.classify {
			if t, err := r.resolve(true); err == nil {
				name += l.indicator(t, nil)
			}
		}
	} else {
		name += l.indicator(a, r.err)
	}
	return append(c, mode, known(fmt.Sprint(a.Links)), known(fmt.Sprint(a.UID)), known(fmt.Sprint(a.GID)), known(size),
		known(a.Mtime.Local().Format(format)), name)
}

// indicator is what -F puts behind a name.
func (l *lister) indicator(a volume.Attr, err error) string {
	if !l.classify {
		return ""
	}
	switch a.Mode & layout.ModeType {
	case layout.ModeDir:
		return "/"
	case layout.ModeLink:
		return "@"
	case layout.ModeFIFO:
		return "|"
	case layout.ModeSocket:
		return "="
	}
	if err == nil && isFile(a) && a.Mode&0o111 != 0 {
		return "*"
	}
	return ""
}
