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
// beforeDot, if not nil, is called when all that is left to be written is what
// ends the message: the final dot, or with CHUNKING its last bytes, which may
// be the whole transaction; the result then tells of no recipient. An error
// from it ends the session, and the message with it. From then on kind uncertain
// means that the end went out and nothing well-formed came; with every other
// error the message was not taken.
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
	err = s.transaction(ctx, env, lines, body, beforeDot, &result)
	s.listen()
	return result, err
}

// transaction takes as few round trips as the server's extensions allow: two
// with PIPELINING, one with CHUNKING besides.
func (s *Session) transaction(ctx context.Context, env Envelope, lines commands, body io.Reader, beforeDot func(Result) error, result *Result) error {
	chunking := s.chunking(env)
	if chunking && env.Size <= maxAtOnce {
		return s.atOnce(ctx, env, lines, body, beforeDot, result)
	}
	if chunking {
		if _, err := s.together(ctx, env.To, lines, "", result); err != nil {
			return err
		}
		return s.chunk(ctx, env, body, beforeDot, result)
	}
	var reply Reply
	var err error
	if s.ext.has("PIPELINING") {
		reply, err = s.together(ctx, env.To, lines, "DATA", result)
	} else if err = s.envelope(ctx, env.To, lines, s.command, false, result); err == nil {
		reply, err = s.command(ctx, StageData, s.limits.DataInitiation, "DATA")
	}
	if err != nil {
		return err
	}
	result.Reply = reply
	if reply.Code != 354 {
		return s.refused(StageData, reply)
	}
	return s.message(ctx, env, body, beforeDot, result)
}

// envelope has MAIL and each RCPT answered, after RSET where an earlier
// transaction may be open. With committed the message is already on its way: a
// recipient who would have ended the transaction is then one who is refused,
// if there are others.
func (s *Session) envelope(ctx context.Context, to []string, lines commands, ask asker, committed bool, result *Result) error {
	if s.begun {
		if err := s.expect2(ctx, StageReset, "RSET", ask, result); err != nil {
			return err
		}
	}
	s.begun = true
	if err := s.expect2(ctx, StageMail, lines.mail, ask, result); err != nil {
		return err
	}
	accepted, room := 0, maxReplies
	var auth *Reply
	for i, line := range lines.rcpt {
		reply, err := ask(ctx, StageRcpt, s.limits.Command, line)
		if err != nil {
			return err
		}
		result.Reply = reply
		class := reply.class()
		switch {
		case committed && isAuthCode(reply.Code):
			auth = &reply
		case class == 3, reply.Code == 421, isAuthCode(reply.Code):
			return s.refused(StageRcpt, reply)
		}
		reply = reply.shortened(min(room, maxRecipientReply))
		room -= len(reply.String())
		result.Recipients = append(result.Recipients, Recipient{to[i], reply, class == 2})
		if class == 2 {
			accepted++
		}
	}
	if accepted == 0 && auth != nil {
		result.Recipients = nil
		return s.refused(StageRcpt, *auth)
	}
	if accepted == 0 {
		return &Error{Stage: StageRcpt, Kind: KindRecipients, Reply: result.Reply, Err: errors.New("every recipient was refused")}
	}
	return nil
}

// expect2 is for a command that goes well with 2xx or not at all.
func (s *Session) expect2(ctx context.Context, stage Stage, line string, ask asker, result *Result) error {
	reply, err := ask(ctx, stage, s.limits.Command, line)
	if err != nil {
		return err
	}
	result.Reply = reply
	if reply.class() != 2 {
		return s.refused(stage, reply)
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
	s.w.noteMessage(l.size)
	if err := s.mayEnd(ctx, ear, local, beforeDot, result); err != nil {
		return err
	}
	return s.dot(ctx, result)
}

// mayEnd is the last look before what completes a message goes out: local is
// what went wrong on our side, beforeDot makes its mark, and the server has said
// nothing. An error ends the session; the message is not complete then.
func (s *Session) mayEnd(ctx context.Context, ear *ear, local error, beforeDot func(Result) error, result *Result) error {
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
	return nil
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
	return s.verdict(ctx, limit, sent, result)
}

// verdict reads the reply to a message whose end is out, or may be: sent says
// what went wrong with that.
func (s *Session) verdict(ctx context.Context, limit time.Duration, sent error, result *Result) error {
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
