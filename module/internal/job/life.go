// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// ending is what a try came to.
type ending struct {
	verdict
	result   session.Result
	attempts []outbox.Attempt
	host     string
	address  string
	family   string
	port     int
	tls      string
	reply    string // the server's last reply
	detail   string // what happened, where the server didn't say it
	elapsed  time.Duration

	wantsPassword bool            // the server asked for one, or refused the one it got
	wantsToken    bool            // the server refused the bearer token
	certificate   json.RawMessage // of the server, if it is the trouble

	shared bool // it is that of another message's try
	forAll bool // it holds for every message that waits for this server
	over   bool // the link can't be used any more
	stale  bool // the link was closed before anything of this message was said
}

// judge fills in the verdict on an error, or on none.
func (e *ending) judge(err error) {
	e.verdict = verdict{outbox.Accepted, outbox.NoReason}
	e.reply = e.result.Reply.String()
	if err == nil {
		return
	}
	e.verdict = judge(err, e.result)
	e.detail = err.Error()
	if se := (*session.Error)(nil); errors.As(err, &se) && se.Reply.Code != 0 {
		e.reply = se.Reply.String()
		e.wantsPassword = se.Kind == session.KindAuth && (se.Reply.Code == 530 || se.Reply.Code == 535)
	}
	e.wantsToken = errors.Is(err, session.ErrToken)
	if ce := (*session.CertificateError)(nil); errors.As(err, &ce) {
		e.certificate, _ = json.Marshal(ce)
	}
}

// finish writes the ending of a message down, tells Emacs of it and gives the
// message up.
func (d *Dispatcher) finish(t *task, e ending) {
	left := e.left(t.entry.State().Envelope.To)
	status := e.status
	if status == outbox.Accepted && len(left) > 0 {
		status = outbox.Deferred
	}
	now := time.Now()
	if status == outbox.Deferred && now.Sub(t.entry.State().Queued) >= giveUp {
		status, e.reason = outbox.Held, outbox.ReasonExpired
	}
	record := func(s *outbox.State) {
		e.record(s, status, left)
		if status == outbox.Deferred {
			t.account.set.postpone(s, now)
		}
	}
	var err error
	if status == outbox.Cancelled && t.entry.State().Dot {
		// The server has said no after the dot, and only now may it be cancelled.
		err = t.entry.Move(outbox.Deferred, nil)
	}
	if err == nil {
		err = t.entry.Move(status, record)
	}
	if err != nil {
		d.diskTrouble(t, err)
		return
	}
	state := t.entry.State()
	d.leave(t) // first, for Emacs may settle the message at once
	d.tell(state)
	if state.NextTry != nil {
		d.remind(*state.NextTry)
	}
}

// record puts an ending into the state of a message whose recipients left are
// still to be reached.
func (e ending) record(s *outbox.State, status outbox.Status, left []string) {
	if e.shared {
		s.Tries++
	}
	s.Reason, s.Detail, s.Certificate = e.reason, e.detail, e.certificate
	if status == outbox.Accepted || status == outbox.Refused {
		left = s.Envelope.To
	}
	r := &s.Receipt
	r.Host, r.Address, r.Family, r.Port = e.host, e.address, e.family, e.port
	r.TLS, r.Reply, r.Attempts, r.Elapsed = e.tls, e.reply, e.attempts, e.elapsed.Seconds()
	e.recipients(s, left)
}

// recipients puts what became of the recipients into a state; left are still
// to be reached.
func (e ending) recipients(s *outbox.State, left []string) {
	s.Envelope.To = left
	r := &s.Receipt
	for _, to := range e.result.Recipients {
		switch {
		case e.status == outbox.Accepted && to.Accepted:
			r.Accepted = append(r.Accepted, to.Address)
		case to.Reply.Code/100 == 5:
			r.Refused = append(r.Refused, outbox.Refusal{Address: to.Address, Reply: to.Reply.String()})
		}
	}
}

// left returns the recipients that nothing final was said about: not those who
// were accepted with the message, nor those who were refused for good.
func (e ending) left(to []string) []string {
	return slices.DeleteFunc(slices.Clone(to), func(address string) bool {
		i := slices.IndexFunc(e.result.Recipients, func(r session.Recipient) bool { return r.Address == address })
		if i < 0 {
			return false
		}
		r := e.result.Recipients[i]
		return r.Accepted && e.status == outbox.Accepted || r.Reply.Code/100 == 5
	})
}

// leave gives a message up: it is in the outbox as it is on disk.
func (d *Dispatcher) leave(t *task) {
	d.mu.Lock()
	delete(d.tasks, t.id())
	d.mu.Unlock()
	t.cancel(nil)
	d.letGo(t.entry)
}
