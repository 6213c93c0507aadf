// Package store keeps durable state: keys with values, each with a revision, changed by
// transactions that are fenced against writers that have been replaced.
//
//	s, err := store.Open("state.db", store.Options{})
//	if err != nil { … }
//	defer s.Close()
//
//	fence, err := store.Raise(ctx, s, "greeter")  // earlier writers of greeter are stale now
//	_, err = s.Txn(ctx, fence, nil, []store.Write{store.Put("kv/default/greeter/seen", seen)})
//
// [Open] keeps the state in one file, with bbolt. Transactions that wait at the same time
// share one commit, so a sync of the disk is paid by many. [NewMemory] keeps it in memory,
// for tests. Both behave the same, and an implementation on etcd could: a transaction
// compares revisions and then writes, as etcd's do.
//
// The package gives keys no meaning except "fence/<writer>". By convention, "kv/" holds
// the state of capsules, "usage/" the size of it, "event/" and "cursor/" durable topics.
package store
