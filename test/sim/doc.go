// Package sim tries to break the system's promises. From one seed it draws a tree of
// capsules, clients and their triggers, faults of guests and of the system's own actors,
// and an operator's commands. It runs them in a synctest bubble, in which hours take
// milliseconds, and checks the promises after each step and at the end.
//
//	go test -race ./test/sim -seeds 2000         # seeds 1 to 2000
//	go test -race ./test/sim -seeds 1 -first 77  # seed 77, with its events
//
// A seed determines all actions and their times, but not the order of two goroutines
// that are ready at the same moment: a failure that depends on it may need several runs
// of its seed (-count).
//
// Everything is in the tests: draw_test.go draws; guest_test.go, trigger_test.go and
// client_test.go act, and check the results; audit_test.go follows the events with its
// own model, which account_test.go (restarts, starts), sessions_test.go and
// views_test.go (snapshots, metrics) compare with the rest; store_test.go checks that capsules
// write with their fences; world_test.go runs the
// simulation.
//
// TestTrees does the same with random trees of groups and pools, of which it checks the order
// of starts and stops, the budgets and that each leg has one answer. Each of its causes has a
// moment of its own, so that a seed determines what follows it. treedraw_test.go draws and
// acts, trees_test.go runs, treeaudit_test.go and treebudget_test.go check.
package sim
