// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes an exclusive lock that belongs to this opening of the file, or
// returns ErrBusy. Closing the file, or the end of the process, gives it back.
func tryLock(file *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(file.Fd()), flags, 0, 1, 0, new(windows.Overlapped))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return ErrBusy
	default:
		return &os.PathError{Op: "lock", Path: file.Name(), Err: err}
	}
}

// releaseFile gives a lock with a file of its own back. An open file can't be
// deleted here, so the name goes afterwards, unless the next owner has the file
// open already.
func releaseFile(file *os.File, path string) {
	file.Close()
	os.Remove(path)
}

// hardLinks is false where a file that is open can't lose a name.
const hardLinks = false

func noLinks(error) bool { return true }

// syncDir does nothing: Windows has no such thing.
func syncDir(string) error { return nil }

// owned trusts the profile directory's access list.
func owned(os.FileInfo) bool { return true }

// writable leaves it to the first write to find out.
func writable(string) error { return nil }

// plainWords says for people what a disk error means, or "" if its own text will do.
func plainWords(err error) string {
	switch {
	case errors.Is(err, windows.ERROR_DISK_FULL), errors.Is(err, windows.ERROR_HANDLE_DISK_FULL):
		return "the disk is full"
	case errors.Is(err, os.ErrPermission):
		return "it may not be written"
	}
	return ""
}
