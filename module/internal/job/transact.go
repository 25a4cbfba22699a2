// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"errors"
	"io"
	"time"

	"submission/module/internal/event"
	"submission/module/internal/session"
)

// progressEvery is how often Emacs is told how much of a message was sent.
const progressEvery = 200 * time.Millisecond

// transact hands one message over, on a link where all is said but MAIL.
func (a *account) transact(t *task, l *link) ending {
	e, used := l.ending(), l.used
	l.used = true
	result, err := a.send(t, l)
	e.result = result
	e.judge(err)
	if err == nil {
		return e
	}
	var se *session.Error
	errors.As(err, &se)
	e.over = se == nil || !goesOn(se)
	// A server may close a connection that rests, or that has had enough
	// messages, and say 421 or nothing. Nothing of this one was sent then.
	e.stale = used && e.over && se != nil &&
		(se.Stage == session.StageReset || se.Stage == session.StageMail)
	if e.over {
		l.session.Abort()
	}
	return e
}

// goesOn reports whether the session can take another message after an error:
// the server has said no to this one, and the dialogue is in step.
func goesOn(e *session.Error) bool {
	switch e.Kind {
	case session.KindPermanent, session.KindTemporary, session.KindSize, session.KindRecipients,
		session.KindAddress, session.Kind8Bit, session.KindUTF8:
		return e.Stage != session.StageMessage && e.Reply.Code != 421
	}
	return false
}

func (a *account) send(t *task, l *link) (session.Result, error) {
	if a.set.RefreshDate {
		if err := t.entry.Redate(time.Now()); err != nil {
			a.d.send(event.Warning{Text: err.Error()}) // the old date does no harm
		}
	}
	body, err := t.entry.Message()
	if err != nil {
		return session.Result{}, err
	}
	defer body.Close()
	state := t.entry.State()
	envelope := session.Envelope{
		From:       state.Envelope.From,
		To:         state.Envelope.To,
		DSN:        a.set.DSN.session(state.ID),
		RequireTLS: a.set.RequireTLS,
	}
	if err := envelope.Measure(body); err != nil {
		return session.Result{}, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return session.Result{}, err
	}
	envelope.Progress = a.d.progress(state.ID, envelope.Size)
	return l.session.Send(t.ctx, envelope, a.marking(t, body), func(session.Result) error { return t.entry.MarkDot() })
}

// marking returns body, or what also notes that a server has asked for it: the
// bytes that it may have got stay what they are.
func (a *account) marking(t *task, body io.Reader) io.Reader {
	if !a.set.RefreshDate {
		return body
	}
	return &marked{body, t.entry.MarkData}
}

type marked struct {
	io.Reader
	mark func() error
}

func (m *marked) Read(p []byte) (int, error) {
	if err := m.mark(); err != nil {
		return 0, err
	}
	return m.Reader.Read(p)
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
