// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"submission/module/internal/event"
	"submission/module/internal/outbox"
)

// troubles is what was told of files that can't be read or written: the same
// is told once, and again when a person has asked for the mail to be sent. Its
// zero value is ready to use.
type troubles struct {
	mu   sync.Mutex
	told map[string]bool
}

// news reports whether err was not told yet, and notes that it is now. What is
// wrong with the disk is wrong with all messages.
func (t *troubles) news(err error) bool {
	key := err.Error()
	if no := syscall.Errno(0); errors.As(err, &no) {
		key = no.Error()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told[key] {
		return false
	}
	if t.told == nil {
		t.told = make(map[string]bool)
	}
	t.told[key] = true
	return true
}

func (t *troubles) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = nil
}

// trouble tells why a message can't be taken up, unless somebody else is busy
// with it or done with it.
func (d *Dispatcher) trouble(err error) {
	if errors.Is(err, outbox.ErrBusy) || errors.Is(err, outbox.ErrGone) {
		return
	}
	if d.troubles.news(err) {
		d.send(event.Warning{Text: err.Error()})
	}
}

// diskTrouble tells that a state could not be written, and gives the message
// up. The disk is the truth: the message stays what it is there, so it is
// tried again, or is uncertain, when an Emacs next takes it.
func (d *Dispatcher) diskTrouble(t *task, err error) {
	text := ""
	if d.troubles.news(err) {
		text = fmt.Sprintf("message %s: its state could not be written: %v", t.id(), err)
	}
	d.send(event.Bug{ID: t.id(), Text: text})
	d.leave(t)
}
