// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// lock is the ownership of one message: a file that the system knows to be
// locked as long as its owner lives. It is there only while the lock is held,
// but for what a dead owner leaves behind, which holds nobody up.
//
// An Emacs may not have many more than a thousand files open, and a thousand
// messages may wait. So the locks of a Box are names, hard links, of one file
// that it keeps open and locked (owner). Where there are no hard links, each is
// a file of its own.
type lock struct {
	path  string
	owner *owner   // whose file path names; nil: file
	file  *os.File // open and locked; nil: owner
}

// owner is a file that is locked and open, and how many locks are names of it.
type owner struct {
	of    *owners
	file  *os.File
	path  string
	names int
}

// owners are the files of a Box by which it owns messages. The zero value is
// ready for use.
type owners struct {
	mu  sync.Mutex
	now *owner // that gets further names; nil: none yet
}

// mostNames is how many locks are names of one file: NTFS has 1024 names for a
// file at most, other file systems more.
const mostNames = 500

// acquire takes the lock at path, or returns ErrBusy at once. Goroutines
// exclude each other as processes do.
func (o *owners) acquire(path string) (*lock, error) {
	if !hardLinks {
		return acquireFile(path)
	}
	// A name that comes or goes at this moment means that another owner was
	// done meanwhile, so a few rounds are plenty.
	for range 100 {
		l, err := o.link(path)
		if err == nil {
			return l, nil
		}
		if noLinks(err) {
			return acquireFile(path)
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := bury(path); err != nil {
			return nil, err
		}
	}
	return nil, ErrBusy
}

// link makes path a name of our file. The error is fs.ErrExist if it is one of
// any file.
func (o *owners) link(path string) (*lock, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now == nil || o.now.names >= mostNames {
		file, err := newOwnerFile(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		o.now = &owner{of: o, file: file, path: file.Name()}
	}
	own := o.now
	if err := os.Link(own.path, path); err != nil {
		own.closeUnused()
		return nil, err
	}
	own.names++
	return &lock{path: path, owner: own}, nil
}

// closeUnused lets go of the file if no lock is a name of it. The caller has
// locked owners.
func (own *owner) closeUnused() {
	if own.names > 0 {
		return
	}
	if own.of.now == own {
		own.of.now = nil
	}
	os.Remove(own.path)
	own.file.Close()
}

// newOwnerFile makes a file in dir and locks it.
func newOwnerFile(dir string) (*os.File, error) {
	for range 100 {
		chance := make([]byte, 8)
		rand.Read(chance)
		path := filepath.Join(dir, ownerPrefix+hex.EncodeToString(chance))
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		// A sweep may take it for a dead one's before it is locked.
		if err := tryLock(file); err == nil && named(file, path) {
			return file, nil
		} else if err != nil && !errors.Is(err, ErrBusy) {
			os.Remove(path)
			file.Close()
			return nil, err
		}
		file.Close()
	}
	return nil, ErrBusy
}

// bury takes the name path from a file whose owner is dead. The error is
// ErrBusy if the owner lives, and nil if there is nothing there any more.
func bury(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := tryLock(file); err != nil {
		return err
	}
	// Only who has locked a dead one's file takes its names away. So what we
	// see here stays true until we are done.
	if named(file, path) {
		return os.Remove(path)
	}
	return nil
}

// acquireFile is acquire for a file system without hard links. Each call opens
// the file anew.
func acquireFile(path string) (*lock, error) {
	for range 100 {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if l, err := lockOpened(file, path); l != nil || err != nil {
			return l, err
		}
	}
	return nil, ErrBusy
}

// lockOpened locks a file that was opened at path, or closes it. An owner
// unlinks the file before it lets go, so whoever had it open by then gets a
// lock on a file that has no name any more and excludes nobody: then the
// result is nil without an error.
func lockOpened(file *os.File, path string) (*lock, error) {
	err := tryLock(file)
	if err == nil && named(file, path) {
		return &lock{file: file, path: path}, nil
	}
	file.Close()
	return nil, err
}

// release gives the lock back.
func (l *lock) release() {
	if l.owner == nil {
		releaseFile(l.file, l.path)
		return
	}
	l.owner.of.mu.Lock()
	defer l.owner.of.mu.Unlock()
	os.Remove(l.path)
	l.owner.names--
	l.owner.closeUnused()
}

// named reports whether path still names file.
func named(file *os.File, path string) bool {
	have, err := file.Stat()
	if err != nil {
		return false
	}
	want, err := os.Lstat(path)
	return err == nil && os.SameFile(have, want)
}
