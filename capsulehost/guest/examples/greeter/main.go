// Command greeter is a capsule that answers greet.* with a greeting, the principal of
// the caller, and the time of day.
package main

import (
	"encoding/json"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
)

func init() { guest.Handle("greet", greet) }

func main() {}

func greet(payload []byte) (guest.Result, error) {
	var who struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(payload, &who); err != nil {
		return guest.Result{}, fmt.Errorf("read the payload: %w", err)
	}
	if who.Name == "" {
		return guest.Deny("nobody to greet"), nil
	}
	by := "somebody"
	if caller, ok := guest.CurrentCaller(); ok && caller.Principal != "" {
		by = caller.Principal
	}
	guest.Infof("greeting %s for %s", who.Name, by)
	return guest.ContinueJSON(map[string]any{
		"say": guest.Config("greeting") + ", " + who.Name,
		"for": by,
		"at":  guest.Clock().UTC().Format("15:04"),
	})
}
