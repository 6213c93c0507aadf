// Package modcache keeps compiled modules in a directory.
//
//	store := modcache.Open(dir, log)
//	content := store.Get(name) // nil where there is none that can be trusted
//	store.Put(name, content)
//
// Compiled modules are executed, so an entry counts only if it is authentic: each
// is authenticated whole, its name included, with a key that is in a file which
// only its owner can read. Everything else that may be found, or may go wrong, is no
// entry: it is logged, once for each kind of trouble, and gone on without. Several
// processes may share a directory.
//
// Nothing is removed but what can't be used. The directory may be emptied at any
// time.
package modcache
