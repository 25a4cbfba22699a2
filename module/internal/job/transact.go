// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"io"
	"time"

	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// progressEvery is how often Emacs is told how much of a message was sent.
const progressEvery = 200 * time.Millisecond

// transact says EHLO, starts TLS, authenticates and hands the message over, on
// a session that was greeted with 220.
func (d *Dispatcher) transact(ctx context.Context, entry *outbox.Entry, s *session.Session, secret *Secret) (session.Result, error) {
	var cred *session.Credentials
	if secret != nil {
		cred = &session.Credentials{User: secret.User, Password: secret.Password}
	}
	if err := s.Start(ctx, cred); err != nil {
		return session.Result{}, err
	}
	body, err := entry.Message()
	if err != nil {
		s.Abort()
		return session.Result{}, err
	}
	defer body.Close()
	size, eightBit, err := session.Measure(body)
	if err == nil {
		_, err = body.Seek(0, io.SeekStart)
	}
	if err != nil {
		s.Abort()
		return session.Result{}, err
	}
	state := entry.State()
	result, err := s.Send(ctx, session.Envelope{
		From:     state.Envelope.From,
		To:       state.Envelope.To,
		Size:     size,
		EightBit: eightBit,
		Progress: d.progress(state.ID, size),
	}, body, func(session.Result) error { return entry.MarkDot() })
	if err == nil {
		s.Quit(ctx)
	} else {
		s.Abort()
	}
	return result, err
}

// progress returns a function that tells Emacs how many bytes were sent, not
// too often.
func (d *Dispatcher) progress(id string, size int64) func(int64) {
	var last time.Time
	return func(sent int64) {
		if now := time.Now(); now.Sub(last) >= progressEvery {
			last = now
			d.send(event.Progress{ID: id, Sent: sent, Size: size})
		}
	}
}
