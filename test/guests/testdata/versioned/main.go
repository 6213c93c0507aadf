// Command versioned is a capsule that answers with the version of its configuration.
package main

import "github.com/astrid-actors/astrid-actors/capsulehost/guest"

func init() {
	guest.Handle("act", func([]byte) (guest.Result, error) { return guest.ContinueJSON(guest.Config("version")) })
}

func main() {}
