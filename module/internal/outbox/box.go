// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// staleAge is how old a temporary file is before it is taken for forgotten.
const staleAge = 24 * time.Hour

// Box is an outbox directory. Any number of goroutines, Boxes and processes
// may use the same directory at once.
type Box struct {
	disk   disk
	now    func() time.Time
	owners owners
}

// Open opens the outbox in dir, making it with mode 0700 where it is missing,
// and clears away what crashes have left there and what is surely not mail. It
// fails if dir is not a directory, belongs to another user or can't be written.
func Open(dir string) (*Box, error) {
	const doing = "open the directory"
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fail(doing, "", err)
	}
	if err := makeDir(dir); err != nil {
		return nil, fail(doing, "", err)
	}
	if err := checkDir(dir); err != nil {
		return nil, fail(doing, "", err)
	}
	b := &Box{disk: disk{dir: dir}, now: time.Now}
	b.sweep()
	return b, nil
}

// Directory returns the absolute name of the outbox directory.
func (b *Box) Directory() string { return b.disk.dir }

// Sync makes durable what Move to Accepted has left to it.
func (b *Box) Sync() error { return fail("write the directory", "", b.disk.syncDir()) }

// List gives the state of each message, oldest first, as it stands on disk:
// one that says sending may belong to a dead owner, which Claim finds out. It
// waits for nobody. What looks like a message and can't be sent is told in the
// errors, each of them an *Error with the ID: ErrDamaged, ErrNewer, ErrNoState,
// ErrNoMessage, or what the disk said.
func (b *Box) List() ([]State, []error) {
	names, err := b.names()
	if err != nil {
		return nil, []error{fail("list the directory", "", err)}
	}
	states, problems := []State{}, []error{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		switch kind, id := classify(name); kind {
		case state:
			s, err := b.look(id)
			if errors.Is(err, ErrGone) {
				continue // it went since the directory was read
			}
			if err != nil {
				problems = append(problems, err)
			} else {
				states = append(states, s)
			}
		case message:
			if !names[stateName(id)] && b.orphaned(id) {
				problems = append(problems, fail("send", id, ErrNoState))
			}
		}
	}
	return states, problems
}

// look reads the state of a message and sees to it that its bytes are there.
// It needs no lock. Without a state the error is ErrGone.
func (b *Box) look(id string) (State, error) {
	s, err := b.read(id)
	if err != nil || s.Status.Final() || b.hasMessage(id) {
		return s, err
	}
	// Was it removed by its owner between the two looks?
	if s, err = b.read(id); err != nil || s.Status.Final() {
		return s, err
	}
	return State{}, fail("send", id, ErrNoMessage)
}

// hasMessage reports whether the bytes of a message that has a state are
// there: in their place, or where Add had them a moment before.
func (b *Box) hasMessage(id string) bool {
	return b.disk.exists(messageName(id)) || b.disk.exists(newMessageName(id)) ||
		b.disk.exists(messageName(id)) // moved between the two looks
}

// orphaned reports whether a message file has no state. Add brings the state
// first and Remove takes it last, so that only an accident makes one.
func (b *Box) orphaned(id string) bool {
	return b.disk.exists(messageName(id)) && !b.disk.exists(stateName(id))
}

// read reads a state file as it is. Its owner may have been writing into its head
// just then, so what seems to be damaged is read again.
func (b *Box) read(id string) (State, error) {
	s, err := b.readOnce(id)
	if errors.Is(err, ErrDamaged) {
		s, err = b.readOnce(id)
	}
	return s, err
}

func (b *Box) readOnce(id string) (State, error) {
	const doing = "read the state of"
	path := b.disk.path(stateName(id))
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = ErrDamaged
	}
	if err != nil {
		return State{}, fail(doing, id, gone(err))
	}
	file, err := os.Open(path)
	if err != nil {
		return State{}, fail(doing, id, gone(err))
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, stateLimit+1))
	if err == nil && len(text) > stateLimit {
		err = ErrDamaged
	}
	if err != nil {
		return State{}, fail(doing, id, err)
	}
	s, err := decode(text, id)
	return s, fail(doing, id, err)
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	return err
}

// sweep clears away locks of dead owners, temporary files that are forgotten,
// and what is left of messages that were done with; and it finishes what Add
// had all but finished. It never touches a message or a state that isn't done
// with. What it can't do it leaves for the next time.
func (b *Box) sweep() {
	names, err := b.names()
	if err != nil {
		return
	}
	for name := range names {
		kind, id := classify(name)
		switch kind {
		case draft:
			if b.stale(name) {
				b.disk.remove(name)
			}
		case ownerFile:
			bury(b.disk.path(name))
		case lockFile, newMessage, newState:
			b.sweepID(id)
		case state:
			if !names[messageName(id)] && !names[newMessageName(id)] {
				b.sweepID(id)
			}
		case kept:
			if !names[stateName(id)] {
				b.sweepID(id)
			}
		}
	}
}

// sweepID does the part of sweep that concerns one message, unless it is owned.
func (b *Box) sweepID(id string) {
	lock, err := b.owners.acquire(b.disk.path(lockName(id)))
	if err != nil {
		return
	}
	defer lock.release()
	if b.place(id) != nil {
		return
	}
	for _, name := range []string{newMessageName(id), newStateName(id)} {
		if b.stale(name) {
			b.disk.remove(name)
		}
	}
	if b.disk.exists(messageName(id)) {
		return
	}
	s, err := b.read(id)
	switch {
	case err == nil && s.Status.Final():
		b.disk.remove(keptName(id))
		b.disk.remove(stateName(id))
	case errors.Is(err, ErrGone) && !b.disk.exists(newMessageName(id)) && b.stale(keptName(id)):
		b.disk.remove(keptName(id))
	}
}

// place puts a message in its place whose Add died between its last two
// renames: with its state it is mail. The caller owns the message.
func (b *Box) place(id string) error {
	if b.disk.exists(messageName(id)) || !b.disk.exists(stateName(id)) || !b.disk.exists(newMessageName(id)) {
		return nil
	}
	return b.disk.rename(newMessageName(id), messageName(id))
}

// stale reports whether a file is there and older than staleAge.
func (b *Box) stale(name string) bool {
	info, err := os.Lstat(b.disk.path(name))
	return err == nil && info.Mode().IsRegular() && b.now().Sub(info.ModTime()) > staleAge
}

// names gives the names of all files in the directory.
func (b *Box) names() (map[string]bool, error) {
	entries, err := os.ReadDir(b.disk.dir)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(entries))
	for _, entry := range entries {
		names[entry.Name()] = true
	}
	return names, nil
}
