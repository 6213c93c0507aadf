package capsulehost

import (
	"encoding/binary"
	"math"
	"time"
)

// Layout of subscriptions and events, and their values.
const (
	subscriptionSize = 48
	eventSize        = 32

	eventClock   = 0
	eventFDRead  = 1
	eventFDWrite = 2

	clockAbsolute = 1 // flag: the timeout is an absolute time
	hangUp        = 1 // flag: no more data will follow
)

// subscription is an event that a guest waits for.
type subscription struct {
	userData uint64
	kind     byte
	error    errno
	wait     uint64 // remaining time in nanoseconds; 0 if ready
	hangUp   bool
	bytes    uint64 // number of bytes that can be written
}

// pollOneoff waits for the first of the subscribed events, and reports all that are due
// by then. Files never wait: standard input is at its end, the other streams always
// accept bytes, and no other file can be open. So it waits only for clocks.
func pollOneoff(w *wasi, p []uint64) errno {
	n := uint32(p[2]) //nolint:gosec // an i32 in 64 bits
	if n == 0 || n > vectorLimit {
		return errnoInvalid
	}
	in, ok := w.view(uint32(p[0]), n*subscriptionSize) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return errnoFault
	}
	out, ok := w.view(uint32(p[1]), n*eventSize) //nolint:gosec // an i32 in 64 bits
	if !ok {
		return errnoFault
	}
	w.instance.meter.charge(uint64(n))
	began := time.Now()
	all := make([]subscription, n)
	shortest := uint64(math.MaxUint64)
	for i := range all {
		s, e := w.subscription(in[i*subscriptionSize:])
		if e != errnoSuccess {
			return e
		}
		all[i], shortest = s, min(shortest, s.wait)
	}
	if shortest > 0 {
		i := w.instance
		// The longest wait is some 292 years.
		i.outside(func() { sleep(i.ctx, time.Duration(min(shortest, math.MaxInt64))) })
		i.stopIfEnded(time.Now())
		shortest = max(shortest, uint64(time.Since(began))) //nolint:gosec // not negative
	}
	events := uint32(0)
	for _, s := range all {
		if s.wait <= shortest {
			s.report(out[events*eventSize:])
			events++
		}
	}
	return w.put32(p[3], events)
}

// subscription reads one subscription. An error that concerns only this one is reported
// in its event.
func (w *wasi) subscription(b []byte) (s subscription, e errno) {
	s = subscription{userData: binary.LittleEndian.Uint64(b), kind: b[8]}
	number := binary.LittleEndian.Uint32(b[16:]) // of a clock or a file
	switch s.kind {
	case eventClock:
		timeout, flags := binary.LittleEndian.Uint64(b[24:]), binary.LittleEndian.Uint16(b[40:])
		var now uint64
		switch number {
		case clockRealtime:
			now = w.realtime()
		case clockMonotonic:
			now = w.monotonic()
		default:
			s.error = errnoInvalid
			return s, errnoSuccess
		}
		switch flags {
		case 0:
			s.wait = timeout
		case clockAbsolute:
			s.wait = saturatingSub(timeout, now)
		default:
			return s, errnoInvalid
		}
	case eventFDRead:
		if f := w.file(uint64(number)); f == nil || f.to != standardInput {
			s.error = errnoBadFile
		} else {
			s.hangUp = true
		}
	case eventFDWrite:
		if f := w.file(uint64(number)); f == nil || f.to == standardInput {
			s.error = errnoBadFile
		} else {
			s.bytes = pieceSize
		}
	default:
		return s, errnoInvalid
	}
	return s, errnoSuccess
}

// report writes the subscription's event.
func (s subscription) report(b []byte) {
	clear(b[:eventSize])
	binary.LittleEndian.PutUint64(b, s.userData)
	binary.LittleEndian.PutUint16(b[8:], uint16(s.error)) //nolint:gosec // a small number
	b[10] = s.kind
	binary.LittleEndian.PutUint64(b[16:], s.bytes)
	if s.hangUp {
		b[24] = hangUp
	}
}
