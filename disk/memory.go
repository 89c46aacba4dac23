package disk

import "sync"

// Memory is a device in memory. Nothing of it survives the process; Flush does nothing.
type Memory struct {
	mu sync.RWMutex
	b  []byte
}

// NewMemory makes a device of size bytes, all zero. It panics if size is negative.
func NewMemory(size int64) *Memory { return &Memory{b: make([]byte, size)} }

// MemoryFrom makes a device of b, which it uses and does not copy.
func MemoryFrom(b []byte) *Memory { return &Memory{b: b} }

// Bytes is the content itself, not a copy: it is the caller's business not to use it while
// others write.
func (m *Memory) Bytes() []byte { return m.b }

// Size implements [Device].
func (m *Memory) Size() int64 { return int64(len(m.b)) }

// Flush implements [Device]; it does nothing.
func (m *Memory) Flush() error { return nil }

// ReadAt implements [Device].
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, int64(len(m.b))); err != nil {
		return 0, err
	}
	m.mu.RLock()
	n := copy(p, m.b[off:])
	m.mu.RUnlock()
	return n, nil
}

// WriteAt implements [Device].
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if err := inRange(len(p), off, int64(len(m.b))); err != nil {
		return 0, err
	}
	m.mu.Lock()
	n := copy(m.b[off:], p)
	m.mu.Unlock()
	return n, nil
}

// ReadChecked implements [Device]. The content is checked where it lies and copied only if it
// passes.
func (m *Memory) ReadChecked(p []byte, c Check, places ...int64) (int, error) {
	m.mu.RLock()
	defer m.mu.RUnlock() // Accept is not our code
	result := ErrBadSector
	for i, off := range places {
		if err := inRange(len(p), off, int64(len(m.b))); err != nil {
			return 0, err
		}
		if b := m.b[off : off+int64(len(p)) : off+int64(len(p))]; c.Pass(b) {
			copy(p, b)
			return i, nil
		}
		result = ErrChecksum
	}
	return 0, result
}
