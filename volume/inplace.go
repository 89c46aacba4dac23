package volume

import (
	"errors"
	"math"
	"sync"

	"holdfast/disk"
	"holdfast/journal"
)

// store is where changes go: a log (*journal.Log) or, without one, straight to their places.
type store interface {
	Commit(*journal.Tx) error
	WriteAhead([]journal.Data, *journal.DataWriter) error
	Attest() error
	Close() error
	MaxTx() int
	NextSeq() uint64
	Settled() uint64
	Pending(no uint64) []byte
}

// inPlace is the store of a volume without a journal: blocks are written where they belong,
// each in a write of its own, for it is blocks that this mode takes to be atomic.
type inPlace struct {
	dev       disk.Device
	blockSize int64
	seq       uint64 // the largest that a block was sealed with; Volume.mu is held

	mu        sync.Mutex // a scrub may flush beside an operation
	unflushed bool
}

// Commit writes the data and blocks of a step, in any order, and flushes: what the next one
// writes finds them on the device.
func (s *inPlace) Commit(tx *journal.Tx) error {
	if err := s.write(tx); err != nil {
		return err
	}
	return s.flush()
}

// write is Commit without the flush: for what nothing has to wait for.
func (s *inPlace) write(tx *journal.Tx) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	put := func(no uint64, p []byte) error {
		s.unflushed = true
		_, err := s.dev.WriteAt(p, int64(no)*s.blockSize)
		return err
	}
	for i := range tx.Data {
		for k, p := range tx.Data[i].Pages {
			if err := put(tx.Data[i].Block+uint64(k), p); err != nil {
				return err
			}
		}
	}
	for i := range tx.Blocks {
		if err := put(tx.Blocks[i].No, tx.Blocks[i].Data); err != nil {
			return err
		}
	}
	return nil
}

func (s *inPlace) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.unflushed {
		return nil
	}
	if err := s.dev.Flush(); err != nil {
		return err
	}
	s.unflushed = false
	return nil
}

// WriteAhead is not for this mode: each step has its own data.
func (s *inPlace) WriteAhead([]journal.Data, *journal.DataWriter) error { return errors.ErrUnsupported }

// Attest flushes what no step has had to wait for.
func (s *inPlace) Attest() error { return s.flush() }

// Close is Attest: everything is in its place.
func (s *inPlace) Close() error { return s.flush() }

// MaxTx is no bound: no log has to hold an operation.
func (s *inPlace) MaxTx() int { return math.MaxInt }

// NextSeq is the sequence that the blocks of the next step are sealed with.
func (s *inPlace) NextSeq() uint64 { return s.seq + 1 }

// Settled is always: what a step has freed is free on the device.
func (s *inPlace) Settled() uint64 { return math.MaxUint64 }

// Pending is nil: every block is in its place.
func (s *inPlace) Pending(uint64) []byte { return nil }
