package capsulehost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-actors/astrid-actors/capsulehost/internal/serdejson"
)

// Limits of the calls for HTTP, of one instance.
const (
	MaxHTTPRequest = 10 << 20 // bytes of the request's JSON, or of Extism's body
	MaxHTTPBody    = 10 << 20 // bytes of a response's body that is not streamed
	maxHTTPHandle  = 1024     // bytes
	MaxHTTPStreams = 4        // open at once
	maxHTTPChunk   = 64 << 10 // bytes of one read of a stream

	httpTimeout     = 30 * time.Second  // of a request: until its body is read, or a stream has begun
	httpReadTimeout = 120 * time.Second // of one read of a stream
)

// HTTP sends a guest's requests: an *http.Client has this method. It refuses what is not
// granted, follows redirects, and returns when the request's context ends, which also
// ends the reading of the body. The text of an error is shown to the guest. Package
// egress implements it.
type HTTP interface {
	Do(*http.Request) (*http.Response, error)
}

// httpCalls are the calls for HTTP. They have no status byte: every error traps.
var httpCalls = []hostFunction{
	{"astrid_http_request", []api.ValueType{i64}, []api.ValueType{i64}, astridHTTPRequest},
	{"astrid_http_stream_start", []api.ValueType{i64}, []api.ValueType{i64}, astridHTTPStreamStart},
	{"astrid_http_stream_read", []api.ValueType{i64}, []api.ValueType{i64}, astridHTTPStreamRead},
	{"astrid_http_stream_close", []api.ValueType{i64}, nil, astridHTTPStreamClose},
}

// errNoHTTP is the answer to a guest that was not granted HTTP.
var errNoHTTP = errors.New("no hosts are granted to this capsule: its manifest has no net")

var (
	errHTTPTimeout     = fmt.Errorf("no complete answer after %v", httpTimeout)
	errHTTPReadTimeout = fmt.Errorf("nothing to read for %v", httpReadTimeout)
)

// httpState is what an instance keeps between its calls for HTTP.
type httpState struct {
	streams map[uint64]*httpStream
	handle  uint64 // of the last stream

	status  int    // of the last request of Extism's function, in this call
	headers string // of that, as JSON
}

// httpStream is a response whose body is read in several calls.
type httpStream struct {
	body io.ReadCloser
	ctx  context.Context         // of the request
	end  context.CancelCauseFunc // ends the request
}

// close ends all streams. The instance must not run.
func (s *httpState) close() {
	for _, stream := range s.streams {
		stream.close()
	}
	*s = httpState{}
}

func (s *httpStream) close() {
	s.end(context.Canceled)
	_ = s.body.Close() // nothing is written
}

// requestHTTP is a guest's request.
type requestHTTP struct {
	URL     string
	Method  string
	Headers map[string]string
	Body    *string
}

// decodeHTTPRequest reads a request as JSON, with the strictness of the reference.
func decodeHTTPRequest(text []byte) (*requestHTTP, error) {
	compact, err := CompactJSON(text) // of a repeated key, the last counts
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage // decoded so, names match exactly
	if err := json.Unmarshal(compact, &fields); err != nil {
		return nil, errors.New("it is not a JSON object")
	}
	r := &requestHTTP{Method: http.MethodGet}
	for name, into := range map[string]any{"url": &r.URL, "method": &r.Method, "headers": &r.Headers, "body": &r.Body} {
		value, ok := fields[name]
		if !ok {
			continue
		}
		if string(value) == "null" && name != "body" {
			return nil, fmt.Errorf("field `%s` is null", name)
		}
		if err := json.Unmarshal(value, into); err != nil {
			return nil, fmt.Errorf("field `%s`: %w", name, err)
		}
	}
	if _, ok := fields["url"]; !ok {
		return nil, errors.New("missing field `url`")
	}
	return r, nil
}

// methods are those that a guest may use.
var methods = []string{
	http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete,
	http.MethodPatch, http.MethodHead, http.MethodOptions,
}

