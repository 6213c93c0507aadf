// Package control lets another process on the same machine watch and steer a
// running [supervisor.Supervisor], over a unix socket that only its owner may
// use.
//
//	listener, err := control.Listen(path)                       // the daemon
//	err = control.Serve(ctx, listener, sup, log)
//
//	reply, err := control.Dial(path).Trigger(ctx, request)      // its client
//
// The service is astrid.actors.v1.Control, defined in messages/astrid. It speaks
// Connect, gRPC and plain JSON over HTTP, so curl will do:
//
//	curl --unix-socket ~/.astrid/run/actors.sock -H 'Content-Type: application/json' \
//	    -d '{"topic": "greet.world"}' http://astrid/astrid.actors.v1.Control/Trigger
//
// It is an observer: it sees snapshots and events, and gives the commands that any
// embedder can give. It has no accounts and no permissions: a process that can
// connect can do everything, so the socket's mode, 0600, is the lock.
package control
