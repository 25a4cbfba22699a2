// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// startTLS turns TLS on where it is offered. Where it isn't, or is refused,
// the security decides.
func (s *Session) startTLS(ctx context.Context) error {
	must := s.cfg.Security != Opportunistic
	if !s.ext.has("STARTTLS") {
		if must {
			s.Abort()
			return &Error{Stage: StageSTARTTLS, Kind: KindTLS, Err: errors.New("the server doesn't offer STARTTLS")}
		}
		return nil
	}
	reply, err := s.command(ctx, StageSTARTTLS, s.limits.Command, "STARTTLS")
	var e *Error
	switch {
	case must && errors.As(err, &e) && e.Kind == KindProtocol:
		e.Kind = KindTLS // an answer, and not 220
		return e
	case err != nil:
		return err
	case reply.Code == 220:
	case must:
		s.Abort()
		return &Error{Stage: StageSTARTTLS, Kind: KindTLS, Reply: reply, Err: errors.New("the server refuses STARTTLS")}
	case reply.class() == 4 && reply.Code != 421, reply.class() == 5:
		return nil // in the clear, with no AUTH of any kind
	default:
		return s.refused(StageSTARTTLS, reply)
	}
	if s.w.r.Buffered() > 0 {
		s.Abort()
		return &Error{Stage: StageSTARTTLS, Kind: KindTLS, Err: ErrInjected}
	}
	if err := s.handshake(ctx); err != nil {
		return err
	}
	return s.hello(ctx)
}

// handshake puts TLS 1.2 or later over the connection and notes in s.tls how
// far the peer could be verified.
func (s *Session) handshake(ctx context.Context) error {
	conn := tls.Client(s.w.raw, s.tlsConfig())
	err := s.w.raw.SetDeadline(time.Now().Add(s.limits.TLS))
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	if err == nil {
		err = s.w.raw.SetDeadline(time.Time{})
	}
	if err != nil {
		s.tls = ""
		e := s.broken(ctx, StageTLS, err)
		if e.Kind != KindCancelled {
			e.Kind = s.handshakeKind(err)
		}
		return e
	}
	s.w.use(conn)
	return nil
}

// tlsConfig leaves the verification to VerifyConnection, which is run for
// resumed sessions too and is the one place that accepts a peer.
func (s *Session) tlsConfig() *tls.Config {
	name := serverName(s.cfg.Host)
	cache := s.cfg.SessionCache
	if s.cfg.ClientCertificate != nil {
		cache = nil
	}
	return &tls.Config{
		ClientSessionCache: cache,
		// A group of commands goes in one record, not in several that the server
		// would answer one by one.
		DynamicRecordSizingDisabled: true,
		MinVersion:                  tls.VersionTLS12,
		ServerName:                  name,
		RootCAs:                     s.cfg.Roots,
		InsecureSkipVerify:          true, // by crypto/tls itself; VerifyConnection verifies
		VerifyConnection: func(state tls.ConnectionState) error {
			err := verify(state.PeerCertificates, name, s.cfg.Roots)
			switch {
			case err == nil:
				s.tls = "verified"
			case s.pinned(state.PeerCertificates):
				s.tls = "pinned"
			case s.lax():
				s.tls = "unverified"
			default:
				return s.badCertificate(state.PeerCertificates, err)
			}
			return nil
		},
		// Asked for after VerifyConnection: nobody unproved learns who we are.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if s.cfg.ClientCertificate == nil || !s.trusted() {
				return &tls.Certificate{}, nil
			}
			s.shown = true
			return s.cfg.ClientCertificate, nil
		},
	}
}

// trusted says whether TLS has proved the peer to be the server that was asked
// for, or one that the user has accepted as such.
func (s *Session) trusted() bool { return s.tls == "verified" || s.tls == "pinned" }

// lax says whether a peer that isn't proved is better than none.
func (s *Session) lax() bool { return s.cfg.Security == Opportunistic && len(s.cfg.Pins) == 0 }

// serverName is the host as certificates carry it: an IDN as A-labels, no
// final dot, no brackets around an address.
func serverName(host string) string {
	host = strings.TrimSuffix(host, ".")
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		return ascii
	}
	return host // an address, or a name that no certificate will carry
}

// handshakeKind tells a bad certificate, a peer with which no TLS is to be had
// and a lost connection apart. With [Opportunistic] there is nothing to hold a
// message for but a certificate that isn't the one of Config.Pins: every other
// failure is one of this handshake.
func (s *Session) handshakeKind(err error) Kind {
	var bad *CertificateError
	var none *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.As(err, &bad), errors.As(err, &none):
		return KindCertificate
	case s.cfg.Security == Opportunistic:
		return KindHandshake
	case isAlert(err):
		return KindTLS // the peer speaks TLS, but not with us
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, net.ErrClosed), errors.Is(err, context.DeadlineExceeded), errors.As(err, &network):
		return KindHandshake
	}
	return KindTLS
}

// isAlert says whether the peer ended TLS with words of TLS's own, other than
// its goodbye.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
