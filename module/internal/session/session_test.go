// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A script is what a server does, one step a line:
//
//	S: text   says text and CRLF
//	S raw     writes the Go-quoted string raw as it is
//	C: text   expects this line
//	C         expects any line
//	MSG       reads a message up to and with its final dot
//	BDAT      reads a chunk and what announces it
//	READ n    reads n bytes
//	TLS       begins TLS
//	SLEEP d   does nothing for that long
//	WAIT      reads until the client is gone
//	STOP      doesn't even read until the client is gone
//
// After the last step the connection is closed.
type peer struct {
	conn    net.Conn
	r       *bufio.Reader
	tls     *tls.Config
	lines   []string // what the client said
	message string   // what the last MSG read
	err     error    // where the script was left
	done    chan struct{}

	heard    func(commands int) // called after each line and message from the client
	says     int                // if not 0, how much the peer says before it hangs up
	said     int
	commands int
	gone     <-chan struct{} // what STOP waits for
}

var errHangUp = errors.New("as far as it was to go")

func play(conn net.Conn, conf *tls.Config, script string, change ...func(*peer)) *peer {
	p := &peer{conn: conn, r: bufio.NewReader(conn), tls: conf, done: make(chan struct{})}
	for _, f := range change {
		f(p)
	}
	go func() {
		defer close(p.done)
		defer conn.Close()
		for step := range strings.Lines(script) {
			if step = strings.Trim(step, "\t\n"); step == "" {
				continue
			}
			if err := p.step(step); err != nil {
				p.err = fmt.Errorf("%q: %w", step, err)
				return
			}
		}
	}()
	return p
}

func (p *peer) step(step string) error {
	word, arg, _ := strings.Cut(step, " ")
	switch word {
	case "S:":
		return p.say(arg + "\r\n")
	case "S":
		var raw string
		if _, err := fmt.Sscanf(arg, "%q", &raw); err != nil {
			return err
		}
		return p.say(raw)
	case "C:", "C":
		line, err := p.r.ReadString('\n')
		if err != nil {
			return err
		}
		line, ok := strings.CutSuffix(line, "\r\n")
		p.lines = append(p.lines, line)
		if !ok || word == "C:" && line != arg {
			return fmt.Errorf("the client said %q", line)
		}
		p.listen()
		return nil
	case "MSG":
		p.message = ""
		for !strings.HasSuffix(p.message, "\r\n.\r\n") && p.message != ".\r\n" {
			line, err := p.r.ReadString('\n')
			p.message += line
			if err != nil {
				return err
			}
		}
		p.listen()
		return nil
	case "BDAT":
		line, err := p.r.ReadString('\n')
		if err != nil {
			return err
		}
		p.lines = append(p.lines, strings.TrimSpace(line))
		var n int
		if _, err := fmt.Sscanf(line, "BDAT %d LAST\r\n", &n); err != nil {
			return fmt.Errorf("the client said %q: %w", line, err)
		}
		chunk := make([]byte, n)
		_, err = io.ReadFull(p.r, chunk)
		p.message = string(chunk)
		p.listen()
		return err
	case "READ":
		var n int64
		if _, err := fmt.Sscan(arg, &n); err != nil {
			return err
		}
		_, err := io.CopyN(io.Discard, p.r, n)
		return err
	case "TLS":
		conn := tls.Server(p.conn, p.tls)
		if err := conn.Handshake(); err != nil {
			return err
		}
		p.conn, p.r = conn, bufio.NewReader(conn)
		return nil
	case "SLEEP":
		d, err := time.ParseDuration(arg)
		time.Sleep(d)
		return err
	case "STOP":
		<-p.gone
		return nil
	case "WAIT":
		rest, err := io.ReadAll(p.r)
		if len(rest) > 0 {
			p.lines = append(p.lines, string(rest))
		}
		_ = err // any way of going is going
		return nil
	}
	return errors.New("no such step")
}

// say writes text, as far as the peer is to go.
func (p *peer) say(text string) error {
	if p.said += len(text); p.says > 0 && p.said >= p.says {
		_, _ = io.WriteString(p.conn, text[:len(text)-(p.said-p.says)])
		return errHangUp
	}
	_, err := io.WriteString(p.conn, text)
	return err
}

// listen tells that another command, or message, of the client is here.
func (p *peer) listen() {
	if p.commands++; p.heard != nil {
		p.heard(p.commands)
	}
}

// transcript is what Trace was shown.
type transcript struct {
	mu    sync.Mutex
	lines []string
}

func (tr *transcript) note(client bool, line string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	side := "S: "
	if client {
		side = "C: "
	}
	tr.lines = append(tr.lines, side+line)
}

// patient are limits that no test runs into by accident of speed; the defaults
// serve where time is fake.
func patient() Timeouts {
	return Timeouts{TLS: time.Minute, Greeting: time.Minute, Command: time.Minute, DataInitiation: time.Minute,
		DataBlock: time.Minute, Data: time.Minute, Quit: time.Minute}
}

// loopback returns the two ends of a TCP connection.
func loopback(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// wantKind checks an error's kind; "" means none.
func wantKind(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("not an *Error: %T %v", err, err)
	}
	switch {
	case e == nil && kind != "":
		t.Fatalf("no error, want kind %s", kind)
	case e != nil && e.Kind != kind:
		t.Fatalf("kind %q at stage %q (%v), want %q", e.Kind, e.Stage, err, kind)
	}
	return e
}

