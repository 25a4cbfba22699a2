// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bytes"
	"io"
	"net/mail"
	"os"
	"time"
)

// recent is how old a Date may be and still do.
const recent = time.Minute

// MarkData makes it durable that a server is about to get some of the bytes:
// from here on they stay what they are.
func (e *Entry) MarkData() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.Data {
		return nil
	}
	next := e.state.clone()
	next.Data = true
	return e.store(next, durable)
}

// Redate gives the message the date now if it has one that is more than a
// minute off, in the time zone that it was written in. It does nothing once
// MarkData was called, nor to a message that was resent, whose Date is its
// author's. Everything else, Message-ID included, stays.
//
// The message is written anew beside the old one and put in its place by
// rename, so a crash leaves either of them.
func (e *Entry) Redate(now time.Time) error {
	const doing = "renew the date of"
	e.mu.Lock()
	defer e.mu.Unlock()
	id, disk := e.state.ID, &e.box.disk
	if e.lock == nil {
		return fail(doing, id, ErrReleased)
	}
	if e.state.Data {
		return nil
	}
	file, err := os.Open(disk.path(messageName(id)))
	if err != nil {
		return fail(doing, id, err)
	}
	defer file.Close()
	found, err := scan(file)
	if err != nil {
		return fail(doing, id, err)
	}
	old, err := mail.ParseDate(found.date)
	if err != nil || found.resent || now.Sub(old).Abs() < recent {
		return nil
	}
	field := "Date: " + now.In(old.Location()).Format(time.RFC1123Z)
	next := e.state.clone()
	err = disk.create(newMessageName(id), func(to *os.File) error {
		if err := copyDated(to, file, found.dateAt, field); err != nil {
			return err
		}
		next.Size, err = to.Seek(0, io.SeekCurrent)
		return err
	})
	if err == nil {
		if err = disk.rename(newMessageName(id), messageName(id)); err != nil {
			disk.remove(newMessageName(id))
		}
	}
	if err == nil {
		err = disk.syncDir()
	}
	if err == nil {
		err = e.store(next, loose)
	}
	return fail(doing, id, err)
}

// copyDated copies all of from, with another field at a place.
func copyDated(to, from *os.File, at span, field string) error {
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.CopyN(to, from, at.from); err != nil {
		return err
	}
	old := make([]byte, at.to-at.from)
	if _, err := io.ReadFull(from, old); err != nil {
		return err
	}
	end := old[len(bytes.TrimRight(old, "\r\n")):]
	if _, err := to.WriteString(field + string(end)); err != nil {
		return err
	}
	_, err := io.Copy(to, from)
	return err
}
