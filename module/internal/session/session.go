// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// Security is what must hold before a secret or a message is sent.
type Security string

// The securities. Anything else is refused as if TLS could not be had.
const (
	STARTTLS      Security = "starttls"      // STARTTLS with a verified certificate, or nothing
	Opportunistic Security = "opportunistic" // STARTTLS if offered, verified or not; AUTH only if verified
	ImplicitTLS   Security = "tls"           // TLS from the first byte, verified
	Plain         Security = "plain"         // no TLS, because the user said so
)

// Timeouts are the limits of RFC 5321 §4.5.3.2 and two of ours. A zero field
// means the default.
type Timeouts struct {
	TLS            time.Duration // the handshake; 30 s
	Greeting       time.Duration // 220; 5 min
	Command        time.Duration // the reply to a command; 5 min
	DataInitiation time.Duration // 354; 2 min
	DataBlock      time.Duration // each block written; 3 min
	Data           time.Duration // the reply to the final dot; 10 min
	Quit           time.Duration // last words: the reply to QUIT, or what explains a failed write; 2 s
}

func (t Timeouts) orDefaults() Timeouts {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&t.TLS, 30*time.Second)
	set(&t.Greeting, 5*time.Minute)
	set(&t.Command, 5*time.Minute)
	set(&t.DataInitiation, 2*time.Minute)
	set(&t.DataBlock, 3*time.Minute)
	set(&t.Data, 10*time.Minute)
	set(&t.Quit, 2*time.Second)
	return t
}

// Config is what a session needs to know of the account and the server.
type Config struct {
	Host               string         // the name or address the certificate must carry; also sent as SNI. IDNs are understood
	Security           Security       // what must hold
	EHLO               string         // our name in EHLO and HELO (RFC 5321 §4.1.1.1); "": our address as a literal
	Roots              *x509.CertPool // trusted roots; nil: the system's
	AllowCleartextAuth bool           // with Plain: send a password in the clear to another machine too
	Mechanisms         []string       // SASL mechanisms in order of preference; none: all that are known, best first
	Timeouts           Timeouts

	// Tunnelled says that the peer is our end of a tunnel: that its address is
	// a loopback one doesn't make it this machine.
	Tunnelled bool

	// Pins are SHA-256 fingerprints of certificates (lower-case hexadecimal, of
	// the DER) that the user has accepted for this server. One of them serves as
	// if it could be verified. Where there are any, a certificate that is
	// neither verified nor pinned is an error with [Opportunistic] too.
	Pins []string

	// ClientCertificate is shown to a peer that is proved and asks for one.
	ClientCertificate *tls.Certificate

	// Ask is asked for credentials when AUTH is on offer, with the mechanisms,
	// and Start was given none; what it returns may be nil. nil: nobody is asked.
	Ask func(ctx context.Context, offered []string) *Credentials

	// NoChunking keeps to DATA where the server offers CHUNKING too.
	NoChunking bool

	// SessionCache holds TLS sessions to be resumed; whatever Config says of a
	// peer is looked at again then. It must serve this configuration only. It is
	// not used where there is a client certificate, which is shown afresh each
	// time. nil: none are resumed.
	SessionCache tls.ClientSessionCache

	// Trace is shown each line of the dialogue without its line end, ours with
	// client true, secrets blotted out; of the message only its size. It is
	// called by the goroutine that uses the session. nil: nobody looks.
	Trace func(client bool, line string)
}

// Session is one dialogue. Its methods, except Abort, are for one goroutine at
// a time.
type Session struct {
	cfg     Config
	limits  Timeouts
	w       wire
	ext     extensions
	offered bool   // STARTTLS was offered in the latest EHLO
	name    string // by which the server calls itself
	tls     string // "", "verified", "pinned" or "unverified"
	shown   bool   // our certificate was asked for and shown
	begun   bool   // a transaction may be open at the server
	ear     *ear   // listens between two messages
	over    atomic.Bool
}

