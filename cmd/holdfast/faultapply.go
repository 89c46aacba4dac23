package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

// harm is one change of the file.
type harm struct {
	pick
	off           int64 // in the image, bytes
	before, after []byte
}

// plan is what will be written, and where; nothing is written yet.
func (t *faultTarget) plan(o *faultOptions, picked []pick, random *rand.Rand) ([]harm, error) {
	if o.how == "swap" {
		return t.swaps(picked, random)
	}
	var older *disk.File
	if o.from != "" {
		var err error
		if older, err = openFile(o.from, false); err != nil {
			return nil, err
		}
		defer older.Close()
	}
	var list []harm
	for _, p := range picked {
		h, err := t.harm(p)
		if err != nil {
			return nil, err
		}
		ss := t.g.SectorSize
		switch o.how {
		case "zero":
			clear(h.after)
		case "garbage":
			for i := range h.after {
				h.after[i] = byte(random.Uint32())
			}
		case "older":
			if err := disk.ReadFull(older, h.after, h.off); err != nil {
				return nil, fmt.Errorf("%s: %w", o.from, err)
			}
		default:
			for s := 0; s < len(h.after); s += ss {
				from, n := t.used(p, s, ss)
				bit := random.IntN(n * 8)
				h.after[s+from+bit/8] ^= 1 << (bit % 8)
			}
		}
		list = append(list, h)
	}
	return list, nil
}

// used is the part of a sector, s bytes into what is harmed, that holds what was picked: a bit
// behind a superblock is nobody's, and one beside an inode is another's.
func (t *faultTarget) used(p pick, s, ss int) (from, n int) {
	switch {
	case p.use.Purpose == volume.PurposeSuperblock && s == 0:
		return 0, layout.SuperblockSize
	case p.use.Purpose == volume.PurposeLogHead && s == 0:
		return 0, layout.LogHeadSize
	case p.use.Purpose == volume.PurposeInodes && p.sector >= 0:
		if _, off := t.g.InodePlace(uint64(p.use.Ino)); off/ss == p.sector {
			return off % ss, layout.InodeSize
		}
	}
	return 0, ss
}

// harm is a pick with what is there now.
func (t *faultTarget) harm(p pick) (harm, error) {
	h := harm{pick: p, off: t.replica + int64(p.use.Block)*int64(t.g.BlockSize)}
	n := t.g.BlockSize
	if p.sector >= 0 {
		h.off += int64(p.sector) * int64(t.g.SectorSize)
		n = t.g.SectorSize
	}
	h.before = make([]byte, n)
	if err := disk.ReadFull(t.file, h.before, h.off); err != nil {
		return h, err
	}
	h.after = bytes.Clone(h.before)
	return h, nil
}

// swaps exchanges each block with another of its kind, by misdirected writes.
func (t *faultTarget) swaps(picked []pick, random *rand.Rand) ([]harm, error) {
	if t.v == nil {
		return nil, fmt.Errorf("which blocks are of the same kind cannot be told: %w", t.why)
	}
	taken := map[uint64]bool{}
	for _, p := range picked {
		taken[p.use.Block] = true
	}
	var list []harm
	for _, p := range picked {
		s := sample{n: 1, random: random}
		err := t.v.Uses(func(u volume.Use) bool {
			for i := range u.Count {
				if one := u; !taken[u.Block+i] && u.Purpose == p.use.Purpose {
					one.Block, one.Index, one.Count = u.Block+i, u.Index+i, 1
					s.add(one)
				}
			}
			return true
		}, nil)
		if err != nil {
			return nil, err
		}
		if len(s.list) == 0 {
			return nil, fmt.Errorf("block %d, %s: there is no other of its kind to exchange it with", p.use.Block, t.holds(p))
		}
		taken[s.list[0].Block] = true
		other, err := t.named([]pick{{use: s.list[0], sector: -1}})
		if err != nil {
			return nil, err
		}
		a, err := t.harm(p)
		if err != nil {
			return nil, err
		}
		b, err := t.harm(other[0])
		if err != nil {
			return nil, err
		}
		a.after, b.after = b.before, a.before
		list = append(list, a, b)
	}
	return list, nil
}

// apply writes the damage, durably.
func (t *faultTarget) apply(plan []harm) error {
	for _, h := range plan {
		if _, err := t.file.WriteAt(h.after, h.off); err != nil {
			return err
		}
	}
	return t.file.Flush()
}

// harmJSON is the JSON of one damage.
type harmJSON struct {
	Image    string         `json:"image"`
	ImageB64 string         `json:"image_b64,omitempty"`
	How      string         `json:"how"`
	Block    uint64         `json:"block"`
	Sector   *int           `json:"sector,omitempty"`
	Replica  int            `json:"replica"`
	Offset   int64          `json:"offset"` // in the image
	Length   int            `json:"length"`
	Kind     volume.Purpose `json:"kind,omitempty"` // none: the block is not in use
	Holds    string         `json:"holds"`
	Inode    volume.Ino     `json:"inode,omitempty"`
	Path     string         `json:"path,omitempty"`
	PathB64  string         `json:"path_b64,omitempty"`
	Same     bool           `json:"unchanged,omitempty"`
	Seed     uint64         `json:"seed"`
}

