// Package secrets keeps what people have entrusted to capsules, encrypted, in a store.
//
//	box := secrets.New(s, "state/secrets.key", "default")
//	err := box.Set(ctx, "capsule", "api_key", value)
//
// The key in the store is secret/<principal>/<capsule>/<name>. A value is encrypted with
// AES-256-GCM, bound to its key in the store, so that it can't be moved to another
// capsule. The key file, of mode 0600, is made with the first secret; a copy of the store,
// such as a backup, is useless without it.
package secrets
