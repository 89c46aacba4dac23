// Package workload says what operations ran on a volume and what must have come of them:
// operation scripts, the reference model that is the oracle, and the judge that compares a
// recovered volume with it.
//
// # What is here
//
//   - [Script]: image parameters, a setup section and the recorded operations, read from text
//     ([Parse]), made from a seed ([Generate]), or one of all short ones ([Bounded]).
//   - [State]: the reference model, maps and byte slices, immutable: the state after each
//     operation is kept, and what did not change is shared.
//   - [Run]: plays a script on a volume.Volume, compares the result of each operation with
//     the model's, and emits a [Mark] when an operation starts, has finished, is durable.
//   - [Digest], [Compare], [Judge]: whether a volume equals a state, and which of the legal ones.
//
// # Promises
//
// Playing a script is deterministic: the operations, the data, and the clock (operation k
// happens at a fixed time) depend on the script alone. The model shares no code with the
// volume: model.go, pmap.go, script.go and the rest of what it stands on import nothing of
// ours. What the judge compares: names, types, modes, owners, link counts, which names share
// an inode, sizes, contents, targets, device numbers, attributes and modification times; not access,
// change and birth times, sizes of directories, inode numbers and block counts. A file without
// a name that was held open is not visible after a crash.
//
// # The script language
//
// One operation a line; '#' starts a comment; words are separated by blanks; a word in double
// quotes is a Go string, for odd names. Sizes are bytes, or a number and k, m or g (base 1024).
// Paths are taken from the root of the image; the leading slash may be left out.
//
//	image [size=1m] [block=1k] [sector=512] [run=BLOCKS] [inodes=N] [reserved=BLOCKS] [dirty=SIZE] [cache=SIZE]
//	      [copies=1|2|mirror] [journal=none]
//	OPERATION ...       setup: builds the base image, which is then synced and closed
//	---
//	OPERATION ...       recorded, numbered from 1
//
// Without a line "---" there is no setup and all operations are recorded. The operations:
//
//	mkdir PATH [MODE]                    MODE is octal: 0755 for mkdir, 0644 for the others
//	create PATH [MODE]                   a regular file
//	mknod PATH p|s|c|b [MAJOR MINOR] [mode=MODE]
//	ln OLD NEW                           a hard link; does not follow OLD
//	ln -s TARGET NEW                     a symbolic link
//	rm PATH
//	rmdir PATH
//	mv [-n|-x|-w] OLD NEW                NEW is the new name; -n: fail if it exists; -x: the two
//	                                     names change what they mean; -w: leave a whiteout
//	write PATH OFFSET LENGTH SEED        LENGTH bytes of Fill(SEED), at most 1m
//	append PATH LENGTH SEED
//	truncate PATH SIZE
//	alloc PATH OFFSET LENGTH [keep]      blocks for what are holes, at most 1m; keep: the size stays
//	punch PATH OFFSET LENGTH             a hole
//	zero PATH OFFSET LENGTH [keep]       allocated, and zero
//	setxattr PATH NAME LENGTH SEED       an attribute of LENGTH bytes of Fill(SEED)
//	rmxattr PATH NAME
//	temp NAME DIR [MODE]                 a file without a name, open as NAME
//	lnh NAME NEW                         gives what is open as NAME a name
//	chmod MODE PATH
//	chown UID:GID PATH
//	touch PATH SECONDS[.NANOSECONDS]     sets the access and modification time
//	open NAME PATH                       keeps the file as NAME, also when it is unlinked
//	close NAME
//	writeh NAME OFFSET LENGTH SEED
//	appendh NAME LENGTH SEED
//	truncateh NAME SIZE
//	fsynch NAME
//	fdatasynch NAME
//	fsync PATH                           makes this and everything before it durable
//	fdatasync PATH                       the same: a volume keeps no less for it than for fsync
//	sync
//	repeat N { ... }                     lines up to "}", N times; $i counts from 0 ($j, $k in nested
//	repeat A..B { ... }                  ones; ${i} before a letter); A..B counts from A to B inclusive
//
// An operation must succeed. "!ENOTEMPTY rmdir d" says that it must fail with that error and
// have no effect, "?rmdir d" that whatever the model says is right. "$$" stands for "$".
//
// # Imports and reading order
//
// Of ours, only volume. Start with script.go, then model.go, run.go and judge.go.
package workload
