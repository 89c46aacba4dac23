// Package dirs is the directory format: leaves whose records never move and, once there is
// more than one leaf, a B+tree over the hashes of names and a map of the free space.
//
// It promises:
//
//   - A name keeps its position until it is removed. An enumeration by [Dir.Next] that runs
//     while names come and go sees a name that is there throughout exactly once.
//   - What is read is checked before it is believed: owner, index and generation of every
//     block, each record, the order of the index, and that the index and the leaves agree
//     where they are compared (I10). What cannot be is an error that matches
//     layout.ErrCorrupt, never a panic or an endless walk.
//   - A place for a name is found without a scan of the leaves.
//   - Emptied leaves, blocks of the space map and index nodes are given back. A directory
//     without names owns no block; one of a single leaf, leaf 0, has no index.
//   - The same operations on the same directory change the same bytes, with a [Hint] or without.
//   - A plain scan of the leaves always works.
//
// # The index
//
// Nodes other than the root are at least a third full: a removal that leaves less joins the
// node with a neighbour or, if both do not fit into one, shares their entries out evenly. The
// root of a tree that has one child gives way to it. The scheme is that of XFS (hash and
// place, many places per hash) with the usual B+tree (Comer, "The Ubiquitous B-Tree", 1979).
//
// # The space map
//
// The map says how large the largest hole of each leaf is, in units of 16 bytes, rounded down.
// A new name goes into the first leaf that surely has room; before that, into one of the first
// few that may have it, so that a hole as long as the record itself is found too. A block of
// the map that would describe no leaf is absent.
//
// # Errors
//
// After an error of Insert, Remove, Replace or Free the blocks and the inode may be changed in
// part; the caller rolls both back. Without a journal (Geometry.RunBlocks is 0) a directory
// gets no index and stays a plain list of leaves, which the ordered mode needs.
//
// It imports layout and volume/internal/extents, through which leaves and space map are
// mapped. Start with dir.go; leaf.go, index.go and space.go are one structure each.
package dirs
