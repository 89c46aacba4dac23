package main

import (
	"fmt"
	"math/bits"
	"unicode/utf8"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/workload"
)

// pageTimeline is the trace as a drawing: time runs by events, not by the clock. Lengths are
// pixels.
type pageTimeline struct {
	Width, Height      int
	Base               int // of the writes
	PointY, PointTextY int
	Ops                []timelineOp
	Writes             []timelineWrite
	Flushes            []int
	Points             []timelinePoint
	Cut                bool
	Drawn, Total       int
}

type timelineOp struct {
	X, W, Mid    int
	Label, Title string
	Sync         bool
}

type timelineWrite struct {
	X, Y, W, H   int
	Class, Title string
}

type timelinePoint struct {
	X, Index int
	Bad      bool
	Title    string
}

// maxDrawn bounds the events of a drawing: a browser has to bear it.
const maxDrawn = 4000

const (
	stepWrite = 9
	stepFlush = 24
	smallOp   = 22 // a narrower operation is hard to see
	letter    = 6  // about the width of one
	wide      = 1040
)

// newTimeline draws a trace; a short one is drawn wider.
func newTimeline(x *session, r *crash.Report) *pageTimeline {
	t := drawTimeline(x, r, 100)
	if t.Width < wide {
		t = drawTimeline(x, r, min(250, 100*wide/t.Width))
	}
	return t
}

// drawTimeline draws it with the width of steps in percent.
func drawTimeline(x *session, r *crash.Report, percent int) *pageTimeline {
	stepWrite, stepFlush := stepWrite*percent/100, stepFlush*percent/100
	smallOp := smallOp * min(percent, 150) / 100
	t := &pageTimeline{Base: 132, Height: 172, PointY: 152, PointTextY: 156, Total: len(x.trace.Events)}
	failing := map[int]int{} // by point
	for _, p := range r.Points {
		failing[p.Point.Index] = p.Violating
	}
	at, point := 12, 0
	mark := func() {
		p := timelinePoint{X: at, Index: point, Title: fmt.Sprintf("crash point %d", point)}
		if n := failing[point]; n > 0 {
			p.Bad = true
			p.Title += ": " + counted(n, "failing leaf", "failing leaves")
		}
		t.Points = append(t.Points, p)
		point++
	}
	started := map[int]int{} // where an operation began, by number
	var now workload.Progress
	for i, e := range x.trace.Events {
		if i == maxDrawn {
			t.Cut = true
			break
		}
		t.Drawn++
		switch e.Kind {
		case disk.EventMark:
			before := now
			if now.Note(e.Mark) != nil {
				continue // the script
			}
			if now.Started > before.Started {
				started[now.Started] = at
			}
			if now.Finished > before.Finished {
				from := started[now.Finished]
				at = max(at, from+smallOp)
				t.Ops = append(t.Ops, operationBar(x.script, now.Finished, from, at-2))
				at += 2
			}
		case disk.EventWrite:
			label := x.label(e.Off, e.Data)
			h := max(6, 6*(bits.Len(uint(len(e.Data)))-8))
			h = min(h, t.Base-46)
			t.Writes = append(t.Writes, timelineWrite{X: at, Y: t.Base - h, W: stepWrite - 2, H: h, Class: writeClass(label),
				Title: fmt.Sprintf("%d bytes at %d: %s", len(e.Data), e.Off, label)})
			at += stepWrite
		case disk.EventFlush:
			at += stepFlush / 2
			t.Flushes = append(t.Flushes, at)
			mark()
			at += stepFlush / 2
		}
	}
	if !t.Cut {
		at += stepFlush / 2
		mark()
	}
	t.Width = at + 14
	return t
}

// operationBar is operation k, with its text if there is room for it.
func operationBar(s *workload.Script, k, from, to int) timelineOp {
	op := s.Ops[k-1]
	full := fmt.Sprintf("%d %s", k, op)
	bar := timelineOp{X: from, W: to - from, Mid: (from + to) / 2, Label: full, Title: full, Sync: op.Kind.Sync()}
	if utf8.RuneCountInString(full)*letter > bar.W {
		bar.Label = fmt.Sprint(k)
	}
	return bar
}
