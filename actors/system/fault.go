package system

// Fault makes the actor that receives it fail, as a bug of its own would. It is for
// tests.
type Fault struct {
	Cause string
	// Next: it fails over the next message, which is lost with it.
	Next bool
}

// Urgent makes it overtake what waits.
func (*Fault) Urgent() {}
