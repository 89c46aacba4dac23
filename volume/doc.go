// Package volume is the file system: it opens an image and gives it as inodes and names.
//
// # Promises
//
// After any crash a volume opens as exactly the state after some prefix of the operations that
// ran on it, and at least all that a completed Fsync or Sync covered; data and names alike. An
// operation is one call; a Write of more than 1 MiB is a sequence of such. An operation that
// fails has changed nothing. What fails its checksum is an error that matches
// layout.ErrCorrupt and EIO, and is never served. A write that was accepted does not fail for
// want of space later. After the first failed write or flush every change is refused until
// the volume is opened again; reading goes on.
//
// A volume is safe for concurrent use. Changes take effect one after another, reading runs
// beside reading.
//
// # What is not promised
//
// Nothing is durable before Fsync, Sync or Close, which make durable everything that came
// before, of other files too. Permissions are not checked and no umask is applied: that is the
// business of who calls. Access times are not kept (noatime). A device must not be used by
// others while a volume is open on it.
//
// # How it works
//
// Operations join one running transaction ([op], [tx]): each edits private copies of metadata
// blocks, keeps their versions from before, and puts these back if it fails. A commit seals
// the blocks and hands them to package journal; meanwhile the next transaction runs, and
// callers of Fsync who come together share one commit. A block is looked for in the running
// transaction, then in the one being committed, in the journal, in the cache, and on the device.
//
// Data is never overwritten in place. A write puts pages into memory and reserves what they
// will need; they get their blocks when the transaction is committed, or earlier if too many
// wait. A block that is freed is not used again before its freeing can no longer be undone
// by a crash. Truncations and removals of many extents go on in steps, the inode being on the
// orphan list meanwhile (I8), and a file does not grow before its old tail is gone.
//
// Every operation has a bound on the blocks that it may touch, so that the log cannot
// overflow: the running transaction is committed first where it might. An operation whose
// bound is too large for a small log is run and measured, and taken back if it does not fit.
//
// # Without a journal
//
// On a volume made with FormatOptions.NoJournal an operation runs in memory in the same way, cut
// into steps by [op.order]; when it has succeeded they are written to their places, each behind
// a flush. See ordered.go for the order within a step, and for what is refused. A crash leaves
// leaks, high counts and wrong counters; no operation is atomic.
//
// # Layers
//
// Volume has the operations on inode numbers, as a mount needs them; [Tree], from
// [Volume.Tree], those on paths, with the names of os.Root.
//
// The package imports disk, layout and journal. Start with volume.go and op.go, then commit.go;
// file.go and orphan.go have the data, ops.go and namei.go the names, alloc.go and inode.go the
// allocation. internal/extents maps the blocks of an inode, internal/dirs the names of a directory.
package volume
