// Package manifest reads what a capsule says of itself, and finds, checks,
// configures and orders capsules by it.
//
//	found := manifest.Discover([]string{dir}, false)
//	start := manifest.Order(found.Manifests)
//	for _, m := range start.Manifests {
//		wasm, hash, err := m.ReadModule(h, false)
//		values, warnings := m.Configuration(h, home.DefaultPrincipal, socket)
//	}
//
// A capsule is a directory that holds a Capsule.toml and a WebAssembly module.
// The format, and what is refused in it, is that of astrid-capsule 0.5.0, plus a
// [supervision] table of our own; keys that nothing here knows are ignored.
// Whatever is wrong comes back as [Problems]: all of them at once, each with
// its file, line and key.
//
// The package starts, installs and signs nothing, and keeps no state.
package manifest
