// Package tomlfile reads TOML files that people write, and reports every problem in one at
// once, each with its file, line and key:
//
//	root, problem := tomlfile.Parse(text)
//	r := &tomlfile.Reader{File: "actors.toml", Lines: map[string]int{}}
//	timeout := r.Duration(r.Table(root, "run"), "call-timeout")
//	r.Problems = append(r.Problems, r.Unknown(root)...)
//
// A key that was never asked for is unknown: so the code that reads a file is also the list
// of its keys. A capsule's manifest and the operator's configuration are read this way.
package tomlfile