var howDone = map[string]string{"flip": "a bit flipped", "zero": "zeroed", "garbage": "overwritten with garbage", "swap": "exchanged", "older": "put back to an older version"}

// report prints a line for each damage.
func (o *faultOptions) report(cmd *cobra.Command, name string, t *faultTarget, plan []harm, told bool) error {
	out := cmd.OutOrStdout()
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, h := range plan {
		same := bytes.Equal(h.before, h.after)
		if o.asJSON {
			x := harmJSON{Image: name, ImageB64: b64(name), How: o.how, Block: h.use.Block, Replica: o.replica, Offset: h.off, Length: len(h.after),
				Kind: h.use.Purpose, Holds: t.holds(h.pick), Inode: h.use.Ino, Path: h.path, PathB64: b64(h.path), Same: same, Seed: o.seed}
			if h.sector >= 0 {
				x.Sector = &h.sector
			}
			if err := e.Encode(x); err != nil {
				return err
			}
			continue
		}
		where := fmt.Sprintf("block %d", h.use.Block)
		if h.sector >= 0 {
			where += fmt.Sprintf(" sector %d", h.sector)
		}
		if t.super.Copies == 2 {
			where += fmt.Sprintf(" of replica %d", o.replica)
		}
		done := howDone[o.how]
		if o.how == "flip" && len(h.after) > t.g.SectorSize {
			done = "a bit flipped in each sector"
		}
		if same {
			done = "is that already, nothing changes"
		}
		if o.dry {
			done += " (not done: -n)"
		}
		if _, err := fmt.Fprintf(out, "%s: %s (%s): %s\n", quoteName(name), where, t.holds(h.pick), done); err != nil {
			return err
		}
	}
	if told || o.asJSON {
		return nil
	}
	_, err := fmt.Fprintf(out, "%s: picked by --seed %d\n", quoteName(name), o.seed)
	return err
}

// undoFile is what --undo needs: one JSON object.
type undoFile struct {
	Holdfast int        `json:"holdfast_undo"` // version of this format, 1
	Size     int64      `json:"size"`          // of the image, bytes
	Pieces   []undoPart `json:"pieces"`
}

type undoPart struct {
	Offset int64  `json:"offset"`
	Before []byte `json:"before"`
	After  uint32 `json:"after_crc32c"` // of what the damage left there
}

const undoVersion = 1

// writeUndo makes the undo file, durable before it returns. An existing file is not touched.
func writeUndo(name string, size int64, plan []harm) error {
	u := undoFile{Holdfast: undoVersion, Size: size}
	for _, h := range plan {
		u.Pieces = append(u.Pieces, undoPart{h.off, h.before, layout.Sum(0, h.after)})
	}
	p, err := json.Marshal(u)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: the undo file exists: it may be needed", quoteName(name))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(append(p, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // it has no such call
		return nil
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// putBack is --undo: every piece is looked at before the first is written.
func (o *faultOptions) putBack(cmd *cobra.Command, name string) (err error) {
	p, err := os.ReadFile(o.undo)
	if err != nil {
		return err
	}
	var u undoFile
	if err := json.Unmarshal(p, &u); err != nil || u.Holdfast != undoVersion {
		return fmt.Errorf("%s: not an undo file of fault", quoteName(o.undo))
	}
	f, err := openFile(name, !o.dry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if f.Size() != u.Size {
		return fmt.Errorf("%s: it has %d bytes, and %s is of an image of %d", name, f.Size(), quoteName(o.undo), u.Size)
	}
	var todo []undoPart
	for _, x := range u.Pieces {
		now := make([]byte, len(x.Before))
		if err := disk.ReadFull(f, now, x.Offset); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		switch {
		case bytes.Equal(now, x.Before):
		case layout.Sum(0, now) == x.After || o.force:
			todo = append(todo, x)
		default:
			return fmt.Errorf("%s: the %d bytes at %d have changed since the damage: nothing is put back (--force does it)", name, len(now), x.Offset)
		}
	}
	n := 0
	for _, x := range todo {
		n += len(x.Before)
		if o.dry {
			continue
		}
		if _, err := f.WriteAt(x.Before, x.Offset); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if !o.dry {
		if err := f.Flush(); err != nil {
			return err
		}
	}
	verb := "put back"
	if o.dry {
		verb = "to be put back"
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes in %s %s\n", quoteName(name), n, plural(len(todo), "place"), verb)
	return err
}
