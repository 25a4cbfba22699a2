// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Envelope is what the server must know of a message.
type Envelope struct {
	From     string   // the reverse-path, "" for the null one
	To       []string // at least one
	Size     int64    // 0: not known. Measure fills it in
	EightBit bool     // there are bytes above 127. Measure fills it in
	UTF8     bool     // there are some in the header (RFC 6532). Measure fills it in

	// DSN is left out where the server doesn't offer it. nil: nothing is asked.
	DSN *DSN
	// RequireTLS asks that no server on the way passes the message on without
	// TLS (RFC 8689). Where that can't be asked for, the error is of kind tls.
	RequireTLS bool

	// Progress is told how much of Size has been written, after each block. It
	// is called by the goroutine that uses the session. nil: nobody looks.
	Progress func(sent int64)
}

// Recipient is how one recipient fared.
type Recipient struct {
	Address  string
	Reply    Reply
	Accepted bool
}

// Result is what the server has said to a message. It is also returned with an
// error, with as much as was known by then.
type Result struct {
	Recipients []Recipient // those that were answered, in the order of Envelope.To
	Reply      Reply       // the last one
	DSN        bool        // notifications were asked for
}

// Send sends one message to those of the recipients that the server accepts.
// Line ends of body become CRLF, dots are doubled and a final line end is
// added; nothing else is changed. If nobody is accepted the error is of kind
// recipients and no DATA was sent.
//
// beforeDot, if not nil, is called when the whole message is written and all
// that is left is the final dot; an error from it ends the session, and the
// message with it. When beforeDot has been called and the error isn't of kind
// local, the message may have been taken unless the reply says otherwise: kind
// uncertain means that nothing well-formed came.
//
// After a message that was accepted or refused by a reply other than 421 the
// session can be used for another one.
func (s *Session) Send(ctx context.Context, env Envelope, body io.Reader, beforeDot func(Result) error) (Result, error) {
	defer s.watch(ctx)()
	var result Result
	lines, err := s.prepare(env)
	if err != nil {
		return result, err
	}
	result.DSN = lines.dsn
	if err := s.envelope(ctx, env.To, lines, &result); err != nil {
		return result, err
	}
	if err := s.data(ctx, &result); err != nil {
		return result, err
	}
	if err := s.message(ctx, env, body, beforeDot, &result); err != nil {
		return result, err
	}
	return result, nil
}

// envelope says MAIL and each RCPT, after RSET where an earlier transaction
// may be open.
func (s *Session) envelope(ctx context.Context, to []string, lines commands, result *Result) error {
	if s.begun {
		if err := s.expect2(ctx, StageReset, "RSET", result); err != nil {
			return err
		}
	}
	s.begun = true
	if err := s.expect2(ctx, StageMail, lines.mail, result); err != nil {
		return err
	}
	accepted, room := 0, maxReplies
	for i, line := range lines.rcpt {
		reply, err := s.command(ctx, StageRcpt, s.limits.Command, line)
		if err != nil {
			return err
		}
		result.Reply = reply
		class := reply.class()
		if class == 3 || reply.Code == 421 || isAuthCode(reply.Code) {
			return s.refused(StageRcpt, reply)
		}
		reply = reply.shortened(min(room, maxRecipientReply))
		room -= len(reply.String())
		result.Recipients = append(result.Recipients, Recipient{to[i], reply, class == 2})
		if class == 2 {
			accepted++
		}
	}
	if accepted == 0 {
		return &Error{Stage: StageRcpt, Kind: KindRecipients, Reply: result.Reply, Err: errors.New("every recipient was refused")}
	}
	return nil
}

// expect2 sends a command that goes well with 2xx or not at all.
func (s *Session) expect2(ctx context.Context, stage Stage, line string, result *Result) error {
	reply, err := s.command(ctx, stage, s.limits.Command, line)
	if err != nil {
		return err
	}
	result.Reply = reply
	if reply.class() != 2 {
		return s.refused(stage, reply)
	}
	return nil
}

// data says DATA and waits for 354.
func (s *Session) data(ctx context.Context, result *Result) error {
	reply, err := s.command(ctx, StageData, s.limits.DataInitiation, "DATA")
	if err != nil {
		return err
	}
	result.Reply = reply
	if reply.Code != 354 {
		return s.refused(StageData, reply)
	}
	return nil
}

// message writes the message and the final dot and reads the reply. Whatever
// goes wrong before the dot closes the connection.
func (s *Session) message(ctx context.Context, env Envelope, body io.Reader, beforeDot func(Result) error, result *Result) error {
	ear, err := s.w.listen()
	if err != nil {
		return s.broken(ctx, StageMessage, err)
	}
	var l lineEnds
	local, err := l.pump(body, func(block []byte) error {
		err := ear.write(block)
		if err == nil && env.Progress != nil {
			env.Progress(l.size)
		}
		return err
	})
	if err != nil {
		return s.interrupted(ctx, err, ear.stop(time.Now().Add(s.limits.Quit)), result)
	}
	s.w.note(true, fmt.Sprintf("(%d bytes of message)", l.size))
	if local == nil && beforeDot != nil {
		local = beforeDot(*result)
	}
	if ctx.Err() != nil {
		return s.broken(ctx, StageMessage, ctx.Err())
	}
	if local != nil {
		s.Abort()
		return &Error{Stage: StageMessage, Kind: KindLocal, Err: local}
	}
	if heard := ear.stop(past()); !heardNothing(heard) {
		return s.interrupted(ctx, heard, heard, result)
	}
	return s.dot(ctx, result)
}

// interrupted says how a message ended that was not written to its end: err is
// what happened, heard how listening ended. The server's words count more than
// a write that failed.
func (s *Session) interrupted(ctx context.Context, err, heard error, result *Result) error {
	if heard != nil {
		if !heardNothing(heard) {
			err = heard
		}
		return s.broken(ctx, StageMessage, err)
	}
	reply, err := s.w.reply(s.limits.Quit)
	switch {
	case err != nil:
		return s.broken(ctx, StageMessage, err)
	case reply.Code < 400:
		return s.broken(ctx, StageMessage, fmt.Errorf("%w: %q", errUnasked, cut(reply.String(), 80)))
	}
	s.Abort()
	result.Reply = reply
	return s.refused(StageMessage, reply)
}

// dot ends the message. From here on only a well-formed reply decides: even a
// write that fails may have got through.
func (s *Session) dot(ctx context.Context, result *Result) error {
	limit := s.limits.Data
	sent := s.w.send([]byte("."), ".")
	if sent != nil {
		limit = s.limits.Quit
	}
	reply, err := s.w.reply(limit)
	switch {
	case sent != nil && (err != nil || reply.class() < 4):
		return s.broken(ctx, StageDot, sent)
	case err != nil:
		return s.broken(ctx, StageDot, err)
	}
	result.Reply = reply
	if reply.class() != 2 {
		return s.refused(StageDot, reply)
	}
	s.begun = false
	return nil
}
