// Command compare measures this project beside its alternatives, and beside the minimum
// cost of WebAssembly itself. The same guests run through
//
//   - astrid-actors: capsulehost for single calls, supervisor for the rest;
//   - the Extism Go SDK;
//   - wazero alone, the guest linked to the kernel by hand: without a deadline,
//     which is the minimum, and with wazero's own;
//   - by hand: capsulehost instances, each behind a mutex, and a for loop over
//     the subscribers.
//
// They alternate in one process, many times, so that a slow period of the machine
// affects all of them. The results are ratios: the median, over the turns, of a
// contender's time divided by that of astrid-actors in the same turn.
//
//	go run .                        the whole table
//	go run . -rows 'guest call'     some rows
//	go run . -short                 fewer turns, smaller systems: a smoke test
//	go run . -check baseline.json   fails if a ratio has fallen
//
// The machine should be idle otherwise. Rows that need more than one core, and those
// that subtract the guests' own time, are meaningless on a busy machine.
//
// Run it in its own directory: it finds its guests, and those of test/capsules, relative
// to that. It is a separate module so that the alternatives do not become dependencies
// of the project.
package main
