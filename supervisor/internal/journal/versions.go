package journal

import (
	"cmp"
	"path"
	"slices"

	"github.com/astrid-actors/astrid-actors/messages"
)

// versionsKept limits the changes of its version that are kept of each capsule.
const versionsKept = 32

// Names of changes.
var added, removed, failedToUpgrade = messages.CapsuleAdded{}.Name(), messages.CapsuleRemoved{}.Name(), messages.UpgradeFailed{}.Name() //nolint:gochecknoglobals // constants

// history holds the last changes of a capsule's version, oldest first. It outlives the
// capsule: one that is removed and added again has one history.
type history struct{ records []messages.VersionRecord }

func (h *history) add(r messages.VersionRecord) {
	if len(h.records) == versionsKept {
		h.records = append(h.records[:0:0], h.records[1:]...)
	}
	h.records = append(h.records, r)
}

// hashed completes the last record: the hash is known once the module has been read.
func (h *history) hashed(hash string) {
	if n := len(h.records); n > 0 && h.records[n-1].ModuleHash == "" && h.records[n-1].Change == added {
		h.records[n-1].ModuleHash = hash
	}
}

// has reports whether the capsule has that version of that module already.
func (h *history) has(version, hash string) bool {
	for _, r := range slices.Backward(h.records) {
		switch r.Change {
		case failedToUpgrade:
		case removed:
			return false
		default:
			return r.Version == version && r.ModuleHash == hash
		}
	}
	return false
}

// historyLocked returns the history of a capsule.
func (j *Journal) historyLocked(id string) *history {
	h := j.histories[id]
	if h == nil {
		h = &history{}
		j.histories[id] = h
	}
	return h
}

// rememberLocked records what an event says about a capsule's version. A fresh instance
// of the same files is no change.
func (j *Journal) rememberLocked(e *messages.Event) {
	id := path.Base(e.Path)
	r := messages.VersionRecord{At: e.At, Change: e.Name()}
	switch d := e.Detail.(type) {
	case messages.CapsuleRemoved:
		r.Version = d.Version
	case messages.CapsuleUpgraded:
		if j.historyLocked(id).has(d.To, d.ModuleHash) {
			return
		}
		r.Version, r.Previous, r.ModuleHash = d.To, d.From, d.ModuleHash
	case messages.UpgradeFailed:
		r.Version, r.Previous, r.ModuleHash, r.Reason = cmp.Or(d.To, d.From), d.From, d.ModuleHash, d.Failure.Message
	case messages.CapsuleRolledBack:
		r.Version, r.Previous, r.ModuleHash, r.Reason = d.To, d.From, d.ModuleHash, d.Failure.Message
	default:
		return
	}
	j.historyLocked(id).add(r)
}
