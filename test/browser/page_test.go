package browser

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

func echo(_ context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
	return capsulehost.Result{Data: c.Payload}, nil
}

// TestKill kills a capsule with the mouse, and sees it crash and restart.
func TestKill(t *testing.T) {
	slow := supervisortest.Func("greeter", "greet.*", echo)
	slow.Manifest += "[supervision]\nbackoff_initial = \"8s\"\nbackoff_max = \"8s\"\n"
	sys := supervisortest.Start(t, supervisor.Config{}, slow, supervisortest.Func("other", "other.*", echo))
	url := serve(t, sys, web.Config{Actions: true, Command: "astrid-actors --socket /run/a.sock"})
	b := newTab(t)
	b.open(url + "/capsules/greeter")
	b.do(chromedp.Evaluate[chromedp.Void](`window.here = true`)) // lost if the page is loaded again
	kill := func() {
		b.do(chromedp.Click(`#top a[href="/capsules/greeter/kill"]`))
		b.until(`document.querySelector('dialog[open] #confirm')`)
		if got, want := b.text("dialog pre.command"), "astrid-actors --socket /run/a.sock kill greeter"; got != want {
			t.Errorf("the command is %q, want %q", got, want)
		}
	}
	kill()
	b.do(chromedp.Click(`dialog [data-cancel]`))
	b.until(`!document.querySelector('dialog').open`)
	kill()
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector('dialog').open`)
	if g := sys.Capsule("greeter").Generation; g != 1 {
		t.Fatalf("it was killed without a yes: generation %d", g)
	}
	kill()
	b.do(chromedp.Click(`dialog button`))
	b.until(`document.querySelector('#top').innerText.includes('generation 2')`)
	kill() // the first restart is at once; the second one waits
	b.do(chromedp.Click(`dialog button`))
	b.until(`document.querySelector('#top .state').innerText === 'crashed' &&
		/2 of 5 restarts in 1 min spent\s+Next\s+Generation 3 starts in \d\.\d s/.test(document.querySelector('#top').innerText)`)
	b.until(`document.querySelector('#top .state').innerText === 'ready'`)
	b.until(`document.querySelector('#top').innerText.includes('generation 3')`)
	b.until(`document.querySelectorAll('#failures li').length === 2`)
	b.until(`document.querySelectorAll('#timeline path.death').length === 2`)
	if !value[bool](b, `window.here === true`) {
		t.Error("the page was loaded again")
	}
	b.do(chromedp.Navigate(url + "/"))
	b.until(`document.querySelector('#attention').innerText.includes('crash loop')`)
}

// TestKeyboard reaches everything without a mouse.
func TestKeyboard(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "test.a", echo), supervisortest.Func("b", "test.b", echo))
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	b.open(url + "/capsules")
	active := func() string {
		return value[string](b, `document.activeElement.id || document.activeElement.getAttribute('href') || document.activeElement.className || document.activeElement.tagName`)
	}
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := active(); got != "#main" {
		t.Errorf("the first thing is %q, want the link that skips the header", got)
	}
	tabTo := func(want string) {
		t.Helper()
		for range 40 {
			if active() == want {
				if width := value[string](b, `getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth`); width != "solid2px" {
					t.Errorf("%s: its focus is not to be seen: %s", want, width)
				}
				return
			}
			b.do(chromedp.KeyEvent(kb.Tab))
		}
		t.Fatalf("%q can't be reached with Tab; we are at %q", want, active())
	}
	order := `[...document.querySelectorAll('#rows tr')].map((r) => r.id).join(' ')`
	tabTo("by-path")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector('.c-path').getAttribute('aria-sort') === 'ascending'`)
	b.do(chromedp.KeyEvent(kb.Enter)) // the focus is unchanged
	b.until(`document.querySelector('.c-path').getAttribute('aria-sort') === 'descending'`)
	b.until(order + ` === 'r-b r-a'`)
	if got := value[string](b, `location.search`); got != "?dir=down&sort=path" {
		t.Errorf("the address is %q", got)
	}
	// A row that moves keeps the focus.
	b.do(chromedp.Evaluate[chromedp.Void](`look('?sort=path')`))
	b.until(order + ` === 'r-a r-b'`)
	b.do(chromedp.Focus(`#r-b a`), chromedp.Evaluate[chromedp.Void](`look('?sort=path&dir=down')`))
	b.until(order + ` === 'r-b r-a'`)
	if got := active(); got != "/capsules/b" {
		t.Errorf("the focus went to %q", got)
	}
	b.do(chromedp.Focus(`#q`), chromedp.KeyEvent("a"))
	b.until(order + ` === 'r-a r-b' || ` + order + ` === 'r-b r-a'`) // both are capsules/…
	b.do(chromedp.KeyEvent(kb.Backspace), chromedp.KeyEvent("s/b"))
	b.until(order + ` === 'r-b'`)

	b.open(url + "/capsules/b")
	tabTo("/capsules/b/stop")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector('dialog').open`)
	b.until(`document.activeElement.closest('dialog') !== null`)
	b.do(chromedp.Focus(`dialog button`), chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector('#top .state').innerText === 'stopped'`)
	b.do(chromedp.Click(`#top a[href="/capsules/b/start"]`))
	b.until(`document.querySelector('dialog').open`)
	b.do(chromedp.Click(`dialog button`))
	b.until(`document.querySelector('#top').innerText.includes('generation 2')`)
}

