package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"holdfast/crash"
	"holdfast/disk"
	"holdfast/workload"
)

// A disaster is a lie of the disk: no file system can undo it, so the question is only whether
// it is noticed. Where the fault model promises that, not noticing is a violation.

// maxDisasters bounds the images that are tried: beyond it they are spread evenly.
const maxDisasters = 20000

// fate is what became of an image after a disaster.
type fate int

const (
	harmless  fate = iota // an allowed tree, and fsck finds nothing
	noticed               // refused, unreadable, found by fsck, or reported by recovery
	earlier               // an earlier tree, without a word
	falseTree             // a tree that never was, without a word
	fates
)

var fateNames = [fates]string{"harmless", "noticed", "an earlier tree, not noticed", "a false tree, not noticed"}

// disaster is one image to try: the writes up to a crash point, but for those lost, and one of
// them elsewhere.
type disaster struct {
	point  int
	lost   []int // events
	victim int64 // where the one lost write landed; -1: nowhere
	what   string
}

// disasters lists what kind of lies there are to tell about a trace.
func (x *session) disasters(kind string, points []*crash.Point) ([]disaster, error) {
	var list []disaster
	var places []int64
	for _, p := range points {
		for _, w := range p.InFlight {
			places = append(places, w.Off)
		}
	}
	slices.Sort(places)
	places = slices.Compact(places)
	for i, p := range points[:len(points)-1] { // the flush behind p returns
		var epoch []int
		for _, w := range p.InFlight {
			epoch = append(epoch, w.Event)
			for j := i + 1; j < len(points); j++ {
				switch kind {
				case "phantom":
					list = append(list, disaster{j, []int{w.Event}, -1, w.String() + " never happened"})
				case "misdirected":
					if j != i+1 && j != len(points)-1 {
						continue
					}
					victims := []int64{w.Off - int64(w.Len), w.Off + int64(w.Len)}
					for _, at := range append(victims, places...) {
						if at != w.Off && at >= 0 && at+int64(w.Len) <= int64(len(x.trace.Base)) {
							list = append(list, disaster{j, []int{w.Event}, at, fmt.Sprintf("%s went to %d (%s)", w, at, x.label(at, x.trace.Base[at:at+int64(w.Len)]))})
						}
					}
				}
			}
		}
		for j := i + 1; kind == "lying-flush" && len(epoch) > 0 && j < len(points); j++ {
			list = append(list, disaster{j, epoch, -1, fmt.Sprintf("the flush at point %d lied: %d writes never happened", i, len(epoch))})
		}
	}
	switch kind {
	case "phantom", "misdirected", "lying-flush":
		return list, nil
	}
	return nil, fmt.Errorf("--disaster %s: want phantom, misdirected or lying-flush", kind)
}

// image is what a disaster leaves.
func (x *session) image(d disaster, p *crash.Point) []byte {
	image := bytes.Clone(x.trace.Base)
	for i, e := range x.trace.Events[:p.Event] {
		if e.Kind != disk.EventWrite {
			continue
		}
		at := e.Off
		for _, lost := range d.lost {
			if lost == i {
				at = d.victim
			}
		}
		if at >= 0 {
			copy(image[at:], e.Data)
		}
	}
	return image
}

// fate judges an image that a disaster left at a crash point.
func (x *session) fate(image []byte, p *crash.Point) (f fate, verdict error, err error) {
	at, err := progress(p)
	if err != nil {
		return 0, nil, err
	}
	dev := disk.MemoryFrom(image)
	v, _, err := x.open(dev, x.options(), at)
	if err == nil {
		return harmless, nil, nil
	}
	var broken *workload.Verdict
	if !errors.As(err, &broken) {
		return 0, nil, err
	}
	switch {
	case v == nil, broken.Class == workload.ErrInvariant, broken.Class == workload.ErrUnreadable, v.Recovery().Dropped:
		return noticed, broken, nil
	}
	if r, err := x.fsckOf(dev); err != nil || !r.Clean() {
		return noticed, broken, nil
	}
	if broken.Class == workload.ErrDurability {
		return earlier, broken, nil
	}
	return falseTree, broken, nil
}

// promised reports whether the fault model promises that an image like this is noticed: a
// phantom write of data, and what a misdirected write did to its victim (the place that it left
// is a phantom write). With two copies a phantom write of one of them has to cost nothing at all.
func (x *session) promised(kind string, d disaster, f fate, p *crash.Point) (bool, error) {
	if kind == "phantom" && len(d.lost) == 1 && x.script.Image.Copies == 2 {
		return f != harmless, nil
	}
	if f < earlier || kind == "lying-flush" {
		return false, nil
	}
	w := x.trace.Events[d.lost[0]]
	if strings.HasPrefix(x.label(w.Off, w.Data), "data of") && kind == "phantom" {
		return true, nil
	}
	if kind != "misdirected" {
		return false, nil
	}
	d.victim = -1
	alone, _, err := x.fate(x.image(d, p), p)
	return alone == harmless, err
}

// sampleDisasters tries disasters of a kind and reports what became of them; broken counts those that
// the fault model promises to notice, and that were not.
func (x *session) sampleDisasters(w io.Writer, kind string) (broken int, err error) {
	points, err := crash.Points(x.trace, x.label)
	if err != nil {
		return 0, err
	}
	list, err := x.disasters(kind, points)
	if err != nil {
		return 0, err
	}
	step := max(1, (len(list)+maxDisasters-1)/maxDisasters)
	owed, breach := "be noticed", "that the fault model promises to notice were not"
	if kind == "phantom" && x.script.Image.Copies == 2 {
		owed, breach = "cost nothing", "cost something, which two copies promise they do not"
	}
	tried, counts, examples := 0, [fates]int{}, [fates]string{}
	for i := 0; i < len(list); i += step {
		d, p := list[i], points[list[i].point]
		f, verdict, err := x.fate(x.image(d, p), p)
		if err != nil {
			return 0, err
		}
		tried++
		if counts[f]++; examples[f] == "" && f >= earlier {
			examples[f] = fmt.Sprintf("%s; power failed at point %d\n    %s", d.what, d.point, strings.ReplaceAll(verdict.Error(), "\n", "\n    "))
		}
		must, err := x.promised(kind, d, f, p)
		if err != nil {
			return 0, err
		}
		if must {
			if broken++; broken == 1 {
				fmt.Fprintf(w, "VIOLATION (this must %s): %s; power failed at point %d\n    %s\n", owed, d.what, d.point, strings.ReplaceAll(verdict.Error(), "\n", "\n    "))
			}
		}
	}
	fmt.Fprintf(w, "%s: %d images tried of %d; a sample of what such a disk can do, not a certificate\n", kind, tried, len(list))
	for f, n := range counts {
		fmt.Fprintf(w, "%8d  %s\n", n, fateNames[f])
	}
	for f, example := range examples {
		if example != "" {
			fmt.Fprintf(w, "first example of %s:\n  %s\n", fateNames[f], example)
		}
	}
	_, err = fmt.Fprintf(w, "%d %s\n", broken, breach)
	return broken, err
}
