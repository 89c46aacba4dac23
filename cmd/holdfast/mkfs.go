package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/transfer"
	"holdfast/volume"
)

// mkfsOptions are the flags of mkfs.
type mkfsOptions struct {
	from, label, id   string
	blockSize, sector sizeFlag
	inodes            uint64
	copies            int
	free              string
	journal, owner    string
	exclude           []string
	manifest          string
	force, quiet, dry bool
	stdin             io.Reader
	out, errOut       io.Writer
	warn              func(text string)
}

func mkfsCommand() *cobra.Command {
	var o mkfsOptions
	c := &cobra.Command{
		Use:        "mkfs IMAGE [SIZE]",
		SuggestFor: []string{"mke2fs", "format"},
		Short:      "Make an image, empty or from a directory or an archive",
		Long: `Make an image file, empty or holding what a directory or a tar archive holds (compressed with
gzip, zstd or bzip2, or not at all; - is standard input).

Without a SIZE an image made --from something is as small as its contents allow plus --free.
With SOURCE_DATE_EPOCH set, the same source gives the same bytes: the UUID is then made of that
date and the label, so that two images of one date want a label, or a --uuid, each, and times behind it become
it. The image gets its name when it is whole; with --offset it is made inside an existing file or disk, and becomes valid with
the last write, or earlier where it is filled by ordinary operations: from standard input into a given SIZE, or
from an archive that has a name twice. Those it loses again if that fails.

With --journal none blocks are written in place in the classical safe order, with a flush between
steps, for disks that write blocks whole or not at all: a crash then leaves leaks and wrong counts
but loses nothing that was there. No operation is atomic, and exchanging two names, whiteouts, files
without a name and fallocate are not possible.

A --manifest is a device table, as mkfs.ubifs and genext2fs read it: lines of
  NAME TYPE MODE UID GID MAJOR MINOR START INC COUNT
TYPE is f (a file of the source), d (a directory), r (a directory and all below it), c, b (a
device) or p (a FIFO); - leaves what the source says; odd bytes in a NAME are \ and three octal
digits; # begins a comment.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			size := int64(-1)
			if len(args) == 2 {
				n, err := parseSize(args[1])
				if err != nil {
					return usage("%w", err)
				}
				size = n
			}
			o.stdin, o.out, o.errOut = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			o.warn = func(text string) { fmt.Fprintf(o.errOut, "%s: warning: %s\n", commandName(cmd), text) }
			return mkfs(args[0], size, &o)
		},
	}
	o.blockSize.n, o.sector.n = 4096, 512
	f := c.Flags()
	f.StringVarP(&o.from, "from", "d", "", "fill the image with what this directory or archive holds")
	f.StringVarP(&o.label, "label", "L", "", "label, at most 64 bytes")
	f.StringVarP(&o.id, "uuid", "U", "", "UUID (default: random; with SOURCE_DATE_EPOCH: made of it and the label)")
	f.VarP(&o.blockSize, "block-size", "b", "block size: 1k, 2k or 4k")
	f.Var(&o.sector, "sector-size", "unit of damage of the disk below: 512 or 4k")
	f.Uint64VarP(&o.inodes, "inodes", "N", 0, "number of inodes (default: one per 16 KiB, and enough for --from)")
	f.IntVar(&o.copies, "copies", 1, "copies of every block: 2 makes the image twice as large, and one of them may be damaged anywhere")
	f.StringVar(&o.free, "free", "10%", "free space to add when no size is given: a size or a percentage")
	f.StringVarP(&o.journal, "journal", "J", "", "size of each of the two copies of the log (default: by the size of the image), or none: the ordered mode")
	f.StringVar(&o.owner, "owner", "", "who owns all that is copied: UID:GID")
	f.StringArrayVar(&o.exclude, "exclude", nil, "leave out what matches this pattern: a name at any depth or, with a slash, a path from the top")
	f.StringVar(&o.manifest, "manifest", "", "a file that says owners, modes and devices")
	f.BoolVarP(&o.force, "force", "F", false, "overwrite an existing file or file system")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
	f.BoolVarP(&o.dry, "dry-run", "n", false, "say what would be made, and make nothing")
	return c
}

// sourceDate is SOURCE_DATE_EPOCH, zero if it is not set.
func sourceDate() (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, usage("SOURCE_DATE_EPOCH=%q: want seconds since 1970", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// identity chooses UUID and hash key: given, derived from the epoch and label, or random.
func identity(o *mkfsOptions, epoch time.Time) (id, key [16]byte, err error) {
	switch {
	case o.id != "":
		u, err := uuid.Parse(o.id)
		if err != nil {
			return id, key, usage("--uuid %q: %w", o.id, err)
		}
		id = u
	case !epoch.IsZero():
		id = uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "holdfast %d %s", epoch.Unix(), o.label))
	default:
		id = uuid.New()
	}
	if epoch.IsZero() {
		_, err = rand.Read(key[:])
		return id, key, err
	}
	sum := sha256.Sum256(append([]byte("holdfast hash key "), id[:]...))
	copy(key[:], sum[:])
	return id, key, nil
}

// format is what volume is asked for, but for its size and inodes.
func (o *mkfsOptions) format(epoch time.Time) (fo volume.FormatOptions, err error) {
	if len(o.label) > 64 {
		return fo, usage("--label: %d bytes, at most 64", len(o.label))
	}
	fo = volume.FormatOptions{Label: o.label, BlockSize: int(o.blockSize.n), SectorSize: int(o.sector.n), Copies: o.copies, Now: epoch}
	if o.copies != 1 && o.copies != 2 {
		return fo, usage("--copies %d: want 1 or 2", o.copies)
	}
	if bs := fo.BlockSize; bs != 1024 && bs != 2048 && bs != 4096 {
		return fo, usage("--block-size %d: want 1k, 2k or 4k", o.blockSize.n)
	}
	if ss := fo.SectorSize; ss != 512 && ss != 4096 || ss > fo.BlockSize {
		return fo, usage("--sector-size %d: want 512 or 4k, at most the block size", o.sector.n)
	}
	if fo.Now.IsZero() {
		fo.Now = time.Now()
	}
	switch o.journal {
	case "":
	case "none":
		fo.NoJournal = true
	default:
		n, err := parseSize(o.journal)
		if err != nil || n < int64(fo.BlockSize) {
			return fo, usage("--journal %q: want a size of at least a block", o.journal)
		}
		fo.RunBlocks = uint64(n) / uint64(fo.BlockSize)
	}
	fo.UUID, fo.HashKey, err = identity(o, epoch)
	return fo, err
}

// source opens --from with all that is said of what is copied; nil if it is not given.
func (o *mkfsOptions) source(epoch time.Time) (*mkfsSource, error) {
	if o.from == "" {
		if o.owner != "" || o.manifest != "" || len(o.exclude) > 0 {
			return nil, usage("--owner, --exclude and --manifest want a --from")
		}
		return nil, nil
	}
	t := transfer.Options{Preserve: true, Clamp: epoch}
	if o.owner != "" {
		u, g, ok := strings.Cut(o.owner, ":")
		uid, err := strconv.ParseUint(u, 10, 32)
		gid, err2 := strconv.ParseUint(g, 10, 32)
		if !ok || err != nil || err2 != nil || uid == 1<<32-1 || gid == 1<<32-1 {
			return nil, usage("--owner %q: want UID:GID, two numbers", o.owner)
		}
		t.Owner = &transfer.Owner{UID: uint32(uid), GID: uint32(gid)}
	}
	match, err := transfer.Match(o.exclude)
	if err != nil {
		return nil, usage("--exclude: %w", err)
	}
	if o.manifest != "" {
		f, err := os.Open(o.manifest)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if t.Manifest, err = transfer.ParseManifest(f, o.manifest); err != nil {
			return nil, err
		}
	}
	src, err := openSource(o.from, o.stdin, t)
	if err == nil {
		src.exclude(match)
	}
	return src, err
}

func mkfs(name string, size int64, o *mkfsOptions) error {
	epoch, err := sourceDate()
	if err != nil {
		return err
	}
	fo, err := o.format(epoch)
	if err != nil {
		return err
	}
	if o.from == "" && size < 0 && !offsetGiven {
		return usage("an empty image needs a SIZE")
	}
	src, err := o.source(epoch)
	if err != nil {
		return err
	}
	if err := o.mirrored(name, &fo); err != nil {
		return err
	}
	t := target{name: name, force: o.force}
	if offsetGiven {
		if size, err = t.window(size); err != nil {
			return err
		}
	} else if err := refuseOverwrite(name, o.force); err != nil {
		return err
	}
	var need transfer.Need
	if src != nil {
		defer src.close()
		if st, err := os.Stat(name); err == nil {
			src.skip = append(src.skip, st)
		}
		// What can be read but once needs no measuring if the size is said.
		if src.stdin == nil || size < 0 {
			if err := src.spool(name); err != nil {
				return err
			}
			if need, err = src.measure(fo.BlockSize); err != nil {
				return err
			}
		}
	}
	if fo, size, err = sizing(fo, size, need, o); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if o.dry {
		return describePlan(o.out, name, fo, size, need, src != nil, o.id != "" || !epoch.IsZero())
	}
	stats, err := o.make(&t, size, func(dev, second *disk.File, st os.FileInfo) (transfer.Stats, error) {
		if second != nil {
			fo.Twin = second
		}
		if src == nil {
			return transfer.Stats{}, volume.Format(dev, fo)
		}
		src.skip = append(src.skip, st)
		add, done := func(int64) {}, func() {}
		if !o.quiet {
			max := int64(need.Bytes)
			if need.Files == 0 {
				max = -1
			}
			add, done = byteBar(o.errOut, name, max)
		}
		defer done()
		src.options.Progress = func(_ string, n int64) { add(n) }
		return src.fill(dev, dev.Name(), fo)
	})
	if src != nil && src.skipped.Load() {
		o.warn(fmt.Sprintf("%s: lies in %s and is left out", name, src.dir))
	}
	for _, text := range stats.Warnings {
		o.warn(text)
	}
	if err != nil || o.quiet {
		return err
	}
	return describeImage(o.out, name, src != nil, stats)
}

// mirrored looks at --mirror: the size is that of each file, which has one copy.
func (o *mkfsOptions) mirrored(name string, fo *volume.FormatOptions) error {
	switch {
	case degraded:
		return usage("--degraded: an image is made whole")
	case mirrorName == "":
		return nil
	case offsetGiven:
		return usage("--mirror and --offset: mkfs makes both files of a mirror whole")
	case fo.NoJournal:
		return usage("--mirror and --journal none: two copies need the journal")
	}
	if err := notTheSame(name, mirrorName); err != nil {
		return err
	}
	if filepath.Clean(name) == filepath.Clean(mirrorName) {
		return fmt.Errorf("%s: --mirror %s is the same file", name, mirrorName)
	}
	fo.Copies = 1
	return refuseOverwrite(mirrorName, o.force)
}

// make is target.make for the one file of an image, or for both of a mirror: neither gets its name
// before both are whole.
func (o *mkfsOptions) make(t *target, size int64, fill func(dev, second *disk.File, st os.FileInfo) (transfer.Stats, error)) (transfer.Stats, error) {
	if mirrorName == "" {
		return t.make(size, func(dev *disk.File, st os.FileInfo) (transfer.Stats, error) { return fill(dev, nil, st) })
	}
	second := target{name: mirrorName, force: o.force}
	return second.make(size, func(twin *disk.File, _ os.FileInfo) (transfer.Stats, error) {
		return t.make(size, func(dev *disk.File, st os.FileInfo) (transfer.Stats, error) {
			stats, err := fill(dev, twin, st)
			if err == nil {
				err = twin.Flush()
			}
			return stats, err
		})
	})
}

// target is where an image is made: under a name that it gets when it is whole, or in a part of
// a file or disk.
type target struct {
	name  string
	force bool
}

// window looks at the part of a file that begins at --offset: it is there, and empty.
func (t *target) window(size int64) (int64, error) {
	f, err := disk.OpenFile(t.name, disk.FileOptions{Offset: imageOffset.n, Length: max(0, size)})
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: %w (with --offset an image is made inside a file that is there)", t.name, cause(err))
		}
		return 0, err
	}
	defer f.Close()
	if size < 0 {
		size = f.Size()
	}
	if t.force {
		return size, nil
	}
	p := make([]byte, min(f.Size(), 128<<10))
	if err := disk.ReadFull(f, p, 0); err != nil {
		return 0, err
	}
	if len(bytes.Trim(p, "\x00")) > 0 {
		return 0, fmt.Errorf("%s: at offset %d there is something already (--force overwrites it)", t.name, imageOffset.n)
	}
	return size, nil
}

// make calls fill with a device of size bytes. Unless fill succeeds there is no image; not
// either if the program is interrupted.
func (t *target) make(size int64, fill func(dev *disk.File, st os.FileInfo) (transfer.Stats, error)) (stats transfer.Stats, err error) {
	final, err := followed(t.name)
	if err != nil {
		return stats, err
	}
	part := t.name
	var f *disk.File
	if offsetGiven {
		f, err = disk.OpenFile(t.name, disk.FileOptions{Offset: imageOffset.n, Length: size})
	} else {
		// The image grows under another name and gets its own only when it is whole.
		part = fmt.Sprintf("%s.part-%d", final, os.Getpid())
		defer onInterrupt(func() { _ = os.Remove(part) })()
		f, err = disk.CreateFile(part, size, 0o644, true)
	}
	if err != nil {
		return stats, trimPart(err, part, t.name)
	}
	st, err := os.Stat(part)
	if err == nil {
		stats, err = fill(f, st)
	}
	if err == nil {
		err = f.Flush()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && part != t.name {
		err = os.Rename(part, final)
	}
	if err != nil && part != t.name {
		err = errors.Join(trimPart(err, part, t.name), ignoreNotExist(os.Remove(part)))
	}
	return stats, err
}

// followed is the file that a name leads to: what a symbolic link names is replaced, not the link.
func followed(name string) (string, error) {
	st, err := os.Lstat(name)
	if err != nil || st.Mode()&fs.ModeSymlink == 0 {
		return name, nil
	}
	real, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: is a symbolic link that leads nowhere", name)
	}
	return real, err
}

func ignoreNotExist(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// trimPart makes an error speak of the image's own name.
func trimPart(err error, part, name string) error {
	if text := strings.ReplaceAll(err.Error(), part, name); text != err.Error() {
		return &renamed{text, err}
	}
	return err
}

type renamed struct {
	text string
	err  error
}

func (e *renamed) Error() string { return e.text }
func (e *renamed) Unwrap() error { return e.err }

// refuseOverwrite protects what exists: --force is needed for any file that is not empty.
func refuseOverwrite(name string, force bool) error {
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s: is a directory", name)
	case st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0:
		return fmt.Errorf("%s: a block device: --offset 0 makes an image on it", name)
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", name)
	case st.Size() > 0 && !force:
		return fmt.Errorf("%s: exists and is not empty (--force overwrites it)", name)
	}
	f, err := disk.OpenFile(name, disk.FileOptions{}) // somebody may be using it
	if errors.Is(err, disk.ErrInUse) {
		return fmt.Errorf("%s: in use by another process", name)
	}
	if err != nil {
		return err
	}
	return f.Close()
}
