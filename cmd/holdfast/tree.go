package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

func treeCommand() *cobra.Command {
	d := drawer{}
	c := &cobra.Command{
		Use:   "tree IMAGE[:PATH]...",
		Short: "Draw a directory tree",
		Args:  cobra.MinimumNArgs(1),
		RunE: verb(false, func(w *work, args []string) error {
			d.w = w
			w.each(args, func(o operand) error {
				a, err := o.resolve(true)
				if err != nil {
					return err
				}
				if !isDir(a) {
					return o.at(volume.ErrNotDir)
				}
				if d.json {
					return w.json(d.node(o, o.path, a.Ino, layout.ModeDir, 0))
				}
				d.drawn = true
				fmt.Fprintln(w.out, quoteName(o.path))
				d.draw(o, a.Ino, "", 1)
				return nil
			})
			if d.json || !d.drawn {
				return nil
			}
			if d.dirsOnly {
				_, err := fmt.Fprintf(w.out, "\n%d directories\n", d.dirs)
				return err
			}
			_, err := fmt.Fprintf(w.out, "\n%d directories, %d files\n", d.dirs, d.files)
			return err
		}),
	}
	f := c.Flags()
	f.IntVarP(&d.depth, "level", "L", 0, "go at most this deep (0: no bound)")
	f.BoolVarP(&d.all, "all", "a", false, "names that begin with a dot too")
	f.BoolVarP(&d.dirsOnly, "directories", "d", false, "directories only")
	f.BoolVar(&d.json, "json", false, "a JSON object that holds those below it in contents")
	return c
}

type drawer struct {
	w                   *work
	depth               int
	all, dirsOnly, json bool
	dirs, files         int
	drawn               bool // at least one tree
}

// entries is what is drawn of a directory; what cannot be read of it costs a line.
func (d *drawer) entries(o operand, dir volume.Ino) []volume.DirEntry {
	list, err := o.im.entries(dir)
	d.w.fail(o.at(err))
	shown := list[:0]
	for _, e := range list {
		if (d.all || e.Name[0] != '.') && (!d.dirsOnly || e.Type == layout.ModeDir) {
			shown = append(shown, e)
		}
	}
	return shown
}

// target is what a link in the tree says; empty if it cannot be read.
func (d *drawer) target(o operand, ino volume.Ino) string {
	target, err := o.im.Readlink(ino)
	d.w.fail(o.at(err))
	return target
}

func (d *drawer) deeper(level int) bool { return d.depth <= 0 || level < d.depth }

func (d *drawer) draw(o operand, dir volume.Ino, indent string, level int) {
	list := d.entries(o, dir)
	for i, e := range list {
		branch, next := "├── ", "│   "
		if i == len(list)-1 {
			branch, next = "└── ", "    "
		}
		sub, name := o.child(e.Name), quoteName(e.Name)
		switch e.Type {
		case layout.ModeLink:
			if target := d.target(sub, e.Ino); target != "" {
				name += " -> " + quoteName(target)
			}
		case layout.ModeDir:
			name += "/"
		}
		d.w.out.WriteString(indent + branch + name + "\n")
		if e.Type != layout.ModeDir {
			d.files++
			continue
		}
		d.dirs++
		if d.deeper(level) {
			d.draw(sub, e.Ino, indent+next, level+1)
		}
	}
}

// treeNode is the JSON of a file in a tree.
type treeNode struct {
	Name      string     `json:"name"`
	NameB64   string     `json:"name_b64,omitempty"`
	Type      string     `json:"type"`
	Inode     uint64     `json:"inode"`
	Target    string     `json:"target,omitempty"`
	TargetB64 string     `json:"target_b64,omitempty"`
	Contents  []treeNode `json:"contents,omitempty"`
}

func (d *drawer) node(o operand, name string, ino volume.Ino, kind uint16, level int) treeNode {
	n := treeNode{Name: name, NameB64: b64(name), Type: typeName(kind), Inode: uint64(ino)}
	switch {
	case kind == layout.ModeLink:
		n.Target = d.target(o, ino)
		n.TargetB64 = b64(n.Target)
	case kind == layout.ModeDir && d.deeper(level):
		for _, e := range d.entries(o, ino) {
			n.Contents = append(n.Contents, d.node(o.child(e.Name), e.Name, e.Ino, e.Type, level+1))
		}
	}
	return n
}
