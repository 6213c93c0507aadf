package lifecycle

import (
	"encoding/json"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// question is what the host asks a person.
type question struct {
	Kind        string   `json:"type"`
	Key         string   `json:"key"`
	Description string   `json:"description,omitempty"`
	Options     []string `json:"options,omitempty"`
	Default     *string  `json:"default,omitempty"`
}

// elicit asks the person who installs the capsule, and decodes the answer. If nobody
// answers within two minutes, the installation fails.
func elicit(q question, answer any) error {
	request, err := json.Marshal(q)
	if err == nil {
		err = json.Unmarshal([]byte(abi.Elicit(string(request))), answer)
	}
	if err != nil {
		return fmt.Errorf("ask for %q: %w", q.Key, err)
	}
	return nil
}

// AskText asks for a text. All questions can be asked in a hook of this package only; a
// key has 1 to 256 bytes, without `:`.
func AskText(key, description string) (string, error) {
	var answer struct{ Value string }
	err := elicit(question{Kind: "text", Key: key, Description: description}, &answer)
	return answer.Value, err
}

// AskTextOr is AskText with the value for no input.
func AskTextOr(key, description, otherwise string) (string, error) {
	var answer struct{ Value string }
	err := elicit(question{Kind: "text", Key: key, Description: description, Default: &otherwise}, &answer)
	return answer.Value, err
}

// AskOneOf asks for one of 1 to 100 options.
func AskOneOf(key, description string, options ...string) (string, error) {
	var answer struct{ Value string }
	err := elicit(question{Kind: "select", Key: key, Description: description, Options: options}, &answer)
	return answer.Value, err
}

// AskList asks for any number of texts.
func AskList(key, description string) ([]string, error) {
	var answer struct{ Values []string }
	err := elicit(question{Kind: "array", Key: key, Description: description}, &answer)
	return answer.Values, err
}

// AskSecret asks for a secret. The host keeps it, encrypted; the capsule never receives it.
func AskSecret(key, description string) error {
	var answer struct {
		OK bool `json:"ok"`
	}
	return elicit(question{Kind: "secret", Key: key, Description: description}, &answer)
}

// HasSecret reports whether the host keeps a secret.
func HasSecret(key string) (bool, error) {
	var answer struct {
		Exists bool `json:"exists"`
	}
	request, err := json.Marshal(map[string]string{"key": key})
	if err == nil {
		err = json.Unmarshal([]byte(abi.HasSecret(string(request))), &answer)
	}
	if err != nil {
		return false, fmt.Errorf("look for the secret %q: %w", key, err)
	}
	return answer.Exists, nil
}
