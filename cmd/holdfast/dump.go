package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
)

func dumpCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "dump IMAGE[:PATH] [superblock|totals|groups|journal|inode N|map N|dir N|block N]",
		Short: "Show the structures of an image as they lie on disk",
		Long: `Show the structures of an image as they lie on disk, before any replay of the journal.

With IMAGE:PATH the inode that the path names is shown, with its extents.`,
		Args: cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, inside, ok := splitImagePath(args[0])
			what := "superblock"
			var number uint64
			if ok && inside != "/" {
				if len(args) > 1 {
					return usage("%s: a path and a structure exclude one another", args[0])
				}
				what = "inode"
				err := withImage(name, false, func(im *image) error {
					a, err := operand{im, args[0], inside}.resolve(false)
					number = uint64(a.Ino)
					return err
				})
				if err != nil {
					return err
				}
			} else if !ok {
				name = args[0]
			}
			if len(args) > 1 {
				what = args[1]
			}
			if len(args) == 3 {
				n, err := strconv.ParseUint(args[2], 10, 64)
				if err != nil {
					return usage("%q: want a number", args[2])
				}
				number = n
			}
			needs := map[string]int{"superblock": 2, "totals": 2, "groups": 2, "journal": 2, "inode": 3, "map": 3, "dir": 3, "block": 3}
			if n, ok := needs[what]; !ok {
				return usage("%q: want superblock, totals, groups, journal, inode N, map N, dir N or block N", what)
			} else if len(args) > 1 && len(args) != n {
				return usage("dump %s: wrong number of arguments", what)
			}
			f, err := openFile(name, false)
			if err != nil {
				return err
			}
			d, err := newDumper(f)
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

// dumper reads structures straight from the device.
type dumper struct {
	dev   disk.Device
	super *layout.Superblock
	g     layout.Geometry
	seeds layout.Seeds
}

func newDumper(dev disk.Device) (*dumper, error) {
	s, err := volume.ReadSuperblock(dev)
	if err != nil {
		return nil, err
	}
	g, err := layout.NewGeometry(s)
	return &dumper{dev, s, g, layout.NewSeeds(s.UUID)}, err
}

func (d *dumper) structure(what string, n uint64) (any, error) {
	switch what {
	case "superblock":
		return d.superblock(), nil
	case "totals":
		p, err := d.block(d.g.TotalsBlock())
		if err != nil {
			return nil, err
		}
		return layout.DecodeTotals(p, &d.g)
	case "groups":
		return d.groups()
	case "journal":
		return d.journal()
	case "inode":
		return d.inode(n)
	case "map":
		in, err := d.readInode(n)
		if err != nil {
			return nil, err
		}
		return d.extents(in, n)
	case "dir":
		return d.dir(n)
	case "block":
		return d.rawBlock(n)
	}
	return nil, usage("%q: no such structure", what)
}

type superJSON struct {
	UUID           string `json:"uuid"`
	Label          string `json:"label"`
	BlockSize      uint32 `json:"block_size"`
	SectorSize     uint32 `json:"sector_size"`
	Blocks         uint64 `json:"blocks"`
	Groups         uint64 `json:"groups"`
	GroupBlocks    uint64 `json:"group_blocks"`
	InodesPerGroup uint32 `json:"inodes_per_group"`
	Inodes         uint64 `json:"inodes"`
	Root           uint64 `json:"root"`
	Reserved       uint64 `json:"reserved_blocks"`
	RunBlocks      uint64 `json:"log_run_blocks"`
	Copies         uint32 `json:"copies"`
	Compat         string `json:"compat"`
	ROCompat       string `json:"ro_compat"`
	Incompat       string `json:"incompat"`
	Sequence       uint64 `json:"sequence"`
	Created        string `json:"created"`
	FirstGroup     uint64 `json:"first_group_block"`
}

func stamp(t layout.Time) string {
	return time.Unix(t.Sec, int64(t.Nsec)).UTC().Format(time.RFC3339Nano)
}

