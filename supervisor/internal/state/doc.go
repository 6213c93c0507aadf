// Package state keeps the durable state of capsules in a store: one name space for each
// principal and capsule, a quota for each capsule, and a fence for each instance.
//
//	keeper, err := state.New(ctx, state.Config{Store: s, Principal: "default", Quota: 64 << 20})
//	instance := keeper.Instance("greeter")  // what one guest uses
//	defer instance.Close()
//	space := keeper.Space("greeter", "alice")  // what an operator uses
//
// In an upgrade, [Keeper.Beside] returns what the instance that is prepared uses: a draft,
// which becomes the state when that instance takes over.
//
// The keys in the store are "kv/<principal>/<capsule>/<key>". "usage/<capsule>" has the
// size of all that a capsule keeps; each write compares and replaces it, so it is exact
// even if a write was given up and happened all the same.
package state
