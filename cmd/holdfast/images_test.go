package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"os"
	"testing"

	"holdfast/disk"
	"holdfast/fsck"
	"holdfast/volume"
	"holdfast/workload"
)

var update = flag.Bool("update", false, "write the golden images again")

// TestGoldenImages: an image of format version 1 made once is read the same for ever.
func TestGoldenImages(t *testing.T) {
	const dir = "../../testdata/images/v1/"
	for _, name := range []string{"clean", "crashed"} {
		t.Run(name, func(t *testing.T) {
			if *update {
				writeGolden(t, dir, name)
			}
			image, want := readGolden(t, dir+name+".img.gz"), readFile(t, dir+name+".tree")
			v, err := volume.Open(disk.MemoryFrom(bytes.Clone(image)), volume.Options{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			if replayed := v.Recovery().Replayed; (replayed > 0) != (name == "crashed") {
				t.Errorf("%d transactions replayed", replayed)
			}
			st, err := workload.Load(v)
			if err != nil {
				t.Fatal(err)
			}
			if got := st.Dump(); got != string(want) {
				t.Errorf("the tree is\n%s\nwant\n%s", got, want)
			}
			if r, _, err := check(disk.MemoryFrom(image), fsck.Options{}); err != nil || !r.Clean() {
				t.Errorf("fsck: %v %+v", err, r)
			}
		})
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(readFile(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := io.ReadAll(io.LimitReader(z, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// writeGolden makes an image from its script: the image after the setup, or as it is just
// before the volume is closed, with a log to replay.
func writeGolden(t *testing.T, dir, name string) {
	t.Helper()
	x, err := play(name, string(readFile(t, dir+"image.hf")), "")
	if err != nil {
		t.Fatal(err)
	}
	image, k := bytes.Clone(x.trace.Base), 0
	if name == "crashed" {
		k = len(x.script.Ops)
		for _, e := range x.trace.Events {
			if e.Kind == disk.EventMark && e.Mark == (workload.Mark{Kind: workload.Synced, K: k}).String() {
				break
			}
			if e.Kind == disk.EventWrite {
				copy(image[e.Off:], e.Data)
			}
		}
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(image); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for file, p := range map[string][]byte{name + ".img.gz": z.Bytes(), name + ".tree": []byte(x.run.States[k].Dump())} {
		if err := os.WriteFile(dir+file, p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
