package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

func sortEntries(list []volume.DirEntry) {
	slices.SortFunc(list, func(a, b volume.DirEntry) int { return cmp.Compare(a.Name, b.Name) })
}

// modeString prints a mode as ls -l does.
func modeString(mode uint16) string {
	types := map[uint16]byte{layout.ModeFile: '-', layout.ModeDir: 'd', layout.ModeLink: 'l', layout.ModeFIFO: 'p',
		layout.ModeSocket: 's', layout.ModeChar: 'c', layout.ModeBlock: 'b'}
	b := []byte("?rwxrwxrwx")
	if c, ok := types[mode&layout.ModeType]; ok {
		b[0] = c
	}
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

// quoteName makes a name safe to print: control characters are escaped as in Go.
func quoteName(s string) string {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return fmt.Sprintf("%q", s)
		}
	}
	return s
}

func lsCommand() *cobra.Command {
	var long, all, inode, recursive, dirItself, humanSizes bool
	c := &cobra.Command{
		Use:   "ls IMAGE[:PATH]...",
		Short: "List directories of an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return perImage(args, false, func(im *image, paths []string) error {
				l := lister{im: im, out: cmd.OutOrStdout(), long: long, inode: inode, all: all, human: humanSizes}
				for i, p := range paths {
					a, err := im.resolve(p, !long)
					if err != nil {
						return err
					}
					if a.Mode&layout.ModeType != layout.ModeDir || dirItself {
						if err := l.table([]row{{p, a, ""}}); err != nil {
							return err
						}
						continue
					}
					if i > 0 {
						fmt.Fprintln(l.out)
					}
					if len(paths) > 1 || recursive {
						fmt.Fprintf(l.out, "%s:\n", quoteName(p))
					}
					if err := l.dir(p, a.Ino, recursive); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.BoolVarP(&long, "long", "l", false, "mode, links, owner, group, size, time, name")
	f.BoolVarP(&all, "all", "a", false, "show . and .. too")
	f.BoolVarP(&inode, "inode", "i", false, "show inode numbers")
	f.BoolVarP(&recursive, "recursive", "R", false, "list subdirectories too")
	f.BoolVarP(&dirItself, "directory", "d", false, "list a directory itself, not what is in it")
	f.BoolVar(&humanSizes, "human", false, "sizes with units")
	return c
}

type row struct {
	name   string
	attr   volume.Attr
	target string
}

type lister struct {
	im                      *image
	out                     io.Writer
	long, inode, all, human bool
}

// dir lists one directory, then, if asked, those below it.
func (l *lister) dir(p string, ino volume.Ino, recursive bool) error {
	list, err := l.im.entries(ino)
	if err != nil {
		return l.im.at(p, err)
	}
	var rows []row
	if l.all {
		self, err := l.im.Getattr(ino)
		if err != nil {
			return l.im.at(p, err)
		}
		parent, err := l.im.resolve(path.Dir(p), true)
		if err != nil {
			return err
		}
		rows = append(rows, row{".", self, ""}, row{"..", parent, ""})
	}
	for _, e := range list {
		r := row{name: e.Name, attr: volume.Attr{Ino: e.Ino, Mode: e.Type}}
		if l.long {
			if r.attr, err = l.im.Getattr(e.Ino); err != nil {
				return l.im.at(path.Join(p, e.Name), err)
			}
			if e.Type == layout.ModeLink {
				if r.target, err = l.im.Readlink(e.Ino); err != nil {
					return l.im.at(path.Join(p, e.Name), err)
				}
			}
		}
		rows = append(rows, r)
	}
	if err := l.table(rows); err != nil {
		return err
	}
	if !recursive {
		return nil
	}
	for _, e := range list {
		if e.Type != layout.ModeDir {
			continue
		}
		sub := path.Join(p, e.Name)
		fmt.Fprintf(l.out, "\n%s:\n", quoteName(sub))
		if err := l.dir(sub, e.Ino, true); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) table(rows []row) error {
	if !l.long {
		for _, r := range rows {
			if l.inode {
				fmt.Fprintf(l.out, "%d ", r.attr.Ino)
			}
			if _, err := fmt.Fprintln(l.out, quoteName(r.name)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(l.out, 0, 0, 1, ' ', tabwriter.AlignRight)
	for _, r := range rows {
		a := r.attr
		if l.inode {
			fmt.Fprintf(w, "%d\t", a.Ino)
		}
		size := fmt.Sprint(a.Size)
		if l.human {
			size = human(a.Size)
		}
		if t := a.Mode & layout.ModeType; t == layout.ModeChar || t == layout.ModeBlock {
			size = fmt.Sprintf("%d,%d", a.Major, a.Minor)
		}
		name := quoteName(r.name)
		if r.target != "" {
			name += " -> " + quoteName(r.target)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t %s\n", modeString(a.Mode), a.Links, a.UID, a.GID, size,
			a.Mtime.UTC().Format("2006-01-02 15:04"), name)
	}
	return w.Flush()
}

func catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat IMAGE:PATH...",
		Short: "Print files of an image",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return perImage(args, false, func(im *image, paths []string) error {
				for _, p := range paths {
					f, err := im.Tree().Open(p)
					if err != nil {
						return im.at(p, err)
					}
					_, err = io.Copy(cmd.OutOrStdout(), f)
					if cerr := f.Close(); err == nil {
						err = cerr
					}
					if err != nil {
						return im.at(p, err)
					}
				}
				return nil
			})
		},
	}
}

// statJSON is the --json form of a file.
type statJSON struct {
	Path       string    `json:"path"`
	Inode      uint64    `json:"inode"`
	Generation uint32    `json:"generation"`
	Mode       string    `json:"mode"`
	Type       string    `json:"type"`
	Links      uint32    `json:"links"`
	UID        uint32    `json:"uid"`
	GID        uint32    `json:"gid"`
	Size       uint64    `json:"size"`
	Blocks     uint64    `json:"blocks"`
	Atime      time.Time `json:"atime"`
	Mtime      time.Time `json:"mtime"`
	Ctime      time.Time `json:"ctime"`
	Btime      time.Time `json:"btime"`
	Major      uint32    `json:"major,omitempty"`
	Minor      uint32    `json:"minor,omitempty"`
	Target     string    `json:"target,omitempty"`
}

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
		return "character device"
	case layout.ModeBlock:
		return "block device"
	}
	return "unknown"
}

func statCommand() *cobra.Command {
	var asJSON, follow bool
	c := &cobra.Command{
		Use:   "stat IMAGE:PATH...",
		Short: "Show what an inode says",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return perImage(args, false, func(im *image, paths []string) error {
				for _, p := range paths {
					a, err := im.resolve(p, follow)
					if err != nil {
						return err
					}
					s := statJSON{p, uint64(a.Ino), a.Generation, fmt.Sprintf("%04o", a.Mode&layout.ModePerm), typeName(a.Mode), a.Links,
						a.UID, a.GID, a.Size, a.Blocks, a.Atime.UTC(), a.Mtime.UTC(), a.Ctime.UTC(), a.Btime.UTC(), a.Major, a.Minor, ""}
					if a.Mode&layout.ModeType == layout.ModeLink {
						if s.Target, err = im.Readlink(a.Ino); err != nil {
							return im.at(p, err)
						}
					}
					if err := printStat(cmd.OutOrStdout(), s, a.Mode, asJSON); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	c.Flags().BoolVarP(&follow, "dereference", "L", false, "follow symbolic links")
	return c
}

func printStat(w io.Writer, s statJSON, mode uint16, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(s)
	}
	name := quoteName(s.Path)
	if s.Target != "" {
		name += " -> " + quoteName(s.Target)
	}
	const layoutTime = "2006-01-02 15:04:05.000000000 -0700"
	_, err := fmt.Fprintf(w, "  File: %s\n  Size: %-12d Blocks: %-8d %s\n Inode: %-12d Links: %-9d Generation: %d\nAccess: (%s/%s)  Uid: %d  Gid: %d\nAccess: %s\nModify: %s\nChange: %s\n Birth: %s\n",
		name, s.Size, s.Blocks, s.Type, s.Inode, s.Links, s.Generation, s.Mode, modeString(mode), s.UID, s.GID,
		s.Atime.Format(layoutTime), s.Mtime.Format(layoutTime), s.Ctime.Format(layoutTime), s.Btime.Format(layoutTime))
	return err
}

func treeCommand() *cobra.Command {
	var depth int
	c := &cobra.Command{
		Use:   "tree IMAGE[:PATH]",
		Short: "Draw a directory tree",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return perImage(args, false, func(im *image, paths []string) error {
				p := paths[0]
				a, err := im.resolve(p, true)
				if err != nil {
					return err
				}
				w := cmd.OutOrStdout()
				fmt.Fprintln(w, quoteName(p))
				d := drawer{im: im, out: w, depth: depth}
				if err := d.draw(p, a.Ino, "", 1); err != nil {
					return err
				}
				_, err = fmt.Fprintf(w, "\n%d directories, %d files\n", d.dirs, d.files)
				return err
			})
		},
	}
	c.Flags().IntVarP(&depth, "level", "L", 0, "go at most this deep (0: no bound)")
	return c
}

type drawer struct {
	im          *image
	out         io.Writer
	depth       int
	dirs, files int
}

func (d *drawer) draw(p string, dir volume.Ino, indent string, level int) error {
	list, err := d.im.entries(dir)
	if err != nil {
		return d.im.at(p, err)
	}
	for i, e := range list {
		branch, next := "├── ", "│   "
		if i == len(list)-1 {
			branch, next = "└── ", "    "
		}
		name := quoteName(e.Name)
		switch e.Type {
		case layout.ModeLink:
			target, err := d.im.Readlink(e.Ino)
			if err != nil {
				return d.im.at(path.Join(p, e.Name), err)
			}
			name += " -> " + quoteName(target)
		case layout.ModeDir:
			name += "/"
		}
		if _, err := fmt.Fprintln(d.out, strings.Join([]string{indent, branch, name}, "")); err != nil {
			return err
		}
		if e.Type != layout.ModeDir {
			d.files++
			continue
		}
		d.dirs++
		if d.depth == 0 || level < d.depth {
			if err := d.draw(path.Join(p, e.Name), e.Ino, indent+next, level+1); err != nil {
				return err
			}
		}
	}
	return nil
}
