// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"submission/module/internal/outbox"
)

// Action is what a person wants done with a message in the outbox.
type Action string

// The actions.
const (
	Cancel  Action = "cancel"  // it is not to be sent; it leaves the outbox
	Hold    Action = "hold"    // it is not to be tried until it is sent again by hand
	Send    Action = "send"    // it is to be tried now, whatever became of it before
	Arrived Action = "arrived" // it was uncertain, and is known to have arrived
)

// The causes of a context that a person has ended.
var (
	errCancelled = errors.New("cancelled")
	errHeld      = errors.New("held")
)

// Act does what a person wants with a message. What becomes of it is told by an
// event: with a message that is being sent it may be too late. The error says
// why nothing could be done: another Emacs is busy with it, it is gone, or the
// action makes no sense in its status (outbox.ErrMove).
func (d *Dispatcher) Act(id string, action Action) error {
	if d.interrupt(id, action) {
		return nil
	}
	entry, err := d.claim(id)
	if err != nil {
		return err
	}
	switch action {
	case Cancel:
		err = entry.Move(outbox.Cancelled, func(s *outbox.State) { s.Reason = outbox.ReasonUser })
	case Hold:
		err = entry.Move(outbox.Held, func(s *outbox.State) { s.Reason = outbox.ReasonUser })
	case Arrived:
		err = entry.Move(outbox.Accepted, func(s *outbox.State) {
			s.Receipt.Accepted = append(s.Receipt.Accepted, s.Envelope.To...)
		})
	case Send:
		if entry.State().Status != outbox.Queued {
			err = entry.Move(outbox.Queued, nil)
		} else {
			err = entry.Update(func(s *outbox.State) { s.NextTry = nil })
		}
		if err == nil {
			d.tell(entry.State())
			d.enqueue(entry, nil, true)
			return nil
		}
	default:
		err = fmt.Errorf("no such action as %q", action)
	}
	state := entry.State()
	d.letGo(entry)
	if err == nil {
		d.tell(state)
	}
	return err
}

// Accept sends a message that is held because of a certificate to a server that
// shows the one with the fingerprint pin, which a person has accepted in place
// of all others. The error is that of Act.
func (d *Dispatcher) Accept(id, pin string) error {
	entry, err := d.claim(id)
	if err != nil {
		return err
	}
	settings, err := repin(entry.State().Settings, pin)
	if state := entry.State(); err == nil && state.Reason != outbox.ReasonCertificate {
		err = fmt.Errorf("%w: it is not held because of a certificate", outbox.ErrMove)
	}
	if err == nil {
		err = entry.Move(outbox.Queued, func(s *outbox.State) { s.Settings = settings })
	}
	if err != nil {
		entry.Release()
		return err
	}
	d.tell(entry.State())
	d.enqueue(entry, nil, true)
	return nil
}

// repin returns settings with one pin and nothing else changed.
func repin(settings json.RawMessage, pin string) (json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(settings, &all); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	pins, err := json.Marshal([]string{pin})
	if err != nil {
		return nil, err
	}
	all["pins"] = pins
	return json.Marshal(all)
}

// Change gives a message that rests the settings of another account. Its status
// stays, so there is nothing to tell. The error is that of Act.
func (d *Dispatcher) Change(id string, settings json.RawMessage) error {
	if _, err := parseSettings(settings); err != nil {
		return err
	}
	entry, err := d.claim(id)
	if err != nil {
		return err
	}
	if entry.State().Status.Final() {
		err = fmt.Errorf("%w: it is %s", outbox.ErrMove, entry.State().Status)
	} else {
		err = entry.Update(func(s *outbox.State) { s.Settings = settings })
	}
	entry.Release()
	return err
}

// claim is the box's Claim for what a person wants done with a message.
func (d *Dispatcher) claim(id string) (*outbox.Entry, error) {
	d.mu.Lock()
	entry := d.ended[id]
	d.mu.Unlock()
	if entry != nil {
		return nil, fmt.Errorf("%w: it is %s", outbox.ErrMove, entry.State().Status)
	}
	return d.box.Claim(id)
}

// interrupt stops a message that this Emacs is busy with; one that is on its
// way already needs nothing else. It reports whether there was one.
func (d *Dispatcher) interrupt(id string, action Action) bool {
	d.mu.Lock()
	t, busy := d.tasks[id]
	stop := action == Cancel || action == Hold
	waiting := busy && stop && t.account.unqueue(t)
	d.mu.Unlock()
	if !busy || !stop {
		return busy
	}
	if action == Hold {
		t.cancel(errHeld)
	} else {
		t.cancel(errCancelled)
	}
	if waiting {
		e := ending{verdict: verdict{status: outbox.Deferred}}
		e.stop(t)
		d.finish(t, e)
	}
	return true
}

// stop makes the ending that of a message that a person has stopped, if one
// has and it is not too late: what is not deferred or held has been decided.
func (e *ending) stop(t *task) {
	if e.status != outbox.Deferred && e.status != outbox.Held {
		return
	}
	switch context.Cause(t.ctx) {
	case errCancelled:
		e.verdict, e.forAll = verdict{outbox.Cancelled, outbox.ReasonUser}, false
	case errHeld:
		e.verdict, e.forAll = verdict{outbox.Held, outbox.ReasonUser}, false
	}
}
