package capsulehost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of what a guest asks a person for.
const (
	maxElicitRequest   = 64 << 10 // bytes
	maxSecretRequest   = 4 << 10  // bytes
	maxElicitKey       = 256      // bytes
	maxElicitText      = 1024     // characters of a description, an option or a default
	maxElicitOptions   = 100
	maxElicitValue     = 64 << 10 // bytes of an answer; all values of a list together
	maxElicitValuesSet = 1000
)

// Prompts lets a guest ask the person who installs it. Only install and upgrade hooks have
// them.
type Prompts interface {
	// Elicit asks for a value, and waits until it is given or ctx ends. A secret is kept by
	// the host: its answer is empty. An error traps the guest.
	Elicit(ctx context.Context, q Question) (Answer, error)
	// HasSecret reports whether there is a secret with this name.
	HasSecret(ctx context.Context, key string) (bool, error)
}

// QuestionKind is the kind of value that is asked for.
type QuestionKind string

// The kinds of questions.
const (
	AskText   QuestionKind = "text"
	AskSecret QuestionKind = "secret" // the guest never receives it
	AskSelect QuestionKind = "select" // one of Options
	AskArray  QuestionKind = "array"  // any number of values
)

// Question is what a guest asks a person. Its texts have no control characters.
type Question struct {
	Kind        QuestionKind
	Key         string   // the name of the value: 1 to 256 bytes, without `:`
	Description string   // "" if there is none
	Options     []string // of AskSelect: 1 to 100
	Default     *string  // for no input; nil if there is none
}

// Answer is a person's answer: Values for AskArray, else Value.
type Answer struct {
	Value  string
	Values []string
}

// Check returns why an answer does not fit the question; nil if it does.
func (q *Question) Check(a Answer) error {
	size := len(a.Value)
	for _, v := range a.Values {
		size += len(v)
	}
	switch {
	case q.Kind == AskSelect && !slices.Contains(q.Options, a.Value):
		return fmt.Errorf("%s: %q is none of the options %q", q.Key, a.Value, q.Options)
	case q.Kind == AskSecret && a.Value == "":
		return fmt.Errorf("%s: a secret must not be empty", q.Key)
	case size > maxElicitValue || len(a.Values) > maxElicitValuesSet:
		return fmt.Errorf("%s: the answer has %d bytes in %d values, over the limit of %d bytes and %d values",
			q.Key, size, max(1, len(a.Values)), maxElicitValue, maxElicitValuesSet)
	}
	return nil
}

// promptCalls are the calls of Services.Prompts.
var promptCalls = []hostFunction{
	{"astrid_elicit", []api.ValueType{i64}, []api.ValueType{i64}, astridElicit},
	{"astrid_has_secret", []api.ValueType{i64}, []api.ValueType{i64}, astridHasSecret},
}

var errNoPrompts = errors.New("people are asked only while a capsule is installed or upgraded: in its astrid_install and astrid_upgrade")

func astridElicit(_ context.Context, i *Instance, stack []uint64) error {
	request, err := i.bytes("request", stack[0], maxElicitRequest)
	if err != nil {
		return err
	}
	q, err := decodeQuestion(request)
	if err != nil {
		return fmt.Errorf("invalid elicit request: %w", err)
	}
	s := i.services().Prompts
	if s == nil {
		return errNoPrompts
	}
	var answer Answer
	i.outside(func() { answer, err = s.Elicit(i.ctx, q) })
	if err == nil && q.Kind != AskSecret {
		err = q.Check(answer)
	}
	if err != nil {
		return err
	}
	return i.answer(stack, encodeAnswer(q.Kind, answer))
}

// encodeAnswer prints an answer as a guest receives it.
func encodeAnswer(kind QuestionKind, a Answer) string {
	switch kind {
	case AskSecret:
		return `{"ok":true}`
	case AskArray:
		text := []byte(`{"values":[`)
		for n, v := range a.Values {
			if n > 0 {
				text = append(text, ',')
			}
			text = serdejson.AppendString(text, v)
		}
		return string(append(text, "]}"...))
	default:
		return string(append(serdejson.AppendString([]byte(`{"value":`), a.Value), '}'))
	}
}

func astridHasSecret(_ context.Context, i *Instance, stack []uint64) error {
	request, err := i.bytes("request", stack[0], maxSecretRequest)
	if err != nil {
		return err
	}
	var key string
	if err := serdejson.DecodeStruct(request, serdejson.TextField("key", &key)); err != nil {
		return fmt.Errorf("invalid has_secret request: %w", err)
	}
	if err := CheckSecretKey(key); err != nil {
		return fmt.Errorf("invalid has_secret request: %w", err)
	}
	s := i.services().Prompts
	if s == nil {
		return errNoPrompts
	}
	exists := false
	i.outside(func() { exists, err = s.HasSecret(i.ctx, key) })
	if err != nil {
		return err
	}
	return i.answer(stack, `{"exists":`+strconv.FormatBool(exists)+`}`)
}

// CheckSecretKey refuses names that no secret can have.
func CheckSecretKey(key string) error {
	switch {
	case strings.TrimSpace(key) == "":
		return errors.New("the key is empty")
	case len(key) > maxElicitKey:
		return fmt.Errorf("the key has %d bytes, over the limit of %d", len(key), maxElicitKey)
	case strings.Contains(key, ":"):
		return fmt.Errorf("the key %q contains `:`", key)
	case displayed(key, maxElicitKey) != key:
		return fmt.Errorf("the key %q has spaces around it or control characters", key)
	}
	return nil
}

// decodeQuestion reads {"type": KIND, "key": TEXT, "description": TEXT, "options": [TEXT],
// "default": TEXT}; the last three may be missing or null.
func decodeQuestion(request []byte) (Question, error) {
	compact, err := CompactJSON(request)
	if err != nil {
		return Question{}, err
	}
	var fields map[string]json.RawMessage // decoded so, names match exactly
	if err := json.Unmarshal(compact, &fields); err != nil {
		return Question{}, errors.New("not a JSON object")
	}
	var kind, key, description *string
	var options []string
	q := Question{}
	for name, into := range map[string]any{"type": &kind, "key": &key, "description": &description, "options": &options, "default": &q.Default} {
		if value, ok := fields[name]; ok {
			if err := json.Unmarshal(value, into); err != nil {
				return q, fmt.Errorf("field `%s` has the wrong type", name)
			}
		}
	}
	if kind == nil || key == nil {
		return q, errors.New("missing field `type` or `key`")
	}
	q.Kind, q.Key = QuestionKind(*kind), *key
	if description != nil {
		q.Description = displayed(*description, maxElicitText)
	}
	if q.Default != nil {
		*q.Default = displayed(*q.Default, maxElicitText)
	}
	if err := CheckSecretKey(q.Key); err != nil {
		return q, err
	}
	switch q.Kind {
	case AskText, AskSecret, AskArray:
		return q, nil
	case AskSelect:
		q.Options = options
		return q, checkOptions(options)
	default:
		return q, fmt.Errorf("unknown elicit type: %.64q", *kind)
	}
}

func checkOptions(options []string) error {
	if len(options) == 0 {
		return errors.New("select elicit request requires non-empty options")
	}
	if len(options) > maxElicitOptions {
		return fmt.Errorf("%d options are over the limit of %d", len(options), maxElicitOptions)
	}
	for _, o := range options {
		if displayed(o, maxElicitText) != o {
			return fmt.Errorf("the option %.64q has spaces around it, control characters, or more than %d characters", o, maxElicitText)
		}
	}
	return nil
}
