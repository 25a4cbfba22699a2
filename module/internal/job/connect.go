// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"submission/fallback"
	"submission/family"
	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// link is an open connection to a server that has heard all but MAIL.
type link struct {
	session *session.Session
	reached reached
	sent    int // transactions over it
	limit   int // how many recipients the server took when there were too many; 0: all

	secret *Secret   // it was made with
	place  place     // where this machine was then
	rests  time.Time // since when, on the wall's clock
}

// most is how many recipients to name in one transaction.
func (l *link) most() int {
	if l.limit > 0 {
		return l.limit
	}
	return l.session.MaxRecipients()
}

// spent reports whether the server takes no more transactions over the link.
func (l *link) spent() bool {
	most := l.session.MaxTransactions()
	return most > 0 && l.sent >= most
}

// reached is where a walk along the sequence ended.
type reached struct {
	host     string
	address  netip.Addr
	port     int
	attempts []outbox.Attempt
	top      int                   // where in attempts the walk from the top of the sequence begins
	recall   func() *fallback.Step // the first step of the next walk, if it isn't that of the sequence
	ear      *ear
}

// ear knows which message it is that a link is busy with, for those who want to
// read what is said on it.
type ear struct{ id atomic.Pointer[string] }

func (e *ear) turn(id string) { e.id.Store(&id) }

// ending returns what a message that goes over the link will end with, as far
// as the link decides. On a link that was used before, that is the walk that it
// came from as it would be with what it has taught.
func (l *link) ending() ending {
	e := l.reached.ending()
	e.tls = l.session.TLS()
	if last := len(e.attempts) - 1; l.sent > 0 && last > 0 {
		from := l.reached.top
		if l.reached.recall() != nil {
			from = last
		}
		e.attempts = e.attempts[from:]
	}
	return e
}

func (r reached) ending() ending {
	return ending{
		verdict:  verdict{outbox.Deferred, outbox.NoReason},
		host:     r.host,
		address:  addressText(r.address),
		family:   familyOf(r.address, fallback.Any),
		port:     r.port,
		attempts: r.attempts,
	}
}

// connect makes a link: along the sequence to a server that says 220, then
// EHLO, TLS and AUTH. Without one, the ending is that of every message that
// waits for this server.
func (a *account) connect(t *task) (*link, ending) {
	s, r, err := a.walk(t)
	secret, place := a.password(), a.d.whereabouts()
	if s != nil {
		err = s.Start(t.ctx, credentials(secret))
	}
	e := r.ending()
	e.forAll = true
	if s != nil && err == nil {
		return &link{session: s, reached: r, secret: secret, place: place}, e
	}
	if s != nil {
		e.tls = s.TLS()
		s.Abort()
	}
	if err != nil {
		e.judge(err)
	}
	return nil, e
}

func credentials(secret *Secret) *session.Credentials {
	if secret == nil {
		return nil
	}
	return &session.Credentials{User: secret.User, Password: secret.Password, Token: secret.Token, Identity: secret.Identity}
}

// errNothing says why no step was tried.
type errNothing string

func (e errNothing) Error() string { return string(e) }

// way finds the way to the server: it resolves its name, or has Emacs set up
// the tunnel.
func (a *account) way(t *task) (way, error) {
	set := a.set
	alarm := set.Timeouts.connect()
	switch {
	case set.SSHHost != "":
		return a.dig(t, alarm)
	case set.Proxy != "":
		u, err := parseProxy(set.Proxy)
		return socks{host: set.Host, proxy: u, alarm: alarm}, err
	}
	all, err := family.Resolve(t.ctx, set.Host)
	if err != nil {
		return nil, err
	}
	w := direct{here: all.Here(), alarm: alarm}
	sequence, explicit := set.steps()
	if len(w.steps(sequence, set.named(explicit))) == 0 {
		return nil, errNothing(nothingToTry(set.Host, all, w.here))
	}
	return w, nil
}

// walk goes along the sequence until a server has said 220. Each attempt is
// told to Emacs as it ends. There is no session if no step got that far; the
// error then says what else there is to say.
func (a *account) walk(t *task) (*session.Session, reached, error) {
	// Read while the server is looked for: it is not to wait for that.
	roots := sync.OnceValue(func() *x509.CertPool { return session.Roots(a.set.TrustFiles) })
	go func() {
		defer a.d.guard("trusted roots")
		roots()
	}()
	r := reached{host: a.set.Host}
	w, err := a.way(t)
	if err != nil {
		return nil, r, err
	}
	a.d.lookAround() // the look-up of the name has made the gateway known
	sequence, explicit := a.set.steps()
	steps := w.steps(sequence, a.set.named(explicit))
	r.recall = func() *fallback.Step { return a.recall(w, steps) }
	remembered := r.recall()
	var s *session.Session
	outcomes := fallback.Run(t.ctx, fallback.Order(steps, remembered), func(ctx context.Context, step fallback.Step) fallback.Outcome {
		var at outbox.Attempt
		s, at, err = a.attempt(ctx, t, w, step, roots, &r)
		r.attempts = append(r.attempts, at)
		a.d.send(event.Attempt{ID: t.id(), Attempt: at})
		return fallback.Outcome(at.Outcome)
	})
	if remembered != nil && len(outcomes) > 1 {
		r.top = 1
	}
	if remembered != nil && len(outcomes) > 0 {
		outcomes = outcomes[1:] // what follows was tried from the top
	}
	a.learn(t, w, steps, outcomes)
	return s, r, err
}

