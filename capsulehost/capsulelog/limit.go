package capsulelog

import "time"

// limit is a token bucket. It knows the time only through its argument.
type limit struct {
	rate   float64 // tokens a second; negative: no limit
	burst  float64 // how many there can be
	tokens float64
	at     time.Time // when tokens was true
}

// take takes tokens out, or none where there are not enough. What costs more
// than there can ever be is let through when the bucket is full.
func (l *limit) take(now time.Time, tokens float64) bool {
	if l.rate < 0 {
		return true
	}
	if passed := now.Sub(l.at).Seconds(); passed > 0 {
		l.tokens = min(l.burst, l.tokens+passed*l.rate)
		l.at = now
	}
	tokens = min(tokens, l.burst)
	if l.tokens < tokens {
		return false
	}
	l.tokens -= tokens
	return true
}
