package web

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

const (
	keysAPage  = 200     // keys of a capsule's state
	valueShown = 4 << 10 // bytes of one value
)

// kept is the page of what a capsule keeps. Values are not shown until one is asked for:
// they may be secrets, and a page may be seen over a shoulder. Where the page only shows,
// they are not shown at all, since every user of this machine may look.
type kept struct {
	*messages.Capsule
	Principal  string   // whose name space is shown; empty for the capsule's own
	Principals []string // others for which it keeps something
	Prefix     string
	Keys       []keptKey
	More       string // the address of the next page; empty for none
	Actions    bool
	Command    string // that lists the same
	Problem    string
}

// keptKey is one key.
type keptKey struct {
	Key  string
	Size uint64
	// Show is the address that shows its value.
	Show string
	// Open is true if the value is shown: Value, which is text, or else hexadecimal.
	Open  bool
	Value string
	Hex   bool
	Cut   uint64 // bytes that are not shown
}

// state shows what a capsule keeps. The list is not live: readKept reads it when the page
// is loaded.
func (p *page) state(v *view, q url.Values) error {
	c := v.Frame.byID[q.Get("id")]
	if c == nil {
		return fmt.Errorf("show the state of capsule %q: %w", q.Get("id"), supervisor.ErrNotFound)
	}
	v.Title = "State of " + c.ID
	k := &kept{Capsule: c, Principal: q.Get("principal"), Prefix: q.Get("prefix"), Actions: p.cfg.Actions}
	k.Command = strings.Join([]string{p.cfg.Command, "kv", c.ID, "list"}, " ")
	if k.Prefix != "" {
		k.Command += " " + quoted(k.Prefix)
	}
	if k.Principal != "" {
		k.Command += " --principal " + quoted(k.Principal)
	}
	v.Data = k
	return nil
}

// readKept reads the list, and the one value that is to be shown.
func (p *page) readKept(ctx context.Context, k *kept, after, show string) error {
	of := p.supervisor.State(k.ID)
	own := p.watch.frame().tree.Principal
	all, err := of.Principals(ctx)
	if err != nil {
		return err
	}
	k.Principals = slices.DeleteFunc(all, func(one string) bool { return one == own })
	if k.Principal == own {
		k.Principal = ""
	}
	space := of.For(k.Principal)
	entries, err := space.Page(ctx, k.Prefix, after, keysAPage+1)
	if err != nil {
		return err
	}
	address := func(changes ...string) string {
		return (query{}).Address(append([]string{"principal", k.Principal, "prefix", k.Prefix}, changes...)...)
	}
	if len(entries) > keysAPage {
		entries = entries[:keysAPage]
		k.More = address("after", entries[keysAPage-1].Key)
	}
	for i, e := range entries {
		row := keptKey{Key: e.Key, Size: uint64(e.Size), Show: address("after", after, "show", e.Key) + "#key-" + strconv.Itoa(i)} //nolint:gosec // not negative
		if row.Open = k.Actions && e.Key == show; row.Open {
			value, err := space.Get(ctx, e.Key)
			if err != nil {
				return err
			}
			row.open(value)
		}
		k.Keys = append(k.Keys, row)
	}
	return nil
}

// open shows the beginning of a value.
func (k *keptKey) open(value []byte) {
	shown := value[:min(len(value), valueShown)]
	k.Cut = uint64(len(value) - len(shown)) //nolint:gosec // not negative
	for k.Cut > 0 && len(shown) > 0 && !utf8.RuneStart(value[len(shown)]) {
		shown = shown[:len(shown)-1] // not in the middle of a character
		k.Cut++
	}
	if k.Hex = !utf8.Valid(shown); k.Hex {
		const perLine = 32
		var b strings.Builder
		for line := range slices.Chunk(shown, perLine) {
			for _, c := range line {
				b.WriteString(strconv.FormatUint(uint64(c)|0x100, 16)[1:] + " ")
			}
			b.WriteByte('\n')
		}
		k.Value = b.String()
		return
	}
	k.Value = string(shown)
}
