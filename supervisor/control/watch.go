package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// ErrNoAnswer: a process listens on that socket, and does not answer.
var ErrNoAnswer = errors.New("the daemon does not answer")

// DefaultPatience is how long a client waits for a daemon that hangs.
const DefaultPatience = 10 * time.Second

// watched ends requests to a daemon that hangs: one that was stopped by a signal, or has no
// processor left. A request itself may last: a stop waits for a guest, a trigger for its
// answers. So while it lasts, the daemon must answer another one that costs it nothing.
type watched struct {
	*http.Transport
	patience time.Duration // the limit of a request without a sign of life
}

// RoundTrip sends a request. Its error matches ErrNoAnswer if the daemon hangs.
func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	answered := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		w.watch(ctx, w.patience/2, answered, cancel)
	}()
	response, err := w.Transport.RoundTrip(r.WithContext(ctx))
	close(answered)
	<-watching
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, ErrNoAnswer) {
			err = cause
		}
		cancel(err)
		return nil, err
	}
	response.Body = &watchedBody{ReadCloser: response.Body, over: cancel}
	return response, nil
}

// watchedBody frees a request's context at its end.
type watchedBody struct {
	io.ReadCloser
	over context.CancelCauseFunc
}

// Close ends the request.
func (b *watchedBody) Close() error {
	defer b.over(nil)
	return b.ReadCloser.Close()
}

// watch cancels a request if the daemon gives no sign of life for two periods: one without
// the answer, and one without the answer to a question of its own.
func (w *watched) watch(ctx context.Context, period time.Duration, answered <-chan struct{}, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-answered:
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := w.probe(ctx, period); err != nil && ctx.Err() == nil {
			cancel(fmt.Errorf("%w: waited %v", ErrNoAnswer, 2*period))
			return
		}
	}
}

// probe asks for a page that does not exist: any answer will do.
func (w *watched) probe(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	question, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://astrid/", http.NoBody) // the transport knows the socket
	if err != nil {
		return err
	}
	response, err := w.Transport.RoundTrip(question)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
