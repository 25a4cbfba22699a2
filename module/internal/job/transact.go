// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// progressEvery is how often Emacs is told how much of a message was sent.
const progressEvery = 200 * time.Millisecond

// delivery is how far one try has come with the recipients of a message.
type delivery struct {
	asked    map[string]bool // those the server has answered for
	accepted bool            // the message was accepted for some of them
	later    bool            // some of them are to be tried again later
}

// next returns the recipients for one more transaction: at most so many, and
// of at most so many domains, if that isn't 0.
func (d *delivery) next(to []string, most, domains int) []string {
	var next []string
	seen := make(map[string]bool)
	for _, address := range to {
		domain := strings.ToLower(address[strings.LastIndex(address, "@")+1:])
		if d.asked[address] || len(next) == most || domains > 0 && !seen[domain] && len(seen) == domains {
			continue
		}
		seen[domain] = true
		next = append(next, address)
	}
	return next
}

// note takes in what a transaction came to, and takes out of its result those
// who were only too many for it; it returns how many the server took, if there
// were any such.
func (d *delivery) note(e *ending) (most int) {
	accepted := 0
	for _, r := range e.result.Recipients {
		if r.Accepted {
			accepted++
		}
	}
	e.result.Recipients = slices.DeleteFunc(slices.Clone(e.result.Recipients), func(r session.Recipient) bool {
		if tooMany(r) && accepted > 0 {
			most = accepted
			return true
		}
		return false
	})
	for _, r := range e.result.Recipients {
		d.asked[r.Address] = true
		d.later = d.later || !r.Accepted && r.Reply.Code/100 == 4
	}
	return most
}

// tooMany says whether a recipient was refused because there are so many (RFC
// 5321 §4.5.3.1.10). Servers that have another reason for 452 mostly say which.
func tooMany(r session.Recipient) bool {
	return r.Reply.Code == 452 && (r.Reply.Enhanced == "" || r.Reply.Enhanced == "4.5.3")
}

// sum makes of the ending of a try's last transaction that of the try: what
// happened to its recipients isn't all that counts where there were others.
func (d *delivery) sum(e ending, err error) ending {
	var se *session.Error
	if !errors.As(err, &se) || se.Kind != session.KindRecipients {
		return e
	}
	switch {
	case d.accepted:
		e.verdict, e.detail = verdict{outbox.Accepted, outbox.NoReason}, ""
	case d.later:
		e.verdict = verdict{outbox.Deferred, outbox.NoReason}
	}
	return e
}

// transact hands one message over, on a link where all is said but MAIL, in as
// many transactions as its recipients need. What became of one is on disk
// before the next begins, so nobody gets the message twice, whatever happens.
func (a *account) transact(t *task, l *link, d *delivery) ending {
	for {
		to := d.next(t.entry.State().Envelope.To, l.most(), l.session.MaxDomains())
		e, err := a.transaction(t, l, to)
		if most := d.note(&e); most > 0 {
			l.limit = most
		}
		var se *session.Error
		nobody := errors.As(err, &se) && se.Kind == session.KindRecipients
		if err != nil && !nobody || len(d.next(t.entry.State().Envelope.To, 1, 0)) == 0 {
			return d.sum(e, err)
		}
		d.accepted = d.accepted || err == nil
		if t.entry.Passed(func(s *outbox.State) { e.recipients(s, e.left(s.Envelope.To)) }) != nil {
			return d.sum(e, err) // to be written down as an ending, or not at all
		}
		if !e.over && l.spent() {
			l.session.Quit(t.ctx)
			e.over = true
		}
		if e.over {
			e.stale = true
			return e
		}
	}
}

// transaction hands one message over to some of its recipients.
func (a *account) transaction(t *task, l *link, to []string) (ending, error) {
	e, used := l.ending(), l.sent > 0
	l.sent++
	l.reached.ear.turn(t.id())
	result, err := a.send(t, l, to)
	e.result = result
	e.judge(err)
	var se *session.Error
	errors.As(err, &se)
	e.over = l.session.Over() || err != nil && (se == nil || !goesOn(se))
	// A server may close a connection that rests, or that has had enough
	// messages, and say 421 or nothing. Nothing of this one was sent then.
	e.stale = used && e.over && se != nil &&
		(se.Stage == session.StageReset || se.Stage == session.StageMail)
	if e.over {
		l.session.Abort()
	}
	return e, err
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

func (a *account) send(t *task, l *link, to []string) (session.Result, error) {
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
		To:         to,
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
