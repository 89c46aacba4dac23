package crash_test

import (
	"errors"
	"fmt"

	"holdfast/crash"
	"holdfast/disk"
)

// A program that keeps two sectors the same, and believes that one write does both.
func Example() {
	dev := disk.NewRecorder(disk.NewMemory(2*512), 512)
	data := make([]byte, 2*512)
	data[0], data[512] = 'x', 'x'
	if _, err := dev.WriteAt(data, 0); err != nil {
		panic(err)
	}
	if err := dev.Flush(); err != nil {
		panic(err)
	}
	trace := dev.Trace()

	report, err := crash.Explore(trace, crash.Options{}, func(s *crash.State) error {
		p := make([]byte, 2*512)
		if err := disk.ReadFull(s.Dev, p, 0); err != nil {
			return err
		}
		if p[0] != p[512] {
			return errors.New("torn")
		}
		s.Note("whole")
		return nil
	})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v of %v states, %d leaves, complete: %v\n", report.Covered, report.States, report.Leaves, report.Complete())
	v := report.Points[0].Kept[0]
	fmt.Println(v.Err, v.Missing)

	image, err := crash.Rebuild(trace, v.ID, nil, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%q %q\n", image.Bytes[0], image.Bytes[512])
	// Output:
	// 5 of 5 states, 5 leaves, complete: true
	// torn [write of 1024 bytes at 0: 1 absent of 2 sectors]
	// '\x00' 'x'
}
