package workload

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// GenerateOptions bounds what Generate makes. The zero value is useful.
type GenerateOptions struct {
	Image     Image  // of the script; zero fields as in a script that does not say
	Setup     int    // operations before the recording, 0 by default
	Ops       int    // recorded operations, 30 by default
	Names     int    // different names in a directory, 2 to 26, 5 by default
	MaxLength uint64 // bytes of one write, 6000 by default, at most MaxWrite
	MaxSize   uint64 // bytes of a file, 40000 by default
	SyncEvery int    // about one operation in so many is an fsync or sync, 8 by default; < 0: none
}

func (o *GenerateOptions) defaults() {
	o.Image.defaults()
	if o.Ops == 0 {
		o.Ops = 30
	}
	if o.Names == 0 {
		o.Names = 5
	}
	o.Names = min(max(o.Names, 2), 26)
	if o.MaxLength == 0 {
		o.MaxLength = 6000
	}
	o.MaxLength = min(o.MaxLength, MaxWrite)
	if o.MaxSize == 0 {
		o.MaxSize = 40000
	}
	if o.SyncEvery == 0 {
		o.SyncEvery = 8
	}
}

// FromSeed is a source of choices for Generate: the same ones for the same seed.
func FromSeed(seed uint64) func(n int) int {
	return rand.New(rand.NewPCG(seed, hashSeed0)).IntN
}

// Generate makes a script of all kinds of operations over a small set of names, so that they
// meet: most succeed, some fail, and every result that the model has is right ("?"). draw(n)
// chooses from 0 to n-1 and is the only source of chance: FromSeed, or a property test's own.
func Generate(draw func(n int) int, o GenerateOptions) *Script {
	o.defaults()
	s := &Script{Name: "generated", Image: o.Image}
	g := generator{draw: draw, o: o, state: NewState(0o755, 0, 0, setupTime(0))}
	for range o.Setup {
		s.Setup = append(s.Setup, g.op())
	}
	g.state.handles.all(func(h string, _ uint64) bool {
		s.Setup = append(s.Setup, Op{Kind: OpClose, Handle: h, Any: true})
		return true
	})
	for _, op := range s.Setup[min(o.Setup, len(s.Setup)):] {
		g.state, _ = g.state.Apply(op, Time{})
	}
	for range o.Ops {
		s.Ops = append(s.Ops, g.op())
	}
	return s
}

type generator struct {
	draw  func(n int) int
	o     GenerateOptions
	state *State
	count int
}

// weights say how often a kind is chosen; syncs have their own option.
var weights = []struct {
	kind   Kind
	weight int
}{
	{OpCreate, 14}, {OpMkdir, 10}, {OpMknod, 3}, {OpLink, 8}, {OpSymlink, 5},
	{OpRemove, 9}, {OpRmdir, 5}, {OpRename, 14},
	{OpWrite, 14}, {OpAppend, 8}, {OpTruncate, 7}, {OpChmod, 2}, {OpChown, 2}, {OpTouch, 2},
	{OpOpen, 4}, {OpClose, 3}, {OpWriteHandle, 3}, {OpAppendHandle, 2}, {OpTruncateHandle, 2},
	{OpAlloc, 4}, {OpPunch, 4}, {OpZero, 3}, {OpSetxattr, 6}, {OpRemovexattr, 2}, {OpTemp, 2}, {OpLinkHandle, 2},
}

func (g *generator) kind() Kind {
	if e := g.o.SyncEvery; e > 0 && g.draw(e) == e-1 {
		return []Kind{OpSync, OpFsync, OpFdatasync, OpFsyncHandle, OpFdatasyncHandle, OpFsync}[g.draw(6)]
	}
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	n := g.draw(total)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return w.kind
		}
	}
	return OpSync // not reached: the weights sum to total
}

