package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"holdfast/volume"
)

func dfCommand() *cobra.Command {
	var units, inodes, kilo, asJSON bool
	c := &cobra.Command{
		Use:   "df IMAGE...",
		Short: "Say how full images are",
		Long: `Say how full images are, in units of 1024 bytes. Blocks that hold the structure of the volume
are not counted; what is kept back for its own needs is neither used nor available. A mounted image
may be named by its mount point.`,
		Args: cobra.MinimumNArgs(1),
		RunE: verb(false, func(w *work, args []string) error {
			head := []string{"Filesystem", "1K-blocks", "Used", "Available", "Use%", "Label"}
			switch {
			case inodes:
				head = []string{"Filesystem", "Inodes", "IUsed", "IFree", "IUse%", "Label"}
			case units:
				head[1], head[3] = "Size", "Avail"
			}
			rows := [][]string{head}
			for _, arg := range args {
				name, s, err := w.statfs(arg)
				if err != nil {
					w.fail(err)
					continue
				}
				if asJSON {
					size := uint64(s.BlockSize)
					w.fail(w.json(fullJSON{name, b64(name), s.Label, b64(s.Label), s.Blocks * size, (s.Blocks - s.Free) * size, s.Available * size,
						s.Inodes, s.Inodes - s.FreeInodes, s.FreeInodes}))
					continue
				}
				all, used, free := s.Blocks, s.Blocks-s.Free, s.Available
				show := func(n uint64) string { return sized(n*uint64(s.BlockSize), units) }
				if inodes {
					all, used, free = s.Inodes, s.Inodes-s.FreeInodes, s.FreeInodes
					show = func(n uint64) string {
						if units {
							return human(n)
						}
						return fmt.Sprint(n)
					}
				}
				rows = append(rows, []string{quoteName(name), show(all), show(used), show(free), usedPercent(used, free), quoteName(s.Label)})
			}
			if len(rows) == 1 {
				return nil
			}
			var width [6]int
			for _, r := range rows {
				for i, text := range r {
					width[i] = max(width[i], len(text))
				}
			}
			for _, r := range rows {
				line := column(r[0], -width[0])
				for i := 1; i < 5; i++ {
					line += " " + column(r[i], width[i])
				}
				if r[5] != "" {
					line += " " + r[5]
				}
				fmt.Fprintln(w.out, line)
			}
			return nil
		}),
	}
	f := freeH(c).Flags()
	f.BoolVarP(&units, "human-readable", "h", false, "sizes with units")
	f.BoolVarP(&inodes, "inodes", "i", false, "inodes instead of space")
	f.BoolVarP(&kilo, "kilobytes", "k", false, "units of 1024 bytes, as in any case")
	f.BoolVar(&asJSON, "json", false, "one JSON object a line, sizes in bytes")
	return c
}

// statfs says how full an image is; of one that is mounted who serves it says so.
func (w *work) statfs(arg string) (name string, s volume.Statfs, err error) {
	o, err := w.operand(mountedImage(arg))
	if err == nil {
		s, err = o.im.Statfs()
		return o.im.name, s, o.at(err)
	}
	var used *inUseError
	if errors.As(err, &used) {
		a, aerr := ask(context.Background(), request{Command: "df", Name: used.name}, nil)
		switch {
		case aerr == nil:
			return used.name, *a.Df, nil
		case !errors.Is(aerr, errNotServed):
			return "", s, aerr
		}
	}
	return "", s, err
}

// usedPercent is how much of used and free is used, rounded up.
func usedPercent(used, free uint64) string {
	if used+free == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", math.Ceil(float64(used)/float64(used+free)*100))
}

// fullJSON is the JSON of a line of df.
type fullJSON struct {
	Image      string `json:"image"`
	ImageB64   string `json:"image_b64,omitempty"`
	Label      string `json:"label"`
	LabelB64   string `json:"label_b64,omitempty"`
	Bytes      uint64 `json:"bytes"`
	Used       uint64 `json:"used"`
	Available  uint64 `json:"available"`
	Inodes     uint64 `json:"inodes"`
	InodesUsed uint64 `json:"inodes_used"`
	InodesFree uint64 `json:"inodes_free"`
}
