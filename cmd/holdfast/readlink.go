package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func readlinkCommand() *cobra.Command {
	var last, all, none, noNewline, zero, asJSON bool
	c := &cobra.Command{
		Use:   "readlink IMAGE:PATH...",
		Short: "Print where symbolic links lead",
		Long: `Print the targets of symbolic links as they are. With -f, -e or -m print IMAGE:PATH of what a
path leads to, without links, dots and needless slashes.`,
		Args: cobra.MinimumNArgs(1),
		RunE: verb(false, func(w *work, args []string) error {
			end := "\n"
			switch {
			case zero:
				end = "\x00"
			case noNewline && len(args) == 1:
				end = ""
			}
			w.each(args, func(o operand) error {
				var text string
				var err error
				if last || all || none {
					may := missingLast
					switch {
					case none:
						may = missingAny
					case all:
						may = missingNone
					}
					text, err = canonical(o, may)
					if err == nil && !asJSON {
						text = o.im.name + ":" + text
					}
				} else {
					var a, rerr = o.resolve(false)
					if rerr != nil {
						return rerr
					}
					if !isLink(a) {
						return o.at(errors.New("not a symbolic link"))
					}
					text, err = o.im.Readlink(a.Ino)
					err = o.at(err)
				}
				switch {
				case err != nil:
					return err
				case asJSON:
					return w.json(linkJSON{o.path, b64(o.path), text, b64(text)})
				}
				_, err = w.out.WriteString(text + end)
				return err
			})
			return nil
		}),
	}
	f := c.Flags()
	f.BoolVarP(&last, "canonicalize", "f", false, "follow every link; the last component need not exist")
	f.BoolVarP(&all, "canonicalize-existing", "e", false, "follow every link; all must exist")
	f.BoolVarP(&none, "canonicalize-missing", "m", false, "follow every link; nothing needs to exist")
	f.BoolVarP(&noNewline, "no-newline", "n", false, "no newline behind it")
	f.BoolVarP(&zero, "zero", "z", false, "end each with NUL")
	f.BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

// linkJSON is the JSON of a line of readlink.
type linkJSON struct {
	Path      string `json:"path"`
	PathB64   string `json:"path_b64,omitempty"`
	Target    string `json:"target"`
	TargetB64 string `json:"target_b64,omitempty"`
}