// op draws an operation and applies it.
func (g *generator) op() Op {
	g.count++
	op := Op{Kind: g.kind(), Any: true}
	var handles []string
	g.state.handles.all(func(h string, _ uint64) bool { handles = append(handles, h); return true })
	switch op.Kind { // without a handle there is nothing to do with one
	case OpClose, OpWriteHandle, OpAppendHandle, OpTruncateHandle, OpFsyncHandle, OpFdatasyncHandle, OpLinkHandle:
		if len(handles) == 0 {
			op.Kind = map[Kind]Kind{
				OpClose: OpCreate, OpWriteHandle: OpWrite, OpAppendHandle: OpAppend,
				OpLinkHandle: OpLink, OpTruncateHandle: OpTruncate, OpFsyncHandle: OpSync, OpFdatasyncHandle: OpSync,
			}[op.Kind]
			break
		}
		op.Handle = handles[g.draw(len(handles))]
	}
	switch op.Kind {
	case OpMkdir:
		op.Path, op.Mode = g.fresh(), ModeDir|0o755
	case OpCreate:
		op.Path, op.Mode = g.fresh(), ModeFile|0o644
	case OpMknod:
		op.Path = g.fresh()
		op.Mode = []uint16{ModeFIFO, ModeSocket, ModeChar, ModeBlock}[g.draw(4)] | 0o600
		if t := op.Mode & ModeType; t == ModeChar || t == ModeBlock {
			op.Major, op.Minor = uint32(g.draw(300)), uint32(g.draw(1<<20))
		}
	case OpLink:
		op.Path, op.New = g.existing(isFile), g.fresh()
	case OpSymlink:
		op.Target, op.New = g.target(), g.fresh()
	case OpRemove:
		op.Path = g.existing(isNotDir)
	case OpRmdir:
		op.Path = g.existing(isDir)
	case OpRename:
		op.Path = g.existing(nil)
		if g.draw(2) == 0 {
			op.New = g.existing(nil)
		} else {
			op.New = g.fresh()
		}
		switch g.draw(8) {
		case 5:
			op.Flags = RenameNoReplace
		case 6:
			op.Flags = RenameWhiteout
		case 7:
			op.New, op.Flags = g.existing(nil), RenameExchange
		}
	case OpWrite, OpWriteHandle:
		op.Seed = uint64(g.count)
		op.Length = uint64(g.draw(int(g.o.MaxLength) + 1))
		op.Offset = g.offset()
	case OpAppend, OpAppendHandle:
		op.Seed = uint64(g.count)
		op.Length = uint64(g.draw(int(g.o.MaxLength)/2 + 1))
	case OpTruncate, OpTruncateHandle:
		op.Size = g.offset()
	case OpChmod:
		op.Mode = []uint16{0o600, 0o755, 0o1777, 0o2775, 0o4711, 0}[g.draw(6)]
	case OpChown:
		op.UID, op.GID = uint32(g.draw(3))*1000, uint32(g.draw(3))*100
	case OpTouch:
		op.Time = Time{int64(g.draw(1<<31-1)) - 1<<29, uint32(g.draw(1e9))}
	case OpOpen:
		op.Handle = fmt.Sprintf("h%d", g.draw(3))
	case OpAlloc, OpPunch, OpZero:
		op.Offset, op.Length = g.offset(), uint64(g.draw(int(g.o.MaxLength)))+1
		if op.Kind != OpPunch {
			op.Flags = KeepSize * uint(g.draw(2))
		}
	case OpSetxattr, OpRemovexattr:
		op.Attr = []string{"user.", "trusted.", "security."}[g.draw(3)] + string(rune('a'+g.draw(3)))
		if op.Kind == OpSetxattr {
			op.Length, op.Seed = []uint64{0, 5, 30, 200, 1100, 2500}[g.draw(6)], uint64(g.count)
		}
	case OpTemp:
		op.Handle, op.Path, op.Mode = fmt.Sprintf("h%d", g.draw(3)), g.existing(isDir), ModeFile|0o644
	case OpLinkHandle:
		op.New = g.fresh()
	}
	switch op.Kind {
	case OpWrite, OpAppend, OpTruncate, OpOpen, OpAlloc, OpPunch, OpZero:
		op.Path = g.existing(isFile)
	case OpChmod, OpChown, OpTouch, OpFsync, OpFdatasync, OpSetxattr, OpRemovexattr:
		op.Path = g.existing(nil)
	}
	if e := op.check(); e != nil { // a path that only the root has
		op = Op{Kind: OpCreate, Any: true, Path: g.name(), Mode: ModeFile | 0o644}
	}
	g.state, _ = g.state.Apply(op, playTime(g.count))
	return op
}

// check answers whether the operation can be written in the script language, which has no
// name for the root.
func (op *Op) check() error {
	switch op.Kind {
	case OpRemove, OpRmdir, OpRename:
		if op.Path == "" {
			return fmt.Errorf("%s: the root has no name", op.Kind)
		}
	}
	switch op.Kind {
	case OpLink, OpSymlink, OpRename, OpLinkHandle:
		if op.New == "" {
			return fmt.Errorf("%s: the root has no name", op.Kind)
		}
	}
	return nil
}

func isFile(n *node) bool   { return n.kind() == ModeFile }
func isNotDir(n *node) bool { return !n.isDir() }
func isDir(n *node) bool    { return n.isDir() }

// name draws a name: mostly one letter, now and then a long or an odd one.
func (g *generator) name() string {
	c := string(rune('a' + g.draw(g.o.Names)))
	switch g.draw(24) {
	case 22:
		return strings.Repeat(c, 200)
	case 23:
		return c + " \xff#\""
	}
	return c
}

// fresh draws a path in a directory that mostly exists; the name there often does not.
func (g *generator) fresh() string {
	dir := g.existing(isDir)
	if strings.Count(dir, "/") > 2 {
		dir = "" // not too deep
	}
	return strings.TrimPrefix(dir+"/"+g.name(), "/")
}

// existing draws a path of a node that is wanted (all of them if want is nil), or sometimes any
// path.
func (g *generator) existing(want func(*node) bool) string {
	if g.draw(12) == 11 {
		p := g.name()
		for g.draw(2) == 0 {
			p += "/" + g.name()
		}
		return p
	}
	var fit []string
	for _, e := range g.state.list() {
		if want == nil || want(e.node) {
			fit = append(fit, strings.TrimPrefix(e.path, "/"))
		}
	}
	if len(fit) == 0 {
		return g.name()
	}
	return fit[g.draw(len(fit))]
}

// target draws the target of a symbolic link: a path that may exist, up or absolute, or a long one.
func (g *generator) target() string {
	switch g.draw(6) {
	case 0:
		return "/" + g.existing(nil)
	case 1:
		return "../" + g.name()
	case 2:
		return g.name() + "/../" + g.name()
	case 3:
		return strings.Repeat("x", 100+g.draw(1000))
	}
	return g.name()
}

// offset draws a byte offset: often near the edge of a block.
func (g *generator) offset() uint64 {
	n := uint64(g.draw(int(g.o.MaxSize) + 1))
	switch g.draw(4) {
	case 0:
		return n &^ 1023
	case 1:
		return n &^ 4095
	case 2:
		return n&^511 + uint64(g.draw(3))
	}
	return n
}
