// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Envelope is what the server must know of a message.
type Envelope struct {
	From     string   // the reverse-path, "" for the null one
	To       []string // at least one
	Size     int64    // as Measure tells it; 0: not known
	EightBit bool     // as Measure tells it

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
	parameters, err := s.check(env)
	if err != nil {
		return result, err
	}
	if err := s.envelope(ctx, env, parameters, &result); err != nil {
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

// check looks at what can be known before anything is sent, and returns the
// parameters of MAIL.
func (s *Session) check(env Envelope) (parameters string, err error) {
	if len(env.To) == 0 {
		return "", &Error{Stage: StageEnvelope, Kind: KindAddress, Err: errors.New("no recipient")}
	}
	if env.From != "" {
		if err := checkAddress(env.From); err != nil {
			return "", err
		}
	}
	for _, to := range env.To {
		if err := checkAddress(to); err != nil {
			return "", err
		}
	}
	if params, ok := s.ext["SIZE"]; ok && env.Size > 0 {
		if len(params) > 0 {
			// A number that can't be read, and 0, set no limit.
			if limit, err := strconv.ParseInt(params[0], 10, 64); err == nil && limit > 0 && env.Size > limit {
				return "", &Error{Stage: StageEnvelope, Kind: KindSize,
					Err: fmt.Errorf("the message has %d bytes, the server takes at most %d", env.Size, limit)}
			}
		}
		parameters += " SIZE=" + strconv.FormatInt(env.Size, 10)
	}
	if env.EightBit {
		if !s.ext.has("8BITMIME") {
			return "", &Error{Stage: StageEnvelope, Kind: Kind8Bit, Err: errors.New("the message is 8-bit and the server doesn't offer 8BITMIME")}
		}
		parameters += " BODY=8BITMIME"
	}
	return parameters, nil
}

// checkAddress is the last line of defence against an address that would be
// more than one, or a command of its own.
func checkAddress(address string) error {
	if address == "" {
		return &Error{Stage: StageEnvelope, Kind: KindAddress, Err: errors.New("an empty address")}
	}
	utf8 := false
	for i := range len(address) {
		switch c := address[i]; {
		case c <= ' ', c == 0x7f, c == '<', c == '>':
			return &Error{Stage: StageEnvelope, Kind: KindAddress, Err: fmt.Errorf("the address %q can't be sent", address)}
		case c > 0x7f:
			utf8 = true
		}
	}
	if utf8 {
		return &Error{Stage: StageEnvelope, Kind: KindUTF8, Err: fmt.Errorf("the address %q needs SMTPUTF8", address)}
	}
	return nil
}

// envelope says MAIL and each RCPT, after RSET where an earlier transaction
// may be open.
func (s *Session) envelope(ctx context.Context, env Envelope, parameters string, result *Result) error {
	if s.begun {
		if err := s.expect2(ctx, StageReset, "RSET", result); err != nil {
			return err
		}
	}
	s.begun = true
	if err := s.expect2(ctx, StageMail, "MAIL FROM:<"+env.From+">"+parameters, result); err != nil {
		return err
	}
	accepted := 0
	for _, to := range env.To {
		reply, err := s.command(ctx, StageRcpt, s.limits.Command, "RCPT TO:<"+to+">")
		if err != nil {
			return err
		}
		result.Reply = reply
		class := reply.class()
		if class == 3 || reply.Code == 421 || isAuthCode(reply.Code) {
			return s.refused(StageRcpt, reply)
		}
		result.Recipients = append(result.Recipients, Recipient{to, reply, class == 2})
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
