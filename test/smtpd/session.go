// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// maxLine bounds a command; RFC 4954 wants 12288 for AUTH.
const maxLine = 64 << 10

// conn is one connection at work.
type conn struct {
	server    *Server
	log       *live
	behaviour *behaviour
	config    *tls.Config
	implicit  bool // TLS before the greeting
	counts    map[*rule]int

	wire *wire
	nc   net.Conn // the wire, or TLS over it
	tls  *tls.Conn
	in   *bufio.Reader
	out  []byte
	sent *limit

	rejected      bool   // the greeting was not 220
	hello         string // "", "HELO" or "EHLO"
	authenticated bool
	user          string // as whom
	mails         int    // MAIL commands so far
	mail          *transaction
}

func (s *Server) newConn(p *port, nc *net.TCPConn) *conn {
	c := &conn{
		server:    s,
		log:       s.begin(p.name, nc.RemoteAddr().String()),
		behaviour: p.behaviour,
		config:    p.tls,
		implicit:  p.listen.TLS,
		counts:    map[*rule]int{},
	}
	c.wire = &wire{TCPConn: nc, note: func(client bool, n int) { s.transfer(c.log, client, n) }}
	c.wire.limit = newLimit(c.find("", point{on: onWire}))
	c.sent = newLimit(c.find("", point{on: onSent}))
	c.use(c.wire)
	for _, r := range c.behaviour.rules {
		if r.Instead == Stall || r.Then == Stall {
			// The less fits on the way, the sooner a stall is felt.
			nc.SetReadBuffer(4 << 10)
		}
	}
	return c
}

func (c *conn) use(nc net.Conn) {
	c.nc = nc
	c.in = bufio.NewReaderSize(nc, 16<<10)
}

// note adds to the record of this session.
func (c *conn) note(e Event, f func(*live)) {
	c.server.change(c.log, e, func() { f(c.log) })
}

func (c *conn) serve() {
	stop := context.AfterFunc(c.server.ctx, func() { c.wire.Close() })
	defer stop()
	end := c.finish(c.run())
	c.note(Event{Event: "end", End: end}, func(l *live) { l.End, l.Stop = end, time.Now() })
}

// run is the dialogue; its error says how it ended and is never nil.
func (c *conn) run() error {
	if _, err := c.respond("", "", point{onConnect, c.log.Remote}); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	if c.implicit {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	code, err := c.respond("220 "+c.behaviour.Host+" ESMTP", "", point{onGreeting, c.log.Remote})
	if err != nil {
		return err
	}
	c.rejected = code != 220
	for {
		line, early, err := c.readLine()
		if err != nil {
			return err
		}
		if err := c.command(line, early); err != nil {
			return err
		}
	}
}

// readLine reads a line of the client's and records it. early is whether it
// was there before the last answers left.
func (c *conn) readLine() (line string, early bool, err error) {
	early = c.in.Buffered() > 0
	if !early {
		if err := c.flush(); err != nil {
			return "", false, err
		}
	}
	var b []byte
	for {
		part, err := c.in.ReadSlice('\n')
		b = append(b, part...)
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull) && len(b) < maxLine:
			continue
		default:
			if len(b) > 0 {
				c.noteLine(true, string(b), early)
			}
			return "", early, err
		}
		break
	}
	line = strings.TrimSuffix(string(b), "\n")
	line, proper := strings.CutSuffix(line, "\r")
	c.noteLine(true, line, early)
	if !proper || strings.Contains(line, "\r") {
		if _, err := c.respond("500 5.5.2 a line ends with CRLF and holds no other CR or LF", line); err != nil {
			return "", early, err
		}
		return c.readLine()
	}
	return line, early, nil
}

func (c *conn) noteLine(client bool, text string, early bool) {
	underTLS := c.tls != nil
	e := Event{Event: "reply", Line: text, TLS: underTLS, Early: early}
	if client {
		e.Event = "command"
	}
	c.note(e, func(l *live) {
		l.Lines = append(l.Lines, Line{Client: client, Text: text, TLS: underTLS, Early: early, At: time.Now()})
	})
}

