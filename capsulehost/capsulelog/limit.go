package capsulelog

import "time"

// limit is a token bucket. It uses only the times passed to it.
type limit struct {
	rate   float64 // tokens per second; negative: no limit
	burst  float64 // maximum number of tokens
	tokens float64
	at     time.Time // the time at which tokens was computed
}

// take removes tokens and returns true, or returns false if there are too few. A message
// that costs more than burst passes when the bucket is full.
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
