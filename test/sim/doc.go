// Package sim tries to break the system's promises. From one seed it draws a tree
// of capsules, clients and their triggers, faults of guests and of the system's
// own actors, and an operator's commands, runs them in a synctest bubble, where
// hours take milliseconds, and checks the promises after each step and at the end.
//
//	go test -race ./test/sim -seeds 2000         # seeds 1 to 2000
//	go test -race ./test/sim -seeds 1 -first 77  # seed 77, with its events
//
// A seed decides what everyone does and when, but not which of two goroutines
// goes first that want to at the same moment: a failure that depends on that may
// need its seed more than once (-count).
//
// Everything is in the tests: draw_test.go draws; guest_test.go, trigger_test.go
// and client_test.go act, and check what they see; audit_test.go follows the events
// with a model of its own, which account_test.go (restarts, starts), sessions_test.go
// and views_test.go (snapshots, metrics) hold against the rest; world_test.go tells
// the story.
package sim
