package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// text makes text of a guest safe to read: characters that are invisible, or change the
// direction of writing, are shown as escapes. The templates escape HTML.
func text(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	clean := true
	for _, r := range s {
		if !unicode.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// shortened returns text of at most n runes.
func shortened(s string, n int) string {
	s = text(s)
	if len(s) <= n {
		return s
	}
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// duration formats a duration with three digits: "1.24 ms".
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Microsecond:
		return strconv.FormatInt(d.Nanoseconds(), 10) + " ns"
	case d < time.Millisecond:
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	case d < time.Minute:
		return digits(d.Seconds()) + " s"
	}
	return age(d)
}

// age formats a duration in its two largest units: "3 h 4 min". The script has the same
// function, for clocks that tick.
func age(d time.Duration) string {
	s := int64(max(0, d) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}

func two(a int64, unit string, b int64, small string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unit)
	}
	return fmt.Sprintf("%d %s %d %s", a, unit, b, small)
}

// digits formats a number below 1,000 with three significant digits, without trailing
// zeros.
func digits(v float64) string {
	precision := 0
	switch {
	case v < 9.995:
		precision = 2
	case v < 99.95:
		precision = 1
	}
	s := strconv.FormatFloat(v, 'f', precision, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// size formats a number of bytes: "1.5 MiB".
func size(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	v, unit := float64(n), 0
	for v >= 999.5 && unit < 4 {
		v /= 1024
		unit++
	}
	return digits(v) + " " + []string{"B", "KiB", "MiB", "GiB", "TiB"}[unit]
}

// count formats a number with separators: "12,345".
func count[T ~int | ~uint32 | ~uint64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// perSecond formats a rate: "0", "0.3", "12", "1,234".
func perSecond(v float64) string {
	if v >= 999.5 {
		return count(uint64(v + 0.5))
	}
	return digits(v)
}

// plural formats a count with its noun: "1 restart", "2 restarts".
func plural[T ~int | ~uint32 | ~uint64](n T, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return count(n) + " " + word + "s"
}
