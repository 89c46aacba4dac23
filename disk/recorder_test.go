package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/crc32"
)

// sample is a trace with everything in it.
func sample(t testing.TB) *Trace {
	t.Helper()
	m := NewMemory(64 << 10)
	mustWrite(t, m, pattern(1024, 1), 4096)
	mustWrite(t, m, pattern(512, 2), 64<<10-512)
	r := NewRecorder(m, sectorSize)
	r.Mark("create a")
	p := pattern(1024, 3)
	mustWrite(t, r, p, 0)
	clear(p)
	mustWrite(t, r, make([]byte, 512), 4096)
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	r.Mark("")
	mustWrite(t, r, pattern(512, 4), 0)
	return r.Trace()
}

func encode(t testing.TB, tr *Trace) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tr.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRecorder(t *testing.T) {
	base := make([]byte, 64<<10)
	copy(base[4096:], pattern(1024, 1))
	copy(base[64<<10-512:], pattern(512, 2))
	want := &Trace{SectorSize: 512, Base: base, Events: []Event{
		{Kind: EventMark, Mark: "create a"},
		{Kind: EventWrite, Data: pattern(1024, 3)},
		{Kind: EventWrite, Off: 4096, Data: make([]byte, 512)},
		{Kind: EventFlush},
		{Kind: EventMark},
		{Kind: EventWrite, Data: pattern(512, 4)},
	}}
	if got := sample(t); !reflect.DeepEqual(got, want) {
		t.Errorf("trace %+v", got.Events)
	}
}

func TestRecorderRefuses(t *testing.T) {
	m := NewMemory(8192)
	r := NewRecorder(m, 512)
	for _, w := range []Extent{{1, 512}, {0, 511}, {0, 1}, {256, 256}} {
		_, err := r.WriteAt(pattern(int(w.Len), 1), w.Off)
		wantErr(t, "unaligned write", err, ErrUnaligned)
	}
	if n := len(r.Trace().Events); n != 0 || !bytes.Equal(m.Bytes(), make([]byte, 8192)) {
		t.Errorf("refused writes left %d events", n)
	}
}

func TestRecorderFailures(t *testing.T) {
	r := NewRecorder(scripted(t, NewMemory(8192), "flush 1: error\nwrite 1: error"), 512)
	_, err := r.WriteAt(make([]byte, 512), 0)
	wantErr(t, "write", err, ErrInjected)
	wantErr(t, "flush", r.Flush(), ErrInjected)
	if e := r.Trace().Events; len(e) != 1 || e[0].Kind != EventWrite {
		t.Errorf("events %v, want the write that failed and no flush", e)
	}
	r = NewRecorder(scripted(t, NewMemory(8192), "decay 3"), 512)
	wantErr(t, "Err", r.Err(), ErrBadSector)
	_, err = r.WriteAt(make([]byte, 512), 0)
	wantErr(t, "write without a base", err, ErrBadSector)
	wantErr(t, "flush without a base", r.Flush(), ErrBadSector)
}

func TestTraceIsAMoment(t *testing.T) {
	r := NewRecorder(NewMemory(8192), 512)
	r.Mark("1")
	first := r.Trace()
	r.Mark("2")
	if len(first.Events) != 1 || len(r.Trace().Events) != 2 {
		t.Error("a trace grew after it was taken")
	}
}

func TestTraceFile(t *testing.T) {
	big := make([]byte, 300<<10)
	copy(big[100<<10:], pattern(150<<10, 1))
	for name, tr := range map[string]*Trace{
		"sample":      sample(t),
		"empty":       {SectorSize: 512, Base: []byte{}},
		"4096":        {SectorSize: 4096, Base: make([]byte, 8192), Events: []Event{{Kind: EventWrite, Off: 4096, Data: pattern(4096, 1)}}},
		"no zeros":    {SectorSize: 512, Base: pattern(2048, 1)},
		"zeros first": {SectorSize: 512, Base: append(make([]byte, 512), pattern(512, 1)...)},
		"big":         {SectorSize: 512, Base: big, Events: []Event{{Kind: EventWrite, Data: big}, {Kind: EventFlush}}},
	} {
		b := encode(t, tr)
		for how, in := range map[string]io.Reader{"whole": bytes.NewReader(b), "in bits": iotest.OneByteReader(bytes.NewReader(b))} {
			back, err := ReadTrace(in)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, how, err)
			}
			if !reflect.DeepEqual(back, tr) {
				t.Errorf("%s, %s: another trace came back", name, how)
			}
		}
	}
	sparse := encode(t, &Trace{SectorSize: 4096, Base: make([]byte, 64<<20)})
	if len(sparse) > 64 {
		t.Errorf("64 MiB of zeros take %d bytes", len(sparse))
	}
}

