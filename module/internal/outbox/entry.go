// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// Entry is a message that we own: nobody else changes or sends it until
// Release, Remove or the end of the process. Its methods may be called from
// several goroutines.
//
// The state in an Entry is the state on disk. If a change fails it is the old
// one; only where the change is made and merely can't be made durable is it
// the new one despite the error.
type Entry struct {
	box   *Box
	mu    sync.Mutex
	lock  *lock // nil: no longer owned
	state State
}

// Claim takes possession of a message and reads its state. The error is
// ErrBusy at once if somebody has it, ErrGone if there is no such message, or
// what List says of one that can't be sent.
//
// If the state is Sending, its owner died. Without the dot mark the message is
// Queued again; with it, it is Uncertain. That is on disk before Claim returns.
func (b *Box) Claim(id string) (*Entry, error) {
	const doing = "take up"
	if !ValidID(id) {
		return nil, fail(doing, fmt.Sprintf("%.40q", id), ErrGone)
	}
	lock, err := b.owners.acquire(b.disk.path(lockName(id)))
	if err != nil {
		return nil, fail(doing, id, err)
	}
	e := &Entry{box: b, lock: lock}
	if err := e.revive(id); err != nil {
		e.Release()
		return nil, fail(doing, id, err)
	}
	return e, nil
}

// revive reads the state of a message that we own since just now, and puts
// right what a dead owner left.
func (e *Entry) revive(id string) (err error) {
	b := e.box
	if err := b.place(id); err != nil {
		return err
	}
	if e.state, err = b.look(id); err != nil {
		if errors.Is(err, ErrGone) && b.disk.exists(messageName(id)) {
			return ErrNoState
		}
		return err
	}
	switch {
	case e.state.Status != Sending:
		return nil
	case e.state.Dot:
		return e.Move(Uncertain, nil)
	default:
		return e.Move(Queued, nil)
	}
}

// ID returns the message's ID.
func (e *Entry) ID() string { return e.State().ID }

// State returns a copy of the message's state.
func (e *Entry) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.clone()
}

// Move gives the message another status, if the table of moves has that move;
// else the error is ErrMove. NextTry is emptied first, as it belongs to the status
// that is left, and so are Reason, Detail and Certificate, which still say while it
// is Sending what came of the try before; then change, unless nil, may set them and
// all else but Version, ID, Rev, Status and Dot.
//
// The move is durable when Move returns, but for two that may be lost with the
// power. After one to Sending the message is to be tried, as before it. One from
// the marked dot to Accepted makes the message uncertain, if it is lost: Sync makes
// it durable, for one message or for many. That one is made even where the disk has
// no room for what change has set; then that is only in State.
func (e *Entry) Move(to Status, change func(*State)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.state.Status.CanMove(to, e.state.Dot) {
		return fail("move", e.state.ID, fmt.Errorf("%w: from %s to %s", ErrMove, e.state.Status, to))
	}
	next := e.state.clone()
	next.NextTry = nil
	if to != Sending {
		next.Reason, next.Detail, next.Certificate = NoReason, "", nil
	}
	if change != nil {
		change(&next)
	}
	next.Status, next.Dot = to, false
	switch {
	case to == Sending:
		return e.store(next, loose)
	case to == Accepted && e.state.Dot:
		err := e.store(next, unnamed)
		if err == nil || !e.state.Dot {
			return err
		}
		bare := e.state.clone()
		bare.Status, bare.Dot = to, false
		if e.store(bare, unnamed) != nil {
			return err
		}
		next.Rev = e.state.Rev
		e.state = next.clone()
		return nil
	}
	return e.store(next, durable)
}

// Update lets change set anything but Version, ID, Rev, Status and Dot, and
// makes that durable.
func (e *Entry) Update(change func(*State)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.state.clone()
	change(&next)
	next.Status, next.Dot = e.state.Status, e.state.Dot
	return e.store(next, durable)
}

