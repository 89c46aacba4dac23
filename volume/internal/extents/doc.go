// Package extents is the map of one inode: which blocks hold its logical blocks.
//
// Extents lie sorted in the inode's inline area (depth 0) or in the leaves of a tree of index
// blocks below it (layout/extent.go has the bytes). The key of a child is a lower bound of
// what is below it, and the index in the child's header.
//
// It promises that an extent found is one that was inserted, that extents never overlap, that
// neighbours which continue each other in one group are one extent, that an index block which
// becomes empty is freed, one that is nearly so joined with its sibling, and one that is left
// alone and fits inline taken up into the inode. Content read from a store is distrusted: what cannot
// be is an error that matches layout.ErrCorrupt, never a panic or an endless walk.
//
// After an error of Insert or Remove the store and the inode may be changed in part; the
// caller rolls both back. Functions change the inode they are given (extents, depth, blocks);
// the caller writes it.
//
// It imports layout only. Start with tree.go.
package extents
