package capsulelog

import (
	"container/list"
	"os"
	"sync"
)

// mostOpen limits the default number of open log files: more than some hundred bring no
// further gain.
const mostOpen = 256

// opening is the maximum number of log files being opened at the same time. Each needs
// a few descriptors, since its directories are opened one after the other.
const opening = 4

// Files limits the number of log files that all Writers sharing it keep open. It keeps
// the most recently used ones. It is safe for concurrent use.
type Files struct {
	places chan struct{} // one for each file that is being opened

	mu   sync.Mutex
	free sync.Cond // signals that a file became idle or was closed
	most int
	open int       // files that are open or being opened
	idle list.List // of *logFile: files not in use, least recently used first
}

// NewFiles returns a limit of most open files. 0 means a quarter of the process's
// descriptor limit, but at most 256.
func NewFiles(most int) *Files {
	if most <= 0 {
		most = min(max(1, descriptorLimit()/4), mostOpen)
	}
	f := &Files{places: make(chan struct{}, opening), most: most}
	f.free.L = &f.mu
	return f
}

// logFile is an open file that belongs to one Writer. Files closes it when another file
// needs its slot.
type logFile struct {
	torn bool // it ends in the middle of a line

	file *os.File      // guarded by Files.mu unless in use; nil after closing
	idle *list.Element // nil while in use
}

// add opens a file with open, and returns it in use. If too many are open, it closes the
// least recently used one, or waits if all are in use.
func (f *Files) add(open func() (*os.File, error)) (*logFile, error) {
	f.mu.Lock()
	for f.open >= f.most && f.idle.Len() == 0 {
		f.free.Wait()
	}
	var old *os.File
	if f.open >= f.most {
		old = f.removeLocked(f.idle.Front().Value.(*logFile)) //nolint:forcetypeassert // only *logFile elements are added
	} else {
		f.open++
	}
	f.mu.Unlock()
	if old != nil {
		_ = old.Close() // its lines are already written
	}
	f.places <- struct{}{}
	file, err := open()
	<-f.places
	if err == nil {
		l := &logFile{file: file}
		l.torn, err = endsTorn(file)
		if err == nil {
			return l, nil
		}
		_ = file.Close()
	}
	f.leave()
	return nil, err
}

// use marks l as in use, until done. It returns false if l was closed.
func (f *Files) use(l *logFile) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.file == nil {
		return false
	}
	f.idle.Remove(l.idle)
	l.idle = nil
	return true
}

// done marks l as idle, so it may be closed for another file.
func (f *Files) done(l *logFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.idle = f.idle.PushBack(l)
	f.free.Signal()
}

// close closes l, in use or idle.
func (f *Files) close(l *logFile) error {
	f.mu.Lock()
	file := f.removeLocked(l)
	f.mu.Unlock()
	if file == nil {
		return nil
	}
	defer f.leave()
	return file.Close()
}

// removeLocked detaches l's file and returns it; the caller closes it. The caller holds f.mu.
func (f *Files) removeLocked(l *logFile) *os.File {
	file := l.file
	if l.idle != nil {
		f.idle.Remove(l.idle)
	}
	l.file, l.idle = nil, nil
	return file
}

// leave frees a slot.
func (f *Files) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	f.free.Signal()
}

// endsTorn reports whether a file's last line is incomplete, as after a crash or on a
// full disk.
func endsTorn(file *os.File) (bool, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, info.Size()-1); err != nil {
		return false, err
	}
	return last[0] != '\n', nil
}

// write writes a line to l, which must be in use. It first ends a torn line before it.
func (l *logFile) write(line []byte) error {
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	l.torn = l.torn && n == 0
	return err
}
