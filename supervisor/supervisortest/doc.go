// Package supervisortest is for tests of programs that run capsules: it starts
// a real system, makes its capsules misbehave, and waits for what follows
// without sleeping. It is to package supervisor what httptest is to net/http.
//
//	func TestGreeterComesBack(t *testing.T) {
//		sys := supervisortest.Start(t, supervisor.Config{},
//			supervisortest.Func("greeter", "hello.*", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
//				return supervisortest.JSON("hi")
//			}))
//		sys.Inject("greeter", supervisortest.Fault{}) // the next call crashes it
//		sys.Expect("hello.world", ``, `greeter crashed`)
//		sys.AwaitReady("greeter", 2)
//		sys.Expect("hello.world", ``, `greeter continue "hi"`)
//	}
//
// Capsules are WebAssembly modules, from directories (supervisor.Config) or bytes
// ([Module]), or Go functions that stand in for a guest ([Func], [Loop]). A [Fault]
// strikes at a named [Point] of a capsule's life, whatever it is made of.
//
// At the end of the test the system is stopped, and the test fails where a
// promise was broken meanwhile: a trigger or a leg without its answer, two calls
// of a capsule at once, an instance that was not freed, a Serve that did not end.
//
// Everything works inside a testing/synctest bubble, where hours of backoff pass
// in no time, and outside of one.
package supervisortest
