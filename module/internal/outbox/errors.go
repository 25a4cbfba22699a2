// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import "errors"

// What can be wrong with a message, for errors.Is. Errors of the disk keep
// their own value beneath (syscall.ENOSPC, fs.ErrPermission, …).
var (
	// ErrBusy: another process, or another goroutine of this one, owns the message.
	ErrBusy = errors.New("another Emacs, or another job of this one, is at work on it")
	// ErrGone: there is no such message in the outbox (any more).
	ErrGone = errors.New("it is not in the outbox")
	// ErrDamaged: its state file can't be understood. Nothing is done with
	// the message and nothing is deleted.
	ErrDamaged = errors.New("its state file is damaged")
	// ErrNewer: its state file was written by a newer version of submission.
	ErrNewer = errors.New("its state file was written by a newer version of submission")
	// ErrNoState: there is a message file and no state file, so it is not mail.
	ErrNoState = errors.New("it has no state file, so it is not sent")
	// ErrNoMessage: there is a state file and no message file.
	ErrNoMessage = errors.New("its message file is missing")
	// ErrMove: the table of moves in status.go has no such move.
	ErrMove = errors.New("no such move")
	// ErrReleased: the entry was released or removed, and is not ours to change.
	ErrReleased = errors.New("it is no longer owned by this job")
	// ErrInvalid: what was given to be stored can't be.
	ErrInvalid = errors.New("it can't be stored")
)

// Error says what the outbox was doing, with which message, and what came of it.
type Error struct {
	Doing string // "queue the message", "read the state", …
	ID    string // "" where it is about the directory
	Err   error
}

// Error gives the whole in one line, a disk error also in plain words.
func (e *Error) Error() string {
	text := "outbox: can't " + e.Doing
	if e.ID != "" {
		text += " " + e.ID
	}
	text += ": "
	if plain := plainWords(e.Err); plain != "" {
		text += plain + ": "
	}
	return text + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// fail wraps err, unless it is nil or wrapped already.
func fail(doing, id string, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return &Error{Doing: doing, ID: id, Err: err}
}
