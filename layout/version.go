package layout

import "fmt"

type versionError struct{ v uint32 }

func (e *versionError) Error() string {
	return fmt.Sprintf("format version %d not supported: this program knows version %d", e.v, Version)
}
func (e *versionError) Is(t error) bool { return t == ErrVersion }

type featureError struct{ f uint64 }

func (e *featureError) Error() string {
	return fmt.Sprintf("unknown incompatible feature bits %#x: a newer program made this image", e.f)
}
func (e *featureError) Is(t error) bool { return t == ErrFeature }
