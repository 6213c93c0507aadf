// Package uplinks keeps the uplinks that capsules have registered, and what they hand over
// until somebody reads it.
package uplinks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// Limits.
const (
	maxUplinks  = 32       // of one instance
	maxMessages = 256      // that wait
	maxBytes    = 64 << 20 // of their contents
)

// Uplink is a connection with a platform on which people write.
type Uplink struct {
	ID       string // a UUID
	Capsule  string
	Name     string
	Platform string
	Profile  string // "chat", "interactive", "notify" or "bridge"
}

// Message is what somebody has written on a platform.
type Message struct {
	Uplink  Uplink
	User    string // the platform's name for them
	Content string
	At      time.Time // when it was handed over
}

// Hub keeps the uplinks of all capsules. Its methods may be called from any goroutine.
type Hub struct {
	mu      sync.Mutex
	uplinks []Uplink
	waiting []Message
	bytes   int
	arrived chan struct{} // closed at the next message
}

// New returns a hub without uplinks.
func New() *Hub { return &Hub{arrived: make(chan struct{})} }

// Uplinks returns the uplinks of the instances that run, oldest first.
func (h *Hub) Uplinks() []Uplink {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.uplinks)
}

// Next takes the oldest message that waits. Without one it returns a channel that is closed
// when one has arrived.
func (h *Hub) Next() (m Message, ok bool, arrived <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 {
		return m, false, h.arrived
	}
	m = h.waiting[0]
	h.waiting = slices.Delete(h.waiting, 0, 1)
	h.bytes -= len(m.Content)
	return m, true, nil
}

// add puts a message behind those that wait, if there is room.
func (h *Hub) add(m Message) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) >= maxMessages || h.bytes+len(m.Content) > maxBytes {
		return false
	}
	h.waiting = append(h.waiting, m)
	h.bytes += len(m.Content)
	close(h.arrived)
	h.arrived = make(chan struct{})
	return true
}

// Guest is the hub as one instance of a capsule uses it. Close it when the instance has
// ended: that removes its uplinks.
type Guest struct {
	hub     *Hub
	capsule string

	mu   sync.Mutex
	mine []Uplink
}

var _ capsulehost.Uplinks = (*Guest)(nil)

// For returns the hub for a new instance of a capsule.
func (h *Hub) For(capsule string) *Guest { return &Guest{hub: h, capsule: capsule} }

// Register implements capsulehost.Uplinks.
func (g *Guest) Register(_ context.Context, u capsulehost.Uplink) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.mine) >= maxUplinks {
		return "", fmt.Errorf("%d uplinks are registered, which is the limit", maxUplinks)
	}
	if slices.ContainsFunc(g.mine, func(old Uplink) bool { return old.Name == u.Name && old.Platform == u.Platform }) {
		return "", fmt.Errorf("there is an uplink %q for %q already", u.Name, u.Platform)
	}
	added := Uplink{ID: uuid.NewString(), Capsule: g.capsule, Name: u.Name, Platform: u.Platform, Profile: u.Profile}
	g.mine = append(g.mine, added)
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	g.hub.uplinks = append(g.hub.uplinks, added)
	return added.ID, nil
}

// Send implements capsulehost.Uplinks.
func (g *Guest) Send(_ context.Context, id, user, content string) (bool, error) {
	g.mu.Lock()
	at := slices.IndexFunc(g.mine, func(u Uplink) bool { return u.ID == id })
	var from Uplink
	if at >= 0 {
		from = g.mine[at]
	}
	g.mu.Unlock()
	if at < 0 {
		return false, errors.New("this capsule has not registered the uplink " + id)
	}
	return g.hub.add(Message{Uplink: from, User: user, Content: content, At: time.Now()}), nil
}

// Close removes the instance's uplinks. What they have handed over stays.
func (g *Guest) Close() {
	g.hub.mu.Lock()
	defer g.hub.mu.Unlock()
	g.hub.uplinks = slices.DeleteFunc(g.hub.uplinks, func(u Uplink) bool { return slices.Contains(g.mine, u) })
}