// TestRefusedAction checks that the page shows why a command was refused.
func TestRefusedAction(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "test.a", echo))
	b := newTab(t)
	b.open(serve(t, sys, web.Config{Actions: true}) + "/capsules/a")
	b.do(chromedp.Click(`a[href="/capsules/a/kill"]`))
	b.until(`document.querySelector('dialog').open`)
	if err := sys.Stop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Click(`dialog button`))
	b.until(`document.querySelector('dialog [role=alert]')?.innerText.includes('it does not run')`)
}

// hostile is text of a guest that tries to run a script.
const hostile = `</pre></bdi><script>window.owned=1</script><img src=x onerror="window.owned=1"><svg onload=window.owned=1>{{.}}` + "\u202e\x1b[31m"

// TestHostileGuest checks that all text of a guest is shown as text, on every page, in
// the stream as in the loaded page.
func TestHostileGuest(t *testing.T) {
	bad := supervisortest.Func("bad", "say.*", func(ctx context.Context, c *supervisortest.Call) (capsulehost.Result, error) {
		switch {
		case strings.Contains(string(c.Payload), "log"):
			c.Log(capsulehost.LevelError, hostile)
			return capsulehost.Result{Data: []byte(`"` + `<script>window.owned=1<\/script>` + `"`)}, nil
		case strings.Contains(string(c.Payload), "deny"):
			return capsulehost.Result{Action: capsulehost.Deny, Data: []byte(hostile)}, nil
		case strings.Contains(string(c.Payload), "fail"):
			return capsulehost.Result{}, errors.New(hostile)
		}
		return capsulehost.Result{}, &capsulehost.Failure{Kind: capsulehost.KindTrap, Message: hostile, Stack: []string{hostile}}
	})
	bad.Manifest = strings.Replace(bad.Manifest, `version = "1.0.0"`, fmt.Sprintf("version = \"1.0.0\"\ndescription = %q", `<script>window.owned=1</script><b>x</b>`), 1)
	bad.Manifest = strings.Replace(bad.Manifest, `action = "act"`, `action = "<img src=x onerror=window.owned=1>"`, 1)
	bad.Manifest += "[supervision]\nbackoff_initial = \"1ms\"\nbackoff_max = \"1ms\"\n[env.\"<b>K\"]\ntype = \"string\"\ndescription = \"<script>window.owned=1</script>\"\n"
	// Only a manifest names a capsule, and it allows only a-z, 0-9 and -.
	named := supervisortest.Func("<img src=x onerror=window.owned=1>", "say.*", echo)
	if _, err := supervisor.New(supervisor.Config{Home: t.TempDir(), Capsules: []supervisor.Capsule{named}}); err == nil {
		t.Error("a capsule may be named like HTML")
	}
	sys := supervisortest.Start(t, supervisor.Config{}, bad)
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	trigger := func(payload string) {
		t.Helper()
		if _, err := sys.Trigger(t.Context(), supervisor.TriggerRequest{Topic: "say.x", Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	all := func() {
		t.Helper()
		trigger(`"log"`)
		trigger(`"deny"`)
		trigger(`"fail"`)
		trigger(`"die"`)
	}
	check := func(where string) {
		t.Helper()
		if value[bool](b, `window.owned !== undefined`) {
			t.Fatalf("%s: the guest's script ran", where)
		}
		if n := value[int](b, `document.querySelectorAll('main script, main img, main [onerror], main [onload]').length`); n != 0 {
			t.Errorf("%s: %d elements of the guest's", where, n)
		}
	}
	all()
	sys.AwaitReady("bad", 2)
	for _, path := range []string{"/capsules/bad", "/", "/capsules", "/events?triggers=1"} {
		b.open(url + path)
		b.until(`document.querySelector('main').innerText.includes('<script>window.owned=1</script>')`)
		check(path + " as loaded")
		g := sys.Capsule("bad").Generation
		before := value[string](b, `document.querySelector('main').innerText`)
		if err := sys.Restart(t.Context(), "bad"); err != nil { // its budget is full again
			t.Fatal(err)
		}
		all()
		sys.AwaitReady("bad", g+2)
		b.until(fmt.Sprintf(`document.querySelector('main').innerText !== %q`, before))
		check(path + " as streamed")
	}
	b.open(url + "/capsules/bad")
	for _, want := range []string{`\u{202e}\u{1b}[31m`, "ERROR", "denied", "failed", "crashed"} {
		if got := b.text("main"); !strings.Contains(got, want) {
			t.Errorf("there is no %q in %s", want, got)
		}
	}
	b.open(url + "/trigger")
	for _, payload := range []string{`"log"`, `"deny"`, `"fail"`} {
		b.do(chromedp.SetValue(`#topic`, "say.x"), chromedp.SetValue(`#payload`, payload), chromedp.Click(`#trigger-form button`))
		b.until(fmt.Sprintf(`document.querySelector('#answer .command').innerText.includes(%q) && document.querySelector('#answer .legs')?.innerText.includes('<script>window.owned=1')`, payload))
		check("the legs of " + payload)
	}
}

// TestTrigger sends a trigger from the page.
func TestTrigger(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{},
		supervisortest.Func("b", "test.*", echo), supervisortest.Func("a", "test.x", echo), supervisortest.Module("trap", "test.x", wasm(t, "trap")))
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	b.open(url + "/trigger")
	b.do(chromedp.SendKeys(`#topic`, "test.x"), chromedp.SendKeys(`#payload`, `{"n": 'x'}`), chromedp.Click(`#trigger-form button`))
	b.until(`document.querySelector('#answer [role=alert]')?.innerText.includes('not JSON')`)
	b.do(chromedp.SetValue(`#payload`, `{"it's": 1}`), chromedp.Click(`#trigger-form button`))
	b.until(`document.querySelectorAll('#answer tbody tr').length === 3`)
	var rows []string
	for _, row := range value[[][]string](b, `[...document.querySelectorAll('#answer tbody tr')].map((r) => [...r.cells].slice(0, 5).map((c) => c.innerText))`) {
		rows = append(rows, strings.Join([]string{row[0], row[3], row[4]}, " "))
	}
	want := []string{`a continue {"it's":1}`, `b continue {"it's":1}`, `trap crashed trap in astrid_hook_trigger: wasm error: unreachable`}
	if !slices.Equal(rows, want) {
		t.Errorf("the legs are %q, want %q", rows, want)
	}
	if got, want := b.text("#answer .command"), `astrid-actors trigger test.x '{"it'\''s": 1}'`; got != want {
		t.Errorf("the command is %s, want %s", got, want)
	}
}

// TestStale checks that a page reports that its daemon is gone, and reconnects by itself
// when a daemon runs again.
func TestStale(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "test.a", echo))
	ctx, cancel := context.WithCancel(t.Context())
	l, err := web.Listen(ctx, "127.0.0.1:0", web.Config{})
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, l, sys.Supervisor, web.Config{}) }()
	b := newTab(t)
	b.open("http://" + address)
	boot := value[string](b, `document.documentElement.dataset.boot`)
	cancel()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	b.until(`document.getElementById('link-text').innerText.startsWith('stale for')`)
	again, stop := context.WithCancel(context.Background())
	if l, err = web.Listen(again, address, web.Config{}); err != nil {
		stop()
		t.Fatal(err)
	}
	go func() { served <- web.Serve(again, l, sys.Supervisor, web.Config{}) }()
	b.until(fmt.Sprintf(`document.documentElement.dataset.boot !== %q && document.getElementById('link-text').innerText === 'live'`, boot))
	b.do(chromedp.Navigate("about:blank"))
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// TestPause checks that moving parts can be paused.
func TestPause(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "test.a", echo))
	b := newTab(t)
	b.open(serve(t, sys, web.Config{}))
	b.do(chromedp.Click(`#pause`))
	b.until(`document.getElementById('link-text').innerText === 'paused'`)
	if err := sys.Stop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Click(`#pause`))
	b.until(`document.querySelector('#t-a .state').innerText === 'stopped'`)
}