// deliver plays a whole session as a job does, with two recipients unless env
// says otherwise.
func deliver(ctx context.Context, conn net.Conn, cfg Config, cred *Credentials, env Envelope, body string, beforeDot func(Result) error) (result Result, tls string, err error) {
	s, err := Open(ctx, conn, cfg)
	if err != nil {
		return result, "", err
	}
	defer s.Abort()
	if err = s.Start(ctx, cred); err != nil {
		return result, s.TLS(), err
	}
	if env.To == nil {
		env.From, env.To = "me@example.org", []string{"a@example.org", "b@example.org"}
	}
	if result, err = s.Send(ctx, env, strings.NewReader(body), beforeDot); err == nil {
		s.Quit(ctx)
	}
	return result, s.TLS(), err
}

const whole = `
	S: 220 mx.example.org ESMTP
	C: EHLO here.example.org
	S: 250-mx.example.org
	S: 250-size 1000
	S: 250 8bitmime
	C: MAIL FROM:<me@example.org> SIZE=10
	S: 250 2.1.0 ok
	C: RCPT TO:<a@example.org>
	S: 250 2.1.5 ok
	C: RCPT TO:<b@example.org>
	S: 550 5.1.1 no such user
	C: DATA
	S: 354 go ahead
	MSG
	S: 250 2.0.0 taken as 42
	C: QUIT
	S: 221 bye`

func TestWholeSession(t *testing.T) {
	client, server := net.Pipe()
	p := play(server, nil, whole)
	var tr transcript
	cfg := Config{Security: Plain, EHLO: "here.example.org", Timeouts: patient(), Trace: tr.note}
	var before Result
	var progress []int64
	env := Envelope{From: "me@example.org", To: []string{"a@example.org", "b@example.org"}, Size: 10,
		Progress: func(n int64) { progress = append(progress, n) }}
	result, tls, err := deliver(t.Context(), client, cfg, nil, env, ".a\nb\rc", func(r Result) error {
		before = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-p.done
	if p.err != nil {
		t.Fatal(p.err)
	}
	if want := "..a\r\nb\r\nc\r\n.\r\n"; p.message != want {
		t.Errorf("message %q, want %q", p.message, want)
	}
	if got := result.Reply.String(); got != "250 2.0.0 taken as 42" {
		t.Errorf("reply %q", got)
	}
	if len(result.Recipients) != 2 || !result.Recipients[0].Accepted || result.Recipients[1].Accepted ||
		result.Recipients[1].Reply.String() != "550 5.1.1 no such user" {
		t.Errorf("recipients %v", result.Recipients)
	}
	if !slices.EqualFunc(before.Recipients, result.Recipients, func(a, b Recipient) bool { return a.Address == b.Address && a.Accepted == b.Accepted }) {
		t.Errorf("beforeDot was shown %v", before)
	}
	if tls != "" {
		t.Errorf("TLS %q", tls)
	}
	if len(progress) == 0 || progress[len(progress)-1] != 10 {
		t.Errorf("progress %v, want 10 at the end", progress)
	}
	want := []string{"S: 220 mx.example.org ESMTP", "C: EHLO here.example.org"}
	if !slices.Equal(tr.lines[:2], want) || !slices.Contains(tr.lines, "C: (10 bytes of message)") {
		t.Errorf("transcript %q", tr.lines)
	}
}

func TestOpen(t *testing.T) {
	for _, test := range []struct {
		name, script string
		kind         Kind
		reply        string
	}{
		{"220", "S: 220 hello", "", ""},
		{"220 without text", `S "220\r\n"`, "", ""},
		{"several lines", "S: 220-hello\nS: 220 there", "", ""},
		{"554", "S: 554 5.7.1 go away", KindGreeting, "554 5.7.1 go away"},
		{"421", "S: 421 busy", KindGreeting, "421 busy"},
		{"250", "S: 250 hello", KindGreeting, "250 hello"},
		{"another protocol", "S: SSH-2.0-OpenSSH_9.2", KindGreeting, ""},
		{"TLS record", `S "\x15\x03\x01\x00\x02\x02\x0a\n"`, KindGreeting, ""},
		{"an endless line", "S: 220 " + strings.Repeat("x", 2*maxLine), KindGreeting, ""},
		{"endless lines", strings.Repeat("S: 220-hello\n", 2*maxLines), KindGreeting, ""},
		{"closed", "", KindClosed, ""},
		{"closed in the middle", `S "220 hel"`, KindClosed, ""},
		{"silent", "WAIT", KindSilent, ""},
		{"silent in the middle", "S \"220-hello\\r\\n\"\nWAIT", KindSilent, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				p := play(server, nil, test.script)
				s, err := Open(t.Context(), client, Config{Security: Plain})
				if e := wantKind(t, err, test.kind); e != nil && e.Reply.String() != test.reply {
					t.Errorf("reply %q, want %q", e.Reply.String(), test.reply)
				}
				if err == nil {
					s.Abort()
				} else if _, e := client.Read(make([]byte, 1)); !errors.Is(e, io.ErrClosedPipe) {
					t.Errorf("the connection is still open: %v", e)
				}
				<-p.done
			})
		})
	}
}
