package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// patience limits how long a test waits for an event.
const patience = time.Minute

var screenshots = flag.String("screenshots", "", "write pictures of the page into this `directory`")

// chromium starts the one browser that all tests share; each test has its own tab.
var chromium = sync.OnceValues(start)

// stop ends the browser, if it was started.
var stop = func() {}

func TestMain(m *testing.M) {
	flag.Parse()
	m.Run()
	stop()
}

var errNoBrowser = errors.New("chromium is not installed")

func start() (context.Context, error) {
	path := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); path == "" && err == nil {
			path = found
		}
	}
	if path == "" {
		return nil, errNoBrowser
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, err
	}
	allocated, free := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.Flag("headless", true), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("font-render-hinting", "none"), chromedp.Flag("disable-lcd-text", true),
	)
	ctx, closeBrowser := chromedp.NewContext(allocated)
	stop = func() {
		closeBrowser()
		free()
		_ = os.RemoveAll(profile)
	}
	return ctx, chromedp.Do(ctx)
}

// tab is one tab of the browser.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // the errors of the page's script and violations of its policies
}

func newTab(t *testing.T) *tab {
	t.Helper()
	browser, err := chromium()
	if errors.Is(err, errNoBrowser) && os.Getenv("CI") == "" {
		t.Skip(err, ": apt-get install chromium")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, closeTab := chromedp.NewContext(browser)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	listening, over := context.WithCancel(ctx)
	console := chromedp.Console(listening)
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.IsException() || strings.Contains(m.String(), "Content Security Policy") {
				b.mu.Lock()
				b.problems = append(b.problems, m.String())
				b.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		over()
		reading.Wait()
		closeTab()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("the page complained: %s", p)
		}
	})
	b.size(1280, 900)
	return b
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// size sets the size of the window, in CSS pixels.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// scheme sets the colour scheme: "light" or "dark".
func (b *tab) scheme(name string) {
	b.t.Helper()
	b.do(func(ctx context.Context, to *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, to, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return chromedp.Void{}, err
	})
}

// open loads a page and waits until it is live.
func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
	b.until(`document.getElementById('link-text').textContent === 'live'`)
}

// until waits until an expression is true in the page, even if another page is loaded
// meanwhile.
func (b *tab) until(expression string) {
	b.t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		is, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`Boolean(`+expression+`)`))
		if err == nil && is {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body.innerText.slice(0, 3000)`))
			b.t.Fatalf("%s: it did not come (%v); the page says\n%s", expression, err, text)
		}
	}
}

// value returns the value of an expression in the page.
func value[T any](b *tab, expression string) T {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// text returns an element's visible text.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return value[string](b, fmt.Sprintf(`document.querySelector(%q)?.innerText ?? '(none)'`, selector))
}

// noScript disables the page's own scripts; those that the test runs in the page are
// disabled, too.
func (b *tab) noScript() {
	b.t.Helper()
	b.do(func(ctx context.Context, to *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, to, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return chromedp.Void{}, err
	})
}

// html returns the HTML inside an element.
func (b *tab) html(selector string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.OuterHTML(selector))
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// serve serves a system's page, and returns its address.
func serve(t *testing.T, sys *supervisortest.System, cfg web.Config) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := web.Listen(ctx, "127.0.0.1:0", cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(ctx, listener, sys.Supervisor, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}
