package actors

import "github.com/astrid-actors/astrid-actors/messages"

// CapsuleUp tells the registry, the hook router and the supervisor that an
// instance of a capsule serves. A later one for the same capsule replaces it.
type CapsuleUp struct {
	Ref        *CapsuleRef
	Generation uint64
	// Session is the session UUID: fresh for each load of the capsule.
	Session              string
	Version              string
	Interceptors         []messages.Interceptor
	RunLoop              bool
	AllowPromptInjection bool
	State                messages.CapsuleState // StateStarting or StateReady
}

// CapsuleDown tells the registry and the hook router that a capsule does not
// serve. The session of its last instance is invalid from here on.
type CapsuleDown struct {
	Ref        *CapsuleRef
	Generation uint64
	State      messages.CapsuleState
	// Reason explains to a person why it does not serve.
	Reason string
	// Interceptors are those of its manifest, so that a trigger can say who would
	// have been asked.
	Interceptors []messages.Interceptor
}

// CapsuleGone tells the registry and the hook router that a capsule has ended and is
// known no longer. No other message about that Ref follows.
type CapsuleGone struct {
	Ref *CapsuleRef
	// PoolStays: it was one instance of a pool, and the capsule is known as before.
	PoolStays bool
}

// resyncDone tells the registry or the hook router that it has been told of
// every capsule: after its start, and after each restart.
type resyncDone struct{}

// lastSeen is the newest that an actor has heard of a capsule. CapsuleUp and
// CapsuleDown come from the capsule and from its supervisor, and so may overtake
// each other.
type lastSeen struct {
	generation uint64
	over       bool // the generation has ended, and does not come back
}

// up records that a generation serves; it returns false if a newer one is known,
// or this one is known to have ended.
func (l *lastSeen) up(generation uint64) bool {
	if generation < l.generation || (generation == l.generation && l.over) {
		return false
	}
	l.generation, l.over = generation, false
	return true
}

// down records that a generation has ended; it returns false if a newer one is
// known.
func (l *lastSeen) down(generation uint64) bool {
	if generation < l.generation {
		return false
	}
	l.generation, l.over = generation, true
	return true
}
