// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"

	"submission/module/internal/event"
)

// ask wants credentials from Lisp and waits for the answer; nil means that
// there are none to be had. In a batch Emacs nobody is there to be asked: only
// the look-up for a later try (why "again") goes to Lisp.
func (d *Dispatcher) ask(ctx context.Context, question event.Ask) *Secret {
	if !d.interactive && question.Why != "again" {
		return nil
	}
	answer := make(chan *Secret, 1)
	d.mu.Lock()
	d.lastAsk++
	question.Ask = d.lastAsk
	d.asks[question.Ask] = answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.asks, question.Ask)
		d.mu.Unlock()
	}()
	d.send(question)
	select {
	case secret := <-answer:
		return secret
	case <-ctx.Done():
		return nil
	}
}

// Answer gives Lisp's answer to a question; one that nobody waits for any more
// is dropped.
func (d *Dispatcher) Answer(number int, secret *Secret) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if answer, ok := d.asks[number]; ok {
		delete(d.asks, number)
		answer <- secret
	}
}
