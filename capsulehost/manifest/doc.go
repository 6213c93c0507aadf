// Package manifest reads the manifests of capsules, and finds, checks, configures and
// orders capsules by them.
//
//	found := manifest.Discover([]string{dir}, false)
//	start := manifest.Order(found.Manifests)
//	for _, m := range start.Manifests {
//		wasm, hash, err := m.ReadModule(h, false)
//		values, warnings := m.Configuration(h, home.DefaultPrincipal, socket)
//	}
//
// A capsule is a directory with a Capsule.toml and a WebAssembly module. The format and
// its checks are those of astrid-capsule 0.5.0, plus the tables [supervision] and [build];
// unknown keys cause warnings. Errors are returned as [Problems]: all of them at once,
// each with its file, line and key.
//
// The package does not start, install or sign anything, and keeps no state.
package manifest
