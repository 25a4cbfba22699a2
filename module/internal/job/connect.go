// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"submission/fallback"
	"submission/family"
	"submission/module/internal/event"
	"submission/module/internal/outbox"
	"submission/module/internal/session"
)

// connection is where a walk along the sequence ended.
type connection struct {
	session  *session.Session // nil: no step got as far as 220
	err      error            // a TLS handshake was reached and ended badly
	port     int
	address  netip.Addr
	attempts []outbox.Attempt
	detail   string // why nothing was tried, or what the name server said
}

// connect resolves the server's name and walks along the sequence until a
// server has said 220. Each attempt is told to Emacs as it ends.
func (d *Dispatcher) connect(ctx context.Context, id string, set Settings) connection {
	all, err := family.Resolve(ctx, set.Host)
	if err != nil {
		return connection{detail: err.Error()}
	}
	here := all.Here()
	sequence, explicit := set.steps()
	steps := fallback.Available(sequence, !explicit && set.SequenceName != "", func(f fallback.Family) bool {
		return len(here.Of(string(f))) > 0
	})
	if len(steps) == 0 {
		return connection{detail: nothingToTry(set.Host, all, here)}
	}
	var c connection
	remembered := d.recall(set, here, steps)
	outcomes := fallback.Run(ctx, fallback.Order(steps, remembered), func(ctx context.Context, step fallback.Step) fallback.Outcome {
		a := c.attempt(ctx, step, here.Of(string(step.Family)), set, d.replies(id))
		c.attempts = append(c.attempts, a)
		d.send(event.Attempt{ID: id, Attempt: a})
		return fallback.Outcome(a.Outcome)
	})
	if remembered != nil && len(outcomes) > 0 {
		outcomes = outcomes[1:] // what follows was tried from the top
	}
	d.learn(id, set, c.address, steps, outcomes)
	return c
}

// attempt tries one step: to connect, and to be greeted with 220. A server
// that was reached is left in c.
func (c *connection) attempt(ctx context.Context, step fallback.Step, addrs []netip.Addr, set Settings, trace func(bool, string)) outbox.Attempt {
	start := time.Now()
	dialer := family.Dialer{Alarm: set.Timeouts.connect()}
	r := dialer.Connect(ctx, addrs, step.Port)
	outcome, detail := fallback.Outcome(r.Outcome), r.Detail
	if r.Conn != nil {
		var err error
		c.session, err = session.Open(ctx, r.Conn, set.config(trace))
		outcome, detail = greeted(err)
		if outcome == fallback.Connected {
			c.err, c.port, c.address = err, step.Port, r.Address
		}
	}
	return outbox.Attempt{
		Family:  familyOf(r.Address, step.Family),
		Port:    step.Port,
		Address: addressText(r.Address),
		Outcome: string(outcome),
		Case:    outbox.Case(outcome.Case()),
		Detail:  detail,
		Elapsed: time.Since(start).Seconds(),
	}
}

// replies returns a function that tells Emacs of the server's words that a
// person may want to see: the greeting, the answer to AUTH, and every no.
func (d *Dispatcher) replies(id string) func(client bool, line string) {
	return func(client bool, line string) {
		if client || line == "" {
			return
		}
		if strings.HasPrefix(line, "220") || strings.HasPrefix(line, "235") || line[0] == '4' || line[0] == '5' {
			d.send(event.Reply{ID: id, Line: line})
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

// config returns what a session needs to know.
func (s Settings) config(trace func(client bool, line string)) session.Config {
	return session.Config{
		Host:               s.Host,
		Security:           s.Security,
		EHLO:               s.EHLOName,
		Roots:              roots(s.TrustFiles),
		AllowCleartextAuth: s.AllowCleartextAuth,
		Timeouts:           s.Timeouts.session(),
		Trace:              trace,
	}
}

// roots returns the system's trusted roots and those in files. A file that
// isn't there is passed over, as gnutls-trustfiles lists the places of many
// systems.
func roots(files []string) *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, f := range files {
		if pem, err := os.ReadFile(f); err == nil {
			pool.AppendCertsFromPEM(pem)
		}
	}
	return pool
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
