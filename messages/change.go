package messages

import "fmt"

// ChangeKind says what a reload, an installation or a removal did to a capsule.
type ChangeKind string

// The kinds of changes.
const (
	ChangeAdded     ChangeKind = "added"
	ChangeUpgraded  ChangeKind = "upgraded"
	ChangeUnchanged ChangeKind = "unchanged"
	ChangeRemoved   ChangeKind = "removed"
	ChangeRejected  ChangeKind = "rejected"
)

// Change is what a reload, an installation or a removal did to one capsule.
type Change struct {
	ID     string     `json:"id"`
	Change ChangeKind `json:"change"`
	// Version is the version that is there now; of a rejected capsule, the version that was
	// rejected, if it is known; of a removed one, the version that was there.
	Version string `json:"version"`
	// Previous is the version before an upgrade.
	Previous string `json:"previous,omitempty"`
	// Reason says why a capsule was rejected.
	Reason string `json:"reason,omitempty"`
}

// String returns the change in one line, as the command line prints it:
// "upgraded greeter 1.0.0 -> 1.1.0".
func (c Change) String() string {
	switch c.Change {
	case ChangeAdded:
		return fmt.Sprintf("added %s %s", c.ID, c.Version)
	case ChangeUpgraded:
		return fmt.Sprintf("upgraded %s %s -> %s", c.ID, c.Previous, c.Version)
	case ChangeRejected:
		return fmt.Sprintf("rejected %s: %s", c.ID, c.Reason)
	default:
		return fmt.Sprintf("%s %s", c.Change, c.ID)
	}
}
