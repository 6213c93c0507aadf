package capsulelog

import (
	"container/list"
	"os"
	"sync"
)

// mostOpen bounds how many log files are open by default: beyond some hundred there is
// nothing to gain.
const mostOpen = 256

// opening is how many log files are opened at once. Each needs a few descriptors, as
// its directories are opened one after the other.
const opening = 4

// Files bounds how many log files all Writers that share it hold open: those that were
// written to last. It is safe for concurrent use.
type Files struct {
	places chan struct{} // one for each file that is being opened

	mu   sync.Mutex
	free sync.Cond // a file is not in use any more, or closed
	most int
	open int       // files that are open, or about to be
	idle list.List // of *logFile, those that nobody writes to, the least recently used first
}

// NewFiles returns a bound of most files; 0 means a quarter of what the process may
// open, and 256 at most.
func NewFiles(most int) *Files {
	if most <= 0 {
		most = min(max(1, descriptorLimit()/4), mostOpen)
	}
	f := &Files{places: make(chan struct{}, opening), most: most}
	f.free.L = &f.mu
	return f
}

// logFile is an open file of a Writer, who alone uses it. It is closed when another
// file needs its place.
type logFile struct {
	torn bool // it ends in the middle of a line

	file *os.File      // guarded by Files.mu unless it is in use; nil when it was closed
	idle *list.Element // nil while it is in use
}

// add opens a file with open, and returns it in use. It closes the least recently used
// one if there are too many, and waits if all are in use.
func (f *Files) add(open func() (*os.File, error)) (*logFile, error) {
	f.mu.Lock()
	for f.open >= f.most && f.idle.Len() == 0 {
		f.free.Wait()
	}
	var old *os.File
	if f.open >= f.most {
		old = f.removeLocked(f.idle.Front().Value.(*logFile)) //nolint:forcetypeassert // nothing else is in it
	} else {
		f.open++
	}
	f.mu.Unlock()
	if old != nil {
		_ = old.Close() // its lines were written
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

// use keeps l open until done. It returns false if l was closed.
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

// done lets l, which is in use, be closed for another file.
func (f *Files) done(l *logFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.idle = f.idle.PushBack(l)
	f.free.Signal()
}

// close closes l, in use or not.
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

// removeLocked takes l's file, to be closed.
func (f *Files) removeLocked(l *logFile) *os.File {
	file := l.file
	if l.idle != nil {
		f.idle.Remove(l.idle)
	}
	l.file, l.idle = nil, nil
	return file
}

// leave gives a place back.
func (f *Files) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	f.free.Signal()
}

// endsTorn says whether a file's last line has no end: a crash, or a full disk, has
// cut it.
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

// write writes a line to l, which is in use. A torn line before it is ended first.
func (l *logFile) write(line []byte) error {
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(line)
	l.torn = l.torn && n == 0
	return err
}
