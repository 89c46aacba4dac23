package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func duCommand() *cobra.Command {
	d := usageCounter{seen: map[fileID]bool{}}
	c := &cobra.Command{
		Use:   "du IMAGE[:PATH]...",
		Short: "Say how much space directories take",
		Long: `Say how much space directories take with all that is below them, in units of 1024 bytes.
A file with several names is counted where it is met first.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if d.summary {
				if d.all {
					return usage("-s and -a exclude one another")
				}
				d.depth = 0
			}
			d.apparent = d.apparent || d.bytes
			return runVerb(cmd, false, args, func(w *work, args []string) error {
				d.w = w
				var total uint64
				w.each(args, func(o operand) error {
					a, err := o.resolve(false)
					if err == nil {
						total += d.count(o, a, 0)
					}
					return err
				})
				if d.total {
					d.print("total", "", total)
				}
				return nil
			})
		},
	}
	f := freeH(c).Flags()
	f.BoolVarP(&d.summary, "summarize", "s", false, "only a line for each operand")
	f.BoolVarP(&d.all, "all", "a", false, "a line for each file too")
	f.BoolVarP(&d.total, "total", "c", false, "a line for the sum at the end")
	f.BoolVarP(&d.units, "human-readable", "h", false, "sizes with units")
	f.BoolVarP(&d.kilo, "kilobytes", "k", false, "units of 1024 bytes, as in any case")
	f.BoolVarP(&d.bytes, "bytes", "b", false, "sizes as files have them, in bytes")
	f.BoolVar(&d.apparent, "apparent-size", false, "sizes as files have them, not the space that they take")
	f.IntVarP(&d.depth, "max-depth", "d", -1, "lines only for what is at most this deep")
	f.BoolVar(&d.json, "json", false, "one JSON object a line, sizes in bytes")
	return c
}

// fileID is a file among several images.
type fileID struct {
	im  *image
	ino volume.Ino
}

type usageCounter struct {
	w                                                       *work
	summary, all, total, units, kilo, bytes, apparent, json bool
	depth                                                   int // -1: no bound
	seen                                                    map[fileID]bool
}

// count is the bytes of a file with what is below it; it prints the lines that are wanted.
func (d *usageCounter) count(o operand, a volume.Attr, level int) uint64 {
	id := fileID{o.im, a.Ino}
	if (a.Links > 1 || isDir(a)) && d.seen[id] { // counted already
		return 0
	}
	d.seen[id] = true
	n := o.im.diskBytes(a)
	if d.apparent {
		n = a.Size
	}
	if isDir(a) {
		list, err := o.im.entries(a.Ino)
		d.w.fail(o.at(err))
		for _, e := range list {
			sub := o.child(e.Name)
			b, err := o.im.Getattr(e.Ino)
			if err != nil {
				d.w.fail(sub.at(err))
				continue
			}
			n += d.count(sub, b, level+1)
		}
	}
	if (d.depth < 0 || level <= d.depth) && (level == 0 || d.all || isDir(a)) {
		d.print(o.name, o.path, n)
	}
	return n
}

// usageJSON is the JSON of a line of du.
type usageJSON struct {
	Path    string `json:"path,omitempty"`
	PathB64 string `json:"path_b64,omitempty"`
	Total   bool   `json:"total,omitempty"`
	Bytes   uint64 `json:"bytes"`
}

func (d *usageCounter) print(name, path string, n uint64) {
	if d.json {
		d.w.fail(d.w.json(usageJSON{path, b64(path), path == "", n}))
		return
	}
	size := sized(n, d.units)
	if d.bytes && !d.units {
		size = fmt.Sprint(n)
	}
	fmt.Fprintf(d.w.out, "%s\t%s\n", size, quoteName(name))
}
