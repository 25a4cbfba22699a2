// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func (c *conn) data(argument, line string) error {
	usual := "354 end with <CRLF>.<CRLF>"
	switch {
	case argument != "":
		usual = "501 5.5.4 DATA takes no argument"
	case c.mail == nil || c.mail.chunks > 0:
		usual = "503 5.5.1 say MAIL first"
	case len(c.mail.to) == 0:
		usual = "554 5.5.1 no valid recipients"
	}
	code, err := c.respond(usual, line, point{"DATA", argument})
	if err != nil || code != 354 {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	if c.mail == nil {
		c.mail = &transaction{} // a rule said 354 all the same
	}
	wire, err := c.readData()
	data := unstuff(wire, err == nil)
	c.mail.wire = wire
	if err != nil {
		c.store(data, false, false, "")
		return err
	}
	return c.accept(data, ".", point{onDot, string(data)})
}

// readData reads up to and with the final dot, which is a line of its own
// between two CRLFs and nothing less.
func (c *conn) readData() ([]byte, error) {
	stop := c.find("", point{on: onBody})
	if stop != nil && stop.After == 0 {
		return nil, c.stopBody(stop)
	}
	var wire []byte
	from := 0 // where the line begins that CRLF will end
	for {
		// A part is what is there, up to a line's end: the stop must not wait
		// for that.
		if _, err := c.in.Peek(1); err != nil {
			return wire, err
		}
		part, _ := c.in.Peek(c.in.Buffered())
		if i := bytes.IndexByte(part, '\n'); i >= 0 {
			part = part[:i+1]
		}
		if stop != nil {
			part = part[:min(int64(len(part)), stop.After-int64(len(wire)))]
		}
		wire = append(wire, part...)
		c.in.Discard(len(part))
		switch {
		case stop != nil && int64(len(wire)) == stop.After:
			return wire, c.stopBody(stop)
		case string(wire[from:]) == ".\r\n":
			return wire, nil
		case bytes.HasSuffix(wire[from:], []byte("\r\n")):
			from = len(wire)
		}
	}
}

// stopBody waits as the rule on BODY says, and ends.
func (c *conn) stopBody(r *rule) error {
	if err := c.sleep(time.Duration(r.Delay)); err != nil {
		return err
	}
	return r.ending()
}

// unstuff takes the dot from each line that begins with one (RFC 5321 section
// 4.5.2), and the final dot where the data is complete.
func unstuff(wire []byte, complete bool) []byte {
	if complete {
		wire = wire[:len(wire)-len(".\r\n")]
	}
	data := make([]byte, 0, len(wire))
	for len(wire) > 0 {
		end := bytes.Index(wire, []byte("\r\n"))
		if end < 0 {
			end = len(wire)
		} else {
			end += 2
		}
		data = append(data, bytes.TrimPrefix(wire[:end], []byte("."))...)
		wire = wire[end:]
	}
	return data
}

// bdat is a chunk of RFC 3030. The chunk is read whatever the answer is.
func (c *conn) bdat(argument, line, refusal string) error {
	fields := strings.Fields(argument)
	usual := "501 5.5.4 bad BDAT"
	last := len(fields) == 2 && strings.EqualFold(fields[1], "LAST")
	at := point{"BDAT", argument}
	var size int64
	var err error
	if len(fields) > 0 {
		size, err = strconv.ParseInt(fields[0], 10, 64)
	}
	if len(fields) == 0 || len(fields) > 1 && !last || err != nil || size < 0 {
		// Where the next command begins can't be known any more.
		c.tell(usual)
		return err421
	}
	chunk, err := c.readChunk(size)
	if c.mail != nil {
		c.mail.chunks++
		c.mail.data = append(c.mail.data, chunk...)
		if err != nil {
			c.mail.wire = c.mail.data
			c.store(c.mail.data, false, false, "")
		}
	}
	if err != nil {
		return err
	}
	_, offered := c.offered("CHUNKING")
	switch {
	case refusal != "":
		usual = refusal
	case !offered:
		usual = "502 5.5.1 CHUNKING is not offered"
	case c.mail == nil:
		usual = "503 5.5.1 say MAIL first"
	case len(c.mail.to) == 0:
		usual = "554 5.5.1 no valid recipients"
	case last:
		c.mail.wire = c.mail.data
		return c.accept(c.mail.data, line, at, point{onDot, string(c.mail.data)})
	default:
		usual = fmt.Sprintf("250 2.0.0 %d bytes", size)
	}
	code, err := c.respond(usual, line, at)
	if code >= 400 {
		c.mail = nil
	}
	return err
}

// readChunk reads size bytes, or less where a rule on BODY stops it.
func (c *conn) readChunk(size int64) ([]byte, error) {
	want := size
	stop := c.find("", point{on: onBody})
	if stop != nil {
		before := int64(0)
		if c.mail != nil {
			before = int64(len(c.mail.data))
		}
		want = min(size, max(0, stop.After-before))
		if before+size < stop.After {
			stop = nil
		}
	}
	chunk, err := io.ReadAll(io.LimitReader(c.in, want))
	switch {
	case err != nil:
	case int64(len(chunk)) < want:
		err = io.ErrUnexpectedEOF
	case stop != nil:
		err = c.stopBody(stop)
	}
	return chunk, err
}

// accept answers a complete message and records it.
func (c *conn) accept(data []byte, line string, points ...point) error {
	usual := "250 2.0.0 ok, queued"
	if most := c.number("SIZE"); most > 0 && int64(len(data)) > most {
		usual = "552 5.3.4 the message is too large"
	}
	before := c.replies()
	code, err := c.respond(usual, line, points...)
	c.store(data, true, positive(code), c.repliesSince(before))
	return err
}

// replies counts the lines of the record; repliesSince is what the server said
// since then.
func (c *conn) replies() int {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return len(c.log.Lines)
}

func (c *conn) repliesSince(n int) string {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	var list []string
	for _, l := range c.log.Lines[n:] {
		if !l.Client {
			list = append(list, l.Text)
		}
	}
	return strings.Join(list, "\n")
}

// store records the message of the transaction and ends it.
func (c *conn) store(data []byte, complete, accepted bool, reply string) {
	m := Message{
		Session: c.log.ID, Port: c.log.Port, From: c.mail.from, To: c.mail.to,
		Data: data, Wire: c.mail.wire, Size: len(data), Complete: complete, Accepted: accepted,
		Reply: reply, TLS: c.tls != nil, User: c.user, Chunks: c.mail.chunks, At: time.Now(),
	}
	c.mail = nil
	c.server.mu.Lock()
	c.server.messages++
	m.Number = c.server.messages
	c.server.mu.Unlock()
	if c.server.store != "" {
		m.File = filepath.Join(c.server.store, fmt.Sprintf("%04d.eml", m.Number))
		if err := errors.Join(
			os.WriteFile(m.File, m.Data, 0o600),
			os.WriteFile(m.File+".wire", m.Wire, 0o600)); err != nil {
			m.File = "not written: " + err.Error()
		}
		m.Data, m.Wire = nil, nil
	}
	c.note(Event{Event: "message", User: m.User, TLS: m.TLS, Message: &m}, func(l *live) {
		l.Messages = append(l.Messages, m)
	})
}
