// SPDX-License-Identifier: GPL-3.0-or-later

//go:build unix

package outbox

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// tryLock takes an exclusive lock that belongs to this opening of the file, or
// returns ErrBusy. Closing the file, or the end of the process, gives it back.
func tryLock(file *os.File) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrBusy
		default:
			return &os.PathError{Op: "lock", Path: file.Name(), Err: err}
		}
	}
}

// releaseFile gives a lock with a file of its own back. The name goes first: see
// lockOpened.
func releaseFile(file *os.File, path string) {
	os.Remove(path)
	file.Close()
}

// hardLinks is true where a file can have several names and lose one.
const hardLinks = true

// noLinks reports whether this is what a file system says that has no hard links.
func noLinks(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOTSUP) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EMLINK)
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	err = file.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil // a file system that has no such thing
	}
	return err
}

// owned reports whether the file belongs to the user we run as.
func owned(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(stat.Uid) == os.Geteuid()
}

// writable returns an error if files can't be made in dir.
func writable(dir string) error {
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "write", Path: dir, Err: err}
	}
	return nil
}

// plainWords says for people what a disk error means, or "" if its own text will do.
func plainWords(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return "the disk is full"
	case errors.Is(err, unix.EDQUOT):
		return "your disk quota is used up"
	case errors.Is(err, unix.EROFS):
		return "the file system is read-only"
	case errors.Is(err, unix.EIO):
		return "the disk is failing"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "too many files are open"
	case errors.Is(err, os.ErrPermission):
		return "it may not be written"
	}
	return ""
}
