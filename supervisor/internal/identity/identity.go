// Package identity keeps users, and the accounts on other platforms that are linked to
// them, in a store.
//
//	book := identity.New(s)
//	services.Identities = book.For([]string{"link"})
//
// The keys in the store:
//
//	identity/user/<id>                       the user
//	identity/link/<platform>/<account>       the link of an account
//	identity/of/<id>/<platform>/<account>    the same link, to be found by its user
package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor/store"
)

const (
	prefix = "identity/"
	users  = prefix + "user/"
	linked = prefix + "link/"
	of     = prefix + "of/"
)

// maxText is the length of a platform, an account, a name or a method, in bytes.
const maxText = 1 << 10

// maxLinks is the number of links to one user.
const maxLinks = 1000

// Book is all identities of a store. It is safe for concurrent use.
type Book struct{ store store.Store }

// New returns the book in a store.
func New(s store.Store) *Book { return &Book{s} }

// level is what a capsule may do. Each includes those below it.
type level int

const (
	none level = iota
	resolve
	link
	admin
)

var words = map[string]level{"resolve": resolve, "link": link, "admin": admin}

// For returns the identities as a capsule may use them. granted is the list identity of
// its manifest: "resolve", "link" (also links and unlinks), "admin" (also creates users).
func (b *Book) For(granted []string) capsulehost.Identities {
	most := none
	for _, word := range granted {
		most = max(most, words[word])
	}
	return &view{b, most}
}

// view is the book as one capsule may use it.
type view struct {
	book    *Book
	granted level
}

func (v *view) require(needed level) error {
	if v.granted >= needed {
		return nil
	}
	for word, l := range words {
		if l == needed {
			return fmt.Errorf("this needs %q in the list identity of the capsule's manifest", word)
		}
	}
	return errors.New("not granted")
}

// user and account are what the store keeps.
type user struct {
	Name    *string   `json:"name,omitempty"`
	Created time.Time `json:"created"`
}

type account struct {
	User     string    `json:"user"`
	LinkedAt time.Time `json:"linked_at"`
	Method   string    `json:"method"`
}

// Resolve returns the user to whom an account is linked.
func (v *view) Resolve(ctx context.Context, platform, name string) (*capsulehost.User, error) {
	if err := v.require(resolve); err != nil {
		return nil, err
	}
	path, err := pathOf(platform, name)
	if err != nil {
		return nil, err
	}
	var a account
	if _, err := v.book.get(ctx, linked+path, &a); err != nil {
		return nil, unlessNotFound(err)
	}
	var u user
	if _, err := v.book.get(ctx, users+a.User, &u); err != nil {
		return nil, unlessNotFound(err)
	}
	return &capsulehost.User{ID: a.User, Name: u.Name}, nil
}

// Link links an account to a user.
func (v *view) Link(ctx context.Context, platform, name, id, method string) (capsulehost.IdentityLink, error) {
	if err := v.require(link); err != nil {
		return capsulehost.IdentityLink{}, err
	}
	path, err := pathOf(platform, name)
	if err == nil {
		err = check("method", method)
	}
	if err != nil {
		return capsulehost.IdentityLink{}, err
	}
	now := account{User: id, LinkedAt: time.Now().UTC(), Method: method}
	text, err := json.Marshal(now)
	if err != nil {
		return capsulehost.IdentityLink{}, err
	}
	err = v.book.again(func() error {
		var u user
		owner, err := v.book.get(ctx, users+id, &u)
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("user not found: %s", id)
		}
		if err != nil {
			return err
		}
		others, err := v.book.store.List(ctx, store.Range{Prefix: of + id + "/", Limit: maxLinks, KeysOnly: true})
		if err != nil {
			return err
		}
		var before account
		revision, err := v.book.get(ctx, linked+path, &before)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if len(others) >= maxLinks && before.User != id {
			return fmt.Errorf("user %s has %d links, which is the limit", id, maxLinks)
		}
		writes := []store.Write{store.Put(linked+path, text), store.Put(of+id+"/"+path, text)}
		if before.User != "" && before.User != id {
			writes = append(writes, store.Delete(of+before.User+"/"+path))
		}
		_, err = v.book.store.Txn(ctx, store.Fence{}, []store.Compare{{Key: linked + path, Revision: revision}, {Key: users + id, Revision: owner}}, writes)
		return err
	})
	if err != nil {
		return capsulehost.IdentityLink{}, err
	}
	return now.link(path), nil
}

