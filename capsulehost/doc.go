// Package capsulehost loads, limits, calls and kills one capsule: a WebAssembly
// module built with any Extism PDK. It implements the guest ABI of astrid-capsule
// 0.5.0 on wazero, and does not know about actors.
//
//	host, err := capsulehost.New(ctx, capsulehost.Config{})
//	module, err := host.Compile(ctx, wasm)                   // once
//	instance, err := module.Instantiate(ctx, hostAPI)        // after each crash
//	result, err := instance.Invoke(ctx, "action", payload)   // one call at a time
//
// A guest that traps, exceeds a limit or misuses a host function ends its call with a
// [*Failure], and its instance is lost. An error that the guest itself reports is a
// [*GuestError], and its instance stays usable.
//
// A Host and a Module are safe for concurrent use; an Instance must be used by one
// goroutine at a time. [HostAPI] is everything that a guest can request from the host.
//
// The package does not read manifests, decide on restarts or queue calls.
package capsulehost
