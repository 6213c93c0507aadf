package web_test

import (
	"bytes"
	"context"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/capsulehost/archive"
	"github.com/astrid-actors/astrid-actors/capsulehost/home"
	"github.com/astrid-actors/astrid-actors/capsulehost/manifest"
	"github.com/astrid-actors/astrid-actors/supervisor"
	"github.com/astrid-actors/astrid-actors/supervisor/supervisortest"
	"github.com/astrid-actors/astrid-actors/supervisor/web"
)

// packed returns the .capsule file of a directory, in which version takes the place of 1.0.0.
func packed(t *testing.T, dir, version string) []byte {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(to, "Capsule.toml")
	text, err := os.ReadFile(at)
	if err == nil {
		err = os.WriteFile(at, bytes.Replace(text, []byte(`"1.0.0"`), []byte(`"`+version+`"`), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Load(to)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := archive.Write(&b, home.Home{}, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// upload sends a file as the form of /install does.
func (s *site) upload(csrf, name string, file []byte) (status int, text string) {
	s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	field, err := w.CreateFormFile("capsule", name)
	if err == nil {
		_, err = field.Write(file)
	}
	if err == nil {
		err = w.WriteField("csrf", csrf)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	response, text := s.ask(http.MethodPost, "/install", b.String(), "Origin", s.url, "Content-Type", w.FormDataContentType())
	return response.StatusCode, strings.Join(strings.Fields(text), " ")
}

// A .capsule file is installed from the page, and upgraded; what `install` refuses is refused,
// with the reason, and changes nothing.
func TestInstallFromThePage(t *testing.T) {
	sys := supervisortest.Start(t, supervisor.Config{})
	acting, looking := serveSystem(t, sys, web.Config{Actions: true}), serveSystem(t, sys, web.Config{})
	fixed := filepath.Join("..", "..", "test", "capsules", "fixed")
	unsealed := t.TempDir()
	put(t, unsealed, "b", "1.0.0")
	secret := acting.csrf()
	if _, text := acting.ask(http.MethodGet, "/install", ""); !strings.Contains(text, `type="file"`) || !strings.Contains(text, secret) {
		t.Errorf("the form: %s", text)
	}
	for _, tt := range []struct {
		what, name string
		file       []byte
		status     int
		want       string
	}{
		{"a capsule", "fixed-1.0.0.capsule", packed(t, fixed, "1.0.0"), 200, `added</b> <a href="/capsules/fixed">fixed</a> 1.0.0`},
		{"the same", "fixed-1.0.0.capsule", packed(t, fixed, "1.0.0"), 200, `unchanged</b> <a href="/capsules/fixed">`},
		{"the next version", "<b>.capsule", packed(t, fixed, "2.0.0"), 200, "1.0.0 → 2.0.0"},
		{"an unsealed one", "b.capsule", packed(t, filepath.Join(unsealed, "b"), "1.0.0"), 422, "seal it before you pack it"},
		{"a damaged one", "<i>.capsule", []byte("no archive"), 422, "install &lt;i&gt;.capsule: "},
		{"another file", "fixed.tar", packed(t, fixed, "3.0.0"), 400, "choose a .capsule file"},
		{"one that is too large", "large.capsule", make([]byte, 64<<20+100<<10), 413, "too large"},
	} {
		status, text := acting.upload(secret, tt.name, tt.file)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %d, no %q in %.2000s", tt.what, status, tt.want, text)
		}
		if status == http.StatusOK && strings.Contains(text, "alert") { // it runs
			t.Errorf("%s: %s", tt.what, text)
		}
		if strings.Contains(text, os.TempDir()) {
			t.Errorf("%s: the page names the temporary file: %s", tt.what, text)
		}
	}
	if got := sys.Capsule("fixed").Version; got != "2.0.0" || len(sys.Snapshot().Capsules) != 1 {
		t.Errorf("version %s runs, of %d capsules", got, len(sys.Snapshot().Capsules))
	}
	for what, s := range map[string]*site{"without its secret": acting, "on a page that only shows": looking} {
		if status, text := s.upload("guessed", "fixed.capsule", packed(t, fixed, "3.0.0")); status != http.StatusForbidden {
			t.Errorf("%s: %d, %s", what, status, text)
		}
	}
	if status, text := looking.upload(looking.csrf(), "fixed.capsule", packed(t, fixed, "3.0.0")); status != http.StatusForbidden || !strings.Contains(text, "--http-actions") {
		t.Errorf("a page that only shows: %d, %s", status, text)
	}
}

// The page says so if what it installs does not run.
func TestInstallOfWhatDoesNotRun(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "a", "1.0.0")
	sys := supervisortest.Start(t, supervisor.Config{CapsuleDirs: []string{dir}, AllowUnverified: true})
	s := serveSystem(t, sys, web.Config{Actions: true})
	fixed := filepath.Join("..", "..", "test", "capsules", "fixed")
	if status, text := s.upload(s.csrf(), "fixed.capsule", packed(t, fixed, "1.0.0")); status != http.StatusOK || !strings.Contains(text, "does not look for capsules where it is installed") {
		t.Errorf("%d, %s", status, text)
	}
}

// The configuration is read again from the page, which says what has changed and what not.
func TestReloadTheConfigurationFromThePage(t *testing.T) {
	wrong := error(nil)
	sys := supervisortest.Start(t, supervisor.Config{ReadConfig: func() (supervisor.Configuration, error) {
		return supervisor.Configuration{Changes: []supervisor.SettingChange{
			{Key: "log_level", Applied: true, Previous: "info", Value: "<debug>"}, {Key: "socket", Value: "/x"},
		}}, wrong
	}}, supervisortest.Func("echo", "test.*", echo))
	s := serveSystem(t, sys, web.Config{Actions: true})
	if _, text := s.ask(http.MethodGet, "/reload/config", ""); !strings.Contains(text, "astrid-actors reload --config") || strings.Contains(text, "all capsules?") {
		t.Errorf("before: %s", text)
	}
	response, text := s.post("/reload/config")
	for _, want := range []string{"applied log_level: info -&gt; &lt;debug&gt;", "needs a new start socket: unset -&gt; /x", "unchanged</b>"} {
		if response.StatusCode != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d, no %q in %s", response.StatusCode, want, text)
		}
	}
	wrong = os.ErrNotExist
	if response, text := s.post("/reload/config"); response.StatusCode != http.StatusConflict || !strings.Contains(text, os.ErrNotExist.Error()) {
		t.Errorf("with a mistake: %d, %s", response.StatusCode, text)
	}
	if response, _ := serveSystem(t, sys, web.Config{}).ask(http.MethodGet, "/reload/config", ""); response.StatusCode != http.StatusForbidden {
		t.Errorf("a page that only shows: %d", response.StatusCode)
	}
}

// A pool's page lists its instances; a capsule without one has no such list.
func TestInstancesOnThePage(t *testing.T) {
	worker := supervisortest.Func("worker", "work", func(context.Context, *supervisortest.Call) (capsulehost.Result, error) {
		return capsulehost.Result{}, nil
	})
	worker.Manifest += "[supervision]\ninstances = 2\n"
	sys := supervisortest.Start(t, supervisor.Config{}, worker, supervisortest.Func("echo", "test.*", echo))
	sys.AwaitReady("worker", 2)
	s := serveSystem(t, sys, web.Config{})
	for _, i := range sys.Capsule("worker").Instances {
		s.shows("/capsules/worker", `title="`+i.Session+`"`, true)
	}
	s.shows("/capsules/worker", "#2</th>", true)
	s.shows("/capsules/echo", `id="instances" class="panel" aria-labelledby="instances-title" hidden`, true)
}
