// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"

	"submission/module/internal/event"
)

// Answer is what Lisp says to a question: credentials, or the local ports of a
// tunnel in the order of the question's, or why there are none. Held says that
// a person has to mend something first.
type Answer struct {
	Secret *Secret `json:"secret"`
	Tunnel []int   `json:"tunnel"`
	Error  string  `json:"error"`
	Held   bool    `json:"held"`
}

// ask puts a question to Lisp and waits for the answer; nil means that there
// is none. In a batch Emacs nobody is there to be asked for a password: only
// what Lisp knows without a person goes there.
func (d *Dispatcher) ask(ctx context.Context, question event.Ask) *Answer {
	switch question.Why {
	case "again", "tunnel", "token", "offered":
	default:
		if !d.interactive {
			return nil
		}
	}
	answer := make(chan *Answer, 1)
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
	case a := <-answer:
		return a
	case <-ctx.Done():
		return nil
	}
}

// askOffered asks for a secret; nil is none.
func (d *Dispatcher) askOffered(ctx context.Context, question event.Ask) *Secret {
	if answer := d.ask(ctx, question); answer != nil {
		return answer.Secret
	}
	return nil
}

// Answer gives Lisp's answer to a question; one that nobody waits for any more
// is dropped.
func (d *Dispatcher) Answer(number int, answer *Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if waiting, ok := d.asks[number]; ok {
		delete(d.asks, number)
		waiting <- answer
	}
}
