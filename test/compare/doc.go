// Command compare measures this project beside what one would use in its place,
// and beside the floor below which WebAssembly lets nobody go. The same guests
// run through
//
//   - astrid-actors: capsulehost for single calls, supervisor for the rest;
//   - the Extism Go SDK;
//   - wazero alone, the guest linked to the kernel by hand: without a deadline,
//     which is the floor, and with wazero's own;
//   - by hand: capsulehost instances, each behind a mutex, and a for loop over
//     the subscribers.
//
// They take turns in one process, many times, so that a machine that is slow for
// a while is slow for all of them. What counts are ratios: the median, over the
// turns, of one's time by that of astrid-actors in the same turn.
//
//	go run .                        the whole table
//	go run . -rows 'guest call'     some of it
//	go run . -short                 fewer turns, smaller systems: a smoke test
//	go run . -check baseline.json   fails where a ratio has fallen
//
// The machine should have nothing else to do. Rows that need more than one core,
// and those that count what is over the guests' own time, say nothing where it has.
//
// It is run in its own directory: its guests, and those of test/capsules, are
// found from there. It is a module of its own so that what it compares with
// does not become a dependency of the project.
package main
