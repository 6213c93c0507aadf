package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// maxIdentityRequest is the size of the largest request about identities, in bytes.
const maxIdentityRequest = 64 << 10

// Identities are users, and the accounts on other platforms that are linked to them. A
// user's id is a UUID. The text of an error is shown to the guest; that the capsule was
// not granted an operation is such an error.
type Identities interface {
	// Resolve returns the user to whom an account is linked; nil if there is none.
	Resolve(ctx context.Context, platform, account string) (*User, error)
	// Link links an account to a user who exists, and replaces an earlier link. method
	// says how the user proved that the account is theirs.
	Link(ctx context.Context, platform, account, user, method string) (IdentityLink, error)
	// Unlink removes a link. It returns false if there was none.
	Unlink(ctx context.Context, platform, account string) (bool, error)
	// CreateUser creates a user, with a name for people or nil, and returns their id.
	CreateUser(ctx context.Context, name *string) (string, error)
	// Links returns the links to a user.
	Links(ctx context.Context, user string) ([]IdentityLink, error)
}

// User is a person.
type User struct {
	ID   string  // a UUID
	Name *string // for people, or nil
}

// IdentityLink is an account that is linked to a user.
type IdentityLink struct {
	Platform, Account, User string
	LinkedAt                time.Time
	Method                  string
}

// identityCalls are the calls about identities. A malformed request traps; any other
// error is in the answer.
var identityCalls = []hostFunction{
	{"astrid_identity_resolve", []api.ValueType{i64}, []api.ValueType{i64}, identityCall("resolve", []string{"platform", "platform_user_id"}, false, resolveIdentity)},
	{"astrid_identity_link", []api.ValueType{i64}, []api.ValueType{i64}, identityCall("link", []string{"platform", "platform_user_id", "astrid_user_id", "method"}, true, linkIdentity)},
	{"astrid_identity_unlink", []api.ValueType{i64}, []api.ValueType{i64}, identityCall("unlink", []string{"platform", "platform_user_id"}, true, unlinkIdentity)},
	{"astrid_identity_create_user", []api.ValueType{i64}, []api.ValueType{i64}, astridIdentityCreateUser},
	{"astrid_identity_list_links", []api.ValueType{i64}, []api.ValueType{i64}, identityCall("list_links", []string{"astrid_user_id"}, true, listIdentityLinks)},
}

// errNoIdentities is the answer to a guest that was not granted identities.
var errNoIdentities = errors.New("identities are not granted to this capsule: its manifest has no identity")

// identityCall returns a call whose request has the given text fields. Its operation
// appends the fields of a successful answer.
func identityCall(name string, fields []string, hasOK bool, operation func(ctx context.Context, s Identities, field []string) ([]byte, error)) func(context.Context, *Instance, []uint64) error {
	return func(_ context.Context, i *Instance, stack []uint64) error {
		request, err := i.bytes("request", stack[0], maxIdentityRequest)
		if err != nil {
			return err
		}
		values, decoded := make([]string, len(fields)), make([]serdejson.Field, len(fields))
		for n := range fields {
			decoded[n] = serdejson.TextField(fields[n], &values[n])
		}
		if err := serdejson.DecodeStruct(request, decoded...); err != nil {
			return fmt.Errorf("invalid %s request: %w", name, err)
		}
		return i.answerIdentity(stack, hasOK, func(ctx context.Context, s Identities) ([]byte, error) { return operation(ctx, s, values) })
	}
}

// answerIdentity runs an operation, and answers with its fields or its error.
func (i *Instance) answerIdentity(stack []uint64, hasOK bool, operation func(ctx context.Context, s Identities) ([]byte, error)) error {
	var fields []byte
	err := errNoIdentities
	if s := i.services().Identities; s != nil {
		i.outside(func() { fields, err = operation(i.ctx, s) })
	}
	switch {
	case err != nil && i.ctx.Err() != nil:
		return err
	case err != nil && hasOK:
		fields = serdejson.AppendString([]byte(`{"ok":false,"error":`), err.Error())
	case err != nil:
		fields = serdejson.AppendString([]byte(`{"found":false,"error":`), err.Error())
	case hasOK:
		fields = append([]byte(`{"ok":true`), fields...)
	}
	return i.answer(stack, string(append(fields, '}')))
}

func resolveIdentity(ctx context.Context, s Identities, field []string) ([]byte, error) {
	user, err := s.Resolve(ctx, field[0], field[1])
	if err != nil || user == nil {
		return []byte(`{"found":false`), err
	}
	text := serdejson.AppendString([]byte(`{"found":true,"user_id":`), user.ID)
	if user.Name != nil {
		text = serdejson.AppendString(append(text, `,"display_name":`...), *user.Name)
	}
	return text, nil
}

func linkIdentity(ctx context.Context, s Identities, field []string) ([]byte, error) {
	user, ok := parseUUID(field[2])
	if !ok {
		return nil, errNoUUID
	}
	link, err := s.Link(ctx, field[0], field[1], user, field[3])
	return appendLink([]byte(`,"link":`), link), err
}

func unlinkIdentity(ctx context.Context, s Identities, field []string) ([]byte, error) {
	removed, err := s.Unlink(ctx, field[0], field[1])
	return strconv.AppendBool([]byte(`,"removed":`), removed), err
}

func listIdentityLinks(ctx context.Context, s Identities, field []string) ([]byte, error) {
	user, ok := parseUUID(field[0])
	if !ok {
		return nil, errNoUUID
	}
	links, err := s.Links(ctx, user)
	text := []byte(`,"links":[`)
	for n, link := range links {
		if n > 0 {
			text = append(text, ',')
		}
		text = appendLink(text, link)
	}
	return append(text, ']'), err
}

var errNoUUID = errors.New("invalid UUID: astrid_user_id is not one")

func appendLink(text []byte, link IdentityLink) []byte {
	text = serdejson.AppendString(append(text, `{"platform":`...), link.Platform)
	text = serdejson.AppendString(append(text, `,"platform_user_id":`...), link.Account)
	text = serdejson.AppendString(append(text, `,"astrid_user_id":`...), link.User)
	text = serdejson.AppendString(append(text, `,"linked_at":`...), timestamp(link.LinkedAt, "+00:00"))
	text = serdejson.AppendString(append(text, `,"method":`...), link.Method)
	return append(text, '}')
}

func astridIdentityCreateUser(_ context.Context, i *Instance, stack []uint64) error {
	request, err := i.bytes("request", stack[0], maxIdentityRequest)
	if err != nil {
		return err
	}
	name, err := decodeUserName(request)
	if err != nil {
		return fmt.Errorf("invalid create_user request: %w", err)
	}
	return i.answerIdentity(stack, true, func(ctx context.Context, s Identities) ([]byte, error) {
		id, err := s.CreateUser(ctx, name)
		return serdejson.AppendString([]byte(`,"user_id":`), id), err
	})
}
