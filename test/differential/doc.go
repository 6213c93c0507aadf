// Package differential compares the host's answers with those of astrid-capsule 0.5.0: the
// same guests make the same calls in both, and testdata/answers.txt has what each answers,
// and why where they differ.
//
//	make differential                                   # builds the reference with cargo, and compares
//	go test ./test/differential -reference PATH -update # writes answers.txt
//
// Without the reference, the test compares this host with its part of answers.txt. The
// program in the directory reference hosts a capsule with the reference's own crates. They
// are no part of the default build, and its Cargo.lock says which versions of theirs it was
// compared with. Compared are 44 of the 49 calls: not astrid_log and
// astrid_signal_ready, which answer nothing, astrid_clock_ms, and the two calls for which
// other capsules must be there.
package differential
