// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// live takes a queued message to the status it ends in, writes that down, and
// tells Emacs. It owns the entry and gives it up at the end.
func (d *Dispatcher) live(ctx context.Context, entry *outbox.Entry, secret *Secret) {
	defer d.leave(entry)
	set, err := parseSettings(entry.State().Settings)
	if err != nil {
		d.end(entry, ending{verdict: verdict{outbox.Held, outbox.ReasonProtocol}, detail: err.Error()})
		return
	}
	if err := entry.Move(outbox.Sending, func(s *outbox.State) { s.Tries++ }); err != nil {
		d.diskTrouble(entry, err)
		return
	}
	d.tell(entry)
	d.end(entry, d.tries(ctx, entry, set, secret))
}

// leave gives the entry up. After a fault of ours the message stays where it
// is: what was not written as sent is tried again, or is uncertain, when an
// Emacs next takes it.
func (d *Dispatcher) leave(entry *outbox.Entry) {
	d.mu.Lock()
	delete(d.running, entry.State().ID)
	d.mu.Unlock()
	entry.Release()
}

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
}

// tries makes one try, and another whenever a person has given the password
// that was missing or wrong.
func (d *Dispatcher) tries(ctx context.Context, entry *outbox.Entry, set Settings, secret *Secret) ending {
	id := entry.State().ID
	question := event.Ask{ID: id, Host: set.Host, Port: set.Port, User: set.User}
	if secret == nil && entry.State().Tries > 1 {
		question.Why = "again"
		secret = d.ask(ctx, question)
	}
	if secret == nil && set.User != "" {
		question.Why = "missing"
		if secret = d.ask(ctx, question); secret == nil {
			return ending{
				verdict: verdict{outbox.Held, outbox.ReasonAuth},
				host:    set.Host,
				detail:  fmt.Sprintf("there is no password for %s on %s", set.User, set.Host),
			}
		}
	}
	for {
		e := d.try(ctx, entry, set, secret)
		if e.reason != outbox.ReasonAuth {
			return e
		}
		question.Port, question.Reply, question.Why = e.port, e.reply, "535"
		if secret == nil {
			question.Why = "530"
		}
		if secret = d.ask(ctx, question); secret == nil {
			return e
		}
	}
}

// try walks the sequence once and has one dialogue with the server that
// answered.
func (d *Dispatcher) try(ctx context.Context, entry *outbox.Entry, set Settings, secret *Secret) ending {
	start := time.Now()
	c := d.connect(ctx, entry.State().ID, set)
	e := ending{
		verdict:  verdict{outbox.Deferred, ""},
		attempts: c.attempts,
		host:     set.Host,
		detail:   c.detail,
	}
	err := c.err
	if c.session != nil || err != nil {
		e.address, e.port = addressText(c.address), c.port
		e.family = familyOf(c.address, "")
	}
	if c.session != nil {
		e.result, err = d.transact(ctx, entry, c.session, secret)
		e.tls = c.session.TLS()
		e.verdict = verdict{outbox.Accepted, ""}
		e.reply = e.result.Reply.String()
		if err != nil {
			e.verdict = judge(err, e.result)
		}
	} else if err != nil {
		e.verdict = judge(err, e.result)
	}
	if err != nil {
		e.detail = err.Error()
		if se := (*session.Error)(nil); errors.As(err, &se) && se.Reply.Code != 0 {
			e.reply = se.Reply.String()
		}
	}
	if e.status == outbox.Deferred && errors.Is(context.Cause(ctx), errCancelled) {
		e.verdict = verdict{outbox.Cancelled, outbox.ReasonUser}
	}
	e.elapsed = time.Since(start)
	return e
}

// end writes the ending down and tells Emacs of it. A message whose last
// recipients were refused for now stays deferred with only those left.
func (d *Dispatcher) end(entry *outbox.Entry, e ending) {
	left := e.left(entry.State().Envelope.To)
	status := e.status
	if status == outbox.Accepted && len(left) > 0 {
		status = outbox.Deferred
	}
	err := entry.Move(status, func(s *outbox.State) {
		s.Reason, s.Detail = e.reason, e.detail
		if status == outbox.Deferred || status == outbox.Uncertain || status == outbox.Held {
			s.Envelope.To = left
		}
		r := &s.Receipt
		r.Host, r.Address, r.Family, r.Port = e.host, e.address, e.family, e.port
		r.TLS, r.Reply, r.Attempts, r.Elapsed = e.tls, e.reply, e.attempts, e.elapsed.Seconds()
		for _, to := range e.result.Recipients {
			switch {
			case e.status == outbox.Accepted && to.Accepted:
				r.Accepted = append(r.Accepted, to.Address)
			case to.Reply.Code/100 == 5:
				r.Refused = append(r.Refused, outbox.Refusal{Address: to.Address, Reply: to.Reply.String()})
			}
		}
	})
	if err != nil {
		d.diskTrouble(entry, err)
		return
	}
	d.tell(entry)
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

// diskTrouble tells that a state could not be written. The disk is the truth:
// the message stays what it is there.
func (d *Dispatcher) diskTrouble(entry *outbox.Entry, err error) {
	d.send(event.Bug{Text: fmt.Sprintf("message %s: its state could not be written: %v", entry.State().ID, err)})
}
