package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// put writes a capsule's directory.
func put(t *testing.T, dir, id, version string) {
	t.Helper()
	manifest := strings.Replace(supervisortest.Manifest(id, "test."+id), "1.0.0", version, 1)
	to := filepath.Join(dir, id)
	if err := errors.Join(os.MkdirAll(to, 0o700), os.WriteFile(filepath.Join(to, "module.wasm"), wasm(t, "fixed"), 0o600),
		os.WriteFile(filepath.Join(to, "Capsule.toml"), []byte(manifest), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// shop is a system with a group of three capsules, of which the first took the others
// down; they trigger each other, talk over the bus, and keep state.
func shop(t *testing.T) *supervisortest.System {
	t.Helper()
	web := supervisortest.Func("web", "shop.buy", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		values := c.Trigger(ctx, "shop.stock", "book")
		payload, err := capsulehost.ParsePayload([]byte(`{"book":1}`))
		if err == nil {
			err = c.Services().Bus.Publish(ctx, "shop.sold", payload)
		}
		if err != nil {
			return capsulehost.Result{}, err
		}
		return supervisortest.JSON(values)
	})
	web.Manifest += "[capabilities]\nipc_publish = [\"shop.sold\"]\nnet = [\"example.org\"]\n"
	sys := supervisortest.Start(t, supervisor.Config{Supervisors: []supervisor.Group{
		{Name: "shop", Strategy: supervisor.RestForOne, Children: []string{"database", "cache", "web"}},
	}}, supervisortest.Func("database", "shop.stock", echo), supervisortest.Func("cache", "shop.sold", echo), web)
	if err := errors.Join(sys.State("database").Set(t.Context(), "book/1", []byte("a secret")),
		sys.State("database").For("alice").Set(t.Context(), "cart", []byte{0, 255})); err != nil {
		t.Fatal(err)
	}
	if err := sys.Kill(t.Context(), "database"); err != nil {
		t.Fatal(err)
	}
	sys.AwaitReady("web", 2)
	if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "shop.buy"}); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool {
		traces := sys.Traces()
		return len(traces) == 1 && traces[0].Calls() == 3
	})
	return sys
}

// TestLookOfTheShop checks the pages of groups, traces, state and the bus in light and
// dark, wide and narrow: what they say, that it is readable, and that it fits.
func TestLookOfTheShop(t *testing.T) {
	sys := shop(t)
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	for path, says := range map[string][]string{
		"/":                                      {"shop/", "rest_for_one", "restarted because database crashed, rest_for_one of shop"},
		"/groups/shop":                           {"1/5 deaths", "database crashed, rest_for_one of shop", "Who took whom down"},
		"/traces":                                {"shop.buy", "outside"},
		"/traces/1":                              {"shop.stock", "shop.sold", "1.0.0 g2", "3 calls"},
		"/capsules/web":                          {"Versions", "added", "8 requests at once", "64 MiB"},
		"/capsules/database/state":               {"book/1", "8 B"},
		"/capsules/database/state?show=book%2F1": {"a secret"},
		"/bus":                                   {"shop.sold", "cache", "no dead letters"},
	} {
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			b.size(1280, 900)
			b.open(url + path)
			text := b.text("main")
			for _, want := range says {
				if !strings.Contains(text, want) && scheme == "light" {
					t.Errorf("%s: no %q in %s", path, want, text)
				}
			}
			for _, pair := range value[[]string](b, contrasts)[1:] {
				t.Errorf("%s, %s: too little contrast: %s", path, scheme, pair)
			}
			if scheme == "dark" {
				continue // it has the same size
			}
			for _, width := range []int64{400, 320} {
				b.size(width, 900)
				if got := value[int64](b, `document.documentElement.scrollWidth`); got > width {
					t.Errorf("%s: %d pixels wide at %d: %s", path, got, width, value[string](b, `[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll')).map((e) => e.tagName + '.' + (e.className.baseVal ?? e.className) + '#' + e.id).slice(0, 8).join(' ')`))
				}
			}
		}
	}
	b.size(1280, 900)
	b.open(url + "/capsules/database/state")
	if text := b.text("main"); strings.Contains(text, "a secret") {
		t.Errorf("a value is shown without a request: %s", text)
	}
}

