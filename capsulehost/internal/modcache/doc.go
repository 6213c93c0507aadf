// Package modcache stores compiled modules in a directory.
//
//	store := modcache.Open(dir, log)
//	content := store.Get(name) // nil if there is no trustworthy entry
//	store.Put(name, content)
//
// Compiled modules are executed, so entries must be authentic: each is authenticated as a
// whole, including its name, with a key in a file that only its owner can read. Any other
// file, and any error, counts as a missing entry; each kind of problem is logged once.
// Several processes may share a directory.
//
// All entries together have at most 4 GiB and an eighth: those that were not used for the
// longest time are removed. Apart from them, the package removes only unusable keys and
// abandoned temporary files. The directory may be emptied at any time.
package modcache