// build returns the request for the network.
func (r *requestHTTP) build(ctx context.Context, body []byte) (*http.Request, error) {
	method := strings.ToUpper(r.Method)
	if !slices.Contains(methods, method) {
		return nil, fmt.Errorf("the method %q is not one of %s", r.Method, strings.Join(methods, " "))
	}
	q, err := http.NewRequestWithContext(ctx, method, r.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		q.Body, q.GetBody = http.NoBody, nil
	}
	for name, value := range r.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Host": // another host than the one that is checked
			if !strings.EqualFold(value, q.URL.Host) {
				return nil, fmt.Errorf("the header Host is %q, and the URL's host is %q", value, q.URL.Host)
			}
		case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Connection", "Proxy-Authorization", "Content-Length":
			// These are between this host and the next one.
		default:
			q.Header.Set(name, value) // net/http refuses what is not valid
		}
	}
	return q, nil
}

// sendHTTP sends a request. Its body, too, must be read before ctx ends.
func (i *Instance) sendHTTP(ctx context.Context, r *requestHTTP, body []byte) (*http.Response, error) {
	q, err := r.build(ctx, body)
	if err != nil {
		return nil, err
	}
	answer, err := i.services().HTTP.Do(q)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return answer, err
}

// fetchHTTP sends a request and reads the whole answer. The headers are JSON.
func (i *Instance) fetchHTTP(r *requestHTTP, body []byte) (status int, headers string, content []byte, err error) {
	i.outside(func() {
		ctx, cancel := context.WithTimeoutCause(i.ctx, httpTimeout, errHTTPTimeout)
		defer cancel()
		var answer *http.Response
		if answer, err = i.sendHTTP(ctx, r, body); err != nil {
			return
		}
		status, headers = answer.StatusCode, headersJSON(answer.Header)
		defer answer.Body.Close()
		content, err = io.ReadAll(io.LimitReader(answer.Body, MaxHTTPBody+1))
		switch {
		case err != nil && ctx.Err() != nil:
			err = context.Cause(ctx)
		case err == nil && len(content) > MaxHTTPBody:
			err = fmt.Errorf("the answer's body is over the limit of %d bytes", MaxHTTPBody)
		}
	})
	return status, headers, content, err
}

// headersJSON prints headers as a JSON object, with lower-case names in order. Of several
// values, the last counts, as in the reference; values that are not ASCII text are left
// out.
func headersJSON(h http.Header) string {
	text := []byte{'{'}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		values := h[name]
		if len(values) == 0 || !isVisible(values[len(values)-1]) {
			continue
		}
		if len(text) > 1 {
			text = append(text, ',')
		}
		text = append(serdejson.AppendString(text, strings.ToLower(name)), ':')
		text = serdejson.AppendString(text, values[len(values)-1])
	}
	return string(append(text, '}'))
}

func isVisible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') })
}

// decodeHTTP reads the argument of a call.
func (i *Instance) decodeHTTP(offset uint64) (*requestHTTP, error) {
	text, err := i.bytes("request", offset, MaxHTTPRequest)
	if err != nil {
		return nil, err
	}
	if i.services().HTTP == nil {
		return nil, errNoHTTP
	}
	r, err := decodeHTTPRequest(text)
	if err != nil {
		return nil, fmt.Errorf("invalid http request: %w", err)
	}
	return r, nil
}

// bodyOf returns the body of a request, as far as it has one.
func (r *requestHTTP) bodyOf() []byte {
	if r.Body == nil {
		return nil
	}
	return []byte(*r.Body)
}

func astridHTTPRequest(_ context.Context, i *Instance, stack []uint64) error {
	r, err := i.decodeHTTP(stack[0])
	if err != nil {
		return err
	}
	status, headers, content, err := i.fetchHTTP(r, r.bodyOf())
	if err != nil {
		return err
	}
	if !utf8.Valid(content) {
		return errors.New("the answer's body is not UTF-8: read it as a stream")
	}
	text := fmt.Appendf(nil, `{"status":%d,"headers":%s,"body":`, status, headers)
	return i.answer(stack, string(append(serdejson.AppendString(text, string(content)), '}')))
}

