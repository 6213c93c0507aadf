package actors

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/messages"
)

// Version is what one version of a capsule consists of: its manifest's part, its
// limits, and how its instances are made. An instance belongs to one version for its
// whole life; an upgrade gives the capsule another one. It is not changed once it is
// in use.
type Version struct {
	Number string // of the manifest
	// LoadTimeout is the limit of one load; CallTimeout that of one guest call.
	// 0 is none.
	LoadTimeout time.Duration
	CallTimeout time.Duration
	// CallReductions bounds one guest call; 0 is no bound. Rate bounds the capsule's
	// reductions a second; nil is no bound.
	CallReductions uint64
	Rate           *capsulehost.Rate
	// Queue is how many calls may wait; 0 is any number.
	Queue int

	Interceptors []messages.Interceptor // never changed: compared by identity
	// AllowPromptInjection is the capability that the manifest grants.
	AllowPromptInjection bool

	// Publish and Subscribe are the topics that the manifest grants.
	Publish, Subscribe []string

	// Prepare does what all loads of this version have in common, and can be done while
	// another version serves: it reads, verifies and compiles the module. nil is nothing.
	Prepare func(ctx context.Context) error
	// Load makes a fresh instance that asks its host through api.
	Load func(ctx context.Context, api capsulehost.HostAPI) (Guest, error)
	// Services makes what one instance may use besides its peers, and a function that
	// frees it when the instance has ended; nil is nothing. ctx ends when the instance
	// is interrupted. It is called before the load, which in an upgrade happens beside the
	// running instance, whose generation is smaller.
	Services func(ctx context.Context, i InstanceID) (capsulehost.Services, func())
	// Adopted is called when this version takes the place of another one as that of the
	// capsule's next load. nil is nothing.
	Adopted func()
	// Hash returns the hash of the module in hex; "" before it was read. nil is "".
	Hash func() string
	// Config answers astrid_get_config.
	Config func(key string) string
	// Release is called when the version was in use, and is not any more. nil is nothing.
	Release func()

	users atomic.Int64 // instances that live, and those that may make more
}

// InstanceID says which instance something is for.
type InstanceID struct {
	Generation uint64
	Session    string
	// Number is that of an instance of a pool, from 1; 0 for a capsule's only one.
	Number int
	// Beside: it is prepared beside the current one, which goes on. Its services' State may
	// be a Settler. Alone: the current one has no call meanwhile.
	Beside, Alone bool
}

// hold keeps the version from being released, until drop.
func (v *Version) hold() { v.users.Add(1) }

func (v *Version) drop() {
	if v.users.Add(-1) == 0 && v.Release != nil {
		v.Release()
	}
}

// hash returns the hash of the module; "" if it is not known.
func (v *Version) hash() string {
	if v.Hash == nil {
		return ""
	}
	return v.Hash()
}

// has reports whether the version has an interceptor with that action.
func (v *Version) has(action string) bool {
	for n := range v.Interceptors {
		if v.Interceptors[n].Action == action {
			return true
		}
	}
	return false
}
