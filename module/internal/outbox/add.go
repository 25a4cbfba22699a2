// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Draft is a message that is to come into the outbox.
type Draft struct {
	ID       string // from NewID, for a caller who tells it before Add is done; "" for one of Add's own
	File     string // its bytes; taken over if it is a temporary file in the outbox directory, else copied
	Envelope Envelope
	Settings json.RawMessage // an object, or nil
	NextTry  *time.Time      // not to be tried before; nil: at once
	Keep     string          // a temporary file in the outbox directory that stays with the message as ID.draft; "" for none
}

// Add takes a message into the outbox, with status Queued, and returns it
// owned. Bcc and Resent-Bcc fields are cut out of its header; every other byte
// stays. Once Add has returned, the message outlives a loss of power.
//
// A file in the outbox directory whose name begins with a dot (DraftPrefix) is
// then gone, and so is the file to keep. Any other file stays as it is. After an
// error each is still where it was, for the caller to remove or to show, and
// nothing else is left behind.
//
// The order of the steps is that of a crash's harmlessness: the bytes are
// synced under a temporary name, then the state comes by rename, which is the
// moment from which on it is mail, then the bytes go to their place. If that
// last rename is missing, Claim and Open see to it.
func (b *Box) Add(from Draft) (*Entry, error) {
	const doing = "queue the message"
	temp := b.temporary(from.File)
	now, id := b.now(), from.ID
	if id == "" {
		id = NewID(now)
	}
	e, err := b.fresh(id)
	if err != nil {
		return nil, fail(doing, "", err)
	}
	found, err := b.bring(from.File, temp, id)
	if err != nil {
		e.Release()
		return nil, fail(doing, "", err)
	}
	keep, err := b.keep(from.Keep, id)
	if err != nil {
		err = b.takeBack(id, temp, keep, err)
		e.Release()
		return nil, fail(doing, "", err)
	}
	e.state = State{
		Version: Version, ID: id, Status: Queued,
		MessageID: found.messageID, Subject: found.subject,
		Size: found.size, EightBit: found.eightBit,
		Queued:   now.UTC().Truncate(time.Second),
		Envelope: from.Envelope, Settings: from.Settings, NextTry: from.NextTry,
	}
	err = e.store(e.state, unnamed) // syncDir comes with the name of the bytes
	if err == nil {
		err = b.disk.rename(newMessageName(id), messageName(id))
	}
	if err == nil {
		err = b.disk.syncDir()
	}
	if err != nil {
		err = b.takeBack(id, temp, keep, err)
		e.Release()
		return nil, fail(doing, "", err)
	}
	if temp != "" {
		b.disk.remove(temp) // still there if it had a Bcc; if that fails, Open does it
	}
	return e, nil
}

// temporary returns the name of file if it is a temporary file in our own
// directory, else "".
func (b *Box) temporary(file string) string {
	dir, name := filepath.Split(file)
	if kind, _ := classify(name); !strings.HasPrefix(name, ".") || kind != draft && kind != foreign {
		return ""
	}
	ours, err := os.Stat(b.disk.dir)
	if err != nil {
		return ""
	}
	theirs, err := os.Stat(dir)
	if err != nil || !os.SameFile(ours, theirs) {
		return ""
	}
	return name
}

// fresh returns an owned entry with that ID, which no message has yet, and
// nothing else in it.
func (b *Box) fresh(id string) (*Entry, error) {
	if !ValidID(id) {
		return nil, fmt.Errorf("%w: %.40q is not an id", ErrInvalid, id)
	}
	lock, err := b.owners.acquire(b.disk.path(lockName(id)))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{stateName(id), messageName(id), newMessageName(id), keptName(id)} {
		if b.disk.exists(name) {
			lock.release()
			return nil, fmt.Errorf("%w: there is a message %s already", ErrInvalid, id)
		}
	}
	return &Entry{box: b, lock: lock, state: State{ID: id}}, nil
}

// bring makes the bytes of file, without its Bcc fields, durable under the
// name newMessageName(id), and tells what they say. temp is the name of file
// if it may be renamed. On an error there is no such file.
func (b *Box) bring(file, temp, id string) (found, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return found{}, err
	}
	if !info.Mode().IsRegular() {
		return found{}, fmt.Errorf("%w: %s is not a regular file", ErrInvalid, file)
	}
	flag := os.O_RDONLY
	if temp != "" {
		flag = os.O_RDWR // Windows syncs nothing less
	}
	source, err := os.OpenFile(file, flag, 0)
	if err != nil {
		return found{}, err
	}
	defer source.Close()
	result, err := scan(source)
	if err != nil {
		return found{}, err
	}
	if temp != "" && len(result.cuts) == 0 {
		err := errors.Join(source.Chmod(0o600), b.disk.sync(temp, source), source.Close())
		if err == nil {
			err = b.disk.rename(temp, newMessageName(id))
		}
		return result, err
	}
	var copied found
	err = b.disk.create(newMessageName(id), func(to *os.File) error {
		if err := copyWithout(to, source, result.size, result.cuts); err != nil {
			return err
		}
		if _, err := to.Seek(0, 0); err != nil {
			return err
		}
		copied, err = scan(to) // the Bcc may have been all that was 8-bit
		return err
	})
	return copied, err
}

// keep puts a draft beside the message that is to come, and returns the name it
// had. It comes before the state: a crash may leave it alone, and it is swept
// then, but a message never waits for it.
func (b *Box) keep(file, id string) (temp string, err error) {
	if file == "" {
		return "", nil
	}
	if temp = b.temporary(file); temp == "" {
		return "", fmt.Errorf("%w: %s is no temporary file in the outbox directory", ErrInvalid, file)
	}
	draft, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return temp, err
	}
	err = errors.Join(draft.Chmod(0o600), b.disk.sync(temp, draft), draft.Close())
	if err == nil {
		err = b.disk.rename(temp, keptName(id))
	}
	return temp, err
}

// takeBack undoes an Add that failed with err, the state first, as without it
// nothing is mail. If the caller's files were renamed, temp and keep are the
// names they get back.
func (b *Box) takeBack(id, temp, keep string, err error) error {
	if failed := b.disk.remove(stateName(id)); failed != nil && b.disk.exists(stateName(id)) {
		return fmt.Errorf("%w; and it could not be taken back, so it may be sent after all, as %s: %w", err, id, failed)
	}
	for _, name := range []string{newMessageName(id), messageName(id)} {
		if temp != "" && b.disk.exists(name) && !b.disk.exists(temp) {
			b.disk.rename(name, temp) // or else it stays: it may be all there is
		} else {
			b.disk.remove(name)
		}
	}
	if keep != "" && b.disk.exists(keptName(id)) {
		b.disk.rename(keptName(id), keep)
	}
	b.disk.syncDir()
	return err
}
