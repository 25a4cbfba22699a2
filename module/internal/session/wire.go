// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// wire is the connection with a limit on everything: time for each reply and
// each block, size of what is read.
type wire struct {
	raw     net.Conn // as it was given to us; closing it ends everything
	conn    net.Conn // raw, or TLS over it
	r       *bufio.Reader
	block   time.Duration // for each write
	trace   func(client bool, line string)
	secrets secrets // blotted out of what the server says
}

// use makes conn the connection to read and write. Whatever was read from the
// former one and not yet looked at is gone.
func (w *wire) use(conn net.Conn) {
	w.conn = conn
	w.r = bufio.NewReaderSize(conn, maxLine)
}

// write writes all of b within the time for a block.
func (w *wire) write(b []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.block)); err != nil {
		return err
	}
	_, err := w.conn.Write(b)
	return err
}

// send writes one command; shown stands for it in the trace.
func (w *wire) send(line []byte, shown string) error {
	w.note(true, shown)
	whole := slices.Concat(line, []byte("\r\n"))
	defer clear(whole)
	return w.write(whole)
}

// reply reads one reply, the whole of which must be here within limit: a
// server that sends a byte now and then gains nothing. Errors about what was
// read wrap errNotSMTP, the others are about the connection.
func (w *wire) reply(limit time.Duration) (Reply, error) {
	if err := w.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return Reply{}, err
	}
	var reply Reply
	for total := 0; ; {
		line, err := w.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Reply{}, fmt.Errorf("%w: a line of more than %d bytes", errNotSMTP, maxLine)
		case err != nil:
			return Reply{}, err
		}
		if total += len(line); total > maxReply || len(reply.Lines) == maxLines {
			return Reply{}, fmt.Errorf("%w: more than %d lines or %d bytes", errNotSMTP, maxLines, maxReply)
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if challenge, ok := bytes.CutPrefix(line, []byte("334")); ok && len(challenge) > 1 {
			reply.challenge += printable(challenge[1:])
			line = []byte("334" + string(challenge[:1]) + "***")
		}
		line = w.secrets.blot(line)
		w.note(false, printable(line))
		last, err := reply.add(line)
		if err != nil {
			return Reply{}, err
		}
		if last {
			return reply, nil
		}
	}
}

// note shows a line to whoever wants to see the dialogue.
func (w *wire) note(client bool, line string) {
	if w.trace != nil {
		w.trace(client, strings.TrimRight(line, "\r\n"))
	}
}

// ear listens while nothing is due from the server. It is the only reader of
// the wire until heard has answered.
type ear struct {
	w     *wire
	heard chan error // nil: something can be read; else why reading ended
}

// listen starts to listen. When something is heard a write that is going on is
// cut short, since what is being written has lost its purpose.
func (w *wire) listen() (*ear, error) {
	if err := w.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	e := &ear{w: w, heard: make(chan error, 1)}
	go func() {
		err := errors.New("a fault while listening")
		defer func() {
			_ = recover() // a bug here must end this session, not the process
			e.heard <- err
			if !heardNothing(err) {
				_ = w.conn.SetWriteDeadline(past())
			}
		}()
		_, err = w.r.Peek(1)
	}()
	return e, nil
}

// write is wire.write, unless something was heard.
func (e *ear) write(b []byte) error {
	if err := e.w.conn.SetWriteDeadline(time.Now().Add(e.w.block)); err != nil {
		return err
	}
	// In this order: what is heard later moves the limit that was just set.
	if len(e.heard) > 0 {
		return errUnasked
	}
	_, err := e.w.conn.Write(b)
	return err
}

// stop gives the server until the given time to be heard and ends listening.
// The error is for heardNothing; nil means that there is a reply to read.
func (e *ear) stop(until time.Time) error {
	if err := e.w.conn.SetReadDeadline(until); err != nil {
		return err
	}
	return <-e.heard
}

// heardNothing tells the end that stop made from an end that the connection
// came to by itself, which may be a timeout of TCP's.
func heardNothing(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func past() time.Time { return time.Unix(1, 0) }
