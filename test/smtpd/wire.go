// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// floodLimit bounds what one endless reply sends, should nobody hang up.
const floodLimit = 256 << 20

// endError says that the session is to end in this way.
type endError struct{ end End }

func (e *endError) Error() string { return "the script ends the session: " + string(e.end) }

// A wire is the TCP connection: it keeps the trace and stops at the byte that
// a rule on WIRE names.
type wire struct {
	*net.TCPConn
	note  func(client bool, n int)
	limit *limit
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	w.note(true, n)
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	return w.limit.write(b, func(b []byte) (int, error) {
		n, err := w.TCPConn.Write(b)
		w.note(false, n)
		return n, err
	})
}

// A limit lets so many bytes through and then ends the session. A nil limit
// lets everything through.
type limit struct {
	rule *rule
	left int64
}

func newLimit(r *rule) *limit {
	if r == nil {
		return nil
	}
	return &limit{rule: r, left: r.After}
}

func (l *limit) write(b []byte, write func([]byte) (int, error)) (int, error) {
	if l == nil {
		return write(b)
	}
	allowed := min(l.left, int64(len(b)))
	l.left -= allowed
	n := 0
	if allowed > 0 {
		var err error
		if n, err = write(b[:allowed]); err != nil {
			return n, err
		}
	}
	// The limit acts as soon as the last byte is out, so that it is the same
	// whether or not the client goes on.
	if l.left == 0 {
		return n, l.rule.ending()
	}
	return n, nil
}

// ending is the error that carries out the rule's Instead or Then.
func (r *rule) ending() error {
	if r.Instead != "" {
		return &endError{r.Instead}
	}
	return &endError{r.Then}
}

// say keeps text until the next flush.
func (c *conn) say(text string) { c.out = append(c.out, text...) }

// flush writes what was said. It is called before each read that would wait,
// so that the answers to a pipelined batch leave together.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.sleep(time.Duration(c.behaviour.Latency)); err != nil {
		return err
	}
	out := c.out
	c.out = c.out[:0]
	return c.write(out)
}

// write sends bytes at once, counted by the rule on SENT.
func (c *conn) write(b []byte) error {
	_, err := c.sent.write(b, c.nc.Write)
	return err
}

// writePieces sends text in pieces of so many bytes.
func (c *conn) writePieces(text string, size int, gap time.Duration) error {
	for len(text) > 0 {
		n := min(size, len(text))
		if err := c.write([]byte(text[:n])); err != nil {
			return err
		}
		text = text[n:]
		if err := c.sleep(gap); err != nil {
			return err
		}
	}
	return nil
}

// flood sends unit again and again until the client has had enough. Its error
// is never nil.
func (c *conn) flood(unit string, gap time.Duration) error {
	chunk := []byte(unit)
	if gap == 0 {
		for len(chunk) < 16<<10 {
			chunk = append(chunk, unit...)
		}
	}
	for n := 0; n < floodLimit; n += len(chunk) {
		if err := c.write(chunk); err != nil {
			return err
		}
		if err := c.sleep(gap); err != nil {
			return err
		}
	}
	return &endError{Silence}
}

// sleep waits, but not beyond the life of the server.
func (c *conn) sleep(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.server.ctx.Done():
		return net.ErrClosed
	}
}

// finish ends the connection as err says and returns Session.End.
func (c *conn) finish(err error) string {
	var scripted *endError
	switch {
	case c.server.ctx.Err() != nil:
		return "server"
	case errors.As(err, &scripted):
		c.carryOut(scripted.end)
		return string(scripted.end)
	case errors.Is(err, errQuit), errors.Is(err, err421), errors.Is(err, errHandshake):
		c.flush() // what was said before the end is heard
		c.nc.Close()
		return err.Error()
	}
	c.wire.Close()
	if isReset(err) {
		return "client-reset"
	}
	return "client"
}

var (
	errQuit      = errors.New("quit")
	err421       = errors.New("421")
	errHandshake = errors.New("handshake")
)

func (c *conn) carryOut(end End) {
	switch end {
	case CloseConn:
		c.nc.Close()
	case Cut:
		c.wire.Close()
	case Reset:
		// Linger 0 makes the system send RST in place of FIN.
		c.wire.SetLinger(0)
		c.wire.Close()
	case Silence:
		discard(c.wire)
		c.wire.Close()
	case Stall:
		<-c.server.ctx.Done()
	default:
		panic(fmt.Sprintf("smtpd: unknown end %q", end))
	}
}

// discard reads until the client has gone or the server is closed.
func discard(nc net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		if _, err := nc.Read(buf); err != nil {
			return
		}
	}
}
