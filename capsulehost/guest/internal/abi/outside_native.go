//go:build !wasip1

package abi

// Outside replaces the calls for what lies outside (files, HTTP, people, sockets ...) in tests: it receives the
// name of the system call and its arguments. Without it, they panic, as the host ends a
// capsule to which nothing is granted.
var Outside = func(call string, _ ...string) string {
	panic("guest: " + call + " is not granted: see guesttest.Outside")
}

// The same functions as in the WebAssembly build.

// ReadFile calls Outside.
func ReadFile(path string) string { return Outside("astrid_read_file", path) }

// WriteFile calls Outside.
func WriteFile(path, content string) { Outside("astrid_write_file", path, content) }

// FSExists calls Outside.
func FSExists(path string) string { return Outside("astrid_fs_exists", path) }

// FSStat calls Outside.
func FSStat(path string) string { return Outside("astrid_fs_stat", path) }

// FSReadDir calls Outside.
func FSReadDir(path string) string { return Outside("astrid_fs_readdir", path) }

// FSMkdir calls Outside.
func FSMkdir(path string) { Outside("astrid_fs_mkdir", path) }

// FSUnlink calls Outside.
func FSUnlink(path string) { Outside("astrid_fs_unlink", path) }

// HTTPRequest calls Outside.
func HTTPRequest(request string) string { return Outside("astrid_http_request", request) }

// HTTPStreamStart calls Outside.
func HTTPStreamStart(request string) string { return Outside("astrid_http_stream_start", request) }

// HTTPStreamRead calls Outside.
func HTTPStreamRead(handle string) string { return Outside("astrid_http_stream_read", handle) }

// HTTPStreamClose calls Outside.
func HTTPStreamClose(handle string) { Outside("astrid_http_stream_close", handle) }

// IdentityResolve calls Outside.
func IdentityResolve(request string) string { return Outside("astrid_identity_resolve", request) }

// IdentityLink calls Outside.
func IdentityLink(request string) string { return Outside("astrid_identity_link", request) }

// IdentityUnlink calls Outside.
func IdentityUnlink(request string) string { return Outside("astrid_identity_unlink", request) }

// IdentityCreateUser calls Outside.
func IdentityCreateUser(request string) string {
	return Outside("astrid_identity_create_user", request)
}

// IdentityListLinks calls Outside.
func IdentityListLinks(request string) string { return Outside("astrid_identity_list_links", request) }
