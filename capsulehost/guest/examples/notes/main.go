// Command notes is a capsule that keeps notes in the principal's home, and fetches pages
// to put into them.
package main

import (
	"encoding/json"
	"fmt"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest"
)

func init() {
	guest.Handle("keep", keep)
	guest.Handle("list", list)
}

func main() {}

const dir = "home://notes"

// note is a note to keep: a text, or the page at a URL.
type note struct {
	Name string `json:"name"`
	Text string `json:"text"`
	URL  string `json:"url"`
}

func keep(payload []byte) (guest.Result, error) {
	var n note
	if err := json.Unmarshal(payload, &n); err != nil {
		return guest.Result{}, fmt.Errorf("read the payload: %w", err)
	}
	if n.URL != "" {
		page, err := guest.Fetch(guest.HTTPRequest{URL: n.URL})
		if err != nil {
			return guest.Result{}, err
		}
		if page.Status != 200 {
			return guest.Deny(fmt.Sprintf("%s answers with status %d", n.URL, page.Status)), nil
		}
		n.Text = page.Body
	}
	if err := guest.Mkdir(dir); err != nil {
		return guest.Result{}, err
	}
	if err := guest.WriteFile(dir+"/"+n.Name, []byte(n.Text)); err != nil {
		return guest.Result{}, err
	}
	return guest.ContinueJSON(map[string]int{"bytes": len(n.Text)})
}

func list([]byte) (guest.Result, error) {
	names, err := guest.ReadDir(dir)
	if err != nil {
		return guest.Result{}, err
	}
	return guest.ContinueJSON(names)
}
