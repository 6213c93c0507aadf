// Package guests runs capsules written in other languages, built with the Extism
// PDKs of these, and those built with our Go SDK, in a real capsulehost: that any
// such capsule loads unchanged, and that all seven system calls answer it.
package guests
