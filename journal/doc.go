// Package journal commits sets of blocks atomically: each transaction is on the device as a
// whole or not at all, in the order of their sequence numbers.
//
// # Promises
//
//   - When Commit returns nil, the transaction and all before it survive any crash.
//   - After a crash, Recover restores the blocks of every committed transaction, and of the one
//     in flight either all (data included) or nothing. It may be interrupted and repeated.
//   - An unfinished tail is told from damage: a transaction that a later sector attests and
//     that cannot be read is an error, never silently dropped.
//
// # Not promised
//
// Transactions do not run concurrently: one is in flight at a time, and the caller merges
// operations into it. Isolation, rollback and the freeing of blocks are the caller's; Settled
// says when a freed block may be used again. With one copy of the data, its decay in the last
// commit costs that commit (the report says so) as long as no later one attests it; and a
// recovery that is interrupted and meets new decay before it is repeated, in that last commit,
// may find it half home.
//
// # The log as a number line
//
// Positions count sectors and never go back; position p lies at sector p mod n of both runs.
//
//	  tail of the          tail of the        checkpoint
//	  older header         newer header       start                head
//	----|--------------------|------------------|---------------------|---------
//	    | may not be reused  | replayed by recovery                   | in flight
//
// It imports disk and layout. Start with log.go (commit), then checkpoint.go and recover.go.
package journal
