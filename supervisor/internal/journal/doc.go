// Package journal keeps the log of events: it numbers them, derives snapshots of
// the tree from them, and lets any number of readers follow, each at its own pace.
//
//	j := journal.New(journal.Config{Kept: 4096})
//	j.Observe(messages.Event{Detail: messages.SystemStarted{}})
//	for e := range j.Events(ctx, 0) { ... }
//
// It knows no actor, and starts no goroutine.
package journal
