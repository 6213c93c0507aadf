package abi

// The calls for files, HTTP and identities.

//go:wasmimport extism:host/user astrid_read_file
func astridReadFile(path uint64) uint64

//go:wasmimport extism:host/user astrid_write_file
func astridWriteFile(path, content uint64)

//go:wasmimport extism:host/user astrid_fs_exists
func astridFSExists(path uint64) uint64

//go:wasmimport extism:host/user astrid_fs_stat
func astridFSStat(path uint64) uint64

//go:wasmimport extism:host/user astrid_fs_readdir
func astridFSReadDir(path uint64) uint64

//go:wasmimport extism:host/user astrid_fs_mkdir
func astridFSMkdir(path uint64)

//go:wasmimport extism:host/user astrid_fs_unlink
func astridFSUnlink(path uint64)

//go:wasmimport extism:host/user astrid_http_request
func astridHTTPRequest(request uint64) uint64

//go:wasmimport extism:host/user astrid_http_stream_start
func astridHTTPStreamStart(request uint64) uint64

//go:wasmimport extism:host/user astrid_http_stream_read
func astridHTTPStreamRead(handle uint64) uint64

//go:wasmimport extism:host/user astrid_http_stream_close
func astridHTTPStreamClose(handle uint64)

//go:wasmimport extism:host/user astrid_identity_resolve
func astridIdentityResolve(request uint64) uint64

//go:wasmimport extism:host/user astrid_identity_link
func astridIdentityLink(request uint64) uint64

//go:wasmimport extism:host/user astrid_identity_unlink
func astridIdentityUnlink(request uint64) uint64

//go:wasmimport extism:host/user astrid_identity_create_user
func astridIdentityCreateUser(request uint64) uint64

//go:wasmimport extism:host/user astrid_identity_list_links
func astridIdentityListLinks(request uint64) uint64

// ReadFile calls astrid_read_file.
func ReadFile(path string) string { return ask(astridReadFile, path) }

// WriteFile calls astrid_write_file.
func WriteFile(path, content string) {
	p, c := put(path), put(content)
	astridWriteFile(p, c)
	free(p)
	free(c)
}

// FSExists calls astrid_fs_exists.
func FSExists(path string) string { return ask(astridFSExists, path) }

// FSStat calls astrid_fs_stat.
func FSStat(path string) string { return ask(astridFSStat, path) }

// FSReadDir calls astrid_fs_readdir.
func FSReadDir(path string) string { return ask(astridFSReadDir, path) }

// FSMkdir calls astrid_fs_mkdir.
func FSMkdir(path string) { tell(astridFSMkdir, path) }

// FSUnlink calls astrid_fs_unlink.
func FSUnlink(path string) { tell(astridFSUnlink, path) }

// HTTPRequest calls astrid_http_request.
func HTTPRequest(request string) string { return ask(astridHTTPRequest, request) }

// HTTPStreamStart calls astrid_http_stream_start.
func HTTPStreamStart(request string) string { return ask(astridHTTPStreamStart, request) }

// HTTPStreamRead calls astrid_http_stream_read.
func HTTPStreamRead(handle string) string { return ask(astridHTTPStreamRead, handle) }

// HTTPStreamClose calls astrid_http_stream_close.
func HTTPStreamClose(handle string) { tell(astridHTTPStreamClose, handle) }

// IdentityResolve calls astrid_identity_resolve.
func IdentityResolve(request string) string { return ask(astridIdentityResolve, request) }

// IdentityLink calls astrid_identity_link.
func IdentityLink(request string) string { return ask(astridIdentityLink, request) }

// IdentityUnlink calls astrid_identity_unlink.
func IdentityUnlink(request string) string { return ask(astridIdentityUnlink, request) }

// IdentityCreateUser calls astrid_identity_create_user.
func IdentityCreateUser(request string) string { return ask(astridIdentityCreateUser, request) }

// IdentityListLinks calls astrid_identity_list_links.
func IdentityListLinks(request string) string { return ask(astridIdentityListLinks, request) }

// tell passes s to a call without a result.
func tell(call func(uint64), s string) {
	block := put(s)
	call(block)
	free(block)
}
