package capsulelog

import (
	"log/slog"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/astrid-actors/astrid-actors/capsulehost"
)

// appendLine appends a line: Unix seconds with three decimals, level, capsule and
// message.
func appendLine(b []byte, now time.Time, level capsulehost.LogLevel, capsule, message string) []byte {
	ms := max(now.UnixMilli(), 0)
	b = strconv.AppendInt(b, ms/1000, 10)
	b = append(b, '.', byte('0'+ms/100%10), byte('0'+ms/10%10), byte('0'+ms%10), ' ')
	b = append(b, level.String()...)
	b = append(b, " ["...)
	b = append(b, capsule...)
	b = append(b, "] "...)
	b = appendEscaped(b, message)
	return append(b, '\n')
}

// appendEscaped appends a message as one line. Control characters, and characters that
// some readers treat as a line end, become \n, \r, \xNN or \uNNNN. Tabs and backslashes
// are not escaped, so a message without such characters is kept byte for byte. Invalid
// UTF-8 becomes U+FFFD.
func appendEscaped(b []byte, message string) []byte {
	const hex = "0123456789abcdef"
	for _, r := range message {
		switch {
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r < ' ' && r != '\t', r == 0x7f:
			b = append(b, '\\', 'x', hex[r>>4], hex[r&15])
		case r >= 0x80 && r <= 0x9f, r == '\u2028', r == '\u2029':
			b = append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func slogLevel(level capsulehost.LogLevel) slog.Level {
	switch level {
	case capsulehost.LevelTrace:
		return slog.LevelDebug - 4
	case capsulehost.LevelDebug:
		return slog.LevelDebug
	case capsulehost.LevelWarn:
		return slog.LevelWarn
	case capsulehost.LevelError:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}
