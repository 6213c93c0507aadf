package control

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/astrid-actors/astrid-actors/messages/actorspb/actorspbconnect"
)

// How many requests of one kind may be open at once. Each kind has a bound of its
// own: a client that holds all streams does not keep another from stopping a
// capsule.
const (
	maxStreams  = 256  // of events, and of log lines, each
	maxRequests = 1024 // of each other kind
)

// bounded refuses a request over these bounds at once, unread, as overloaded.
func bounded(next http.Handler) http.Handler {
	type kind struct {
		open atomic.Int64
		most int64
	}
	kinds := map[string]*kind{
		actorspbconnect.ControlEventsProcedure: {most: maxStreams}, actorspbconnect.ControlLogsProcedure: {most: maxStreams},
		actorspbconnect.ControlTriggerProcedure: {most: maxRequests}, actorspbconnect.ControlSnapshotProcedure: {most: maxRequests},
		actorspbconnect.ControlCapsuleProcedure: {most: maxRequests},
	}
	commands := &kind{most: maxRequests} // and all other paths
	refusals := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := kinds[r.URL.Path]
		if k == nil {
			k = commands
		}
		defer k.open.Add(-1)
		if k.open.Add(1) <= k.most {
			next.ServeHTTP(w, r)
			return
		}
		err := connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("overloaded: %d requests of this kind are open", k.most))
		if refusals.IsSupported(r) {
			_ = refusals.Write(w, r, err) // a client that has gone needs none
			return
		}
		http.Error(w, err.Message(), http.StatusTooManyRequests)
	})
}
