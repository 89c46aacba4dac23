// Package transfer copies trees between a host's file system and a volume: [FromDir] and [CopyIn]
// into a volume, [Build] and [BuildDir] into one that is being made, [ToDir] and [CopyOut] out of
// it; and between a volume and a tar archive: [FromTar], [BuildTar] and [ToTar]. Files, directories,
// symbolic links, FIFOs, sockets and devices go both ways, with their extended attributes (an
// archive has no sockets).
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
//   - A tar archive may come from anybody: names do not lead out of the directory that it is
//     unpacked into, links in the volume are not followed, what is only claimed (a size, a map of
//     holes) costs neither memory nor time, and an error names the member.
//
// It does not make the volume durable: that is Sync or Close of the volume. What an error has
// interrupted is there in part.
//
// It imports volume. Start with transfer.go (options) and entry.go: a tree comes as a stream of
// entries from a source (hostsource.go, tarsource.go, with manifest.go between) to a sink
// (volumesink.go; buildsink.go, for a volume that is being made; measure.go). out.go and tarout.go
// are the way back, bulk.go is the fast way from the host into an image that is made, and host_*.go is what systems have in different forms.
package transfer
