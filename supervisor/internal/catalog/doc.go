// Package catalog finds the capsules, in directories or embedded in a program. It orders
// their start and creates their instances. Capsules with equal modules share the
// compiled code.
//
// It does not run capsules, and knows no actor but the interface of a guest.
package catalog
