package web

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"html/template"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
)

// templates are all templates. Their clocks show the time, or the script does so.
type templates struct{ *template.Template }

// parse reads the templates. In a stream (moving) the script shows the elapsed time:
// otherwise each such element would be sent again with every update.
func parse(moving bool) (templates, error) {
	clock := func(f func(time.Time) string) func(time.Time) string {
		if moving {
			return func(time.Time) string { return "" }
		}
		return f
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"text":       text,
		"short":      shortened,
		"lines":      func(s string) []string { return strings.Split(s, "\n") },
		"duration":   duration,
		"age":        age,
		"size":       size,
		"perSecond":  perSecond,
		"count":      countOf,
		"plural":     plural[uint64],
		"ms":         func(t time.Time) int64 { return t.UnixMilli() },
		"ago":        clock(func(t time.Time) string { return age(time.Since(t)) }),
		"until":      clock(func(t time.Time) string { return remaining(time.Until(t)) }),
		"clock":      func(t time.Time) string { return t.Local().Format("15:04:05.000") },
		"moment":     func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 MST") },
		"rfc3339":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"word":       func(s messages.CapsuleState) string { return s.String() },
		"glyph":      glyph,
		"join":       strings.Join,
		"first":      func(n int, s string) string { return s[:min(n, len(s))] },
		"list":       func(v ...any) []any { return v },
		"describe":   describe,
		"pips":       pips,
		"legGrade":   func(l messages.Leg) string { return grade(l.Outcome) },
		"rejected":   rejected,
		"strategy":   strategyMeans,
		"stateOf":    groupState,
		"groupState": func(state string) string { return groupState(state).String() },
		"dir":        func(path string) string { return path[:strings.LastIndexByte(path, '/')+1] },
		"hash":       func(s string) string { return s[:min(8, len(s))] },
		"version":    versionWord,
	}).ParseFS(files, "templates/*.html")
	if err != nil {
		return templates{}, fmt.Errorf("the page's templates: %w", err)
	}
	return templates{t}, nil
}

func countOf(n any) string {
	switch n := n.(type) {
	case int:
		return count(n)
	case uint32:
		return count(n)
	case uint64:
		return count(n)
	}
	return fmt.Sprint(n)
}

// remaining formats the rest of a wait: "in 1.4 s", "now". The script has the same
// function.
func remaining(d time.Duration) string {
	switch {
	case d < 50*time.Millisecond:
		return "now"
	case d < 10*time.Second:
		return fmt.Sprintf("in %.1f s", d.Seconds())
	}
	return "in " + age(d)
}

// glyph returns the shape of a state, so that it can be recognised without its colour.
func glyph(s messages.CapsuleState) template.HTML {
	shape := map[messages.CapsuleState]string{
		loading:  `<circle cx="6" cy="6" r="4.25" class="ring dash"/>`,
		starting: `<circle cx="6" cy="6" r="4.25" class="ring"/><path d="M6 1.75a4.25 4.25 0 0 1 0 8.5z"/>`,
		ready:    `<circle cx="6" cy="6" r="4.75"/>`,
		crashed:  `<path d="M6 .9 11.4 10.6H.6z"/>`,
		failed:   `<path d="M2.6 1 6 4.4 9.4 1 11 2.6 7.6 6 11 9.4 9.4 11 6 7.6 2.6 11 1 9.4 4.4 6 1 2.6z"/>`,
		stopping: `<path d="M2 2h8v8H2z" class="ring"/>`,
		stopped:  `<path d="M2 2h8v8H2z"/>`,
	}[s]
	return template.HTML(`<svg class="glyph" viewBox="0 0 12 12" aria-hidden="true">` + shape + `</svg>`) //nolint:gosec // ours, all of it
}

