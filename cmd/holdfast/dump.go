package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// structures are what dump shows; those with a number are of one inode or block.
var structures = map[string]bool{"superblock": false, "totals": false, "groups": false, "journal": false,
	"inode": true, "map": true, "dir": true, "block": true}

const structureList = "superblock, totals, groups, journal, inode N, map N, dir N or block N"

func dumpCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "dump IMAGE[:PATH] [superblock|totals|groups|journal|inode N|map N|dir N|block N]",
		Short: "Show the structures of an image as they lie on disk",
		Long: `Show the structures of an image as they lie on disk, before any replay of the journal: the
superblock and its copies, the totals, the groups, what the journal holds, an inode, the
map of its blocks, the records of a directory, or any block with what it is for.

With IMAGE:PATH the inode, the map or the records of what the path names are shown; for that
the journal is replayed, in memory. In JSON a text that is not UTF-8 has its bytes in base64
beside it.`,
		Args: cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, what, number, err := dumpOperands(args)
			if err != nil {
				return err
			}
			f, err := openDevice(name, false)
			if err != nil {
				return err
			}
			d, err := newDumper(f.Device)
			if err == nil {
				var v any
				if v, err = d.structure(what, number); err == nil {
					err = printStructure(cmd.OutOrStdout(), v, asJSON)
				}
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			return errors.Join(err, f.Close())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "JSON")
	return c
}

// dumpOperands is which structure of which image the arguments name.
func dumpOperands(args []string) (name, what string, number uint64, err error) {
	name, inside, ok := splitImagePath(args[0])
	path := ok && strings.Trim(inside, "/") != ""
	if !ok {
		name = args[0]
	}
	what = "superblock"
	if path {
		what = "inode"
	}
	if len(args) > 1 {
		what = args[1]
	}
	numbered, known := structures[what]
	switch {
	case !known:
		return "", "", 0, usage("%s: want %s", quoteName(what), structureList)
	case path && (len(args) > 2 || !slices.Contains([]string{"inode", "map", "dir"}, what)):
		return "", "", 0, usage("%s: behind a path stands inode, map or dir, without a number", quoteName(args[0]))
	case path:
		err = withImage(name, false, func(im *image) error {
			a, err := operand{im, args[0], inside}.resolve(false)
			number = uint64(a.Ino)
			return err
		})
		return name, what, number, err
	case numbered != (len(args) == 3):
		return "", "", 0, usage("dump %s: wrong number of operands (want %s)", what, structureList)
	case numbered:
		if number, err = strconv.ParseUint(args[2], 10, 64); err != nil {
			return "", "", 0, usage("%s: want a number", quoteName(args[2]))
		}
	}
	return name, what, number, nil
}

// dumper reads structures straight from the device.
type dumper struct {
	dev   disk.Device
	super *layout.Superblock
	g     layout.Geometry
	seeds layout.Seeds
}

func newDumper(dev disk.Device) (*dumper, error) {
	dev, s, err := volume.Assemble(dev, volume.Assembly{ReadOnly: true})
	if err != nil {
		return nil, halfMirror(err)
	}
	g, err := layout.NewGeometry(s)
	return &dumper{dev, s, g, layout.NewSeeds(s.UUID)}, err
}

func (d *dumper) structure(what string, n uint64) (any, error) {
	switch what {
	case "superblock":
		return d.superblock(), nil
	case "totals":
		return d.totals()
	case "groups":
		return d.groups()
	case "journal":
		return d.journal()
	case "inode":
		return d.inode(n)
	case "map":
		return d.extentMap(n)
	case "dir":
		return d.dir(n)
	}
	return d.rawBlock(n)
}

// block reads a self-checked metadata block.
func (d *dumper) block(no uint64) ([]byte, error) {
	p := make([]byte, d.g.BlockSize)
	_, err := d.dev.ReadChecked(p, disk.Check{Seed: d.seeds.Block(no), Want: layout.Residue, Version: layout.BlockVersion}, int64(no)*int64(d.g.BlockSize))
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", no, err)
	}
	return p, nil
}
