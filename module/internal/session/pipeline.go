// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"
)

// asker has a command answered: by saying it and waiting, or by reading the
// reply to what was said before.
type asker func(ctx context.Context, stage Stage, limit time.Duration, line string) (Reply, error)

// pipeline is a group of commands on their way to the server together (RFC
// 2920). Their replies are read in order while the rest is still being
// written, so neither side can keep the other waiting for ever.
type pipeline struct {
	s    *Session
	due  int  // replies
	open bool // a whole message is among what is written

	size  int
	done  chan struct{} // closed when writing has ended
	wrote int           // bytes, when it has
	err   error         // why it ended early
}

// ready sees to it that nothing was heard from the server since its last reply.
func (s *Session) ready(ctx context.Context) error {
	first := StageMail
	if s.begun {
		first = StageReset
	}
	if err := s.rouse(ctx, first); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return s.broken(ctx, first, ctx.Err())
	}
	if s.w.r.Buffered() == 0 {
		return nil
	}
	reply, err := s.unasked(ctx, first)
	if err == nil {
		err = s.refused(first, reply)
	}
	return err
}

// pipeline starts to say lines, and data after them, in one write.
func (s *Session) pipeline(ctx context.Context, lines []string, data []byte) (*pipeline, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var text []byte
	for _, line := range lines {
		s.w.note(true, line)
		text = append(append(text, line...), "\r\n"...)
	}
	if data != nil {
		s.w.noteMessage(int64(len(data)))
		text = append(text, data...)
	}
	p := &pipeline{s: s, due: len(lines), open: data != nil, size: len(text), done: make(chan struct{})}
	s.w.begin()
	go func() {
		p.err = errors.New("a fault while writing")
		defer func() {
			_ = recover() // a bug here must end this session, not the process
			s.w.end(p.err)
			close(p.done)
		}()
		p.err = p.write(text)
	}()
	return p, nil
}

func (p *pipeline) write(text []byte) error {
	for block := range slices.Chunk(text, writeBlock) {
		n, err := p.s.w.writeSome(block)
		p.wrote += n
		if err != nil {
			return err
		}
	}
	return nil
}

// reply is an asker. A server may keep every reply back until it has dealt with
// a message that is among what it was sent.
func (p *pipeline) reply(ctx context.Context, stage Stage, limit time.Duration, _ string) (Reply, error) {
	if p.open {
		limit = max(limit, p.s.limits.Data)
	}
	reply, err := p.s.w.reply(limit)
	if err != nil {
		return Reply{}, p.broken(ctx, stage, err)
	}
	p.due--
	return reply, nil
}

// broken is Session.broken for what ended the reading of replies. If the whole
// message is out, nobody knows what became of it; a message that is cut short
// can't have been taken.
func (p *pipeline) broken(ctx context.Context, stage Stage, err error) error {
	select {
	case <-p.done:
		if p.err != nil {
			err = p.err // it came first
		}
	default:
	}
	if p.whole() {
		stage = StageDot
	}
	return p.s.broken(ctx, stage, err)
}

// whole ends the connection and says whether a message went out to its last
// byte. What is not written when a Conn returns never will be, and a part of a
// TLS record tells nothing.
func (p *pipeline) whole() bool {
	p.s.Abort()
	<-p.done
	return p.open && p.wrote == p.size
}

// rest reads the replies that are still due to what has come to nothing, and
// returns the last. An error means that the connection is closed.
func (p *pipeline) rest() (reply Reply, err error) {
	for ; p.due > 0 && err == nil; p.due-- {
		reply, err = p.s.w.reply(p.s.limits.Quit)
	}
	if err == nil && reply.Code == 421 {
		err = io.EOF
	}
	if err == nil {
		err = p.written()
	}
	if err != nil {
		p.s.Abort()
		<-p.done
	}
	return reply, err
}

// written waits for the end of writing: all is answered, so it is due.
func (p *pipeline) written() error {
	select {
	case <-p.done:
	default:
		_ = p.s.w.conn.SetWriteDeadline(time.Now().Add(p.s.limits.Quit))
		<-p.done
	}
	return p.err
}

// together says MAIL, every RCPT and, unless last is "", one more command in
// one write, and returns the reply to that one; nobody else's is an error. The
// other errors are those of envelope.
func (s *Session) together(ctx context.Context, to []string, lines commands, last string, result *Result) (Reply, error) {
	all := s.lines(lines)
	if last != "" {
		all = append(all, last)
	}
	p, err := s.pipeline(ctx, all, nil)
	if err != nil {
		return Reply{}, err
	}
	if err := s.envelope(ctx, to, lines, p.reply, false, result); err != nil {
		s.abandon(p, result)
		return Reply{}, err
	}
	var reply Reply
	if last != "" {
		if reply, err = p.reply(ctx, StageData, s.limits.DataInitiation, last); err != nil {
			return Reply{}, err
		}
	}
	if err := p.written(); err != nil {
		return Reply{}, s.broken(ctx, StageData, err)
	}
	return reply, nil
}

// lines returns the commands of an envelope in order.
func (s *Session) lines(c commands) []string {
	var all []string
	if s.begun {
		all = append(all, "RSET")
	}
	return append(append(all, c.mail), c.rcpt...)
}

// abandon brings the dialogue back into step after an envelope that came to
// nothing. If the server wants a message all the same, for nobody, it gets an
// empty one (RFC 2920 §3.1), and what it says to that decides nothing; if there
// is somebody who would get it, closing is all that is left.
func (s *Session) abandon(p *pipeline, result *Result) {
	reply, err := p.rest()
	if err != nil || reply.Code != 354 {
		return
	}
	if slices.ContainsFunc(result.Recipients, func(r Recipient) bool { return r.Accepted }) || s.w.r.Buffered() > 0 {
		s.Abort()
		return
	}
	if err = s.w.send([]byte("."), "."); err == nil {
		reply, err = s.w.reply(s.limits.Quit)
	}
	if err != nil || reply.Code == 421 {
		s.Abort()
	}
}