// pips draws the spent part of a small budget; nothing for a large one.
func pips(spent, budget uint32) template.HTML {
	if budget == 0 || budget > 10 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="pips" viewBox="0 0 %d 10" width="%d" height="10" aria-hidden="true">`, budget*6, budget*6)
	for i := range budget {
		class := "left"
		if i < spent {
			class = "spent"
		}
		fmt.Fprintf(&b, `<rect x="%d.5" y="1.5" width="4" height="7" rx="1" class="%s"/>`, i*6, class)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // numbers
}

// part is a piece of a page that changes independently: an element whose id is ID,
// rendered by a template. Data may contain a guest's text.
type part struct {
	ID, Template string
	Data         any
}

// list is an element whose children are parts that are added and removed.
type list struct {
	ID    string
	Parts []part
}

// view is a page's content at one moment.
type view struct {
	Name  string // of the page's template
	Title string
	Frame *frame
	Parts []part
	Lists []list
	// Data does not change while a browser shows the page.
	Data any
	// Sequence is the number of the last event in it.
	Sequence uint64
}

// Part renders a part for the template that asks for it by its id.
func (v *shown) Part(id string) (template.HTML, error) {
	for _, p := range v.Parts {
		if p.ID == id {
			return v.html(p)
		}
	}
	return "", fmt.Errorf("there is no part %q", id)
}

// List renders the parts of a list.
func (v *shown) List(id string) (template.HTML, error) {
	var all template.HTML
	for _, l := range v.Lists {
		if l.ID != id {
			continue
		}
		for _, p := range l.Parts {
			html, err := v.html(p)
			if err != nil {
				return "", err
			}
			all += html
		}
	}
	return all, nil
}

func (v *shown) html(p part) (template.HTML, error) {
	var b bytes.Buffer
	err := v.page.still.ExecuteTemplate(&b, p.Template, p.Data)
	return template.HTML(b.String()), err //nolint:gosec // a template has escaped it
}

// shown is a view with the data that the layout needs.
type shown struct {
	*view
	page *page
	// Stream is the address of the stream of changes.
	Stream string
}

// CSRF returns the secret of our forms.
func (v *shown) CSRF() string { return v.page.guard.secret }

// Version identifies the style sheet and the script.
func (v *shown) Version() string { return v.page.version }

// Boot identifies the process.
func (v *shown) Boot() string { return v.page.boot }

// Actions reports whether there are buttons.
func (v *shown) Actions() bool { return v.page.cfg.Actions }

// CanLogOut reports whether there was a login.
func (v *shown) CanLogOut() bool { return v.page.guard.token != "" }

// bare is the data of a page that is not one of the views.
type bare struct {
	Version string
	Data    any
}

// render writes a whole page.
func (p *page) render(w http.ResponseWriter, status int, name string, data any) {
	if _, ok := data.(*shown); !ok {
		data = bare{p.version, data}
	}
	var b bytes.Buffer
	if err := p.still.ExecuteTemplate(&b, name, data); err != nil {
		p.cfg.Log.Error("a page can't be shown", "err", err, "page", name)
		refuse(w, http.StatusInternalServerError, "this page can't be shown: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error means that the browser has gone
}

// sent holds a hash of each part that one browser has received.
type sent map[string]uint64

// changed renders the parts that a browser has not received.
func (p *page) changed(v *view, has sent, seed maphash.Seed) (set [][2]string, err error) {
	var b bytes.Buffer
	keep := make(sent, len(has))
	add := func(q part) error {
		b.Reset()
		if err := p.moving.ExecuteTemplate(&b, q.Template, q.Data); err != nil {
			return err
		}
		sum := maphash.Bytes(seed, b.Bytes())
		if old, ok := has[q.ID]; !ok || old != sum {
			set = append(set, [2]string{q.ID, b.String()})
		}
		keep[q.ID] = sum
		return nil
	}
	for _, q := range v.Parts {
		if err := add(q); err != nil {
			return nil, err
		}
	}
	for _, l := range v.Lists {
		for _, q := range l.Parts {
			if err := add(q); err != nil {
				return nil, err
			}
		}
	}
	clear(has)
	maps.Copy(has, keep)
	return set, nil
}
