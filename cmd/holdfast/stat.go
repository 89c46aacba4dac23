package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"holdfast/layout"
	"holdfast/volume"
)

func statCommand() *cobra.Command {
	var asJSON, follow bool
	var format, printf string
	c := &cobra.Command{
		Use:   "stat IMAGE:PATH...",
		Short: "Show what an inode says",
		Long: `Show what an inode says.

A FORMAT has the sequences of stat(1): %a %A permissions, octal and as text; %f the mode in
hexadecimal; %F the type; %n the name, %N with the target of a link; %i inode; %h links;
%u %g (%U %G) owner and group; %s size; %b blocks of %B bytes; %o block size; %t %T numbers of a
device, in hexadecimal; %w %x %y %z (%W %X %Y %Z) birth, access, modification and change time
as text (in seconds); %m the image; %%. A flag of # 0 - + or space, and a width, may stand behind the %.

Text is for people: names with control characters are quoted. JSON has UTF-8 only: beside a
name that is not, path_b64 (target_b64) has its bytes in base64.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed("format")
			if cmd.Flags().Changed("printf") {
				if given || asJSON {
					return usage("--printf, --format and --json exclude one another")
				}
				format = printf
			} else if given {
				if asJSON {
					return usage("--printf, --format and --json exclude one another")
				}
				format += "\n"
			}
			escapes := cmd.Flags().Changed("printf")
			return runVerb(cmd, false, args, func(w *work, args []string) error {
				w.each(args, func(o operand) error {
					a, err := o.resolve(follow)
					if err != nil {
						return err
					}
					var target string
					if isLink(a) {
						if target, err = o.im.Readlink(a.Ino); err != nil {
							return o.at(err)
						}
					}
					switch {
					case asJSON:
						return w.json(fileJSON(o, a, target, nil))
					case given || escapes:
						_, err = w.out.WriteString(formatStat(format, escapes, o, a, target))
						return err
					}
					return printStat(w, o, a, target)
				})
				return nil
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	c.Flags().BoolVarP(&follow, "dereference", "L", false, "follow symbolic links")
	c.Flags().StringVarP(&format, "format", "c", "", "print this `FORMAT` and a newline instead")
	c.Flags().StringVar(&printf, "printf", "", "like --format, without the newline; \\n and its kin are understood")
	return c
}

const statTime = "2006-01-02 15:04:05.000000000 -0700"

func printStat(w *work, o operand, a volume.Attr, target string) error {
	name := quoteName(o.name)
	if target != "" {
		name += " -> " + quoteName(target)
	}
	device := ""
	if isDevice(a) {
		device = fmt.Sprintf("  Device type: %d,%d", a.Major, a.Minor)
	}
	_, err := fmt.Fprintf(w.out, "  File: %s\n  Size: %-12d Blocks: %-8d %s\n Inode: %-12d Links: %-9d Generation: %d%s\nAccess: (%04o/%s)  Uid: %d  Gid: %d\nAccess: %s\nModify: %s\nChange: %s\n Birth: %s\n",
		name, a.Size, a.Blocks, statType(a), uint64(a.Ino), a.Links, a.Generation, device, a.Mode&layout.ModePerm, modeString(a.Mode), a.UID, a.GID,
		a.Atime.Local().Format(statTime), a.Mtime.Local().Format(statTime), a.Ctime.Local().Format(statTime), a.Btime.Local().Format(statTime))
	return err
}

// statType is typeName, with a word for a file that has nothing in it.
func statType(a volume.Attr) string {
	if isFile(a) && a.Size == 0 {
		return "regular empty file"
	}
	return typeName(a.Mode)
}
