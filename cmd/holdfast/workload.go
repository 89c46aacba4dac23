package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/layout"
	"holdfast/volume"
	"holdfast/workload"
)

// session is a script that has been played: its trace, and the states that the tree may be in.
type session struct {
	text   string // of the script, without what overrides it
	script *workload.Script
	run    *workload.Run
	trace  *disk.Trace
	layout layout.Geometry
	label  func(off int64, data []byte) string
	then   *workload.Second // what runs after recovery, nil if nothing does
	soft   bool             // every read fails once

	overlays sync.Pool // of check
}

// The script itself is the first mark of a trace, so that a trace file is enough to explore.
const scriptMark = "script "

// play formats an image in memory, runs the setup, records the rest, and closes the volume.
// text is the script as it was parsed, with the overrides applied to it.
func play(name, text, override string) (*session, error) {
	s, err := parseScript(name, text, override)
	if err != nil {
		return nil, err
	}
	b, err := prepare(s)
	if err != nil {
		return nil, err
	}
	return b.record(s, text, override)
}

// prepared is an image on which a setup has run, and the tree in it.
type prepared struct {
	image []byte
	state *workload.State
}

// prepare formats an image in memory and runs the setup.
func prepare(s *workload.Script) (*prepared, error) {
	run := workload.NewRun(s)
	o := run.FormatOptions()
	mem := disk.NewMemory(o.Size)
	var dev disk.Device = mem
	if s.Image.Mirror {
		f := mirrorFiles(mem)
		dev, o.Size, o.Copies, o.Twin = f[0], f[0].Size(), 0, f[1]
	}
	if err := volume.Format(dev, o); err != nil {
		return nil, fmt.Errorf("%s: making the image: %w", s.Name, err)
	}
	v, err := openVolume(&s.Image, mem, run.Options())
	if err != nil {
		return nil, err
	}
	if err := run.Setup(v); err != nil {
		return nil, err
	}
	if err := v.Close(); err != nil {
		return nil, err
	}
	return &prepared{mem.Bytes(), run.States[0]}, nil
}

// record plays a script whose setup is that of the image, and leaves the image as it is.
func (b *prepared) record(s *workload.Script, text, override string) (*session, error) {
	run := workload.NewRunAfter(s, b.state)
	rec := disk.NewRecorder(disk.MemoryFrom(bytes.Clone(b.image)), s.Image.Sector)
	if err := rec.Err(); err != nil {
		return nil, err
	}
	rec.Mark(scriptMark + override + "\n" + text)
	v, err := openVolume(&s.Image, rec, run.Options())
	if err != nil {
		return nil, err
	}
	mark := func(m workload.Mark) { rec.Mark(m.String()) }
	if err := run.Play(v, mark); err != nil {
		return nil, err
	}
	if err := v.Close(); err != nil {
		return nil, err
	}
	run.Closed(mark)
	return newSession(text, s, run, rec.Trace())
}

func parseScript(name, text, override string) (*workload.Script, error) {
	s, err := workload.Parse(name, text)
	if err != nil {
		return nil, err
	}
	if override != "" {
		if err := s.Override(override); err != nil {
			return nil, fmt.Errorf("%s: --image: %w", name, err)
		}
	}
	return s, nil
}

func newSession(text string, s *workload.Script, run *workload.Run, t *disk.Trace) (*session, error) {
	_, sb, err := assembled(&s.Image, disk.MemoryFrom(t.Base))
	if err != nil {
		return nil, err
	}
	g, err := layout.NewGeometry(sb)
	if err != nil {
		return nil, err
	}
	return &session{text: text, script: s, run: run, trace: t, layout: g, label: labelsOf(&g, sb, t)}, nil
}

// fromTrace replays the script that a trace file carries, for the model's states, and insists
// that it does now what it did then.
func fromTrace(name string, t *disk.Trace) (*session, error) {
	for _, e := range t.Events {
		if e.Kind != disk.EventMark || !strings.HasPrefix(e.Mark, scriptMark) {
			continue
		}
		override, text, _ := strings.Cut(e.Mark[len(scriptMark):], "\n")
		x, err := play(name, text, override)
		if err != nil {
			return nil, err
		}
		if x.trace.Hash() != t.Hash() {
			return nil, fmt.Errorf("%s: playing its script gives another trace: it was recorded by another version", name)
		}
		return newSession(text, x.script, x.run, t)
	}
	return nil, fmt.Errorf("%s: no script in the trace: it was not recorded by crash record", name)
}

// progress is how far the run had come at a crash point.
func progress(p *crash.Point) (workload.Progress, error) {
	var at workload.Progress
	for _, m := range p.Marks {
		if strings.HasPrefix(m, scriptMark) {
			continue
		}
		if err := at.Note(m); err != nil {
			return at, err
		}
	}
	return at, nil
}
