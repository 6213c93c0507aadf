package browser

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// TestInstall uploads a capsule, sees why a broken file is refused, has the configuration
// read again, and looks at the instances of a pool, with the mouse.
func TestInstall(t *testing.T) {
	worker := supervisortest.Func("worker", "work", echo)
	worker.Manifest += "[supervision]\ninstances = 2\n"
	sys := supervisortest.Start(t, supervisor.Config{ReadConfig: func() (supervisor.Configuration, error) {
		return supervisor.Configuration{Changes: []supervisor.SettingChange{{Key: "socket", Value: "/x"}}}, nil
	}}, worker)
	m, err := manifest.Load(filepath.Join("..", "capsules", "fixed"))
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	if err := archive.Write(&packed, home.Home{}, m); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	url := serve(t, sys, web.Config{Actions: true})
	b := newTab(t)
	b.open(url + "/capsules")
	b.do(chromedp.Click(`main a[href="/reload/config"]`))
	b.until(`document.querySelector('dialog[open] form#confirm')`)
	b.do(chromedp.Click(`dialog button`))
	b.until(`document.querySelector('dialog .changes')?.innerText.includes('needs a new start socket: unset -> /x')`)
	b.do(chromedp.Click(`dialog [data-cancel]`))
	b.until(`!document.querySelector('dialog').open`)

	b.do(chromedp.Click(`main a[href="/install"]`))
	b.until(`location.pathname === '/install'`)
	b.do(chromedp.SetUploadFiles(`#capsule`, []string{file("broken.capsule", []byte("no archive"))}), chromedp.Click(`form button`))
	b.until(`document.querySelector('[role=alert]')?.innerText.includes('broken.capsule')`)
	b.do(chromedp.SetUploadFiles(`#capsule`, []string{file("fixed.capsule", packed.Bytes())}), chromedp.Click(`form button`))
	b.until(`document.querySelector('.changes')?.innerText.includes('added fixed 1.0.0')`)

	b.open(url + "/capsules/worker")
	b.until(`document.querySelectorAll('#instances tbody tr').length === 2 && document.querySelector('#instances').innerText.includes('#2')`)
	b.size(400, 900)
	if got := value[int64](b, `document.documentElement.scrollWidth`); got > 400 {
		t.Errorf("the page with instances is %d pixels wide at 400", got)
	}
}
