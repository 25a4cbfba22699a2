// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"errors"
	"net"
	"os"
)

// Stage is the part of the dialogue in which something happened.
type Stage string

// The stages, in the order in which a session passes them.
const (
	StageTLS      Stage = "tls"      // the handshake, wherever it stands
	StageGreeting Stage = "greeting" // waiting for 220
	StageHello    Stage = "ehlo"     // EHLO or HELO
	StageSTARTTLS Stage = "starttls" // the command and its reply
	StageAuth     Stage = "auth"     // AUTH and what follows it
	StageEnvelope Stage = "envelope" // looking at the envelope; nothing was sent
	StageReset    Stage = "rset"     // RSET before another message
	StageMail     Stage = "mail"     // MAIL
	StageRcpt     Stage = "rcpt"     // one of the RCPTs
	StageData     Stage = "data"     // DATA and its 354
	StageMessage  Stage = "message"  // the message is being written
	StageDot      Stage = "dot"      // the final dot has gone or may have gone
)

// Kind is what happened, in the terms of the table of verdicts.
type Kind string

// The kinds. After each stands what has become of the session: over means that
// the connection is closed.
const (
	KindGreeting    Kind = "greeting"    // the greeting isn't 220; over
	KindClosed      Kind = "closed"      // closed or reset before the greeting; over
	KindSilent      Kind = "silent"      // no greeting in time; over
	KindLost        Kind = "lost"        // connection lost before the final dot; over
	KindTimeout     Kind = "timeout"     // a time limit passed before the final dot; over
	KindCancelled   Kind = "cancelled"   // ctx was cancelled before the final dot; over
	KindTLS         Kind = "tls"         // TLS was asked for and is not to be had, or was interfered with; over unless a 530 or REQUIRETLS is the cause
	KindCertificate Kind = "certificate" // the certificate is bad, see Err; over
	KindHandshake   Kind = "handshake"   // connection lost in the handshake; over
	KindAuth        Kind = "auth"        // no common mechanism, or 530, 534, 535, 538
	KindProtocol    Kind = "protocol"    // a reply that isn't SMTP or makes no sense here; over
	KindTemporary   Kind = "temporary"   // a 4xx reply; over if it was 421
	KindPermanent   Kind = "permanent"   // 5xx to MAIL, DATA or the message
	KindSize        Kind = "size"        // larger than SIZE, or 552 to MAIL, DATA or the message
	KindRecipients  Kind = "recipients"  // every recipient was refused
	KindAddress     Kind = "address"     // an address, our name in EHLO or what DSN says can't be sent; nothing was
	Kind8Bit        Kind = "8bit"        // an 8-bit message and no 8BITMIME; nothing was sent
	KindUTF8        Kind = "utf8"        // an address or the header needs SMTPUTF8 and it isn't offered; nothing was sent
	KindLocal       Kind = "local"       // the message couldn't be read, or beforeDot said no; over
	KindUncertain   Kind = "uncertain"   // after the final dot nothing well-formed came; over
)

// ErrInjected is wrapped by the error of a session in which bytes followed the
// reply to STARTTLS before TLS began (RFC 3207 §6, CVE-2011-0411).
var ErrInjected = errors.New("data was slipped in before TLS began")

// errNotSMTP is wrapped by the errors of the reply reader that are about what
// the server said, not about the connection.
var errNotSMTP = errors.New("not an SMTP reply")

// errUnasked stands for a server that answers before it is asked.
var errUnasked = errors.New("the server answered without being asked")

// Error is how a session or a message ended, if not well.
type Error struct {
	Stage Stage
	Kind  Kind
	Reply Reply // the server's words, if it was they that decided
	Err   error // the cause, if it was something else; may be nil
}

func (e *Error) Error() string {
	text := string(e.Stage)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	if e.Reply.Code != 0 {
		text += ": " + e.Reply.String()
	}
	return text
}

// Unwrap returns the cause, so that errors.Is and errors.As find
// [*CertificateError], context.Canceled and the like.
func (e *Error) Unwrap() error { return e.Err }

// broken closes the connection and says how the dialogue broke off: err comes
// from reading, writing or a reply that is none.
func (s *Session) broken(ctx context.Context, stage Stage, err error) *Error {
	s.Abort()
	kind := KindLost
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		kind, err = KindCancelled, context.Cause(ctx)
	case ctx.Err() != nil:
		kind, err = KindTimeout, context.Cause(ctx)
	case errors.Is(err, errNotSMTP), errors.Is(err, errUnasked):
		kind = KindProtocol
	case timedOut(err):
		kind = KindTimeout
	}
	switch stage {
	case StageHello:
		// With TLS 1.3 a server looks at our certificate when we think that the
		// handshake is over.
		if isAlert(err) && s.cfg.Security != Opportunistic {
			kind = KindTLS
		}
	case StageGreeting:
		if isAlert(err) {
			return &Error{Stage: StageTLS, Kind: KindTLS, Err: err}
		}
		switch kind {
		case KindLost:
			kind = KindClosed
		case KindTimeout:
			kind = KindSilent
		case KindProtocol:
			kind = KindGreeting
		}
	case StageDot:
		kind = KindUncertain
	}
	return &Error{Stage: stage, Kind: kind, Err: err}
}

// refused makes the error for a well-formed reply that isn't the one wanted.
// 421 is the server's goodbye and closes the connection, and so does a reply
// that makes no sense: what would follow it can't be told.
func (s *Session) refused(stage Stage, reply Reply) *Error {
	e := &Error{Stage: stage, Kind: s.kindOf(stage, reply), Reply: reply}
	switch {
	case e.Kind == KindProtocol:
		e.Err = errors.New("unexpected reply")
		s.Abort()
	case e.Kind == KindUncertain:
		e.Err = errors.New("unexpected reply after the message")
		s.Abort()
	case reply.Code == 421:
		s.Abort()
	}
	return e
}

// kindOf reads the table of verdicts for a reply, top to bottom.
func (s *Session) kindOf(stage Stage, reply Reply) Kind {
	message := stage == StageMail || stage == StageData || stage == StageMessage || stage == StageDot
	switch {
	case reply.Code == 530 && s.tls == "" && s.offered &&
		(reply.Enhanced == "5.7.0" || reply.Enhanced == "5.7.11"):
		return KindTLS
	case isAuthCode(reply.Code):
		return KindAuth
	case reply.Code/100 == 4:
		return KindTemporary
	case reply.Code == 552 && message:
		return KindSize
	case reply.Code/100 == 5 && message:
		return KindPermanent
	case reply.Code/100 == 5 && stage == StageAuth:
		return KindAuth
	case stage == StageDot:
		return KindUncertain
	}
	return KindProtocol
}

// isAuthCode tells the codes that are about authentication whatever command
// they answer (RFC 4954 §6).
func isAuthCode(code int) bool {
	return code == 530 || code == 534 || code == 535 || code == 538
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}
