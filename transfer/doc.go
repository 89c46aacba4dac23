// Package transfer copies trees between a host's file system and a volume: [FromDir] and [CopyIn]
// into a volume, [ToDir] and [CopyOut] out of it. Files, directories, symbolic links, FIFOs,
// sockets and devices go both ways.
//
// It promises:
//
//   - With Options.Preserve what comes out is what went in, as cp -a has it: types, contents,
//     modes, numeric owners, access and modification times to the nanosecond, and which names
//     are one file. What cannot be kept (an owner or a device without being root, a time of a
//     link on some systems) does not stop a copy to the host: Stats.Warnings says what and why.
//   - Names are taken in byte order, and a block of zeros becomes a hole whether or not it was
//     one: the volume depends on the tree, not on how the host stores it. With Options.Clamp,
//     and a volume with a fixed clock, two images of one tree are the same bytes.
//   - A file that changes while it is read is an error that names it, never a mixture.
//   - Nothing outside the destination is written, whatever names and links the volume holds:
//     paths are walked with os.Root, no symbolic link is followed, and what is in the way of
//     a file is removed, not written through. A directory is only merged with a directory.
//
// It does not make the volume durable: that is Sync or Close of the volume. What an error has
// interrupted is there in part.
//
// It imports volume. Start with transfer.go (options); in.go and out.go are the two ways, and
// host_*.go is what systems have in different forms.
package transfer
