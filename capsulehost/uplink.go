package capsulehost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// Limits of the uplink calls' arguments, in bytes.
const (
	maxUplinkText = 512 // a name, a platform, a profile, a user
	maxUplinkID   = 64
	// MaxInbound is the size of the largest message that an uplink hands over.
	MaxInbound = 1 << 20
)

// Uplinks connect the system with platforms on which people write, such as a chat.
type Uplinks interface {
	// Register adds an uplink, and returns its id, a UUID.
	Register(ctx context.Context, u Uplink) (id string, err error)
	// Send hands over what a user of the platform has written. It returns false if there
	// is no room for it: the message is lost.
	Send(ctx context.Context, id, user, content string) (bool, error)
}

// Uplink describes an uplink.
type Uplink struct {
	Name     string
	Platform string // in lower case
	Profile  string // "chat", "interactive", "notify" or "bridge"
}

// uplinkCalls are the calls of Services.Uplinks.
var uplinkCalls = []hostFunction{
	{"astrid_uplink_register", []api.ValueType{i64, i64, i64}, []api.ValueType{i64}, astridUplinkRegister},
	{"astrid_uplink_send", []api.ValueType{i64, i64, i64}, []api.ValueType{i64}, astridUplinkSend},
}

var errNoUplinks = errors.New("uplinks are not granted to this capsule: its manifest does not say uplink = true")

func astridUplinkRegister(_ context.Context, i *Instance, stack []uint64) error {
	var texts [3]string
	for n, what := range []string{"name", "platform", "profile"} {
		var err error
		if texts[n], err = i.text(what, stack[n], maxUplinkText); err != nil {
			return err
		}
	}
	s := i.services().Uplinks
	if s == nil {
		return errNoUplinks
	}
	u := Uplink{Name: displayed(texts[0], maxUplinkText), Platform: strings.ToLower(displayed(texts[1], maxUplinkText)), Profile: strings.ToLower(texts[2])}
	profiles := []string{"chat", "interactive", "notify", "bridge"}
	switch {
	case u.Profile == "human":
		u.Profile = "chat" // an older word for it
	case !slices.Contains(profiles, u.Profile):
		return fmt.Errorf("there is no uplink profile %.64q: it must be one of %q or human", u.Profile, profiles)
	}
	if u.Name == "" || u.Platform == "" {
		return errors.New("an uplink needs a name and a platform")
	}
	var id string
	var err error
	i.outside(func() { id, err = s.Register(i.ctx, u) })
	if err != nil {
		return err
	}
	return i.answer(stack, id)
}

func astridUplinkSend(_ context.Context, i *Instance, stack []uint64) error {
	text, err := i.text("uplink id", stack[0], maxUplinkID)
	if err != nil {
		return err
	}
	user, err := i.text("user", stack[1], maxUplinkText)
	if err != nil {
		return err
	}
	content, err := i.text("content", stack[2], MaxInbound)
	if err != nil {
		return err
	}
	s := i.services().Uplinks
	if s == nil {
		return errNoUplinks
	}
	id, ok := parseUUID(text)
	if !ok {
		return fmt.Errorf("%.64q is no uplink id: it must be a UUID", text)
	}
	var sent bool
	i.outside(func() { sent, err = s.Send(i.ctx, id, user, content) })
	if err != nil {
		return err
	}
	if sent {
		return i.answer(stack, `{"ok":true}`)
	}
	return i.answer(stack, `{"dropped":true,"ok":false}`)
}
