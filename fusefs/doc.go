// Package fusefs gives an open volume to the Linux kernel as a mounted file system, by FUSE.
//
// # Promises
//
// It is translation only: a request of the kernel becomes one operation of the volume, which is
// therefore what a crash leaves whole or not at all, and an error of the volume its errno. fsync
// returns when the volume says that everything before it is durable. The kernel's cache of
// written pages stays off unless it is asked for, so that what a process has written is an
// operation when write(2) returns.
//
// An inode that the kernel knows is held ([holdfast/volume.Volume.Hold]): files that are open, or
// a process's working directory, outlive their last name, and an inode number means the same
// file for as long as the kernel may ask for it. Numbers are those of the volume, generations are
// exported.
//
// The kernel may keep names and attributes as long as it likes: all changes go through it.
// Nobody else may change the volume meanwhile.
//
// # What is not promised
//
// Permissions are the kernel's to check (default_permissions), and locks of files are its own.
// syncfs(2) and sync(2) do not reach a FUSE server: fsync of any file or directory does what they
// should. Access times are not kept.
//
// The package imports volume. Start with mount.go; fs.go has what requests share, names.go,
// attr.go, data.go, dir.go and xattr.go the requests, nodes.go the inodes that the kernel knows,
// ordering.go the log of what took effect.
// It is for Linux only.
package fusefs
