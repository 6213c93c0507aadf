// Package browser tests the page in a real browser, headless Chromium, and takes
// the pictures of it in docs/images:
//
//	go test ./... -screenshots ../../docs/images
//
// It is a module of its own, so that what drives the browser is no dependency of
// ours. Chromium is Debian's package of that name, or what CHROMIUM names. Where
// there is none the tests are skipped, but not where CI is set: then they fail.
package browser