// TestLogin logs in with the token.
func TestLogin(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{}, supervisortest.Func("a", "test.a", echo))
	b := newTab(t)
	url := serve(t, sys, web.Config{Token: "correct-horse-battery"})
	b.do(chromedp.Navigate(url + "/capsules/a"))
	b.do(chromedp.SendKeys(`#token`, "wrong"), chromedp.Click(`form button`))
	b.until(`document.querySelector('[role=alert]')`)
	b.do(chromedp.SendKeys(`#token`, "correct-horse-battery"), chromedp.Click(`form button`))
	b.until(`document.getElementById('link-text')?.textContent === 'live'`)
	if got := value[string](b, `location.pathname + ' ' + document.cookie`); got != "/capsules/a " {
		t.Errorf("after the login we are at %q", got)
	}
	b.do(chromedp.Click(`form[action="/logout"] button`))
	b.until(`document.querySelector('#token')`)
}

// TestCrowdOf2000 measures that the page stays usable with many capsules.
func TestCrowdOf2000(t *testing.T) {
	var capsules []supervisor.Capsule
	for i := range 2000 {
		capsules = append(capsules, supervisortest.Func(fmt.Sprintf("capsule-%04d", i), fmt.Sprintf("test.c%d", i), echo))
	}
	sys := supervisortest.New(t, supervisor.Config{}, capsules...)
	sys.Patience = 5 * patience // with the race detector, on a busy machine
	sys.Launch()
	if err := sys.AwaitStarted(t.Context()); err != nil {
		t.Fatal(err)
	}
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	within := func(what string, took, limit time.Duration) {
		t.Helper()
		t.Logf("%-40s %v", what, took.Round(time.Millisecond))
		if took > limit {
			t.Errorf("%s took %v, over %v", what, took, limit)
		}
	}
	paint := func() time.Duration {
		b.until(`performance.getEntriesByName('first-contentful-paint').length > 0`)
		return time.Duration(value[float64](b, `performance.getEntriesByName('first-contentful-paint')[0].startTime`) * float64(time.Millisecond))
	}
	b.open(url)
	within("overview, first paint", paint(), 30*time.Second)
	began := time.Now()
	if err := sys.Kill(t.Context(), "capsule-0007"); err != nil {
		t.Fatal(err)
	}
	b.until(`document.querySelector('#t-capsule-0007').innerText.includes('g2')`)
	within("overview, from a crash to the page", time.Since(began), 30*time.Second)

	b.open(url + "/capsules")
	within("capsules, first paint", paint(), 30*time.Second)
	if n := value[int](b, `document.querySelectorAll('#rows tr').length`); n != 100 {
		t.Errorf("%d rows, want 100", n)
	}
	began = time.Now()
	b.do(chromedp.Click(`#by-path`))
	b.until(`document.querySelector('.c-path').getAttribute('aria-sort') === 'ascending'`)
	b.do(chromedp.Click(`#by-path`))
	b.until(`document.querySelector('#rows tr').id === 'r-capsule-1999'`)
	within("capsules, sorted twice", time.Since(began), 30*time.Second)
	began = time.Now()
	b.do(chromedp.SendKeys(`#q`, "1234"))
	b.until(`document.querySelectorAll('#rows tr').length === 1`)
	within("capsules, filtered while typing", time.Since(began), 30*time.Second)
	began = time.Now()
	if err := sys.Kill(t.Context(), "capsule-1234"); err != nil {
		t.Fatal(err)
	}
	b.until(`document.querySelector('#r-capsule-1234 .c-generation').innerText === '2'`)
	within("capsules, from a crash to the page", time.Since(began), 30*time.Second)
	b.do(chromedp.Navigate(url + "/capsules?page=20"))
	b.until(`document.querySelector('#pager').innerText.includes('1,901–2,000 of 2,000')`)
}
