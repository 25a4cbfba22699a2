// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import "os"

// lock is the ownership of one message. The system takes it back when its
// owner dies; the lock file is there only while the lock is held, but for
// what a dead owner leaves behind, which holds nobody up.
type lock struct {
	file *os.File
	path string
}

// acquire takes the lock at path, or returns ErrBusy at once. Each call opens
// the file anew, so goroutines exclude each other as processes do.
func acquire(path string) (*lock, error) {
	// A file that lost its name means that another owner was done meanwhile,
	// so a few rounds are plenty.
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

// named reports whether path still names file.
func named(file *os.File, path string) bool {
	have, err := file.Stat()
	if err != nil {
		return false
	}
	want, err := os.Lstat(path)
	return err == nil && os.SameFile(have, want)
}