// Unlink removes the link of an account.
func (v *view) Unlink(ctx context.Context, platform, name string) (bool, error) {
	if err := v.require(link); err != nil {
		return false, err
	}
	path, err := pathOf(platform, name)
	if err != nil {
		return false, err
	}
	removed := false
	err = v.book.again(func() error {
		var a account
		revision, err := v.book.get(ctx, linked+path, &a)
		if err != nil {
			return unlessNotFound(err)
		}
		_, err = v.book.store.Txn(ctx, store.Fence{}, []store.Compare{{Key: linked + path, Revision: revision}},
			[]store.Write{store.Delete(linked + path), store.Delete(of + a.User + "/" + path)})
		removed = err == nil
		return err
	})
	return removed, err
}

// CreateUser creates a user.
func (v *view) CreateUser(ctx context.Context, name *string) (string, error) {
	if err := v.require(admin); err != nil {
		return "", err
	}
	if name != nil && (len(*name) > maxText || strings.ContainsAny(*name, "/\x00")) {
		return "", fmt.Errorf("display_name must have at most %d bytes, and neither / nor zero bytes", maxText)
	}
	id := uuid.NewString()
	text, err := json.Marshal(user{Name: name, Created: time.Now().UTC()})
	if err != nil {
		return "", err
	}
	_, err = v.book.store.Txn(ctx, store.Fence{}, []store.Compare{{Key: users + id}}, []store.Write{store.Put(users+id, text)})
	return id, err
}

// Links returns the links to a user, by platform and account.
func (v *view) Links(ctx context.Context, id string) ([]capsulehost.IdentityLink, error) {
	if err := v.require(link); err != nil {
		return nil, err
	}
	entries, err := v.book.store.List(ctx, store.Range{Prefix: of + id + "/"})
	if err != nil {
		return nil, err
	}
	links := make([]capsulehost.IdentityLink, len(entries))
	for n, e := range entries {
		var a account
		if err := json.Unmarshal(e.Value, &a); err != nil {
			return nil, fmt.Errorf("read %q: %w", e.Key, err)
		}
		links[n] = a.link(strings.TrimPrefix(e.Key, of+id+"/"))
	}
	return links, nil
}

func (a account) link(path string) capsulehost.IdentityLink {
	platform, name, _ := strings.Cut(path, "/")
	return capsulehost.IdentityLink{Platform: platform, Account: name, User: a.User, LinkedAt: a.LinkedAt, Method: a.Method}
}

// attempts is how often a transaction is tried against concurrent ones.
const attempts = 16

// again repeats a transaction that another one came before.
func (b *Book) again(transaction func() error) error {
	for n := 0; ; n++ {
		if err := transaction(); n == attempts || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// get reads a value, and returns its revision; 0 if there is none.
func (b *Book) get(ctx context.Context, key string, into any) (uint64, error) {
	e, err := b.store.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(e.Value, into); err != nil {
		return 0, fmt.Errorf("read %q: %w", key, err)
	}
	return e.Revision, nil
}

func unlessNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// pathOf returns the key of an account. A platform is the same in upper and lower case.
func pathOf(platform, name string) (string, error) {
	platform = strings.ToLower(strings.TrimSpace(platform))
	if err := errors.Join(check("platform", platform), check("platform_user_id", name)); err != nil {
		return "", err
	}
	for field, value := range map[string]string{"platform": platform, "platform_user_id": name} {
		if strings.ContainsAny(value, "/\x00") {
			return "", fmt.Errorf("%s must hold neither / nor zero bytes", field)
		}
	}
	return platform + "/" + name, nil
}

func check(field, value string) error {
	switch {
	case strings.TrimSpace(value) == "":
		return fmt.Errorf("%s must not be empty", field)
	case len(value) > maxText:
		return fmt.Errorf("%s has %d bytes: at most %d are allowed", field, len(value), maxText)
	}
	return nil
}
