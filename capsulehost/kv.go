package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of the arguments of the state calls, in bytes.
const (
	MaxStateKey   = 4 << 10
	MaxStateValue = 10 << 20
)

// State is a capsule's durable state: keys and values, in one name space for each
// principal. principal is the one for whom the guest runs; "" is the capsule's own.
//
// Keys are UTF-8, neither empty nor with a zero byte. A method must return when ctx ends;
// a write that it gives up may still happen. It keeps no slice that it was given.
type State interface {
	// Get returns a value, and nil if there is none.
	Get(ctx context.Context, principal, key string) ([]byte, error)
	// Set is durable when it returns nil.
	Set(ctx context.Context, principal, key string, value []byte) error
	// Delete is durable when it returns nil. A missing key is no error.
	Delete(ctx context.Context, principal, key string) error
	// ListKeys returns the keys with a prefix, in the order of their bytes.
	ListKeys(ctx context.Context, principal, prefix string) ([]string, error)
	// ClearPrefix deletes the keys with a prefix, all at one moment, and counts them.
	ClearPrefix(ctx context.Context, principal, prefix string) (int, error)
}

// stateCalls are the calls of Services.State.
var stateCalls = []hostFunction{
	{"astrid_kv_get", []api.ValueType{i64}, []api.ValueType{i64}, astridKVGet},
	{"astrid_kv_set", []api.ValueType{i64, i64}, nil, astridKVSet},
	{"astrid_kv_delete", []api.ValueType{i64}, nil, astridKVDelete},
	{"astrid_kv_list_keys", []api.ValueType{i64}, []api.ValueType{i64}, astridKVListKeys},
	{"astrid_kv_clear_prefix", []api.ValueType{i64}, []api.ValueType{i64}, astridKVClearPrefix},
}

// errNoState is the answer to a guest whose Services have no State.
var errNoState = errors.New("this host keeps no state for the capsule")

// withState calls f, unless the guest has no state, for the principal of its caller.
func (i *Instance) withState(f func(s State, principal string) error) (err error) {
	s := i.services().State
	if s == nil {
		return errNoState
	}
	i.outside(func() { err = f(s, i.principal()) })
	return err
}

// stateKey reads a key. As in the reference, one that is not UTF-8 counts as empty.
func (i *Instance) stateKey(offset uint64) (string, error) {
	b, err := i.bytes("key", offset, MaxStateKey)
	if err != nil || !utf8.Valid(b) {
		return "", err
	}
	return string(b), nil
}

// CheckStateKey refuses keys that no capsule can have.
func CheckStateKey(key string) error {
	switch {
	case key == "" || !utf8.ValidString(key):
		return errors.New("the key is empty or not UTF-8")
	case len(key) > MaxStateKey:
		return fmt.Errorf("the key has %d bytes, over the limit of %d", len(key), MaxStateKey)
	case strings.Contains(key, "\x00"):
		return fmt.Errorf("key %q has a zero byte", key)
	}
	return nil
}

// statePrefix reads a prefix; "" means all keys.
func (i *Instance) statePrefix(offset uint64) (string, error) {
	b, err := i.bytes("prefix", offset, MaxStateKey)
	if err == nil && !utf8.Valid(b) {
		err = errors.New("the prefix is not UTF-8")
	}
	return string(b), err
}

func astridKVGet(_ context.Context, i *Instance, stack []uint64) error {
	key, err := i.stateKey(stack[0])
	if err != nil {
		return err
	}
	var value []byte
	if err = CheckStateKey(key); err == nil {
		err = i.withState(func(s State, principal string) error {
			value, err = s.Get(i.ctx, principal, key)
			return err
		})
	}
	return i.answerStatus(stack, value, err)
}

func astridKVSet(_ context.Context, i *Instance, stack []uint64) error {
	key, err := i.stateKey(stack[0])
	if err != nil {
		return err
	}
	value, err := i.bytes("value", stack[1], MaxStateValue)
	if err != nil {
		return err
	}
	if err := CheckStateKey(key); err != nil {
		return err
	}
	return i.withState(func(s State, principal string) error { return s.Set(i.ctx, principal, key, value) })
}

func astridKVDelete(_ context.Context, i *Instance, stack []uint64) error {
	key, err := i.stateKey(stack[0])
	if err != nil {
		return err
	}
	if err := CheckStateKey(key); err != nil {
		return err
	}
	return i.withState(func(s State, principal string) error { return s.Delete(i.ctx, principal, key) })
}

func astridKVListKeys(_ context.Context, i *Instance, stack []uint64) error {
	prefix, err := i.statePrefix(stack[0])
	if err != nil {
		return err
	}
	var keys []string
	err = i.withState(func(s State, principal string) error {
		keys, err = s.ListKeys(i.ctx, principal, prefix)
		return err
	})
	list := []byte{'['}
	for n, key := range keys {
		if n > 0 {
			list = append(list, ',')
		}
		list = serdejson.AppendString(list, key)
	}
	return i.answerStatus(stack, append(list, ']'), err)
}

func astridKVClearPrefix(_ context.Context, i *Instance, stack []uint64) error {
	prefix, err := i.statePrefix(stack[0])
	if err != nil {
		return err
	}
	count := 0
	if strings.Contains(prefix, "\x00") {
		err = fmt.Errorf("prefix %q has a zero byte", prefix)
	} else {
		err = i.withState(func(s State, principal string) error {
			count, err = s.ClearPrefix(i.ctx, principal, prefix)
			return err
		})
	}
	return i.answerStatus(stack, strconv.AppendInt(nil, int64(count), 10), err)
}
