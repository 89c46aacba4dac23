package layout

// What tells two versions of a structure apart that both pass their checksum: the larger one is
// newer (disk.Check.Version).

// BlockVersion is the sequence in the header of a metadata block.
func BlockVersion(p []byte) uint64 { return le.Uint64(p[8:]) }

// SuperblockVersion is the sequence of a superblock.
func SuperblockVersion(p []byte) uint64 { return le.Uint64(p[144:]) }

// LogHeadVersion is the sequence of a log header.
func LogHeadVersion(p []byte) uint64 { return le.Uint64(p[8:]) }
