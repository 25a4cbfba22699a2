// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// maxAtOnce is the size of the largest message that goes out before the server
// has said whether it wants it: a refusal then costs a round trip's worth of
// upload at most.
const maxAtOnce = 256 << 10

// errSize is a message that isn't the one that was measured.
var errSize = errors.New("the message has another size than before")

// chunking says whether a message goes out with BDAT (RFC 3030), whose
// transaction is one group of commands.
func (s *Session) chunking(env Envelope) bool {
	return !s.cfg.NoChunking && s.ext.has("CHUNKING") && s.ext.has("PIPELINING") && env.Size > 0
}

// atOnce says the whole transaction, message and all, in one write. From then
// on the session's fate is open as it is after the final dot: until a
// well-formed reply says no to MAIL, to every recipient or to the message, or
// yes to the message.
func (s *Session) atOnce(ctx context.Context, env Envelope, lines commands, body io.Reader, beforeDot func(Result) error, result *Result) error {
	if s.Over() || s.ear != nil && len(s.ear.heard) > 0 {
		// A connection that is gone is no reason to mark the message.
		if err := s.ready(ctx); err != nil {
			return err
		}
	}
	data := bytes.NewBuffer(make([]byte, 0, env.Size))
	l := lineEnds{plain: true}
	local, err := l.pump(body, func(block []byte) error {
		if l.size > env.Size {
			return errSize
		}
		data.Write(block)
		return nil
	})
	if local = errors.Join(local, err); local == nil && l.size != env.Size {
		local = errSize
	}
	if local == nil && beforeDot != nil {
		local = beforeDot(*result)
	}
	if local != nil && ctx.Err() == nil {
		s.Abort()
		return &Error{Stage: StageMessage, Kind: KindLocal, Err: local}
	}
	all := append(s.lines(lines), bdat(env.Size))
	p, err := s.pipeline(ctx, all, data.Bytes())
	if err != nil {
		return err
	}
	if err := s.envelope(ctx, env.To, lines, p.reply, true, result); err != nil {
		return s.unwanted(p, err, result)
	}
	reply, err := p.reply(ctx, StageDot, s.limits.Data, "")
	if err != nil {
		return err
	}
	result.Reply = reply
	switch sent := p.written(); {
	case sent != nil && reply.class() < 4:
		return s.broken(ctx, StageDot, sent) // a yes to half a message
	case sent != nil:
		s.Abort()
		return s.refused(StageDot, reply)
	case reply.class() != 2:
		return s.refused(StageDot, reply)
	}
	s.begun = false
	if env.Progress != nil {
		env.Progress(env.Size)
	}
	return nil
}

// unwanted returns what to make of an envelope that ended with err when the
// message was already on its way: the reply that says no decides, unless the
// server contradicts itself.
func (s *Session) unwanted(p *pipeline, err error, result *Result) error {
	var e *Error
	if !errors.As(err, &e) || e.Kind == KindUncertain {
		return err
	}
	uncertain := e.Kind == KindProtocol && p.whole()
	if reply, err := p.rest(); err == nil && reply.class() == 2 &&
		slices.ContainsFunc(result.Recipients, func(r Recipient) bool { return r.Accepted }) {
		uncertain = true
	}
	if uncertain {
		s.Abort()
		return &Error{Stage: StageDot, Kind: KindUncertain, Reply: e.Reply, Err: errors.New("the replies contradict each other")}
	}
	return e
}

func bdat(size int64) string { return fmt.Sprintf("BDAT %d LAST", size) }

// chunk writes a message that the server has recipients for as one chunk, and
// reads the reply. Its last bytes are to it what the final dot is to DATA:
// until they go, whatever goes wrong closes the connection.
func (s *Session) chunk(ctx context.Context, env Envelope, body io.Reader, beforeDot func(Result) error, result *Result) error {
	ear, err := s.w.listen()
	if err != nil {
		return s.broken(ctx, StageMessage, err)
	}
	s.w.note(true, bdat(env.Size))
	held := []byte(bdat(env.Size) + "\r\n") // what is to go next
	l := lineEnds{plain: true}
	local, err := l.pump(body, func(block []byte) error {
		if err := ear.write(held); err != nil {
			return err
		}
		held = append(held[:0], block...)
		if env.Progress != nil {
			env.Progress(l.size)
		}
		return nil
	})
	if err != nil {
		return s.interrupted(ctx, err, ear.stop(time.Now().Add(s.limits.Quit)), result)
	}
	s.w.noteMessage(l.size)
	if local == nil && l.size != env.Size {
		local = errSize
	}
	if err := s.mayEnd(ctx, ear, local, beforeDot, result); err != nil {
		return err
	}
	if _, err := s.w.writeSome(held); err != nil {
		// Not all of it is out, and never will be.
		if listening, e := s.w.listen(); e == nil {
			return s.interrupted(ctx, err, listening.stop(time.Now().Add(s.limits.Quit)), result)
		}
		return s.broken(ctx, StageMessage, err)
	}
	return s.verdict(ctx, s.limits.Data, nil, result)
}
