// Package capsulehost loads, limits, calls and kills one capsule: a WebAssembly
// module built with any Extism PDK. It is the guest ABI of astrid-capsule 0.5.0
// on wazero, and knows no actors.
//
//	host, err := capsulehost.New(ctx, capsulehost.Config{})
//	module, err := host.Compile(ctx, wasm)                   // once
//	instance, err := module.Instantiate(ctx, surroundings)   // for each life
//	result, err := instance.Invoke(ctx, "action", payload)   // one call at a time
//
// What a guest does wrong comes back as a [*Failure], and costs its instance;
// what it reports itself as a [*GuestError], and does not.
//
// A Host and a Module may be used by any number of goroutines, an Instance by
// one at a time. What the guest may ask of the world is [HostAPI].
//
// The package does not read manifests, decide on restarts or queue calls.
package capsulehost
