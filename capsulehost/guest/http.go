package guest

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/astrid-actors/astrid-actors/capsulehost/guest/internal/abi"
)

// maxHTTP is the maximum size of a request as JSON, in bytes.
const maxHTTP = 10 << 20

// HTTPRequest is a request to a host that the manifest grants with net.
type HTTPRequest struct {
	URL    string            `json:"url"`
	Method string            `json:"method,omitempty"` // "" is GET
	Header map[string]string `json:"headers,omitempty"`
	Body   string            `json:"body,omitempty"`
}

// HTTPResponse is an answer.
type HTTPResponse struct {
	Status int               `json:"status"`
	Header map[string]string `json:"headers"` // with lower-case names
	Body   string            `json:"body"`    // "" of a stream
}

// Fetch sends a request and returns the whole answer: UTF-8 of at most 10 MiB, after at
// most 30 seconds. The error concerns the request's size only: if there is no answer, or
// the request is not granted, the host ends the capsule. So does OpenStream.
func Fetch(r HTTPRequest) (HTTPResponse, error) {
	var answer HTTPResponse
	err := askHTTP(r, abi.HTTPRequest, &answer)
	return answer, err
}

func askHTTP(r HTTPRequest, call func(string) string, answer any) error {
	request, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("request %q: %w", r.URL, err)
	}
	if len(request) > maxHTTP {
		return fmt.Errorf("request %q: it has %d bytes, the host takes %d", r.URL, len(request), maxHTTP)
	}
	if err := json.Unmarshal([]byte(call(string(request))), answer); err != nil {
		return fmt.Errorf("request %q: read the answer: %w", r.URL, err)
	}
	return nil
}

// HTTPStream is an answer whose body is read piece by piece, of any bytes and any size.
// At most four are open; it lasts until it is closed or the instance ends.
type HTTPStream struct {
	HTTPResponse
	handle string
	rest   string
}

var _ io.ReadCloser = (*HTTPStream)(nil)

// OpenStream sends a request, and returns when its answer has begun.
func OpenStream(r HTTPRequest) (*HTTPStream, error) {
	var answer struct {
		HTTPResponse
		Handle string `json:"handle"`
	}
	if err := askHTTP(r, abi.HTTPStreamStart, &answer); err != nil {
		return nil, err
	}
	return &HTTPStream{HTTPResponse: answer.HTTPResponse, handle: answer.Handle}, nil
}

// Read reads what has arrived, or waits for it; io.EOF is the end.
func (s *HTTPStream) Read(p []byte) (int, error) {
	if s.rest == "" && len(p) > 0 {
		if s.rest = abi.HTTPStreamRead(s.handle); s.rest == "" {
			return 0, io.EOF
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close closes the stream.
func (s *HTTPStream) Close() error {
	abi.HTTPStreamClose(s.handle)
	return nil
}
