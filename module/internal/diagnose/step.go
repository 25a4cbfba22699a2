// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"submission/fallback"
	"submission/family"
	"submission/module/internal/session"
)

// State is how far something has come.
type State string

// The states. A row is trying once its name is being looked up, and never
// skipped; a step is never trying.
const (
	Waiting   State = "waiting"
	Trying    State = "trying"
	Done      State = "done"
	Skipped   State = "skipped" // the server or this machine doesn't have the family
	Cancelled State = "cancelled"
)

// Step is one port of a server over one family.
type Step struct {
	Family  fallback.Family  `json:"family"`
	Port    int              `json:"port"`
	State   State            `json:"state"`
	Outcome fallback.Outcome `json:"outcome,omitempty"` // "" until it is done
	Case    int              `json:"case,omitempty"`    // the paper's, or 0
	Address string           `json:"address,omitempty"` // that was connected to, or decided the outcome
	Detail  string           `json:"detail,omitempty"`  // what was seen, or why it was skipped
	Seconds float64          `json:"seconds"`

	// Of a server that was connected to:
	Greeting    string   `json:"greeting,omitempty"`    // with its code
	Name        string   `json:"name,omitempty"`        // in the reply to EHLO
	STARTTLS    bool     `json:"starttls,omitempty"`    // offered
	TLS         string   `json:"tls,omitempty"`         // "verified", "unverified" or ""
	Certificate string   `json:"certificate,omitempty"` // what is wrong with it
	AuthClear   []string `json:"auth-clear,omitempty"`  // mechanisms before TLS
	AuthSecure  []string `json:"auth-secure,omitempty"` // and under TLS
	Size        string   `json:"size,omitempty"`        // of a message at most, in bytes; "0" is no limit
	Mail        int      `json:"mail,omitempty"`        // the code of the answer to MAIL without AUTH; 0: not asked
	MailReply   string   `json:"mail-reply,omitempty"`
	Problem     string   `json:"problem,omitempty"` // what went wrong after the greeting
}

// try makes a step and fills it in. It returns when all has been seen, or when
// ctx ends; then the step is cancelled.
func (s *Step) try(ctx context.Context, addrs []netip.Addr, server Server, spec Spec) {
	start := time.Now()
	// The next address is late, so as not to be a second connection to a
	// server with several.
	alarm := spec.Timeouts.connect()
	dialer := family.Dialer{Alarm: alarm, Stagger: alarm / 2}
	r := dialer.Connect(ctx, addrs, s.Port)
	s.Outcome, s.Detail = fallback.Outcome(r.Outcome), r.Detail
	if r.Address.IsValid() {
		s.Address = r.Address.String()
	}
	if r.Conn != nil {
		cfg := spec.config(server.Host)
		if s.Port == fallback.Submissions {
			cfg.Security = session.ImplicitTLS
		}
		seen, err := session.Inspect(ctx, r.Conn, cfg, s.Port == fallback.Submission)
		s.saw(seen)
		s.ended(err)
	}
	s.Case = s.Outcome.Case()
	s.Seconds = time.Since(start).Seconds()
	s.State = Done
	if ctx.Err() != nil {
		*s = Step{Family: s.Family, Port: s.Port, State: Cancelled, Seconds: s.Seconds}
	}
}

// saw takes over what was seen of a server.
func (s *Step) saw(i session.Inspection) {
	s.Greeting, s.Name = i.Greeting.String(), i.Name
	s.STARTTLS, s.TLS = i.Clear.STARTTLS, i.TLS
	if i.Certificate != nil {
		s.Certificate = i.Certificate.Error()
	}
	s.AuthClear, s.AuthSecure = i.Clear.Auth, i.Secure.Auth
	if s.Size = i.Clear.Size; i.TLS != "" {
		s.Size = i.Secure.Size
	}
	s.Mail, s.MailReply = i.Mail.Code, i.Mail.String()
	if s.STARTTLS && s.TLS == "" {
		s.Problem = "STARTTLS is offered and refused"
	}
}

// ended says how a step ended whose connection was open. As on the way of a
// message, 220 is the line, and so is a TLS handshake on a port that begins
// with one.
func (s *Step) ended(err error) {
	var e *session.Error
	if err == nil {
		return
	}
	if errors.As(err, &e) {
		switch e.Kind {
		case session.KindGreeting:
			s.Outcome, s.Detail = fallback.Greeting, s.Greeting
			if s.Detail == "" { // not SMTP
				s.Detail = err.Error()
			}
			return
		case session.KindSilent:
			s.Outcome, s.Detail = fallback.Silent, err.Error()
			return
		case session.KindClosed:
			s.Outcome, s.Detail = fallback.Closed, err.Error()
			return
		}
	}
	s.Problem = err.Error()
}

// auth returns the mechanisms that are offered at last: under TLS, or in the
// clear where there is no TLS.
func (s *Step) auth() []string {
	if s.TLS != "" {
		return s.AuthSecure
	}
	return s.AuthClear
}