// MarkDot makes it durable that the final dot is about to go. From here to the
// next Move or Passed a crash makes the message Uncertain. After an error the dot must
// not go. The status must be Sending.
func (e *Entry) MarkDot() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.Status != Sending {
		return fail("mark the dot of", e.state.ID, fmt.Errorf("%w: it is %s", ErrMove, e.state.Status))
	}
	next := e.state.clone()
	next.Dot = true
	return e.store(next, durable)
}

// Passed makes it durable that a transaction is over which MarkDot was for, and
// that there is more to send: change takes those out of the envelope who have
// got the message, and may set what Update may. From here on a crash means that
// the message is to be tried again. The status stays Sending.
func (e *Entry) Passed(change func(*State)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.Status != Sending {
		return fail("go on with", e.state.ID, fmt.Errorf("%w: it is %s", ErrMove, e.state.Status))
	}
	next := e.state.clone()
	change(&next)
	next.Status, next.Dot = Sending, false
	return e.store(next, durable)
}

// safety is what a loss of power leaves of a new state.
type safety int

const (
	loose   safety = iota // it, or the state before
	unnamed               // the same, but after syncDir it
	durable               // it
)

// store makes next the state, on disk and here: in place if only the head is
// another, else as a new file. What may be changed in place later is in a file
// whose name is durable, or the mark of the dot could be in one that nobody finds.
// So unnamed is for states that are the last ones. The caller holds e.mu or is the
// only one to know e.
func (e *Entry) store(next State, safe safety) error {
	const doing = "write the state of"
	if e.lock == nil {
		return fail(doing, e.state.ID, ErrReleased)
	}
	next.Version, next.ID, next.Rev = Version, e.state.ID, e.state.Rev+1
	text, err := next.encode()
	if err != nil {
		return fail(doing, next.ID, err)
	}
	disk, name := &e.box.disk, stateName(next.ID)
	if old, err := e.state.encode(); err == nil && sameTail(old, text) {
		done, err := disk.overwrite(name, old, text[:headSize], safe != loose)
		if done {
			if next.Status != e.state.Status {
				disk.touch()
			}
			e.state = next.clone()
			return fail(doing, next.ID, err)
		}
	}
	if err := disk.replace(newStateName(next.ID), name, text); err != nil {
		return fail(doing, next.ID, err)
	}
	e.state = next.clone()
	if safe != unnamed {
		err = disk.syncDir()
	}
	return fail(doing, next.ID, err)
}

// Message opens the message's bytes for reading. The caller closes the file.
func (e *Entry) Message() (*os.File, error) {
	const doing = "read"
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lock == nil {
		return nil, fail(doing, e.state.ID, ErrReleased)
	}
	if !e.box.disk.exists(messageName(e.state.ID)) {
		return nil, fail(doing, e.state.ID, ErrNoMessage)
	}
	file, err := os.Open(e.box.disk.path(messageName(e.state.ID)))
	return file, fail(doing, e.state.ID, err)
}

// Remove takes an Accepted or Cancelled message off the disk and lets go of
// it; with any other status the error is ErrMove. After a disk error it is
// still owned, and Remove can be called again.
//
// The bytes go first. A crash in between leaves a state that says the message
// is done with, which is never sent and which Open removes; the other way
// about, what is left would look like a message that lost its state.
func (e *Entry) Remove() error {
	const doing = "remove"
	e.mu.Lock()
	defer e.mu.Unlock()
	id, disk := e.state.ID, &e.box.disk
	if e.lock == nil {
		return fail(doing, id, ErrReleased)
	}
	if !e.state.Status.Final() {
		return fail(doing, id, fmt.Errorf("%w: it is %s", ErrMove, e.state.Status))
	}
	for _, name := range []string{messageName(id), keptName(id), stateName(id)} {
		if err := disk.remove(name); err != nil {
			return fail(doing, id, err)
		}
	}
	e.letGo()
	return nil
}

// Release lets go of the message, which stays as it is on disk. It may be
// called more than once.
func (e *Entry) Release() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.letGo()
}

func (e *Entry) letGo() {
	if e.lock != nil {
		e.lock.release()
		e.lock = nil
	}
}