func uuidString(u [16]byte) string {
	h := hex.EncodeToString(u[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func (d *dumper) superblock() superJSON {
	s, g := d.super, &d.g
	return superJSON{uuidString(s.UUID), s.Label, s.BlockSize, s.SectorSize, s.Blocks, g.Groups, g.GroupBlocks,
		s.InodesPerGroup, g.Inodes(), s.Root, s.Reserved, s.RunBlocks, s.Copies,
		fmt.Sprintf("%#x", s.Compat), fmt.Sprintf("%#x", s.ROCompat), fmt.Sprintf("%#x", s.Incompat), s.Sequence, stamp(s.Created), g.FirstGroup}
}

// block reads a self-checked metadata block.
func (d *dumper) block(no uint64) ([]byte, error) {
	p := make([]byte, d.g.BlockSize)
	_, err := d.dev.ReadChecked(p, disk.Check{Seed: d.seeds.Block(no), Want: layout.Residue}, int64(no)*int64(d.g.BlockSize))
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", no, err)
	}
	return p, nil
}

type groupJSON struct {
	Group       uint64 `json:"group"`
	First       uint64 `json:"first_block"`
	Blocks      uint64 `json:"blocks"`
	FreeBlocks  uint32 `json:"free_blocks"`
	InodesInit  uint32 `json:"inodes_initialised"`
	InodesFree  uint32 `json:"inodes_free"`
	Directories uint32 `json:"directories"`
	InodeTable  uint64 `json:"inode_table"`
}

func (d *dumper) groups() ([]groupJSON, error) {
	p, err := d.block(d.g.TotalsBlock())
	if err != nil {
		return nil, err
	}
	t, err := layout.DecodeTotals(p, &d.g)
	if err != nil {
		return nil, err
	}
	var list []groupJSON
	for i := range t.Groups {
		p, err := d.block(d.g.BitmapBlock(i))
		if err != nil {
			return nil, err
		}
		if err := layout.CheckBitmap(p, &d.g, i); err != nil {
			return nil, err
		}
		s := layout.Stats(p)
		list = append(list, groupJSON{i, d.g.GroupStart(i), d.g.GroupLen(i), s.FreeBlocks, s.InodesInit, s.InodesFree, s.Directories, d.g.InodeTable(i)})
	}
	return list, nil
}

type journalJSON struct {
	Heads    []headJSON `json:"heads"`
	Run      uint64     `json:"run_sectors"`
	Sectors  int        `json:"live_sectors"`
	FirstSeq uint64     `json:"first_transaction"`
	LastSeq  uint64     `json:"last_transaction"`
	Attested uint64     `json:"attested"`
}

type headJSON struct {
	Copy     int    `json:"copy"`
	Valid    bool   `json:"valid"`
	Sequence uint64 `json:"sequence"`
	Epoch    uint64 `json:"epoch"`
	Tail     uint64 `json:"tail"`
	TailSeq  uint64 `json:"tail_transaction"`
}

// journal shows both headers and what the log holds behind the newer one's tail.
func (d *dumper) journal() (*journalJSON, error) {
	g := &d.g
	if g.RunBlocks == 0 {
		return nil, errors.New("the volume has no journal")
	}
	j := &journalJSON{Run: g.RunBlocks * uint64(g.BlockSize/g.SectorSize)}
	var current *headJSON
	for i := range 2 {
		p := make([]byte, layout.LogHeadSize)
		h := headJSON{Copy: i}
		_, err := d.dev.ReadChecked(p, disk.Check{Seed: d.seeds.Head(i), Want: layout.Residue}, int64(g.LogHead(i))*int64(g.BlockSize))
		if err == nil {
			if x, err := layout.DecodeLogHead(p, i, g.LogHead(i), d.seeds); err == nil {
				h = headJSON{i, true, x.Sequence, x.Epoch, x.Tail, x.TailSeq}
			}
		}
		j.Heads = append(j.Heads, h)
	}
	for i := range j.Heads {
		if h := &j.Heads[i]; h.Valid && (current == nil || h.Sequence > current.Sequence) {
			current = h
		}
	}
	if current == nil {
		return j, nil
	}
	p := make([]byte, g.SectorSize)
	for i := range j.Run {
		pos := current.Tail + i
		at := int64(pos%j.Run) * int64(g.SectorSize)
		check := disk.Check{Seed: d.seeds.Log(pos), Want: layout.Residue, Accept: func(p []byte) bool {
			h, ok := layout.PeekLogSector(p)
			return ok && h.Epoch == current.Epoch && h.Pos == pos
		}}
		_, err := d.dev.ReadChecked(p, check, int64(g.LogRun(0))*int64(g.BlockSize)+at, int64(g.LogRun(1))*int64(g.BlockSize)+at)
		if err != nil {
			break
		}
		h, _ := layout.PeekLogSector(p)
		if j.Sectors == 0 {
			j.FirstSeq = h.Seq
		}
		j.Sectors++
		j.LastSeq, j.Attested = h.Seq, max(j.Attested, h.Attested)
	}
	return j, nil
}

type inodeJSON struct {
	Inode      uint64   `json:"inode"`
	Block      uint64   `json:"block"`
	Offset     int      `json:"offset"`
	Mode       string   `json:"mode"`
	Links      uint32   `json:"links"`
	UID        uint32   `json:"uid"`
	GID        uint32   `json:"gid"`
	Size       uint64   `json:"size"`
	Blocks     uint64   `json:"blocks"`
	Generation uint32   `json:"generation"`
	Flags      string   `json:"flags"`
	Sequence   uint64   `json:"sequence"`
	Mtime      string   `json:"mtime"`
	Ctime      string   `json:"ctime"`
	Btime      string   `json:"btime"`
	Parent     uint64   `json:"parent,omitempty"`
	Names      uint32   `json:"names,omitempty"`
	IndexRoot  uint64   `json:"index_root,omitempty"`
	Depth      uint8    `json:"extent_depth"`
	NextOrphan uint64   `json:"next_orphan,omitempty"`
	Target     string   `json:"target,omitempty"`
	Extents    []string `json:"extents,omitempty"`
}

func (d *dumper) readInode(n uint64) (*layout.Inode, error) {
	if n == 0 || n > d.g.Inodes() {
		return nil, fmt.Errorf("inode %d: the volume has inodes 1 to %d", n, d.g.Inodes())
	}
	block, off := d.g.InodePlace(n)
	p := make([]byte, layout.InodeSize)
	if err := disk.ReadFull(d.dev, p, int64(block)*int64(d.g.BlockSize)+int64(off)); err != nil {
		return nil, fmt.Errorf("inode %d: %w", n, err)
	}
	var in layout.Inode
	return &in, layout.DecodeInode(p, &in, n, block, off, d.seeds)
}

func (d *dumper) inode(n uint64) (any, error) {
	in, err := d.readInode(n)
	if err != nil {
		return nil, err
	}
	block, off := d.g.InodePlace(n)
	j := inodeJSON{Inode: n, Block: block, Offset: off, Mode: fmt.Sprintf("%06o", in.Mode), Links: in.Links, UID: in.UID, GID: in.GID,
		Size: in.Size, Blocks: in.Blocks, Generation: in.Generation, Flags: fmt.Sprintf("%#x", in.Flags), Sequence: in.Seq,
		Mtime: stamp(in.Mtime), Ctime: stamp(in.Ctime), Btime: stamp(in.Btime), Parent: in.Parent, Names: in.Names,
		IndexRoot: in.IndexRoot, Depth: in.Depth, NextOrphan: in.NextOrphan}
	if in.Flags&layout.FlagInlineLink != 0 {
		j.Target = string(in.Inline[:in.Size])
		return j, nil
	}
	list, err := d.extents(in, n)
	for _, e := range list {
		j.Extents = append(j.Extents, e.String())
	}
	return j, err
}

// extents walks the extent index of an inode.
func (d *dumper) extents(in *layout.Inode, ino uint64) ([]layout.Extent, error) {
	var list []layout.Extent
	var walk func(area []byte, n int, depth int, what string, block uint64, low, high uint64) error
	walk = func(area []byte, n int, depth int, what string, block, low, high uint64) error {
		if err := layout.CheckExtents(area, n, depth == 0, low, high, &d.g, what, block); err != nil {
			return err
		}
		for i := range n {
			e := layout.GetExtent(area, i)
			if depth == 0 {
				list = append(list, e)
				continue
			}
			p, err := d.block(e.Block)
			if err != nil {
				return err
			}
			if err := layout.CheckHeader(p, e.Block, layout.KindExtents, ino, e.Logical); err != nil {
				return err
			}
			end := high
			if i+1 < n {
				end = layout.GetExtent(area, i+1).Logical
			}
			h := layout.DecodeHeader(p)
			if err := walk(layout.BlockBody(p), int(h.Count), depth-1, "extent index", e.Block, e.Logical, end); err != nil {
				return err
			}
		}
		return nil
	}
	block, _ := d.g.InodePlace(ino)
	return list, walk(in.Inline[:], int(in.Extents), int(in.Depth), fmt.Sprintf("inode %d", ino), block, 0, layout.MaxLogical)
}

type direntJSON struct {
	Position uint64 `json:"position"`
	Inode    uint64 `json:"inode"`
	Type     string `json:"type"`
	Name     string `json:"name"`
}

// dir shows the records of a directory in their places.
func (d *dumper) dir(n uint64) ([]direntJSON, error) {
	in, err := d.readInode(n)
	if err != nil {
		return nil, err
	}
	if !in.IsDir() {
		return nil, fmt.Errorf("inode %d is not a directory", n)
	}
	extents, err := d.extents(in, n)
	if err != nil {
		return nil, err
	}
	var list []direntJSON
	for _, e := range extents {
		for i := uint64(0); i < uint64(e.Len) && e.Logical+i < layout.MaxDirBlocks; i++ {
			p, err := d.block(e.Block + i)
			if err != nil {
				return nil, err
			}
			b := layout.BlockBody(p)
			for off := 0; off < len(b); {
				r, err := layout.GetRecord(b, off)
				if err != nil {
					return nil, layout.Corrupt("directory block", e.Block+i, layout.HeaderSize+off, err, nil)
				}
				if !r.Hole() {
					list = append(list, direntJSON{layout.Position(e.Logical+i, off), r.Ino, typeName(uint16(r.Type) << 12), string(r.Name)})
				}
				off += r.Len
			}
		}
	}
	return list, nil
}

type blockJSON struct {
	Block    uint64 `json:"block"`
	Purpose  string `json:"purpose"`
	Kind     string `json:"kind,omitempty"`
	Checksum string `json:"checksum,omitempty"`
	Owner    uint64 `json:"owner,omitempty"`
	Index    uint64 `json:"index,omitempty"`
	Count    uint32 `json:"count,omitempty"`
	Sequence uint64 `json:"sequence,omitempty"`
	Hex      string `json:"hex"`
}

// rawBlock shows any block: what it is for by its place, and its bytes.
func (d *dumper) rawBlock(n uint64) (*blockJSON, error) {
	if n >= d.g.Blocks {
		return nil, fmt.Errorf("block %d: the volume has blocks 0 to %d", n, d.g.Blocks-1)
	}
	p := make([]byte, d.g.BlockSize)
	if err := disk.ReadFull(d.dev, p, int64(n)*int64(d.g.BlockSize)); err != nil {
		return nil, fmt.Errorf("block %d: %w", n, err)
	}
	b := &blockJSON{Block: n, Purpose: purpose(&d.g, n), Hex: strings.TrimRight(hex.Dump(p), "\n")}
	if k := layout.DecodeHeader(p).Kind; k != layout.KindInodes && !strings.HasPrefix(k.String(), "kind ") {
		h := layout.DecodeHeader(p)
		b.Kind, b.Owner, b.Index, b.Count, b.Sequence = k.String(), h.Owner, h.Index, h.Count, h.Seq
		b.Checksum = "wrong"
		if layout.Sealed(p, d.seeds.Block(n)) {
			b.Checksum = "right"
		}
	}
	return b, nil
}

// purpose names what a block is for by its place alone; blocks that a file may own are "content".
func purpose(g *layout.Geometry, n uint64) string {
	switch {
	case n == 0 && g.BlockSize == layout.SlotSize:
		return "boot area"
	case n < uint64(layout.FrontBytes/g.BlockSize):
		switch int64(n) * int64(g.BlockSize) / layout.SlotSize {
		case 0:
			return "boot area"
		case 1:
			return "superblock copy 0"
		}
		return "superblock copy 1"
	case n == g.TotalsBlock():
		return "volume totals"
	case n < g.FirstGroup:
		switch {
		case n == g.LogHead(0):
			return "log header 0"
		case n == g.LogHead(1):
			return "log header 1"
		case n < g.LogRun(1):
			return "log run A"
		}
		return "log run B"
	}
	group, ok := g.GroupOf(n)
	switch {
	case !ok && int64(n)*int64(g.BlockSize) >= g.BackupOffset():
		return "backup superblock"
	case !ok:
		return "unused tail"
	case n == g.BitmapBlock(group):
		return fmt.Sprintf("bitmap of group %d", group)
	case n < g.InodeTable(group):
		return fmt.Sprintf("checksum table of group %d", group)
	case !g.Allocatable(n):
		return fmt.Sprintf("inode table of group %d", group)
	}
	return fmt.Sprintf("content, group %d", group)
}

// printStructure prints a structure as JSON, or as lines of "field: value"; hex dumps come last as they are.
func printStructure(w io.Writer, v any, asJSON bool) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if asJSON {
		_, err = fmt.Fprintf(w, "%s\n", p)
		return err
	}
	return printFields(w, json.NewDecoder(strings.NewReader(string(p))), "")
}

// printFields renders JSON as text without losing the order of fields.
func printFields(w io.Writer, d *json.Decoder, key string) error {
	d.UseNumber()
	tok, err := d.Token()
	if err != nil {
		return err
	}
	switch t := tok.(type) {
	case json.Delim:
		if t == '[' {
			for i := 0; d.More(); i++ {
				if err := printFields(w, d, path.Join(key, strconv.Itoa(i))); err != nil {
					return err
				}
			}
		} else {
			for d.More() {
				name, err := d.Token()
				if err != nil {
					return err
				}
				if err := printFields(w, d, path.Join(key, fmt.Sprint(name))); err != nil {
					return err
				}
			}
			if key != "" {
				fmt.Fprintln(w)
			}
		}
		_, err = d.Token()
		return err
	case nil:
		return nil
	default:
		text := fmt.Sprint(t)
		if strings.Contains(text, "\n") {
			_, err = fmt.Fprintf(w, "%s\n", text)
			return err
		}
		_, err = fmt.Fprintf(w, "%-22s %s\n", key+":", text)
		return err
	}
}
