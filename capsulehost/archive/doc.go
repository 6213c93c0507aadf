// Package archive writes and reads .capsule files: a capsule in one file, to be copied and
// installed elsewhere.
//
//	err := archive.Write(f, h, m)        // m is a *manifest.Manifest
//	err = archive.Extract(f, emptyDir)   // then manifest.Load(emptyDir)
//
// A .capsule file is a gzipped tar file with the capsule's files at its top, as
// astrid-capsule 0.5.0 builds and installs it. [Files] says which files of a directory are
// the capsule's: those that its manifest names, and no others. Sources, secrets and build
// outputs stay where they are.
//
// An archive may come from anywhere. Extract writes only below the directory that it is
// given, only regular files and directories, and only as much as [MaxBytes] and [MaxFiles]
// allow.
package archive
