package main

import (
	"errors"

	"holdfast/disk"
	"holdfast/layout"
)

type journalJSON struct {
	Heads    []headJSON `json:"heads"`
	Run      uint64     `json:"run_sectors"`
	Sectors  int        `json:"live_sectors"`
	FirstSeq uint64     `json:"first_transaction"`
	LastSeq  uint64     `json:"last_transaction"`
	Attested uint64     `json:"attested"`

	Transactions []transactionJSON `json:"transactions,omitempty"`
}

// transactionJSON is a transaction as far as the log holds it. Whether it is whole only
// recovery says.
type transactionJSON struct {
	Transaction uint64 `json:"transaction"`
	Position    uint64 `json:"position"` // of its first sector, counted over all laps of the log
	Sectors     int    `json:"sectors"`
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
		_, err := d.dev.ReadChecked(p, disk.Check{Seed: d.seeds.Head(i), Want: layout.Residue, Version: layout.LogHeadVersion}, int64(g.LogHead(i))*int64(g.BlockSize))
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
		if n := len(j.Transactions); n == 0 || j.Transactions[n-1].Transaction != h.Seq {
			j.Transactions = append(j.Transactions, transactionJSON{Transaction: h.Seq, Position: pos})
		}
		j.Transactions[len(j.Transactions)-1].Sectors++
	}
	return j, nil
}
