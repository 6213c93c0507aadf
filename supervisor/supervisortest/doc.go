// Package supervisortest is for tests of programs that run capsules. It starts a real
// system, makes its capsules misbehave, and waits for the consequences without sleeping.
// It is to package supervisor as httptest is to net/http.
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
// ([Module]), or Go functions that replace a guest ([Func], [Loop]). A [Fault] strikes
// at a named [Point] of an instance, in any of them. [System.UnderLoad] has clients send
// triggers at a steady rate while something happens, such as an upgrade.
//
// At the end of the test the system is stopped. The test fails if a promise was broken:
// a trigger or a leg without its answer, two concurrent calls of a capsule, an instance
// that was not freed, a Serve that did not end.
//
// Everything works inside a testing/synctest bubble, in which hours of backoff take no
// time, and outside of one.
package supervisortest
