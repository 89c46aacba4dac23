package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/journal"
	"holdfast/layout"
	"holdfast/volume"
)

// Exit statuses of fsck(8).
const (
	fsckDamage  = 4  // errors are left
	fsckFailure = 8  // the check could not be made
	fsckUsage   = 16 // wrong command line
)

func fsckCommand() *cobra.Command {
	var no, auto, preen, forced, asJSON, verbose, noData bool
	c := &cobra.Command{
		Use:        "fsck -n IMAGE",
		SuggestFor: []string{"check", "e2fsck"},
		Short:      "Check an image: the invariants I1 to I10",
		Long: `Check an image. It is not changed: a journal that is not empty is replayed in memory.

The used and all blocks that it counts are those of the volume with its structure, as in what
mkfs prints; df leaves the structure out. Findings of one kind in a row are told in one line:
-v lists them all, and --json.

Where both superblocks at the front are lost the backup in the last block stands in for them,
which is a finding; scrub puts it back.

-a and -p are what the system says at boot: the check is the same, as nothing is repaired yet.

Exit status: 0 clean, 4 errors found, 8 the check could not be made, 16 wrong command line.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !no && !auto && !preen {
				return &statusError{fsckUsage, errors.New("only checking is possible yet: say fsck -n")}
			}
			f, err := openDevice(args[0], false)
			if err != nil {
				return &statusError{fsckFailure, err}
			}
			opt := fsck.Options{NoData: noData}
			report, recovery, err := check(f.Device, opt)
			if s := volume.Backup(f.Device, err); s != nil {
				report, recovery, err = checkWithBackup(f.Device, s, opt)
			}
			if cerr := f.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				return &statusError{fsckFailure, fmt.Errorf("%s: %w", args[0], err)}
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(report)
			} else {
				err = printReport(cmd.OutOrStdout(), args[0], report, recovery, verbose)
			}
			if err != nil {
				return &statusError{fsckFailure, err}
			}
			if !report.Clean() {
				return &statusError{fsckDamage, nil}
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVarP(&no, "no", "n", false, "change nothing")
	f.BoolVarP(&auto, "auto", "a", false, "like -p")
	f.BoolVarP(&preen, "preen", "p", false, "check, and ask nothing")
	f.BoolVarP(&forced, "force", "f", false, "check even if it seems clean (always done)")
	f.BoolVarP(&verbose, "verbose", "v", false, "list every finding, and say how much data was verified")
	f.BoolVar(&asJSON, "json", false, "the report as JSON")
	f.BoolVar(&noData, "no-data", false, "do not read the data of files")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &statusError{fsckUsage, err} })
	return c
}

func printReport(w io.Writer, name string, r *fsck.Report, recovery *journal.Report, verbose bool) error {
	if recovery.Replayed > 0 {
		fmt.Fprintf(w, "%s: journal of %d transactions replayed in memory\n", name, recovery.Replayed)
	}
	if recovery.Dropped {
		fmt.Fprintf(w, "%s: an unfinished transaction is left out: %s\n", name, recovery.DroppedWhy)
	}
	printFindings(w, name, r.Findings, verbose)
	if n := r.Total - len(r.Findings); n > 0 {
		fmt.Fprintf(w, "%s: and %d more\n", name, n)
	}
	verdict := "clean"
	if !r.Clean() {
		verdict = plural(r.Total, "finding")
		switch {
		case r.Harmless == r.Total:
			verdict += ", harmless"
		case r.Harmless > 0:
			verdict += fmt.Sprintf(", %d of them harmless", r.Harmless)
		}
		if r.Ordered && r.Harmless == r.Total {
			verdict += " (a crash may leave them: there is no journal)"
		}
	}
	if verbose {
		fmt.Fprintf(w, "%s: %d data blocks verified\n", name, r.Data)
	}
	_, err := fmt.Fprintf(w, "%s: %s: %d files, %d directories, %d others, %d/%d blocks\n", name, verdict,
		r.Files, r.Dirs, r.Others, r.Used, r.Blocks)
	return err
}

// check replays the journal into an overlay and judges what is there then; dev is not changed.
func check(dev disk.Device, opt fsck.Options) (*fsck.Report, *journal.Report, error) {
	dev, s, err := volume.Assemble(dev, volume.Assembly{ReadOnly: true})
	if err != nil {
		return nil, nil, halfMirror(err)
	}
	g, err := layout.NewGeometry(s)
	if err != nil {
		return nil, nil, err
	}
	recovery := &journal.Report{}
	if g.RunBlocks > 0 && dev.Size() >= int64(g.Blocks)*int64(g.BlockSize) {
		overlay := disk.NewOverlay(dev, g.SectorSize)
		if recovery, err = journal.Recover(overlay, &g, layout.NewSeeds(s.UUID)); err != nil {
			return nil, nil, err
		}
		dev = overlay
	}
	r, err := fsck.Check(dev, opt)
	return r, recovery, err
}

// checkWithBackup is check with the backup superblock for the live ones, which are lost.
func checkWithBackup(dev disk.Device, s *layout.Superblock, opt fsck.Options) (*fsck.Report, *journal.Report, error) {
	r, recovery, err := check(volume.WithSuperblock(dev, s), opt)
	if err == nil {
		r.Add(fsck.Finding{Code: fsck.BadStructure, Structure: "superblock copies 0 and 1", Block: uint64(layout.SuperOffset(0)) / uint64(s.BlockSize),
			Message: "neither is good: checked with the backup in the last block, which holdfast scrub puts back"})
	}
	return r, recovery, err
}

// plural is a count of things: "1 finding", "2 findings".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