// respond answers with the usual reply (lines without the last CRLF; "" is
// none), or as the rule that fits says. line and points are find's. It returns
// the code that was said, 0 for none; with an error too, because a rule may
// speak and then end, and 421 is always the end.
func (c *conn) respond(usual, line string, points ...point) (int, error) {
	r := c.find(line, points...)
	if r == nil {
		c.tell(usual)
		return ended(codeOf(usual))
	}
	if r.Delay > 0 {
		if err := c.flush(); err != nil {
			return 0, err
		}
		if err := c.sleep(time.Duration(r.Delay)); err != nil {
			return 0, err
		}
	}
	switch r.Instead {
	case "":
	case Nothing:
		return 0, nil
	default:
		if err := c.flush(); err != nil {
			return 0, err
		}
		return 0, &endError{r.Instead}
	}
	text := ""
	if r.speaks() {
		text = r.text()
	} else if usual != "" {
		text = crlf(usual)
	}
	code := codeOf(text)
	if text != "" {
		c.noteLine(false, strings.TrimSuffix(text, "\r\n"), false)
	}
	if err := c.deliver(r, text); err != nil {
		return code, err
	}
	return ended(code)
}

func ended(code int) (int, error) {
	if code == 421 {
		return code, err421
	}
	return code, nil
}

// deliver says text in the rule's manner and then does what the rule does
// next.
func (c *conn) deliver(r *rule, text string) error {
	if r.Pieces > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		if err := c.writePieces(text, r.Pieces, time.Duration(r.Gap)); err != nil {
			return err
		}
	} else {
		c.say(text)
	}
	if r.Flood == "" && r.Then == "" {
		return nil
	}
	if err := c.flush(); err != nil {
		return err
	}
	if r.Flood != "" {
		c.noteLine(false, "(flood of "+r.Flood+")", false)
		return c.flood(r.Flood, time.Duration(r.Gap))
	}
	return &endError{r.Then}
}

// tell says a reply as it stands.
func (c *conn) tell(reply string) {
	if reply == "" {
		return
	}
	c.noteLine(false, reply, false)
	c.say(crlf(reply))
}

func crlf(reply string) string { return strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n" }

// codeOf is the code of a reply's first line, 0 where there is none.
func codeOf(reply string) int {
	if len(reply) < 3 {
		return 0
	}
	n := 0
	for _, ch := range []byte(reply[:3]) {
		if ch < '0' || ch > '9' {
			return 0
		}
		n = n*10 + int(ch-'0')
	}
	return n
}

func positive(code int) bool { return code >= 200 && code <= 299 }

// handshake puts TLS over the connection, unless a rule has other plans.
func (c *conn) handshake() error {
	r := c.find("", point{on: onTLS})
	if r != nil {
		if err := c.sleep(time.Duration(r.Delay)); err != nil {
			return err
		}
		switch {
		case r.Instead == Nothing:
			return nil
		case r.Instead != "":
			return &endError{r.Instead}
		case r.speaks():
			c.noteLine(false, r.text(), false)
			return c.deliver(r, r.text())
		}
	}
	// What came in the clear after STARTTLS is dropped with the old reader.
	t := tls.Server(c.wire, c.config)
	err := t.HandshakeContext(c.server.ctx)
	state := t.ConnectionState()
	e := Event{Event: "tls", ServerName: state.ServerName}
	if err != nil {
		e.Error = err.Error()
	} else {
		e.Version = tls.VersionName(state.Version)
	}
	c.note(e, func(l *live) {
		l.TLS, l.ServerName, l.TLSError = e.Version, e.ServerName, e.Error
		if len(state.PeerCertificates) > 0 {
			l.ClientCert = state.PeerCertificates[0].Raw
		}
	})
	var scripted *endError
	switch {
	case errors.As(err, &scripted):
		return err
	case err != nil:
		return errHandshake
	}
	c.tls = t
	c.use(t)
	if r != nil && r.Then != "" {
		return &endError{r.Then}
	}
	return nil
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
