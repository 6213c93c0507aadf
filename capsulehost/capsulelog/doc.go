// Package capsulelog is where a capsule's astrid_log lines go: a file for each
// capsule and day, below the home of the principal that it ran for.
//
//	w := capsulelog.New(capsulelog.Config{Home: h, Principal: home.DefaultPrincipal, Capsule: "greeter"})
//	w.Write(capsulehost.LevelInfo, "", "hello")
//	// ~/.astrid/home/default/.local/log/greeter/2026-03-01.log:
//	// 1772323200.000 INFO [greeter] hello
//	err := w.Close()
//
// One message is one line: control characters in it are written as escapes, so
// that none can pass for a line of its own. The file changes at midnight UTC,
// and files older than a week are deleted. A capsule that writes too much is
// cut short, and the log says by how much. Nothing that goes wrong here
// reaches the capsule; it is reported to the process's own log.
//
// The package writes nothing outside the home, whatever links lead there, and
// reads no log but the end of the one that it goes on with.
package capsulelog
