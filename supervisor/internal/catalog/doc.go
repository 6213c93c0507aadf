// Package catalog is where capsules come from: it finds them in directories or in
// what a program brings along, orders their start, and makes their instances,
// with compiled modules shared by content.
//
// It does not run capsules, and knows no actor but the interface of a guest.
package catalog