// Open takes over conn, which is closed when the session ends for whatever
// reason, a failing Open among them. With [ImplicitTLS] it makes TLS first
// (kinds certificate, tls, handshake); then it waits for the greeting. Unless
// that is 220 the error is of kind greeting, closed or silent (or cancelled).
func Open(ctx context.Context, conn net.Conn, cfg Config) (*Session, error) {
	s := newSession(conn, cfg)
	defer s.watch(ctx)()

	switch cfg.Security {
	case STARTTLS, Opportunistic, Plain:
	case ImplicitTLS:
		if err := s.handshake(ctx); err != nil {
			return nil, err
		}
	default:
		s.Abort()
		return nil, &Error{Stage: StageTLS, Kind: KindTLS, Err: fmt.Errorf("no such security: %q", cfg.Security)}
	}
	if _, err := s.greeting(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func newSession(conn net.Conn, cfg Config) *Session {
	s := &Session{cfg: cfg, limits: cfg.Timeouts.orDefaults()}
	s.w.raw, s.w.block, s.w.last, s.w.trace = conn, s.limits.DataBlock, s.limits.Quit, cfg.Trace
	s.w.use(conn)
	return s
}

// greeting waits for 220, and closes the connection if something else comes.
func (s *Session) greeting(ctx context.Context) (Reply, error) {
	reply, err := s.w.reply(s.limits.Greeting)
	if err != nil {
		return reply, s.broken(ctx, StageGreeting, err)
	}
	if reply.Code != 220 {
		s.Abort()
		return reply, &Error{Stage: StageGreeting, Kind: KindGreeting, Reply: reply}
	}
	return reply, nil
}

// Start says EHLO, makes TLS as the security asks, and authenticates: if cred
// isn't nil or a client certificate was shown, the server offers AUTH, and the
// security allows it here. Without AUTH on offer, or with [Opportunistic] and
// no TLS that proves the peer, the mail is left to be tried without.
//
// A refused token is told by an error that wraps [ErrToken], a bad certificate
// by a [CertificateError].
//
// After an error Quit is still polite; it knows whether anything is left to say.
func (s *Session) Start(ctx context.Context, cred *Credentials) error {
	defer s.watch(ctx)()
	if err := s.hello(ctx); err != nil {
		return err
	}
	if s.cfg.Security == STARTTLS || s.cfg.Security == Opportunistic {
		if err := s.startTLS(ctx); err != nil {
			return err
		}
	}
	return s.auth(ctx, cred)
}

// TLS says how the connection is protected: "verified" (the certificate is
// good), "pinned" (it isn't, but is one of Config.Pins), "unverified" or, in the
// clear, "".
func (s *Session) TLS() string { return s.tls }

// Quit says QUIT if the connection still stands, waits for the answer for
// Timeouts.Quit at most, and closes. It can't fail in a way that matters.
func (s *Session) Quit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Quit)
	defer cancel()
	defer s.watch(ctx)()
	if s.rouse(ctx, StageReset) == nil && s.w.send([]byte("QUIT"), "QUIT") == nil {
		_, _ = s.w.reply(s.limits.Quit)
	}
	_ = s.w.conn.Close() // of TLS: says goodbye first
	s.Abort()
}

// Abort closes the connection at once and without a word. Any goroutine may
// call it at any time; what is going on ends with an error.
func (s *Session) Abort() {
	s.over.Store(true)
	_ = s.w.raw.Close()
}

// Over says whether the connection is closed, as far as is known here.
func (s *Session) Over() bool { return s.over.Load() }

// listen has somebody notice what the server does while nothing is due.
func (s *Session) listen() {
	if s.ear != nil || s.Over() {
		return
	}
	var err error
	if s.ear, err = s.w.listen(); err != nil {
		s.Abort() // it is gone
	}
}

// rouse ends listening. What was heard waits to be read; the error says that
// the server is gone.
func (s *Session) rouse(ctx context.Context, stage Stage) error {
	if s.Over() {
		return s.broken(ctx, stage, net.ErrClosed)
	}
	if s.ear == nil {
		return nil
	}
	heard := s.ear.stop(past())
	s.ear = nil
	if heard != nil && !heardNothing(heard) {
		return s.broken(ctx, stage, heard)
	}
	return nil
}

// watch closes the connection when ctx ends, until the function it returns is
// called.
func (s *Session) watch(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, s.Abort)
	return func() { stop() }
}

// command sends one command and returns its reply, whatever it says. The error
// is for a dialogue that broke off.
func (s *Session) command(ctx context.Context, stage Stage, limit time.Duration, line string) (Reply, error) {
	return s.hidden(ctx, stage, limit, []byte(line), line)
}

// hidden is command for a line that isn't to be seen; shown stands for it.
func (s *Session) hidden(ctx context.Context, stage Stage, limit time.Duration, line []byte, shown string) (Reply, error) {
	if ctx.Err() != nil {
		return Reply{}, s.broken(ctx, stage, ctx.Err())
	}
	if err := s.rouse(ctx, stage); err != nil {
		return Reply{}, err
	}
	if s.w.r.Buffered() > 0 {
		return s.unasked(ctx, stage)
	}
	err := s.w.send(line, shown)
	if err != nil {
		// A server that hangs up often says why before.
		if reply, e := s.w.reply(s.limits.Quit); e == nil && reply.Code >= 400 {
			return reply, nil
		}
		return Reply{}, s.broken(ctx, stage, err)
	}
	reply, err := s.w.reply(limit)
	if err != nil {
		return Reply{}, s.broken(ctx, stage, err)
	}
	return reply, nil
}

// unasked looks at what came when nothing was due. A 421 is the answer to
// whatever we would have said next; everything else puts the dialogue out of
// step.
func (s *Session) unasked(ctx context.Context, stage Stage) (Reply, error) {
	reply, err := s.w.reply(s.limits.Quit)
	if err == nil && reply.Code == 421 {
		return reply, nil
	}
	if err == nil {
		err = fmt.Errorf("%w: %q", errUnasked, cut(reply.String(), 80))
	}
	return Reply{}, s.broken(ctx, stage, err)
}
