// Package guest is what a capsule written in Go imports. It needs the stock Go
// toolchain only, and nothing outside of the standard library.
//
// A capsule is a main package that registers what it does while it is
// initialised; its main function is never called:
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
// A run-loop capsule imports guest/runloop as well, and one that takes part in
// its own installation guest/lifecycle: each adds exports that other capsules
// must not have. Handlers are tested natively, with guest/guesttest in the place
// of the host. The directory examples has whole capsules.
//
// # Failure
//
// A handler that returns an error has failed in good order: whoever asked hears
// so, and the capsule lives on. Where something is broken, panic, or don't catch
// what does: Go writes the panic and its stack to standard error, whose end the
// host keeps with the record of the crash, and a new instance takes over with
// fresh memory. Nothing here recovers from a panic.
//
// # What it is not
//
// The host calls one function at a time, so there is nothing to lock; goroutines
// run only during a call. There are no files, no arguments, no environment and
// no network. Strings are expected to be UTF-8.
package guest
