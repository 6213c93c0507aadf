// Package sockets lets capsules serve clients at a unix socket, as the clients of Astrid
// speak to it.
//
//	door := sockets.New(sockets.Config{Path: "run/system.sock", TokenPath: "run/system.token"})
//	services.Sockets = door.For("cli")
//
// The socket, of mode 0600, exists as long as an instance of one capsule has bound it; a
// second capsule can't. A client must have the user id of this process, and send the token
// that is in the token file, of mode 0600, within 5 seconds: a message {"token": HEX,
// "protocol_version": 1, "client_version": TEXT}. The answer is {"status": "ok" or "error",
// "protocol_version": 1, "server_version": TEXT}, with a "reason" after an error. A message
// is a length of four bytes, the highest first, and that many bytes.
package sockets
