package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"holdfast/volume"
)

// faultOptions are the flags of fault.
type faultOptions struct {
	how     string
	what    string
	from    string
	undoTo  string
	undo    string
	block   uint64
	byBlock bool
	sector  int // of the block; -1: all of them
	seed    uint64
	count   int
	replica int
	dry     bool
	asJSON  bool
	force   bool
}

// ways are the values of --how.
var ways = []string{"flip", "zero", "garbage", "swap", "older"}

func faultCommand() *cobra.Command {
	o := faultOptions{sector: -1}
	var purposes []string
	for _, p := range volume.Purposes {
		purposes = append(purposes, string(p))
	}
	c := &cobra.Command{
		Use:   "fault IMAGE[:PATH]",
		Short: "Damage an image on purpose",
		Long: `Damage an image on purpose, to see what notices it, and what heals it. Without --block or a
path blocks in use are picked at random; the seed is printed, so that they can be picked again.
With a path it is the data of that file (of a directory its names), or what --what says: the
sector of its inode (inode-table), its index, its attributes.

--what is one of ` + strings.Join(purposes, ", ") + `.

--how is flip (one bit of each sector), zero, garbage (random bytes), swap (two blocks of the
same kind change places: misdirected writes), older (what the image --from has in the same
place: a write that never happened). A sector that cannot be read at all is beyond a plain file;
garbage is its closest relative here, and dm-flakey(4) has the real thing for block devices.

--undo-file UNDO writes down first, and durably, what --undo UNDO puts back. An image that
somebody has open is refused. Of a mirror (--mirror FILE) one of the two files is damaged, as
--replica says; the line names it, and it is what --undo takes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.byBlock = cmd.Flags().Changed("block")
			if !cmd.Flags().Changed("seed") {
				o.seed = uint64(time.Now().UnixNano()) & 0xffffffff
			}
			if o.undo != "" {
				var extra []string
				cmd.Flags().Visit(func(f *pflag.Flag) {
					if !slices.Contains([]string{"undo", "force", "offset", "dry-run"}, f.Name) {
						extra = append(extra, "--"+f.Name)
					}
				})
				if extra != nil {
					return usage("--undo puts back what its file says, and takes no %s", strings.Join(extra, ", "))
				}
				return o.putBack(cmd, args[0])
			}
			if o.force {
				return usage("--force goes with --undo")
			}
			name, inside, ok := splitImagePath(args[0])
			if !ok {
				name = args[0]
			}
			if err := o.check(inside != ""); err != nil {
				return err
			}
			return o.run(cmd, name, inside)
		},
	}
	f := c.Flags()
	f.StringVar(&o.how, "how", "flip", "flip, zero, garbage, swap or older")
	f.StringVar(&o.what, "what", "", "only blocks of this kind")
	f.StringVar(&o.from, "from", "", "the older image, for --how older")
	f.Uint64Var(&o.block, "block", 0, "the block of this number, whatever it holds")
	f.IntVar(&o.sector, "sector", -1, "damage only this sector of each block, from 0")
	f.Uint64Var(&o.seed, "seed", 0, "what is picked, and which bits (default: by the clock)")
	f.IntVar(&o.count, "count", 1, "how many blocks are picked")
	f.IntVar(&o.replica, "replica", 0, "which copy of a two-copy image: 0 or 1")
	f.StringVarP(&o.undoTo, "undo-file", "z", "", "write first what --undo needs to put everything back")
	f.StringVar(&o.undo, "undo", "", "put back what this undo file says")
	f.BoolVarP(&o.dry, "dry-run", "n", false, "only say what would be damaged")
	f.BoolVar(&o.force, "force", false, "with --undo: even if the image has changed since")
	f.BoolVar(&o.asJSON, "json", false, "one JSON object a line")
	return c
}

// check refuses what makes no sense together.
func (o *faultOptions) check(path bool) error {
	switch {
	case o.how == "unreadable":
		return usage("--how unreadable: a plain file has no sector that cannot be read; --how garbage damages one all the same")
	case !slices.Contains(ways, o.how):
		return usage("--how %s: want %s", quoteName(o.how), strings.Join(ways, ", "))
	case o.what != "" && !slices.Contains(volume.Purposes, volume.Purpose(o.what)):
		return usage("--what %s: see --help for the kinds", quoteName(o.what))
	case (o.how == "older") != (o.from != ""):
		return usage("--how older and --from OLD go together")
	case o.count < 1:
		return usage("--count %d: want at least 1", o.count)
	case o.byBlock && (path || o.what != "" || o.count > 1):
		return usage("--block says already which: it takes no path, --what or --count")
	case o.replica != 0 && o.replica != 1:
		return usage("--replica %d: want 0 or 1", o.replica)
	case o.how == "swap" && o.sector >= 0:
		return usage("--how swap exchanges whole blocks: it takes no --sector")
	}
	return nil
}

func (o *faultOptions) random() *rand.Rand { return rand.New(rand.NewPCG(o.seed, 0x686f6c64)) }

// run picks, writes the undo file, and damages.
func (o *faultOptions) run(cmd *cobra.Command, name, inside string) (err error) {
	t, err := openTarget(name, !o.dry, o.replica)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	random := o.random()
	picked, err := t.pick(o, inside, random)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	plan, err := t.plan(o, picked, random)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !o.dry {
		if o.undoTo != "" {
			if err := writeUndo(o.undoTo, t.file.Size(), plan); err != nil {
				return err
			}
		}
		if err := t.apply(plan); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return o.report(cmd, t.name, t, plan, o.byBlock || inside != "")
}
