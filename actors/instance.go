package actors

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/astrid-actors/astrid-actors/capsulehost"
	"github.com/astrid-actors/astrid-actors/internal/monotime"
)

// instance is one guest of a capsule and what belongs to it, from the beginning of its
// load to its end. The capsule's actor owns it; in an upgrade, the goroutine that
// prepares it, until it takes over. A run loop's guest, once running, is the loop's.
type instance struct {
	// What each call needs comes first, and together.
	version     *Version
	callTimeout time.Duration // the version's
	generation  uint64
	ctx         context.Context // ends when the instance is interrupted
	guest       Guest           // nil before the load and after the end
	runLoop     bool            // guest is a run loop
	inline      bool            // guest is Inline
	beside      bool            // it is being prepared beside another instance
	alone       bool            // and that one waits for it
	api         hostAPI

	ref     *CapsuleRef
	session string
	end     context.CancelCauseFunc
	began   monotime.Time // its load
	release func()        // frees its services; nil without any
	loop    *loop         // nil unless the run loop has been started
}

// newInstance returns an instance without a guest. Load it, and close it in any case.
func (r *CapsuleRef) newInstance(v *Version, generation uint64) *instance {
	v.hold()
	i := &instance{
		ref: r, version: v, callTimeout: v.CallTimeout, generation: generation, session: uuid.NewString(), began: monotime.Now(),
	}
	i.ctx, i.end = context.WithCancelCause(context.Background())
	return i
}

// load makes the guest, within the version's limit.
func (i *instance) load() error {
	i.api.instance, i.api.ready = i, make(chan struct{})
	i.api.budget = capsulehost.Budget{Reductions: i.version.CallReductions, Rate: i.version.Rate}
	if i.version.Services != nil {
		i.api.services, i.release = i.version.Services(i.ctx, InstanceID{
			Generation: i.generation, Session: i.session, Number: i.ref.number, Beside: i.beside, Alone: i.alone,
		})
	}
	i.api.services.Peers, i.api.services.Output = &i.api, &i.api
	if bus := i.ref.cfg.Bus; bus != nil {
		i.api.bus = bus.guest(&i.api)
		i.api.services.Bus = i.api.bus
	}
	var limit callContext
	limit.begin(i.ctx, i.began, i.version.LoadTimeout, monotime.None)
	defer limit.release()
	guest, err := guarded(func() (Guest, error) { return i.version.Load(&limit, &i.api) })
	if err := limit.explain(err); err != nil {
		return err
	}
	i.guest, i.runLoop = guest, guest.RunLoop()
	if i.runLoop && i.ref.pool != nil {
		return errLoopInPool
	}
	i.inline = ability[Inline](guest) != nil
	i.api.metered = ability[metered](guest)
	return nil
}

// errLoopInPool: several run loops of one capsule would each receive every message.
var errLoopInPool = &capsulehost.Failure{
	Kind:    capsulehost.KindLink,
	Message: "it is a run loop, of which there is one instance: leave instances out of [supervision]",
}

// close ends the instance. It never panics: the library could not stop an actor that does.
func (i *instance) close(log *slog.Logger) {
	i.endGuest(log)
	if i.api.bus != nil {
		i.api.bus.close()
	}
	if i.release != nil {
		i.release()
		i.release = nil
	}
	i.version.drop()
}

// endGuest closes the guest. A run loop is interrupted and waited for.
func (i *instance) endGuest(log *slog.Logger) {
	i.end(ErrStopping)
	if i.loop != nil {
		<-i.loop.ended
	}
	if guest := i.guest; guest != nil {
		i.guest = nil
		if err := i.closeGuest(guest); err != nil {
			log.Warn("closing the instance failed", "capsule", i.ref.cfg.ID, "err", err)
		}
	}
}

// closeGuest closes a guest. Code that may end its goroutine has one of its own.
func (i *instance) closeGuest(guest Guest) error {
	closed := func() error {
		_, err := guarded(func() (struct{}, error) { return struct{}{}, guest.Close(context.Background()) })
		return err
	}
	if i.inline {
		return closed()
	}
	done := make(chan error, 1)
	go func() {
		err := error(errExited)
		defer func() { done <- err }()
		err = closed()
	}()
	return <-done
}

// loop is the goroutine of a run loop.
type loop struct {
	ended chan struct{} // closed when it has ended
	err   error         // why; set before
}

// startLoop runs `run` on a goroutine of its own, which owns the guest until it ends.
// The capsule's actor gets a loopSignalled and a loopEnded; both are ignored if the
// instance is not the current one.
func (i *instance) startLoop() {
	if i.api.bus != nil {
		i.api.bus.intercept(i.version.Interceptors)
	}
	l := &loop{ended: make(chan struct{}), err: errLoopVanished}
	i.loop = l
	if i.api.metered != nil {
		i.api.metered.SetBudget(capsulehost.Budget{Rate: i.version.Rate}) // a loop is no call: only its rate is bounded
	}
	i.api.loopStarted(func() {
		i.ref.mailbox.Load().PostUserMessage(&loopSignalled{generation: i.generation})
	})
	guest := i.guest
	go func() {
		defer func() {
			i.ref.mailbox.Load().PostUserMessage(&loopEnded{generation: i.generation, err: l.err})
			close(l.ended)
		}()
		_, l.err = guarded(func() (struct{}, error) { return struct{}{}, guest.Run(i.ctx) })
	}()
}

// awaitSignal starts the run loop of an instance that is being prepared, and waits for
// its signal: for patience, or, if that is 0, for the limit of a load.
func (i *instance) awaitSignal(patience time.Duration) error {
	if err := i.version.fitsRunLoop(); err != nil {
		return err
	}
	i.startLoop()
	var late <-chan time.Time // never, without a limit
	if limit := cmp.Or(patience, i.version.LoadTimeout); limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-i.api.ready:
		return nil
	case <-i.loop.ended:
		return endOfLoop(i.loop.err)
	case <-late:
		if patience > 0 {
			return nil
		}
		return &capsulehost.Failure{
			Kind: capsulehost.KindTimeout, Export: capsulehost.ExportRun,
			Message: fmt.Sprintf("its run loop has not signalled that it is ready within %v", i.version.LoadTimeout),
		}
	}
}
