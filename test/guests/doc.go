// Package guests runs capsules written in other languages, built with the Extism PDKs
// for them, and those built with our Go SDK, in a real capsulehost. It checks that any
// such capsule loads unchanged, and that all seven system calls work.
package guests
