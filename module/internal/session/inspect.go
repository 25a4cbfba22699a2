// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"crypto/tls"
	"net"
)

// Inspection is what a server shows of itself to someone who sends nothing.
type Inspection struct {
	Greeting    Reply
	Name        string // by which it calls itself in the reply to EHLO or HELO
	Clear       Offer  // before TLS; empty on a port with implicit TLS
	Secure      Offer  // under TLS; empty without
	TLS         string // "verified", "unverified" or, without TLS, ""
	Certificate error  // what is wrong with it, mostly a *CertificateError; nil: nothing, or no TLS
	Mail        Reply  // the answer to MAIL; its code is 0 where it wasn't asked
}

// Offer is what a server offers in a reply to EHLO, in upper case.
type Offer struct {
	STARTTLS bool
	Auth     []string // mechanisms
	Size     string   // the parameter of SIZE, "" if there is none
}

// Inspect takes over conn, looks at the server and leaves with QUIT; conn is
// closed when it returns. It goes through the greeting, EHLO, and STARTTLS and
// EHLO again where that is offered; with [ImplicitTLS] it makes TLS first. A bad
// certificate is noted and doesn't stop it. It never authenticates.
//
// With askMail it then says MAIL from the empty address, to see whether the
// server wants AUTH first (RFC 6409 §4.3), and RSET. It never says RCPT.
//
// The error is an [*Error] as from Open and Start, and with it stands what was
// seen until then. Of cfg, credentials and mechanisms are not used.
func Inspect(ctx context.Context, conn net.Conn, cfg Config, askMail bool) (seen Inspection, err error) {
	implicit := cfg.Security == ImplicitTLS
	cfg.Security = Opportunistic
	s := newSession(conn, cfg)
	defer s.watch(ctx)()
	if implicit {
		if err := s.handshake(ctx); err != nil {
			return seen, err
		}
		s.inspectTLS(&seen)
	}
	if seen.Greeting, err = s.greeting(ctx); err != nil {
		return seen, err
	}
	err = s.inspect(ctx, &seen, implicit, askMail)
	s.Quit(ctx)
	return seen, err
}

// inspect is what comes after the greeting.
func (s *Session) inspect(ctx context.Context, seen *Inspection, implicit, askMail bool) error {
	if err := s.hello(ctx); err != nil {
		return err
	}
	seen.Name = s.name
	if implicit {
		seen.Secure = s.offer()
	} else {
		seen.Clear = s.offer()
		err := s.startTLS(ctx)
		s.inspectTLS(seen)
		if err != nil {
			return err
		}
		if s.tls != "" {
			seen.Name, seen.Secure = s.name, s.offer()
		}
	}
	if !askMail {
		return nil
	}
	var err error
	if seen.Mail, err = s.command(ctx, StageMail, s.limits.Command, "MAIL FROM:<>"); err != nil || seen.Mail.Code == 421 {
		return err
	}
	_, err = s.command(ctx, StageReset, s.limits.Command, "RSET")
	return err
}

// inspectTLS notes how far the peer could be verified, and why not further.
func (s *Session) inspectTLS(seen *Inspection) {
	seen.TLS = s.tls
	if conn, ok := s.w.conn.(*tls.Conn); ok && s.tls == "unverified" {
		chain := conn.ConnectionState().PeerCertificates
		if err := verify(chain, serverName(s.cfg.Host), s.cfg.Roots); err != nil {
			seen.Certificate = s.badCertificate(chain, err)
		}
	}
}

func (s *Session) offer() Offer {
	o := Offer{STARTTLS: s.ext.has("STARTTLS"), Auth: s.ext["AUTH"]}
	if size := s.ext["SIZE"]; len(size) > 0 {
		o.Size = size[0]
	}
	return o
}
