package main

import (
	"fmt"
	"io"
	"os"
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
	if bs != 1024 && bs != 2048 && bs != 4096 {
		return fo, 0, usage("--block-size %d: want 1k, 2k or 4k", bs)
	}
	if fo.SectorSize != 512 && fo.SectorSize != 4096 || fo.SectorSize > bs {
		return fo, 0, usage("--sector-size %d: want 512 or 4k, at most the block size", fo.SectorSize)
	}
	inodes := o.inodes
	if inodes == 0 && need.Files > 0 {
		inodes = need.Files + need.Files/10 + 16
	}
	if size >= 0 {
		fo, err := withInodes(fo, size, inodes)
		if err == nil && need.Files > 0 {
			if blocks, _, rerr := volume.Room(fo); rerr == nil && blocks < need.Blocks {
				err = fmt.Errorf("%s holds %d blocks of files, the tree may need %d", human(uint64(size)), blocks, need.Blocks)
			}
		}
		return fo, size, err
	}
	extra, percent, err := parseFree(o.free)
	if err != nil {
		return fo, 0, err
	}
	want := need.Blocks + need.Blocks*uint64(percent)/100 + uint64(extra)/uint64(bs) + 64
	enough := func(n int64) bool {
		f, err := withInodes(fo, n, inodes)
		if err != nil {
			return false
		}
		blocks, _, err := volume.Room(f)
		return err == nil && blocks >= want
	}
	const unit = 4096
	lo, hi := int64(0), int64(1) // in units; lo is too small
	for !enough(hi * unit) {
		if lo, hi = hi, 2*hi; hi > 1<<50 {
			return fo, 0, fmt.Errorf("no volume of blocks of %d bytes holds %d blocks", bs, want)
		}
	}
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; enough(mid * unit) {
			hi = mid
		} else {
			lo = mid
		}
	}
	fo, err = withInodes(fo, hi*unit, inodes)
	return fo, hi * unit, err
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
	groups := max(1, uint64(size)/uint64(fo.BlockSize)/group)
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

// describeImage prints what was made.
func describeImage(out io.Writer, name string, filled bool, stats transfer.Stats) error {
	return withImage(name, false, func(im *image) error {
		s, err := im.Statfs()
		if err != nil {
			return err
		}
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s, UUID %s", name, human(uint64(st.Size())), uuidString(s.UUID))
		if s.Label != "" {
			fmt.Fprintf(out, ", label %q", s.Label)
		}
		fmt.Fprintf(out, "\n%s: blocks of %d bytes: %d for files, %d free; %d inodes, %d free\n", name, s.BlockSize, s.Blocks, s.Free, s.Inodes, s.FreeInodes)
		if filled {
			fmt.Fprintf(out, "%s: %d files (%s), %d directories, %d symbolic links, %d others, %d hard links\n", name,
				stats.Files, human(uint64(stats.Bytes)), stats.Dirs, stats.Links, stats.Others, stats.HardLinks)
		}
		return nil
	})
}
