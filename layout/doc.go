// Package layout maps bytes to structures and back: format version 1 of a holdfast image.
//
// It promises that Encode and Decode are inverse, that a decoder never panics and never
// allocates by a count it has read, and that what is reserved is written as zero and
// checked to be zero. It does no I/O and holds no state; it imports nothing of ours.
//
// There is one file per on-disk structure, with its field table above it. Start with
// geometry.go (what lies where), header.go (what every metadata block begins and ends
// with) and checksum.go (how a structure is tied to its address). docs/FORMAT.md says the
// same in prose and is held to this code by a test.
//
// All integers are little-endian. "Block" is a number of a block of Geometry.BlockSize
// bytes from the start of the image; "sector" is the unit of damage.
package layout
