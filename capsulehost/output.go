package capsulehost

import "bytes"

// output splits what a guest writes to a standard stream into lines for the service that
// receives them. Its memory is one line.
type output struct {
	line []byte // the beginning of the current line
}

// write passes each line that p ends to emit, which is nil if nobody wants them.
func (o *output) write(p []byte, emit func(line string)) {
	if emit == nil {
		return
	}
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte{'\n'})
		if room := shown - len(o.line); len(part) > room {
			part, rest, ended = part[:room], p[room:], true
		}
		o.line = append(o.line, part...)
		if !ended {
			return
		}
		o.flush(emit)
		p = rest
	}
}

// flush passes the current line on, unless it is empty.
func (o *output) flush(emit func(line string)) {
	if line := bytes.TrimRight(o.line, "\r"); len(line) > 0 {
		emit(lossy(line))
	}
	o.line = o.line[:0]
}

// outputFlushed passes on what the guest has written without a line end.
func (i *Instance) outputFlushed() {
	if len(i.outLine.line)+len(i.errLine.line) == 0 {
		return
	}
	i.outLine.flush(i.emitter("stdout"))
	i.errLine.flush(i.emitter("stderr"))
}

// emitter returns the receiver of a stream's lines; nil if there is none.
func (i *Instance) emitter(stream string) func(string) {
	to := i.services().Output
	if to == nil {
		return nil
	}
	return func(line string) { to.WriteLine(stream, line) }
}
