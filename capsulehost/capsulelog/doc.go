// Package capsulelog is where a capsule's astrid_log lines go.
package capsulelog
