package system

// Fault has the actor that gets it fail, as a bug of its own would: for tests of
// what follows.
type Fault struct {
	Cause string
	// Next: it fails over the next message, which is lost with it.
	Next bool
}

// Urgent makes it overtake what waits.
func (*Fault) Urgent() {}
