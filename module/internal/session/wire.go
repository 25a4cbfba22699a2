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
	"sync"
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
	secrets secrets       // blotted out of what the server says
	last    time.Duration // for what explains a failed write

	mu      sync.Mutex
	limit   time.Duration // for the reply that is waited for
	writing bool          // a pipeline is being written meanwhile
	failed  bool          // and didn't get through
}

// use makes conn the connection to read and write. Whatever was read from the
// former one and not yet looked at is gone.
func (w *wire) use(conn net.Conn) {
	w.conn = conn
	w.r = bufio.NewReaderSize(conn, maxLine)
}

// write writes all of b within the time for a block.
func (w *wire) write(b []byte) error {
	_, err := w.writeSome(b)
	return err
}

// writeSome is write, and returns how much of b was written.
func (w *wire) writeSome(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.block)); err != nil {
		return 0, err
	}
	return w.conn.Write(b)
}

// begin says that somebody writes while replies are read; end, that this has
// ended, and how. The time for a reply begins with the end of writing, which
// has limits of its own; after a failure there is only time for last words.
func (w *wire) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = true
}

func (w *wire) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing, w.failed = false, err != nil
	_ = w.bound() // on a connection that is closed there is nothing to wait for
}

// await sets the time limit for the reply that is to be read.
func (w *wire) await(limit time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = limit
	return w.bound()
}

func (w *wire) bound() error {
	switch {
	case w.writing:
		return w.conn.SetReadDeadline(time.Time{})
	case w.failed:
		return w.conn.SetReadDeadline(time.Now().Add(min(w.limit, w.last)))
	}
	return w.conn.SetReadDeadline(time.Now().Add(w.limit))
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
	if err := w.await(limit); err != nil {
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

// noteMessage shows that a message of so many bytes was written.
func (w *wire) noteMessage(size int64) {
	w.note(true, fmt.Sprintf("(%d bytes of message)", size))
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
