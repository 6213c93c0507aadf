package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// User is a person whom the host knows.
type User struct {
	ID   string `json:"user_id"` // a UUID
	Name string `json:"display_name"`
}

// IdentityLink is an account on a platform that is linked to a user.
type IdentityLink struct {
	Platform string    `json:"platform"`
	Account  string    `json:"platform_user_id"`
	User     string    `json:"astrid_user_id"`
	LinkedAt time.Time `json:"linked_at"`
	Method   string    `json:"method"` // how the user proved that the account is theirs
}

// identityAnswer has the fields of all answers.
type identityAnswer struct {
	User
	Found   bool           `json:"found"`
	Removed bool           `json:"removed"`
	Link    IdentityLink   `json:"link"`
	Links   []IdentityLink `json:"links"`
	Error   string         `json:"error"`
}

// askIdentity makes a call. The manifest grants them with identity: "resolve", "link"
// or "admin".
func askIdentity(call func(string) string, request map[string]any) (identityAnswer, error) {
	var answer identityAnswer
	text, err := json.Marshal(request)
	if err == nil {
		err = json.Unmarshal([]byte(call(string(text))), &answer)
	}
	if err == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		err = fmt.Errorf("identity: %w", err)
	}
	return answer, err
}

// ResolveIdentity returns the user to whom an account is linked; found is false if there
// is none.
func ResolveIdentity(platform, account string) (u User, found bool, err error) {
	a, err := askIdentity(abi.IdentityResolve, map[string]any{"platform": platform, "platform_user_id": account})
	return a.User, a.Found, err
}

// LinkIdentity links an account to a user, and replaces an earlier link.
func LinkIdentity(platform, account, user, method string) (IdentityLink, error) {
	a, err := askIdentity(abi.IdentityLink, map[string]any{
		"platform": platform, "platform_user_id": account, "astrid_user_id": user, "method": method,
	})
	return a.Link, err
}

// UnlinkIdentity removes the link of an account; removed is false if there was none.
func UnlinkIdentity(platform, account string) (removed bool, err error) {
	a, err := askIdentity(abi.IdentityUnlink, map[string]any{"platform": platform, "platform_user_id": account})
	return a.Removed, err
}

// CreateUser creates a user and returns their id. The name is for people, and may be "".
func CreateUser(name string) (string, error) {
	request := map[string]any{}
	if name != "" {
		request["display_name"] = name
	}
	a, err := askIdentity(abi.IdentityCreateUser, request)
	return a.User.ID, err
}

// IdentityLinks returns the accounts that are linked to a user.
func IdentityLinks(user string) ([]IdentityLink, error) {
	a, err := askIdentity(abi.IdentityListLinks, map[string]any{"astrid_user_id": user})
	return a.Links, err
}