func TestTraceHash(t *testing.T) {
	// The value is part of the identity of crash states that people keep: it may not change.
	if got, want := sample(t).Hash(), uint64(0xa46c9c2152e2a90e); got != want {
		t.Errorf("hash %#x, want %#x", got, want)
	}
	seen := map[uint64]string{sample(t).Hash(): "sample"}
	for name, change := range map[string]func(*Trace){
		"base":    func(tr *Trace) { tr.Base[5] ^= 1 },
		"data":    func(tr *Trace) { tr.Events[1].Data[5] ^= 1 },
		"offset":  func(tr *Trace) { tr.Events[1].Off += 512 },
		"mark":    func(tr *Trace) { tr.Events[0].Mark += "x" },
		"events":  func(tr *Trace) { tr.Events = tr.Events[:len(tr.Events)-1] },
		"flush":   func(tr *Trace) { tr.Events = append(tr.Events, Event{Kind: EventFlush}) },
		"size":    func(tr *Trace) { tr.Base = append(tr.Base, make([]byte, 512)...) },
		"invalid": func(tr *Trace) { tr.SectorSize = 100 },
	} {
		tr := sample(t)
		change(tr)
		if other, taken := seen[tr.Hash()]; taken {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[tr.Hash()] = name
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, tr := range map[string]*Trace{
		"sector size":      {SectorSize: 1000, Base: make([]byte, 1000)},
		"base":             {SectorSize: 512, Base: make([]byte, 1000)},
		"kind":             {SectorSize: 512, Events: []Event{{Kind: 9}}},
		"no kind":          {SectorSize: 512, Events: []Event{{}}},
		"unaligned":        {SectorSize: 512, Base: make([]byte, 1024), Events: []Event{{Kind: EventWrite, Off: 1, Data: make([]byte, 512)}}},
		"beyond the end":   {SectorSize: 512, Base: make([]byte, 512), Events: []Event{{Kind: EventWrite, Off: 512, Data: make([]byte, 512)}}},
		"empty write":      {SectorSize: 512, Base: make([]byte, 512), Events: []Event{{Kind: EventWrite}}},
		"a very long mark": {SectorSize: 512, Events: []Event{{Kind: EventMark, Mark: strings.Repeat("x", maxMark+1)}}},
	} {
		wantErr(t, name, tr.Encode(io.Discard), ErrTrace)
	}
	boom := errors.New("boom")
	wantErr(t, "write error", sample(t).Encode(failingWriter{boom}), boom)
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestReadTraceCutOff(t *testing.T) {
	b := encode(t, sample(t))
	for n := range b {
		_, err := ReadTrace(bytes.NewReader(b[:n]))
		if !errors.Is(err, ErrTrace) || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "cut off at byte") {
			t.Fatalf("cut off at %d of %d: %v", n, len(b), err)
		}
	}
	_, err := ReadTrace(iotest.ErrReader(ErrInjected))
	wantErr(t, "host error", err, ErrInjected)
	if errors.Is(err, ErrTrace) {
		t.Error("a host error is no fault of the trace")
	}
}

func TestReadTraceDamaged(t *testing.T) {
	b := encode(t, sample(t))
	for i := range b {
		for _, flip := range []byte{1, 0x80, 0xff} {
			damaged := bytes.Clone(b)
			damaged[i] ^= flip
			if _, err := ReadTrace(bytes.NewReader(damaged)); !errors.Is(err, ErrTrace) {
				t.Fatalf("byte %d ^ %#x: %v", i, flip, err)
			}
		}
	}
	_, err := ReadTrace(bytes.NewReader(append(bytes.Clone(b), 0)))
	wantErr(t, "a byte too many", err, ErrTrace)
}

// traceBytes is a trace file with a right checksum, of a header and items.
func traceBytes(version, sector uint32, size uint64, items ...byte) []byte {
	b := []byte(traceMagic)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, sector)
	b = binary.LittleEndian.AppendUint64(b, size)
	b = append(b, items...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// TestReadTraceHostile has files whose checksum is right and whose content is not.
func TestReadTraceHostile(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	sector := make([]byte, 512)
	for _, test := range []struct {
		name string
		b    []byte
		want string
	}{
		{"version", traceBytes(2, 512, 0, 0), "version 2"},
		{"sector size", traceBytes(1, 1, 0, 0), "sector size 1"},
		{"size not sectors", traceBytes(1, 512, 100, 0), "base of 100 bytes"},
		{"size beyond all bounds", traceBytes(1, 512, 1<<63, 0), "base of"},
		{"size over the limit", traceBytes(1, 512, MaxTraceBase+512, 0), "base of"},
		{"base missing", traceBytes(1, 512, 512, 0), "item 0 in the base"},
		{"write in the base", traceBytes(1, 512, 512, 1), "item 1 in the base"},
		{"zeros too long", traceBytes(1, 512, 512, 4, 0x80, 0x08), "length 1024, at most 512"},
		{"zeros of no length", traceBytes(1, 512, 512, 4, 0), "length 0"},
		{"zeros of part of a sector", traceBytes(1, 512, 512, 4, 1), "length 1 in"},
		{"zeros twice", traceBytes(1, 512, 1024, 4, 0x80, 0x04, 4, 0x80, 0x04, 0), "item 4"},
		{"base after its end", traceBytes(1, 512, 512, 4, 0x80, 0x04, 4, 0x80, 0x04, 0), "item 4"},
		{"unknown item", traceBytes(1, 512, 0, 9), "item 9"},
		{"mark too long", traceBytes(1, 512, 0, append([]byte{3}, huge...)...), "length of a mark"},
		{"number without end", traceBytes(1, 512, 0, append([]byte{3}, bytes.Repeat([]byte{0xff}, 20)...)...), "overflow"},
		{"write beyond the end", traceBytes(1, 512, 0, append([]byte{1, 0, 1}, sector...)...), "sectors 1, at most 0"},
		{"write at no place", traceBytes(1, 512, 0, append([]byte{1, 1, 1}, sector...)...), "sector 1, at most 0"},
		{"empty write", traceBytes(1, 512, 512, 4, 0x80, 0x04, 1, 0, 0, 0), "empty write"},
		{"promises much", traceBytes(1, 512, MaxTraceBase, append([]byte{5}, 0x80, 0x80, 0x80, 0x80, 0x10)...), "cut off"},
		{"zeros as bytes", traceBytes(1, 512, 512, append(append([]byte{5, 0x80, 0x04}, sector...), 0)...), ""},
	} {
		tr, err := ReadTrace(bytes.NewReader(test.b))
		if test.want == "" {
			if err != nil || len(tr.Base) != 512 {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if !errors.Is(err, ErrTrace) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	// A small one: the fuzzer spends its time on making large inputs smaller.
	f.Add(encode(f, &Trace{SectorSize: 512, Base: append(make([]byte, 512), pattern(512, 1)...), Events: []Event{
		{Kind: EventMark, Mark: "m"}, {Kind: EventWrite, Off: 512, Data: make([]byte, 512)}, {Kind: EventFlush},
	}}))
	f.Add(traceBytes(1, 4096, 4096, 4, 0x80, 0x20, 2, 3, 1, 'x', 0))
	f.Add(traceBytes(1, 512, 1<<20, 5, 0x80, 0x80, 0x40))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 28 {
			// Let what the fuzzer makes of the content get past the checksum.
			b = bytes.Clone(b)
			if binary.LittleEndian.Uint64(b[16:]) <= 16<<20 {
				binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], castagnoli))
			}
		}
		tr, err := ReadTrace(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrTrace) {
				t.Fatalf("error %v", err)
			}
			return
		}
		back, err := ReadTrace(bytes.NewReader(encode(t, tr)))
		if err != nil || !reflect.DeepEqual(tr, back) || tr.Hash() != back.Hash() {
			t.Fatalf("what was read does not come back: %v", err)
		}
	})
}