// attempt tries one step: to connect, and to be greeted with 220. A server
// that was reached is put into r; the error is one of a TLS handshake that was
// reached and ended badly.
func (a *account) attempt(ctx context.Context, t *task, w way, step fallback.Step, roots func() *x509.CertPool, r *reached) (*session.Session, outbox.Attempt, error) {
	start := time.Now()
	dialed := w.dial(ctx, step)
	outcome, detail := fallback.Outcome(dialed.Outcome), dialed.Detail
	var s *session.Session
	var err error
	if dialed.Conn != nil {
		_, through := w.(direct)
		r.ear = &ear{}
		r.ear.turn(t.id())
		config := a.config(t, r.ear, !through, step.Port)
		config.Roots = roots()
		s, err = session.Open(ctx, dialed.Conn, config)
		if outcome, detail = greeted(err); outcome == fallback.Connected {
			r.address, r.port = dialed.Address, step.Port
		} else {
			err = nil // the attempt tells it
		}
	}
	return s, outbox.Attempt{
		Family:  familyOf(dialed.Address, step.Family),
		Port:    step.Port,
		Address: addressText(dialed.Address),
		Outcome: string(outcome),
		Case:    outbox.Case(outcome.Case()),
		Detail:  detail,
		Elapsed: time.Since(start).Seconds(),
	}, err
}

// listen returns a function that tells Emacs of the server's words that a
// person may want to see: the greeting, the answer to AUTH, and every no; and
// of the whole dialogue where a transcript is kept. The session has blotted the
// secrets out.
func (a *account) listen(e *ear) func(client bool, line string) {
	return func(client bool, line string) {
		id := *e.id.Load()
		if a.set.Transcript {
			a.d.send(event.Line{ID: id, Client: client, Line: line})
		}
		if client || line == "" {
			return
		}
		if strings.HasPrefix(line, "220") || strings.HasPrefix(line, "235") || line[0] == '4' || line[0] == '5' {
			a.d.send(event.Reply{ID: id, Line: line})
		}
	}
}

// greeted returns the outcome of a step whose connection was open, from the
// error of session.Open. An error in a TLS handshake counts as connected: the
// server was reached, no other step is tried, and the error decides.
func greeted(err error) (fallback.Outcome, string) {
	if err == nil {
		return fallback.Connected, ""
	}
	var e *session.Error
	if !errors.As(err, &e) {
		return fallback.Local, err.Error()
	}
	switch e.Kind {
	case session.KindGreeting:
		return fallback.Greeting, e.Reply.String()
	case session.KindSilent:
		return fallback.Silent, e.Error()
	case session.KindCertificate, session.KindTLS, session.KindHandshake:
		return fallback.Connected, ""
	case session.KindCancelled:
		return fallback.Local, "cancelled"
	}
	return fallback.Closed, e.Error()
}

// config returns what a session for t needs to know, but for the trusted roots.
func (a *account) config(t *task, e *ear, tunnelled bool, port int) session.Config {
	c := a.set.config(tunnelled, a.listen(e))
	c.SessionCache = a.d.tlsSessions(a.key)
	if a.set.AskWhenOffered {
		c.Ask = func(ctx context.Context, offered []string) *session.Credentials {
			return credentials(a.d.askOffered(ctx, event.Ask{
				ID: t.id(), Host: a.set.Host, Port: port, Why: "offered", Reply: strings.Join(offered, " "),
			}))
		}
	}
	return c
}

// config returns what a session needs to know, but for the trusted roots.
func (s Settings) config(tunnelled bool, trace func(client bool, line string)) session.Config {
	return session.Config{
		Host:               s.Host,
		Security:           s.Security,
		EHLO:               s.EHLOName,
		Pins:               s.Pins,
		ClientCertificate:  s.clientCertificate(),
		AllowCleartextAuth: s.AllowCleartextAuth,
		Mechanisms:         s.AuthMechanisms,
		NoChunking:         !s.Chunking,
		Tunnelled:          tunnelled,
		Timeouts:           s.Timeouts.session(),
		Trace:              trace,
	}
}

// clientCertificate loads the certificate that the settings name. One that
// can't be read is none: a server that wants it says so.
func (s Settings) clientCertificate() *tls.Certificate {
	if s.ClientCertificate.Certificate == "" {
		return nil
	}
	c, err := tls.LoadX509KeyPair(s.ClientCertificate.Certificate, s.ClientCertificate.Key)
	if err != nil {
		return nil
	}
	return &c
}

// familyOf returns the family that a step went over; "" where it was to go
// over any and no address decided it.
func familyOf(a netip.Addr, f fallback.Family) string {
	switch {
	case a.Is4():
		return string(fallback.IPv4)
	case a.Is6():
		return string(fallback.IPv6)
	case f == fallback.Any:
		return ""
	}
	return string(f)
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// nothingToTry says in a sentence why a sequence has no step left.
func nothingToTry(host string, all, here family.Addresses) string {
	switch {
	case len(all.IPv4) > 0 && len(all.IPv6) > 0 && len(here.Of("any")) == 0:
		return "this machine is not connected to a network"
	case len(all.IPv4) > 0 && len(here.IPv4) == 0:
		return fmt.Sprintf("this machine has no IPv4 address now, and %s has no other that the sequence tries", host)
	case len(all.IPv6) > 0 && len(here.IPv6) == 0:
		return fmt.Sprintf("this machine has no IPv6 address now, and %s has no other that the sequence tries", host)
	}
	return fmt.Sprintf("%s has no address of a family that the sequence tries", host)
}
