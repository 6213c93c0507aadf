// Package child has a process of its own answer one request.
//
//	answer, err := child.Ask(ctx, command, request) // in the parent
//	err := child.Serve(os.Stdin, os.Stdout, answer) // in the process that command starts
//
// Request and answer are frames: a mark, a size, a hash and the content. So whatever else a
// process prints, or leaves out, is not taken for an answer.
//
// The process has the lowest claim to a processor that still lets it make progress on a busy
// machine. It ends when Ask's context ends, and also when the parent dies: its standard
// input stays open as long as somebody wants the answer.
package child
