package abi

// The calls for people, uplinks, sockets and processes.

//go:wasmimport extism:host/user astrid_request_approval
func astridRequestApproval(request uint64) uint64

//go:wasmimport extism:host/user astrid_elicit
func astridElicit(request uint64) uint64

//go:wasmimport extism:host/user astrid_has_secret
func astridHasSecret(request uint64) uint64

//go:wasmimport extism:host/user astrid_uplink_register
func astridUplinkRegister(name, platform, profile uint64) uint64

//go:wasmimport extism:host/user astrid_uplink_send
func astridUplinkSend(id, user, content uint64) uint64

//go:wasmimport extism:host/user astrid_net_bind_unix
func astridNetBindUnix(path uint64) uint64

//go:wasmimport extism:host/user astrid_net_accept
func astridNetAccept(listener uint64) uint64

//go:wasmimport extism:host/user astrid_net_poll_accept
func astridNetPollAccept(listener uint64) uint64

//go:wasmimport extism:host/user astrid_net_read
func astridNetRead(stream uint64) uint64

//go:wasmimport extism:host/user astrid_net_write
func astridNetWrite(stream, data uint64)

//go:wasmimport extism:host/user astrid_net_close_stream
func astridNetCloseStream(stream uint64)

//go:wasmimport extism:host/user astrid_spawn_host
func astridSpawnHost(request uint64) uint64

//go:wasmimport extism:host/user astrid_spawn_background_host
func astridSpawnBackgroundHost(request uint64) uint64

//go:wasmimport extism:host/user astrid_read_process_logs_host
func astridReadProcessLogsHost(request uint64) uint64

//go:wasmimport extism:host/user astrid_kill_process_host
func astridKillProcessHost(request uint64) uint64

// RequestApproval calls astrid_request_approval.
func RequestApproval(request string) string { return ask(astridRequestApproval, request) }

// Elicit calls astrid_elicit.
func Elicit(request string) string { return ask(astridElicit, request) }

// HasSecret calls astrid_has_secret.
func HasSecret(request string) string { return ask(astridHasSecret, request) }

// UplinkRegister calls astrid_uplink_register.
func UplinkRegister(name, platform, profile string) string {
	a, b, c := put(name), put(platform), put(profile)
	answer := take(astridUplinkRegister(a, b, c))
	free(a)
	free(b)
	free(c)
	return answer
}

// UplinkSend calls astrid_uplink_send.
func UplinkSend(id, user, content string) string {
	a, b, c := put(id), put(user), put(content)
	answer := take(astridUplinkSend(a, b, c))
	free(a)
	free(b)
	free(c)
	return answer
}

// NetBindUnix calls astrid_net_bind_unix.
func NetBindUnix(path string) string { return ask(astridNetBindUnix, path) }

// NetAccept calls astrid_net_accept.
func NetAccept(listener string) string { return ask(astridNetAccept, listener) }

// NetPollAccept calls astrid_net_poll_accept.
func NetPollAccept(listener string) string { return ask(astridNetPollAccept, listener) }

// NetRead calls astrid_net_read.
func NetRead(stream string) string { return ask(astridNetRead, stream) }

// NetWrite calls astrid_net_write.
func NetWrite(stream, data string) {
	s, d := put(stream), put(data)
	astridNetWrite(s, d)
	free(s)
	free(d)
}

// NetCloseStream calls astrid_net_close_stream.
func NetCloseStream(stream string) { tell(astridNetCloseStream, stream) }

// SpawnHost calls astrid_spawn_host.
func SpawnHost(request string) string { return ask(astridSpawnHost, request) }

// SpawnBackgroundHost calls astrid_spawn_background_host.
func SpawnBackgroundHost(request string) string { return ask(astridSpawnBackgroundHost, request) }

// ReadProcessLogsHost calls astrid_read_process_logs_host.
func ReadProcessLogsHost(request string) string { return ask(astridReadProcessLogsHost, request) }

// KillProcessHost calls astrid_kill_process_host.
func KillProcessHost(request string) string { return ask(astridKillProcessHost, request) }
