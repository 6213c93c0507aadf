// Package browser tests the page in a real browser, headless Chromium, and takes the
// screenshots in docs/images:
//
//	go test ./... -screenshots ../../docs/images
//
// It is a separate module, so that the browser driver is not a dependency of the
// project. Chromium is Debian's package of that name, or the program that CHROMIUM
// names. Without it the tests are skipped; if CI is set, they fail instead.
package browser
