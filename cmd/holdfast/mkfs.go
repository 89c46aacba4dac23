package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
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
	free              string
	force, quiet      bool
}

func mkfsCommand() *cobra.Command {
	var o mkfsOptions
	c := &cobra.Command{
		Use:   "mkfs IMAGE [SIZE]",
		Short: "Make an image, empty or from a directory",
		Long: `Make an image file, empty or holding what a directory holds.

Without a SIZE an image made --from a directory is as small as its contents allow plus
--free. With SOURCE_DATE_EPOCH set, the same directory gives the same bytes.`,
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
			return mkfs(cmd.OutOrStdout(), args[0], size, &o)
		},
	}
	o.blockSize.n, o.sector.n = 4096, 512
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "fill the image with what this directory holds")
	f.StringVarP(&o.label, "label", "L", "", "label, at most 64 bytes")
	f.StringVarP(&o.id, "uuid", "U", "", "UUID (default: random; with SOURCE_DATE_EPOCH: derived)")
	f.VarP(&o.blockSize, "block-size", "b", "block size: 1k, 2k or 4k")
	f.Var(&o.sector, "sector-size", "unit of damage of the disk below: 512 or 4k")
	f.Uint64VarP(&o.inodes, "inodes", "N", 0, "number of inodes (default: one per 16 KiB, and enough for --from)")
	f.StringVar(&o.free, "free", "10%", "free space to add when no size is given: a size or a percentage")
	f.BoolVarP(&o.force, "force", "F", false, "overwrite an existing file or file system")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing")
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

func mkfs(out io.Writer, name string, size int64, o *mkfsOptions) error {
	epoch, err := sourceDate()
	if err != nil {
		return err
	}
	if len(o.label) > 64 {
		return usage("--label: %d bytes, at most 64", len(o.label))
	}
	now := epoch
	if now.IsZero() {
		now = time.Now()
	}
	id, key, err := identity(o, epoch)
	if err != nil {
		return err
	}
	fo := volume.FormatOptions{Label: o.label, UUID: id, HashKey: key,
		BlockSize: int(o.blockSize.n), SectorSize: int(o.sector.n), Now: now}
	var need transfer.Need
	if o.from != "" {
		if need, err = transfer.Measure(o.from, int(o.blockSize.n)); err != nil {
			return err
		}
	} else if size < 0 {
		return usage("an empty image needs a SIZE")
	}
	if fo, size, err = sizing(fo, size, need, o); err != nil {
		return err
	}
	if err := refuseOverwrite(name, o.force); err != nil {
		return err
	}
	// The image grows under another name and gets its own only when it is whole.
	part := fmt.Sprintf("%s.part-%d", name, os.Getpid())
	stats, err := fill(part, size, fo, o, epoch)
	if err != nil {
		return errors.Join(trimPart(err, part, name), ignoreNotExist(os.Remove(part)))
	}
	if err := os.Rename(part, name); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if o.quiet {
		return nil
	}
	return describeImage(out, name, need.Files > 0 || o.from != "", stats)
}

func ignoreNotExist(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// trimPart makes an error speak of the image's own name.
func trimPart(err error, part, name string) error {
	text := err.Error()
	if i := bytes.Index([]byte(text), []byte(part)); i >= 0 {
		return &renamed{text[:i] + name + text[i+len(part):], err}
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

// fill makes and fills the image file.
func fill(name string, size int64, fo volume.FormatOptions, o *mkfsOptions, epoch time.Time) (transfer.Stats, error) {
	var stats transfer.Stats
	f, err := disk.CreateFile(name, size, 0o644, true)
	if err != nil {
		return stats, err
	}
	defer f.Close()
	if o.from == "" {
		if err := volume.Format(f, fo); err != nil {
			return stats, fmt.Errorf("%s: %w", name, err)
		}
		return stats, nil
	}
	b, err := volume.NewBuilder(f, volume.BuildOptions{Format: fo})
	if err != nil {
		return stats, fmt.Errorf("%s: %w", name, err)
	}
	defer b.Abort()
	if stats, err = transfer.Build(b, o.from, transfer.Options{Preserve: true, Clamp: epoch}); err != nil {
		return stats, err
	}
	if err := b.Close(); err != nil {
		return stats, fmt.Errorf("%s: %w", name, err)
	}
	return stats, nil
}
