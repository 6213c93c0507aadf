package messages

import (
	"cmp"
	"fmt"
)

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

// SettingChange is a setting of the daemon's configuration that was changed.
type SettingChange struct {
	Key string `json:"key"`
	// Applied: the value is in effect. Otherwise it will be when the daemon is started again.
	Applied bool `json:"applied"`
	// Previous and Value are what is in effect, or was, and what the configuration says now;
	// "" is unset. They are masked if they may be secret.
	Previous string `json:"previous"`
	Value    string `json:"value"`
}

// String returns the change in one line, as the command line prints it:
// "applied capsule.greeter.supervision.queue: 256 -> 1000".
func (c SettingChange) String() string {
	verb := "needs a new start"
	if c.Applied {
		verb = "applied"
	}
	return fmt.Sprintf("%s %s: %s -> %s", verb, c.Key, cmp.Or(c.Previous, "unset"), cmp.Or(c.Value, "unset"))
}
