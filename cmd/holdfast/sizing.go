package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"holdfast/layout"
	"holdfast/transfer"
	"holdfast/volume"
)

// sizing fills in the size and the number of inodes: what was asked for, or the least that
// holds the tree and --free.
func sizing(fo volume.FormatOptions, size int64, need transfer.Need, o *mkfsOptions) (volume.FormatOptions, int64, error) {
	bs := fo.BlockSize
	inodes := o.inodes
	if inodes == 0 && need.Files > 0 {
		inodes = need.Files + need.Files/10 + 16
	}
	if o.inodes > 0 && o.inodes < need.Files {
		return fo, 0, fmt.Errorf("--inodes %d: what is copied needs %d", o.inodes, need.Files)
	}
	if size >= 0 {
		fo, err := withInodes(fo, size, inodes)
		if err != nil {
			return fo, 0, err
		}
		blocks, _, err := volume.Room(fo)
		if errors.Is(err, volume.ErrTooSmall) || err == nil && blocks < need.Blocks {
			least, lerr := leastSize(fo, need.Blocks, inodes)
			if lerr != nil {
				return fo, 0, lerr
			}
			return fo, 0, fmt.Errorf("%d bytes: %w: at least %d bytes are needed%s", size, volume.ErrTooSmall, least, smallerBlocks(fo, size, need, inodes))
		}
		return fo, size, err
	}
	extra, percent, err := parseFree(o.free)
	if err != nil {
		return fo, 0, err
	}
	want := need.Blocks + need.Blocks*uint64(percent)/100 + uint64(extra)/uint64(bs) + 64
	if size, err = leastSize(fo, want, inodes); err != nil {
		return fo, 0, err
	}
	fo, err = withInodes(fo, size, inodes)
	return fo, size, err
}

// smallerBlocks says that blocks of 1024 bytes would do where those that were chosen do not.
func smallerBlocks(fo volume.FormatOptions, size int64, need transfer.Need, inodes uint64) string {
	const small = 1024
	if fo.BlockSize <= small || fo.SectorSize > small {
		return ""
	}
	want := need.Blocks * uint64(fo.BlockSize/small) // no less than the tree needs then
	fo.BlockSize, fo.RunBlocks = small, fo.RunBlocks*uint64(fo.BlockSize/small)
	least, err := leastSize(fo, want, inodes)
	if err != nil || least > size {
		return ""
	}
	return fmt.Sprintf(", or with -b 1k %d", least)
}

// leastSize is the least size of a volume that has room for this many blocks of files.
func leastSize(fo volume.FormatOptions, want, inodes uint64) (int64, error) {
	enough := func(n int64) bool {
		f, err := withInodes(fo, n, inodes)
		if err != nil {
			return false
		}
		blocks, _, err := volume.Room(f)
		return err == nil && blocks >= want
	}
	unit := 4096 * int64(max(1, fo.Copies))
	lo, hi := int64(0), int64(1) // in units; lo is too small
	for !enough(hi * unit) {
		if lo, hi = hi, 2*hi; hi > 1<<50 {
			return 0, fmt.Errorf("no volume of blocks of %d bytes holds %d blocks of files and a log of this size", fo.BlockSize, want)
		}
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; enough(mid * unit) {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi * unit, nil
}

// withInodes sets the size, and the inodes of a group so that there are at least that many (0:
// the default).
func withInodes(fo volume.FormatOptions, size int64, inodes uint64) (volume.FormatOptions, error) {
	fo.Size = size
	if inodes == 0 {
		return fo, nil
	}
	per := uint64(fo.BlockSize / layout.InodeSize)
	group := uint64(layout.Body(fo.BlockSize)) * 8
	groups := max(1, uint64(size)/uint64(max(1, fo.Copies))/uint64(fo.BlockSize)/group)
	n := (inodes + groups - 1) / groups
	n = (n + per - 1) / per * per
	if n/per > group/2 {
		return fo, usage("%d inodes are too many for a volume of %d bytes", inodes, size)
	}
	fo.InodesPerGroup = uint32(n)
	return fo, nil
}

// parseFree reads --free: a size or a percentage.
func parseFree(s string) (bytes int64, percent int, err error) {
	if p, ok := strings.CutSuffix(s, "%"); ok {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || n > 1000 {
			return 0, 0, usage("--free %q: want a size or a percentage", s)
		}
		return 0, n, nil
	}
	n, err := parseSize(s)
	if err != nil {
		return 0, 0, usage("--free: %w", err)
	}
	return n, 0, nil
}

// describePlan prints what would be made; known: the UUID is not drawn anew each time.
func describePlan(out io.Writer, name string, fo volume.FormatOptions, size int64, need transfer.Need, filled, known bool) error {
	blocks, inodes, err := volume.Room(fo)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: would be %s", name, human(uint64(size)))
	if known {
		fmt.Fprintf(out, ", UUID %s", uuidString(fo.UUID))
	}
	if fo.Label != "" {
		fmt.Fprintf(out, ", label %q", fo.Label)
	}
	fmt.Fprintf(out, "\n%s: %d blocks of %d bytes; when new, files may take %d of them, and %d inodes\n", name, size/int64(max(1, fo.Copies))/int64(fo.BlockSize), fo.BlockSize, blocks, inodes)
	if filled && need.Files > 0 {
		fmt.Fprintf(out, "%s: to be copied: %s in %d inodes, at most %d blocks\n", name, human(need.Bytes), need.Files, need.Blocks)
	}
	return nil
}

// describeImage prints what was made.
func describeImage(out io.Writer, name string, filled bool, stats transfer.Stats) error {
	return withImage(name, false, func(im *image) error {
		s, err := im.Statfs()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, UUID %s", name, human(im.size()), uuidString(s.UUID))
		if s.Label != "" {
			fmt.Fprintf(out, ", label %q", s.Label)
		}
		fmt.Fprintf(out, "\n%s: %d blocks of %d bytes: %d for files, %d free", name, im.blocks, s.BlockSize, s.Blocks, s.Free)
		if n := s.Free - s.Available; n > 0 {
			fmt.Fprintf(out, " (%d of them kept back)", n)
		}
		fmt.Fprintf(out, "; %d inodes, %d free\n", s.Inodes, s.FreeInodes)
		if filled {
			fmt.Fprintf(out, "%s: %d files (%s), %d directories, %d symbolic links, %d others, %d hard links\n", name,
				stats.Files, human(uint64(stats.Bytes)), stats.Dirs, stats.Links, stats.Others, stats.HardLinks)
		}
		return nil
	})
}
