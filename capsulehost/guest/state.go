package guest

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// Limits of the host, in bytes; exceeding one kills the capsule.
const (
	maxStateKey   = 4 << 10
	maxStateValue = 10 << 20
)

// StateGet returns what the capsule keeps under a key; a missing key and an empty value
// are both empty. State is durable: it outlives the instance and the host. Each principal
// for whom the capsule is called has a state of its own; without a caller's principal it
// is that of the capsule's owner. Keys are UTF-8 of 1 to 4,096 bytes without a zero byte.
func StateGet(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return decodeStatus(abi.StateGet(key))
}

// StateSet sets a value of at most 10 MiB. When it returns nil, the value is on the disk.
// If the host can't keep the value, since the capsule's quota is used up or the disk is
// full, the host ends the capsule: StateSet does not return.
func StateSet(key string, value []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if len(value) > maxStateValue {
		return fmt.Errorf("set state: the value has %d bytes, the host takes %d", len(value), maxStateValue)
	}
	abi.StateSet(key, string(value))
	return nil
}

// StateDelete deletes a key; a missing one is no error.
func StateDelete(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	abi.StateDelete(key)
	return nil
}

// StateKeys returns the keys with a prefix, in the order of their bytes.
func StateKeys(prefix string) ([]string, error) {
	text, err := decodeStatus(abi.StateKeys(prefix))
	if err != nil {
		return nil, err
	}
	var keys []string
	if err := json.Unmarshal(text, &keys); err != nil {
		return nil, fmt.Errorf("list state: %w", err)
	}
	return keys, nil
}

// StateClear deletes the keys with a prefix, all at one moment, and returns how many.
func StateClear(prefix string) (int, error) {
	text, err := decodeStatus(abi.StateClear(prefix))
	if err != nil {
		return 0, err
	}
	n := 0
	if err := json.Unmarshal(text, &n); err != nil {
		return 0, fmt.Errorf("clear state: %w", err)
	}
	return n, nil
}

func checkKey(key string) error {
	if key == "" || len(key) > maxStateKey {
		return fmt.Errorf("the key has %d bytes, the host takes 1 to %d", len(key), maxStateKey)
	}
	return nil
}

// decodeStatus splits an answer: a zero byte and the result, or a one and an error.
func decodeStatus(answer string) ([]byte, error) {
	switch {
	case answer == "":
		return nil, errors.New("the host's answer is empty")
	case answer[0] != 0:
		return nil, errors.New(answer[1:])
	default:
		return []byte(answer[1:]), nil
	}
}