// TestGroup steers a group, and sees its capsules stop and start.
func TestGroup(t *testing.T) {
	sys := shop(t)
	b := newTab(t)
	b.open(serve(t, sys, web.Config{Actions: true}) + "/groups/shop")
	for _, c := range []struct{ verb, then string }{{"stop", "stopped"}, {"start", "ready"}} {
		b.do(chromedp.Click(fmt.Sprintf(`#group-top a[href="/groups/shop/%s"]`, c.verb)))
		b.until(`document.querySelector('dialog[open] #confirm')`)
		b.do(chromedp.Click(`dialog button`))
		b.until(fmt.Sprintf(`[...document.querySelectorAll('#branches .state')].filter((s) => s.innerText.trim() === %q).length === 3`, c.then))
	}
	b.until(`document.querySelectorAll('#lanes svg.timeline').length === 3`)
}

// TestReload mends a rejected capsule, upgrades another one and removes it, with the mouse.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0")
	put(t, dir, "b", "no version")
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	command := func(path, result string) {
		t.Helper()
		b.do(chromedp.Click(fmt.Sprintf(`main a[href=%q]`, path)))
		b.until(`document.querySelector('dialog[open] form#confirm')`)
		b.do(chromedp.Click(`dialog button`))
		if result != "" {
			b.until(fmt.Sprintf(`document.querySelector('dialog .changes')?.innerText.includes(%q)`, result))
			b.do(chromedp.Click(`dialog [data-cancel]`))
			b.until(`!document.querySelector('dialog').open`)
		}
	}
	b.open(url)
	b.until(`document.querySelector('#attention').innerText.includes('mend it, and reload')`)
	command("/capsules/b/reload", "rejected b")
	put(t, dir, "b", "1.0.0")
	command("/capsules/b/reload", "added b 1.0.0")
	b.until(`document.querySelectorAll('#attention > li').length === 0`)

	b.open(url + "/capsules/a")
	put(t, dir, "a", "1.1.0")
	command("/capsules/a/reload", "upgraded a 1.0.0 → 1.1.0")
	b.until(`/upgraded[^]*1\.0\.0 → 1\.1\.0[^]*added/.test(document.querySelector('#versions').innerText)`)
	b.until(`document.querySelectorAll('#timeline path.version').length === 2`)
	put(t, dir, "a", "none")
	command("/capsules/a/reload", "rejected a")
	b.until(`document.querySelector('#top').innerText.includes('version 1.1.0 goes on')`)
	command("/capsules/a/remove", "")
	b.until(`location.pathname === '/capsules' && document.querySelectorAll('#rows tr').length === 1`)
}

// TestTraceOfATrigger sends a trigger from the page, and sees what followed from it.
func TestTraceOfATrigger(t *testing.T) {
	sys := shop(t)
	b := newTab(t)
	url := serve(t, sys, web.Config{Actions: true})
	b.open(url + "/trigger")
	b.do(chromedp.SendKeys(`#topic`, "shop.buy"), chromedp.Click(`#trigger-form button`))
	b.until(`document.querySelectorAll('#answer .trace li').length >= 4`)
	b.do(chromedp.Click(`#answer a[href="/traces/2"]`))
	b.until(`document.getElementById('link-text')?.textContent === 'live'`)
	want := []string{"trigger shop.buy", "web act 1.0.0 g2", "trigger shop.stock", "database act 1.0.0 g2", "publish shop.sold", "cache act 1.0.0 g2"}
	b.until(fmt.Sprintf(`[...document.querySelectorAll('#trace li')].map((l) => l.querySelector('.what').innerText.replace(/\s+/g, ' ')).join('|') === %q`,
		strings.Join(want, "|")))
}
