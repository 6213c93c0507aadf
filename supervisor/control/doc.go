// Package control lets another process on the same machine watch and control a running
// [supervisor.Supervisor], over a unix socket that only its owner may use.
//
//	listener, err := control.Listen(path)                       // the daemon
//	err = control.Serve(ctx, listener, sup, log)
//
//	reply, err := control.Dial(path).Trigger(ctx, request)      // its client
//
// The service is astrid.actors.v1.Control, defined in messages/astrid. It speaks
// Connect, gRPC and plain JSON over HTTP, so curl can call it:
//
//	curl --unix-socket ~/.astrid/run/actors.sock -H 'Content-Type: application/json' \
//	    -d '{"topic": "greet.world"}' http://astrid/astrid.actors.v1.Control/Trigger
//
// The service is an observer: it returns snapshots and events, and sends the commands
// that any embedding program can send. It has no accounts and no permissions. A process
// that can connect can do everything, so only the socket's mode, 0600, protects it.
package control
