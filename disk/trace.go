package disk

// EventKind says what an Event of a Trace is.
type EventKind uint8

// The kinds of events.
const (
	EventWrite EventKind = 1 + iota // Data at Off
	EventFlush                      // a barrier that returned without error
	EventMark                       // Mark, a note of the workload: an operation started, finished, synced
)

// Event is one thing that happened at a recorded device.
type Event struct {
	Kind EventKind
	Off  int64  // EventWrite: byte offset, a multiple of the sector size
	Data []byte // EventWrite: what was written, whole sectors
	Mark string // EventMark
}

// Trace is what a Recorder saw: the image as it was, and then every write, flush and mark in order.
type Trace struct {
	SectorSize int    // bytes, 512 or 4096
	Base       []byte // the whole image before the first event
	Events     []Event
}
