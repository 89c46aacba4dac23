package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// Exit statuses of scrub, as those of fsck(8).
const (
	scrubHealed  = 1 // damage was found, and all of it is healed
	scrubDamage  = 4 // damage is left
	scrubFailure = 8 // the scrub could not be made
)

func scrubCommand() *cobra.Command {
	var no, asJSON, quiet, again, force bool
	var from string
	var rate sizeFlag
	c := &cobra.Command{
		Use:   "scrub IMAGE",
		Short: "Read and verify every block in use, and heal what can be healed",
		Long: `Read and verify every block in use, in all copies: superblocks, log, totals, bitmaps, tables,
directories, indexes, attributes and data. In an image of two copies what one has lost is
rewritten from the other. With one copy a superblock is rewritten from its twins or the backup,
the log from its other run, and what the log still holds goes home; all other damage is named. A
mounted image is scrubbed by the process that serves it, beside everything else that goes on there;
it may be named by its mount point.

With --resync the file of a mirror that is stale, because the other one was changed without it, is
made like that one, and a lost one is made anew; no other scrub is done then. Until it is whole it
is not opened; one that was interrupted is done again.

Exit status: 0 clean, 1 damage found and all healed, 2 wrong command line, 4 damage left, 8 the
scrub could not be made.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
			defer stop()
			if !again && (from != "" || force) {
				return usage("--from and --force go with --resync")
			}
			if again && (no || asJSON || cmd.Flags().Changed("rate")) {
				return usage("--resync writes, as fast as it can, and has no report: it takes no -n, --rate or --json")
			}
			if again {
				err := resync(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], from, force, quiet)
				var se *statusError
				if err != nil && !errors.As(err, &se) {
					err = &statusError{scrubFailure, err}
				}
				return err
			}
			s, err := scrubImage(ctx, cmd.ErrOrStderr(), mountedImage(args[0]), no, rate.n)
			if err != nil {
				return &statusError{scrubFailure, err}
			}
			switch {
			case asJSON:
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetEscapeHTML(false)
				err = e.Encode(s)
			default:
				err = s.print(cmd.OutOrStdout(), quiet)
			}
			if err != nil {
				return &statusError{scrubFailure, err}
			}
			return s.status()
		},
	}
	f := c.Flags()
	f.BoolVarP(&no, "no", "n", false, "only look: heal nothing")
	f.BoolVar(&again, "resync", false, "of a mirror: make the stale or lost file like the other one")
	f.StringVar(&from, "from", "", "with --resync: the `file` that is right, if both were changed without each other")
	f.BoolVar(&force, "force", false, "with --resync: overwrite what is not a file of this mirror")
	f.Var(&rate, "rate", "read at most so many bytes a second")
	f.BoolVarP(&quiet, "quiet", "q", false, "only damage")
	f.BoolVar(&asJSON, "json", false, "the report as JSON")
	return c
}

// scrubbed is the JSON of a scrub.
type scrubbed struct {
	Image    string         `json:"image"`
	ImageB64 string         `json:"image_b64,omitempty"`
	Copies   int            `json:"copies"`
	Blocks   uint64         `json:"blocks"`
	Bytes    int64          `json:"bytes"`
	Seconds  float64        `json:"seconds"`
	InMemory uint64         `json:"blocks_in_memory,omitempty"`
	Damaged  uint64         `json:"damaged"`
	Healed   uint64         `json:"healed"`
	Left     uint64         `json:"left"`
	OnTheWay int64          `json:"healed_by_opening,omitempty"` // replicas that opening the image has mended
	Kinds    []scrubKind    `json:"kinds,omitempty"`
	Damage   []scrubDamaged `json:"damage,omitempty"`
}

type scrubKind struct {
	Kind    volume.Purpose `json:"kind"`
	Blocks  uint64         `json:"blocks"`
	Damaged uint64         `json:"damaged"`
	Healed  uint64         `json:"healed"`
}

type scrubDamaged struct {
	Kind    volume.Purpose `json:"kind"`
	Block   uint64         `json:"block"`
	Holds   string         `json:"holds"`
	Inode   volume.Ino     `json:"inode,omitempty"`
	Path    string         `json:"path,omitempty"`
	PathB64 string         `json:"path_b64,omitempty"`
	Why     string         `json:"why"`
	Copies  []string       `json:"copies,omitempty"` // of a two-copy image: what was found on each
	Healed  bool           `json:"healed"`
}

// putBackSuperblock puts the backup superblock in the place of the live ones if both are lost, and
// says what was damaged; with look it only says so.
func putBackSuperblock(name string, look bool) (list []volume.Damage, err error) {
	f, err := openDevice(name, !look)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, _, lost := volume.Assemble(f.Device, volume.Assembly{ReadOnly: true})
	s := volume.Backup(f.Device, lost)
	if s == nil {
		return nil, nil
	}
	if !look {
		if err := volume.PutBack(f.Device, s); err != nil {
			return nil, fmt.Errorf("%s: with the backup superblock: %w", name, err)
		}
	}
	for i := range 2 {
		list = append(list, volume.Damage{Use: volume.Use{Purpose: volume.PurposeSuperblock, Block: uint64(layout.SuperOffset(i)) / uint64(s.BlockSize), Count: 1, Copy: i},
			Why: "lost; the backup in the last block is good", Healed: !look})
	}
	return list, nil
}

// unopened is the report on an image that cannot be opened because of its superblocks.
func unopened(name string, front []volume.Damage) *scrubbed {
	s := &scrubbed{Image: name, ImageB64: b64(name), Damaged: uint64(len(front)), Left: uint64(len(front))}
	for _, d := range front {
		s.Damage = append(s.Damage, scrubDamaged{Kind: d.Use.Purpose, Block: d.Use.Block, Holds: d.Use.String(), Why: d.Why})
	}
	return s
}

// scrubImage opens an image and scrubs it. Damage that keeps it from being opened is damage, too.
func scrubImage(ctx context.Context, terminal io.Writer, name string, look bool, rate int64) (*scrubbed, error) {
	var front []volume.Damage
	seen := int64(0) // repairs that are named
	first := func(dev disk.Device, sb *layout.Superblock) (err error) {
		replicas, ok := dev.(*disk.Stable)
		if !ok {
			return nil
		}
		for range replicas.Counts().Repaired { // looking for the superblock has healed it
			front = append(front, volume.Damage{Use: volume.Use{Purpose: volume.PurposeSuperblock, Block: uint64(layout.SuperOffset(0)) / uint64(sb.BlockSize), Count: 1, Copy: -1},
				Why: disk.ErrOneReplica.Error(), Healed: !look})
		}
		more, err := volume.ScrubFront(dev, sb, look)
		front = append(front, more...)
		seen = replicas.Counts().Repaired
		return err
	}
	im, err := openImageWith(name, !look, first)
	if err != nil && !errors.Is(err, disk.ErrInUse) {
		lost, berr := putBackSuperblock(name, look)
		switch {
		case berr != nil:
			return nil, berr
		case lost != nil && look:
			return unopened(name, lost), nil
		case lost != nil:
			front = lost
			im, err = openImageWith(name, true, first)
		}
	}
	var ce *layout.CorruptError
	if errors.As(err, &ce) {
		return &scrubbed{Image: name, ImageB64: b64(name), Damaged: 1, Left: 1, Damage: []scrubDamaged{
			{Block: ce.Block, Holds: ce.What, Why: "the image cannot be opened: " + ce.Error()}}}, nil
	}
	if errors.Is(err, disk.ErrInUse) {
		a, aerr := askScrub(ctx, terminal, name, look, rate)
		if !errors.Is(aerr, errNotServed) {
			return a, aerr
		}
	}
	if err != nil {
		return nil, err
	}
	opened := int64(0) // repairs that nobody has named
	if im.replicas != nil {
		opened = im.replicas.Counts().Repaired - seen
	}
	show, done := scrubBar(terminal)
	s, err := scrubVolume(ctx, im, name, rate, show)
	done()
	if err = im.close(err); err != nil {
		return nil, err
	}
	if look { // it was not healed then
		s.Damaged, s.Left = s.Damaged+uint64(opened), s.Left+uint64(opened)
	} else {
		s.OnTheWay = opened
	}
	s.add(front, im.blockSize)
	return s, nil
}

// askScrub asks who has the image mounted to scrub it.
func askScrub(ctx context.Context, terminal io.Writer, name string, look bool, rate int64) (*scrubbed, error) {
	if look {
		if _, err := ask(ctx, request{Command: "df", Name: name}, nil); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: it is mounted: a scrub heals there what it can, -n is not possible", name)
	}
	show, done := scrubBar(terminal)
	defer done()
	a, err := ask(ctx, request{Command: "scrub", Name: name, Rate: rate}, show)
	if err != nil {
		return nil, err
	}
	return a.Scrub, nil
}

// scrubBar shows how far a scrub is.
func scrubBar(w io.Writer) (show func(n, total int64), done func()) {
	var add func(int64)
	end := func() {}
	shown := int64(0)
	show = func(n, total int64) {
		if add == nil {
			add, end = byteBar(w, "scrub", total)
		}
		if n > shown {
			add(n - shown)
			shown = n
		}
	}
	return show, func() { end() }
}

// scrubVolume scrubs an open image.
func scrubVolume(ctx context.Context, im *image, name string, rate int64, progress func(n, total int64)) (*scrubbed, error) {
	start := time.Now()
	r, err := im.Scrub(ctx, volume.ScrubOptions{Rate: rate, Progress: progress})
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s := &scrubbed{Image: name, ImageB64: b64(name), Copies: r.Copies, Blocks: r.Blocks, Bytes: r.Bytes, Seconds: time.Since(start).Seconds(),
		InMemory: r.InMemory, Damaged: r.Damaged, Healed: r.Healed, Left: r.Damaged - r.Healed}
	for _, p := range volume.Purposes {
		if c, ok := r.Counts[p]; ok {
			s.Kinds = append(s.Kinds, scrubKind{p, c.Blocks, c.Damaged, c.Healed})
		}
	}
	s.list(r.Damage, im.blockSize)
	return s, nil
}

// add counts and lists damage that was found before the scrub.
func (s *scrubbed) add(front []volume.Damage, blockSize int) {
	for _, d := range front {
		s.Damaged++
		i := slices.IndexFunc(s.Kinds, func(k scrubKind) bool { return k.Kind == d.Use.Purpose })
		if i >= 0 {
			s.Kinds[i].Damaged++
		}
		if !d.Healed {
			s.Left++
			continue
		}
		if s.Healed++; i >= 0 {
			s.Kinds[i].Healed++
		}
	}
	after := s.Damage
	s.Damage = nil
	s.list(front, blockSize)
	s.Damage = append(s.Damage, after...)
}

// list puts damage into the list.
func (s *scrubbed) list(damage []volume.Damage, blockSize int) {
	for _, d := range damage {
		x := scrubDamaged{Kind: d.Use.Purpose, Block: d.Use.Block, Holds: holdsText(d.Use, blockSize), Inode: d.Use.Ino, Path: d.Path,
			PathB64: b64(d.Path), Why: d.Why, Healed: d.Healed}
		if s.Copies == 2 && d.Copies != [2]disk.Copy{} {
			x.Copies = []string{d.Copies[0].String(), d.Copies[1].String()}
		}
		s.Damage = append(s.Damage, x)
	}
}

// holdsText says what a damaged block holds: of a block of many things, which of them.
func holdsText(u volume.Use, blockSize int) string {
	switch u.Purpose {
	case volume.PurposeInodes:
		return fmt.Sprintf("inode %d", u.Ino)
	case volume.PurposeData:
		return u.String() + fmt.Sprintf(", bytes %d to %d", u.Index*uint64(blockSize), (u.Index+1)*uint64(blockSize)-1)
	}
	return u.String()
}

// status is the exit status.
func (s *scrubbed) status() error {
	switch {
	case s.Left > 0:
		return &statusError{scrubDamage, nil}
	case s.Damaged > 0 || s.OnTheWay > 0:
		return &statusError{scrubHealed, nil}
	}
	return nil
}

// print is the report as text: the damage, a table of the kinds, and the verdict.
func (s *scrubbed) print(w io.Writer, quiet bool) error {
	for _, d := range s.Damage {
		line := fmt.Sprintf("%s: block %d: %s", quoteName(s.Image), d.Block, d.Holds)
		if d.Path != "" {
			line += ", " + quoteName(d.Path)
		}
		line += ": " + d.Why
		if d.Copies != nil {
			line += fmt.Sprintf(" (copy 0 %s, copy 1 %s)", d.Copies[0], d.Copies[1])
		}
		if d.Healed {
			line += ": healed"
		} else {
			line += ": NOT healed"
		}
		fmt.Fprintln(w, line)
	}
	if n := int(s.Damaged) - len(s.Damage); n > 0 {
		fmt.Fprintf(w, "%s: and %d more\n", quoteName(s.Image), n)
	}
	if !quiet && len(s.Kinds) > 0 {
		fmt.Fprintf(w, "%-16s %9s %9s %9s\n", "kind", "blocks", "damaged", "healed")
		for _, k := range s.Kinds {
			fmt.Fprintf(w, "%-16s %9d %9s %9s\n", k.Kind, k.Blocks, orDash(k.Damaged), orDash(k.Healed))
		}
	}
	verdict := "clean"
	switch {
	case s.Left > 0:
		verdict = fmt.Sprintf("%d damaged, %d healed, %d LEFT", s.Damaged, s.Healed, s.Left)
	case s.Damaged > 0:
		verdict = fmt.Sprintf("%d damaged, all healed", s.Damaged)
	}
	if s.OnTheWay > 0 {
		verdict += fmt.Sprintf(", %s healed by opening it", plural(int(s.OnTheWay), "place"))
	}
	if s.Copies == 0 { // it could not be opened
		_, err := fmt.Fprintf(w, "%s: %s\n", quoteName(s.Image), verdict)
		return err
	}
	copies := "1 copy"
	if s.Copies == 2 {
		copies = "2 copies"
	}
	if quiet && s.Damaged == 0 && s.OnTheWay == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s: %s: %d blocks, %s, %s in %.2f s (%s/s)\n", quoteName(s.Image), verdict, s.Blocks, copies,
		human(uint64(s.Bytes)), s.Seconds, human(uint64(float64(s.Bytes)/max(s.Seconds, 1e-6))))
	return err
}

// orDash is a number, or a dash in place of zero: what is not zero strikes the eye.
func orDash(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}
