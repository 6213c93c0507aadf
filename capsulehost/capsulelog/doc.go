// Package capsulelog writes a capsule's astrid_log lines to files: one for each
// capsule and day, below the home of the principal for which the capsule ran.
//
//	w := capsulelog.New(capsulelog.Config{Home: h, Principal: home.DefaultPrincipal, Capsule: "greeter"})
//	w.Write(capsulehost.LevelInfo, "", "hello")
//	// ~/.astrid/home/default/.local/log/greeter/2026-03-01.log:
//	// 1772323200.000 INFO [greeter] hello
//	err := w.Close()
//
// One message is one line: control characters in it are escaped, so a message cannot
// forge another line. The file changes at midnight UTC, and files older than a week
// are deleted. If a capsule writes too much, lines are dropped, and the log reports how
// many. Errors never reach the capsule; they go to the process's own log.
//
// The package writes nothing outside the home, even through links. It reads only the
// last byte of the log that it continues.
package capsulelog