func astridHTTPStreamStart(_ context.Context, i *Instance, stack []uint64) error {
	r, err := i.decodeHTTP(stack[0])
	if err != nil {
		return err
	}
	if open := len(i.http.streams); open >= MaxHTTPStreams {
		return fmt.Errorf("%d streams are open: close one first", open)
	}
	// The stream outlives this call, but not the instance.
	ctx, end := context.WithCancelCause(context.Background())
	var answer *http.Response
	i.outside(func() {
		defer i.endWith(end, httpTimeout, errHTTPTimeout)()
		answer, err = i.sendHTTP(ctx, r, r.bodyOf()) //nolint:bodyclose // by the stream
	})
	if err != nil {
		end(nil)
		return err
	}
	if i.http.streams == nil {
		i.http.streams = map[uint64]*httpStream{}
	}
	i.http.handle++
	i.http.streams[i.http.handle] = &httpStream{answer.Body, ctx, end}
	return i.answer(stack, fmt.Sprintf(`{"handle":"%d","status":%d,"headers":%s}`,
		i.http.handle, answer.StatusCode, headersJSON(answer.Header)))
}

// endWith ends a stream's request if the current call ends, or after a limit, until the
// returned function is called.
func (i *Instance) endWith(end context.CancelCauseFunc, limit time.Duration, late error) (stop func()) {
	ctx := i.ctx
	release := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	timer := time.AfterFunc(limit, func() { end(late) })
	return func() {
		release()
		timer.Stop()
	}
}

// stream returns the stream that an argument names; nil if it is not open.
func (i *Instance) stream(offset uint64) (handle uint64, s *httpStream, err error) {
	text, err := i.text("handle", offset, maxHTTPHandle)
	if err != nil {
		return 0, nil, err
	}
	if handle, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, nil, fmt.Errorf("the handle %q is not a number", text)
	}
	return handle, i.http.streams[handle], nil
}

// astridHTTPStreamRead returns what has arrived; nothing at the end of the body.
func astridHTTPStreamRead(_ context.Context, i *Instance, stack []uint64) error {
	handle, s, err := i.stream(stack[0])
	if err != nil {
		return err
	}
	if s == nil {
		return fmt.Errorf("no stream %d is open", handle)
	}
	chunk, n := make([]byte, maxHTTPChunk), 0
	i.outside(func() {
		defer i.endWith(s.end, httpReadTimeout, errHTTPReadTimeout)()
		for n == 0 && err == nil {
			n, err = s.body.Read(chunk)
		}
	})
	switch {
	case n > 0 || errors.Is(err, io.EOF):
		return i.answer(stack, string(chunk[:n]))
	case s.ctx.Err() != nil:
		return context.Cause(s.ctx)
	default:
		return err
	}
}

// astridHTTPStreamClose closes a stream. One that is closed already is no error.
func astridHTTPStreamClose(_ context.Context, i *Instance, stack []uint64) error {
	handle, s, err := i.stream(stack[0])
	if err != nil || s == nil {
		return err
	}
	delete(i.http.streams, handle)
	i.outside(s.close)
	return nil
}

// extismHTTPRequest is Extism's own function: the body is a block of its own, and the
// result is the answer's body.
func extismHTTPRequest(_ context.Context, i *Instance, stack []uint64) error {
	i.http.status, i.http.headers = 0, ""
	r, err := i.decodeHTTP(stack[0])
	if err != nil {
		return err
	}
	body, err := i.bytes("body", stack[1], MaxHTTPRequest)
	if err != nil {
		return err
	}
	status, headers, content, err := i.fetchHTTP(r, body)
	if err != nil {
		return err
	}
	i.http.status, i.http.headers = status, headers
	return i.answer(stack, string(content))
}

func extismHTTPStatusCode(_ context.Context, i *Instance, stack []uint64) error {
	stack[0] = uint64(i.http.status) //nolint:gosec // three digits
	return nil
}

func extismHTTPHeaders(_ context.Context, i *Instance, stack []uint64) error {
	return i.answer(stack, i.http.headers)
}
