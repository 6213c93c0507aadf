// Package files gives capsules files: an implementation of capsulehost.Files on the
// directories of one principal.
//
//	space, err := files.New(files.Config{Home: h, Principal: home.DefaultPrincipal, Workspace: "/srv/project"})
//	services.Files = space.For("editor", files.Grants{Read: []string{"cwd://"}, Write: []string{"cwd://src"}})
//
// A guest names a file by one of three schemes:
//
//	cwd://src/main.go, src/main.go   the workspace, copy-on-write: see below
//	home://notes.txt                 the principal's directory in Astrid's home
//	/tmp/scratch                     the principal's directory for temporary files
//
// What a capsule writes below cwd:// goes into a layer of its own above the workspace,
// in Astrid's home, which outlives the capsule. Other capsules don't see it. A person
// looks at it and commits or discards it: [Space.Changes], [Space.Commit],
// [Space.Discard].
//
// A path is walked one component at a time with [os.Root]. Each directory stays open
// until the operation on it has ended, so nothing that is swapped meanwhile can lead out. Links are
// followed if they stay inside. Grants are checked against the path without links.
// Only regular files are read and written, and opening one never blocks. A file is
// written beside its place and renamed, so it is never half written, and a hard link
// to it elsewhere keeps its content.
//
// The package knows no actors and no guests: it can be used alone.
package files
