// Package guest is the library for capsules written in Go. It needs only the standard Go
// toolchain and the standard library.
//
// A capsule is a main package that registers its handlers during initialisation; its
// main function is never called:
//
//	package main
//
//	import "github.com/astrid-actors/astrid-actors/capsulehost/guest"
//
//	func init() {
//		guest.Handle("greet", func(payload []byte) (guest.Result, error) {
//			guest.Infof("greeting %s", payload)
//			return guest.ContinueJSON(map[string]string{"say": guest.Config("greeting")})
//		})
//	}
//
//	func main() {}
//
// Build it beside its Capsule.toml, and seal it:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o greeter.wasm .
//	astrid-actors seal .
//
// A run-loop capsule also imports guest/runloop. A capsule that takes part in its own
// installation also imports guest/lifecycle. Each adds exports that other capsules must
// not have. Test handlers natively, with guest/guesttest instead of the host. The
// directory examples contains complete capsules.
//
// # Failure
//
// A handler that returns an error reports an ordinary failure: the caller receives it,
// and the capsule keeps running. If the capsule's state may be broken, panic, and do not
// recover from panics. Go writes the panic and its stack to standard error. The host
// records the end of it with the crash, and starts a new instance with fresh memory. This
// package never recovers from a panic.
//
// # Limits
//
// The host calls one function at a time, so no locks are needed for that; goroutines run
// only during a call. Package os finds no files, no environment variables and no network;
// the only argument is the capsule's id. Files and HTTP are calls of this package, as far
// as the manifest grants them. Strings must be UTF-8.
package guest
