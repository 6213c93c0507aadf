// Package health reports whether a system is alive, and whether it is ready, for
// Kubernetes, load balancers and systemd:
//
//	http.Handle("/", health.Handler(sup))
//
// GET /healthz is 200 while each of the system's own actors replies within [Patience],
// and 503 if one does not: then only a restart of the process helps. The state of the
// capsules does not matter, since the system restarts those itself.
//
// GET /readyz is 200 once the first start of every capsule has a result (it is ready,
// has failed, or did not signal in time), until the system stops. From then on triggers
// are answered; a capsule that is down is the task of its supervisor, not a reason to
// send triggers elsewhere. The body names every capsule that is not ready, and the
// reason. With ?capsule=ID, once or more, it is 200 only while those capsules are ready
// as well.
package health

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/astrid-actors/astrid-actors/messages"
	"github.com/astrid-actors/astrid-actors/supervisor"
)

// Patience limits how long the system's actors may take to reply.
const Patience = 2 * time.Second

// Handler answers GET /healthz and GET /readyz for s, in plain text.
func Handler(s *supervisor.Supervisor) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), Patience)
		defer cancel()
		if err := s.Alive(ctx); err != nil {
			answer(w, false, err.Error()+"\n")
			return
		}
		answer(w, true, "alive\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready, text := Ready(s.Snapshot(), r.URL.Query()["capsule"]...)
		answer(w, ready, text)
	})
	return mux
}

func answer(w http.ResponseWriter, well bool, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !well {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprint(w, text) // an error means that the client has disconnected
}

// Ready reports whether a system accepts triggers, and whether the capsules named in
// must are ready. The text names every capsule that is not ready, one a line.
func Ready(tree *messages.Tree, must ...string) (ready bool, text string) {
	var lines []string
	undecided := 0
	missing := slices.Clone(must)
	ready = true
	for _, c := range tree.Capsules {
		required := slices.Contains(must, c.ID)
		missing = slices.DeleteFunc(missing, func(id string) bool { return id == c.ID })
		if !c.Decided {
			undecided++
		}
		if c.State == messages.StateReady {
			continue
		}
		line := fmt.Sprintf("%s is %s", c.Path, c.State)
		if why := because(c); why != "" {
			line += ": " + why
		}
		if required {
			ready = false
			line += " (required)"
		}
		lines = append(lines, line)
	}
	for _, id := range missing {
		ready = false
		lines = append(lines, fmt.Sprintf("there is no capsule %q (required)", id))
	}
	head := "ready"
	switch {
	case tree.Started.IsZero():
		ready, head = false, "not ready: the system does not serve yet"
	case tree.Stopping:
		ready, head = false, "not ready: the system stops"
	case undecided > 0:
		ready, head = false, fmt.Sprintf("not ready: the first start of %d of %d capsules is not decided yet", undecided, len(tree.Capsules))
	case !ready:
		head = "not ready: a required capsule is not"
	}
	return ready, strings.Join(append([]string{head}, lines...), "\n") + "\n"
}

// because returns in one line why a capsule is not ready. Part of it comes from the
// guest.
func because(c *messages.Capsule) string {
	why := strings.Join(strings.Fields(strings.Map(printable, c.Reason)), " ")
	if !c.RestartAt.IsZero() {
		why += fmt.Sprintf("; restarts at %s", c.RestartAt.UTC().Format(time.RFC3339))
	}
	return why
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7F || r >= 0x80 && r < 0xA0 {
		return ' '
	}
	return r
}
