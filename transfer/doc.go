// Package transfer moves trees between a host directory and a volume: every file type, modes,
// owners, times, hard links as one inode, sparse files as holes.
//
// It promises that a tree goes in in sorted order (so that images are reproducible), that a
// source which changes while it is read is an error, and that nothing is written outside the
// destination: names are created below an os.Root, symbolic links are never followed.
//
// It imports volume. Start with in.go.
package transfer
