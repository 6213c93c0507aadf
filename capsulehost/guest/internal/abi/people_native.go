//go:build !wasip1

package abi

// The same functions as in the WebAssembly build, for people, uplinks, sockets and processes.

// RequestApproval calls Outside.
func RequestApproval(request string) string {
	return Outside("astrid_request_approval", request)
}

// Elicit calls Outside.
func Elicit(request string) string {
	return Outside("astrid_elicit", request)
}

// HasSecret calls Outside.
func HasSecret(request string) string {
	return Outside("astrid_has_secret", request)
}

// UplinkRegister calls Outside.
func UplinkRegister(name, platform, profile string) string {
	return Outside("astrid_uplink_register", name, platform, profile)
}

// UplinkSend calls Outside.
func UplinkSend(id, user, content string) string {
	return Outside("astrid_uplink_send", id, user, content)
}

// NetBindUnix calls Outside.
func NetBindUnix(path string) string {
	return Outside("astrid_net_bind_unix", path)
}

// NetAccept calls Outside.
func NetAccept(listener string) string {
	return Outside("astrid_net_accept", listener)
}

// NetPollAccept calls Outside.
func NetPollAccept(listener string) string {
	return Outside("astrid_net_poll_accept", listener)
}

// NetRead calls Outside.
func NetRead(stream string) string {
	return Outside("astrid_net_read", stream)
}

// NetWrite calls Outside.
func NetWrite(stream, data string) {
	Outside("astrid_net_write", stream, data)
}

// NetCloseStream calls Outside.
func NetCloseStream(stream string) {
	Outside("astrid_net_close_stream", stream)
}

// SpawnHost calls Outside.
func SpawnHost(request string) string {
	return Outside("astrid_spawn_host", request)
}

// SpawnBackgroundHost calls Outside.
func SpawnBackgroundHost(request string) string {
	return Outside("astrid_spawn_background_host", request)
}

// ReadProcessLogsHost calls Outside.
func ReadProcessLogsHost(request string) string {
	return Outside("astrid_read_process_logs_host", request)
}

// KillProcessHost calls Outside.
func KillProcessHost(request string) string {
	return Outside("astrid_kill_process_host", request)
}
