package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/supervisor"
)

// maxUpload limits the size of a .capsule file that the page accepts, in bytes.
const maxUpload = 64 << 20

// installTimeout limits an installation, in which the module is compiled and the capsule's
// hook runs. One that takes longer is undone.
const installTimeout = 2 * time.Minute

// installForm is the form for a .capsule file, with the reason why the last one was refused.
type installForm struct {
	CSRF, Command, Problem string
	Limit                  uint64 // of the file, in bytes
}

// chooseFile asks the user for a file.
func (p *page) chooseFile(w http.ResponseWriter, _ *http.Request) {
	if p.mayAct(w) {
		p.renderInstall(w, http.StatusOK, "")
	}
}

func (p *page) renderInstall(w http.ResponseWriter, status int, problem string) {
	p.render(w, status, "install", &installForm{p.guard.secret, p.command("install", "FILE.capsule"), problem, maxUpload})
}

// mayAct answers a request that needs actions on a page that only shows, and returns false.
func (p *page) mayAct(w http.ResponseWriter) bool {
	if !p.cfg.Actions {
		refuse(w, http.StatusForbidden, "this page only shows: its actions are not enabled (--http-actions)")
	}
	return p.cfg.Actions
}

// install installs the capsule in an uploaded file, as the command does: it must be sealed,
// and what its hook asks can't be answered here.
func (p *page) install(w http.ResponseWriter, r *http.Request) {
	if !p.mayAct(w) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), installTimeout)
	defer cancel()
	change, name, err := p.installFile(ctx, r)
	p.watch.look() // so that the next page shows the result
	log := p.cfg.Log.With("file", name, "capsule", change.ID, "change", change.Change, "from", r.RemoteAddr)
	if err != nil {
		log = log.With("problem", err)
	}
	log.Info("an installation from the page")
	if err != nil {
		p.renderInstall(w, installStatus(err), sentence(err))
		return
	}
	p.render(w, http.StatusOK, "done", &action{
		Name: "install", Place: "/capsules", Changes: []supervisor.Change{change}, Note: p.elsewhere(change.ID),
	})
}

// elsewhere says why an installed capsule is not the one that runs; "" if it is.
func (p *page) elsewhere(id string) string {
	for _, c := range p.supervisor.Snapshot().Capsules {
		if c.ID == id && c.Directory == p.supervisor.InstallDir(id) {
			return ""
		}
		if c.ID == id {
			return "What runs is not this one, but the capsule of the same name in " + c.Directory + "."
		}
	}
	return "It does not run: this daemon does not look for capsules where it is installed, since it was started with --capsules."
}

// installFile copies the uploaded file to a directory of its own, and installs it. It returns
// the name that the browser has given it.
func (p *page) installFile(ctx context.Context, r *http.Request) (change supervisor.Change, name string, err error) {
	upload, header, err := r.FormFile("capsule")
	if err != nil {
		return change, "", errors.Join(errNoFile, err)
	}
	defer upload.Close()
	name = filepath.Base(header.Filename)
	if !strings.HasSuffix(name, ".capsule") {
		return change, name, errNoFile
	}
	dir, err := os.MkdirTemp("", "astrid-actors-upload-")
	if err != nil {
		return change, name, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "upload.capsule")
	if err := copyTo(path, upload); err != nil {
		return change, name, err
	}
	change, err = p.supervisor.Install(ctx, path, supervisor.InstallOptions{})
	if err != nil {
		err = &installError{name: name, path: path, err: err}
	}
	return change, name, err
}

func copyTo(path string, from io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// errNoFile: the form has no file that could be a capsule.
var errNoFile = errors.New("choose a .capsule file, as `pack` writes it")

// installError names the file as the user knows it.
type installError struct {
	name, path string
	err        error
}

func (e *installError) Error() string { return strings.ReplaceAll(e.err.Error(), e.path, e.name) }
func (e *installError) Unwrap() error { return e.err }

// installStatus returns the HTTP status for an installation that failed.
func installStatus(err error) int {
	switch status := statusOf(err); {
	case errors.Is(err, errNoFile):
		return http.StatusBadRequest
	case status == http.StatusInternalServerError: // the file, nearly always
		return http.StatusUnprocessableEntity
	default:
		return status
	}
}

// sentence returns an error as the page shows it, with what to do where that is known.
func sentence(err error) string {
	if errors.Is(err, errNoFile) {
		return errNoFile.Error()
	}
	hint := ""
	if errors.Is(err, supervisor.ErrUnsealed) {
		hint = ": seal it before you pack it, or use `install --seal` where the file is, if you trust its module"
	}
	return err.Error() + hint
}

// uploads reports whether a request is the upload of a file.
func uploads(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/install"
}

// parseForm parses the form of a request. Files beyond a MiB go to temporary files, which
// the server removes after the request.
func parseForm(r *http.Request) error {
	if !uploads(r) {
		return r.ParseForm()
	}
	err := r.ParseMultipartForm(1 << 20) //nolint:gosec // guard bounds the body
	if !errors.Is(err, http.ErrNotMultipart) {
		return err
	}
	return nil
}
