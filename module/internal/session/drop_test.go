// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dialogue is a session with everything in it. The kinds are those of a session
// whose server is gone before it has said all that it says in that part; the
// client has said all that it says there by then, but for MSG.
var dialogue = []struct {
	script string
	kind   Kind
}{
	{"S: 220-hello\nS: 220 there\n", KindClosed},
	{"C\nS: 250-mx.example.org\nS: 250-SIZE\nS: 250 STARTTLS\nC\nS: 220 go\n", KindLost},
	{"TLS\nC\n", KindHandshake},
	{"S: 250-mx.example.org\nS: 250-SIZE\nS: 250 AUTH LOGIN\n", KindLost},
	{"C\nS: 334 VXNlcm5hbWU6\nC\nS: 334 UGFzc3dvcmQ6\nC\nS: 235 2.7.0 ok\n", KindLost},
	{"C\nS: 250 2.1.0 ok\nC\nS: 250 2.1.5 ok\nC\nS: 550-5.1.1 no\nS: 550 5.1.1 such user\n", KindLost},
	{"C\nS: 354 go ahead\n", KindLost},
	{"MSG\n", KindLost},
	{"S: 250-2.0.0 taken\nS: 250 2.0.0 as 42\n", KindUncertain},
	{"C\nS: 221 bye\n", ""},
}

// speak has a session with a peer that plays dialogue, in a bubble, where the
// session is over at once when the peer is gone.
func speak(ctx context.Context, conf *tls.Config, ca *authority, change ...func(*peer)) (Result, *peer, error) {
	script := ""
	for _, part := range dialogue {
		script += part.script
	}
	client, end := net.Pipe()
	p := play(end, conf, script, change...)
	cfg := Config{Host: "mx.example.org", Security: STARTTLS, EHLO: "me", Roots: ca.pool()}
	result, _, err := deliver(ctx, client, cfg, &Credentials{User: "user", Password: "geheim"}, Envelope{}, "hello\n", func(Result) error {
		synctest.Wait() // whatever the peer did is known by now
		return nil
	})
	client.Close()
	<-p.done
	return result, p, err
}

func bubbleServer(t *testing.T) (*authority, *tls.Config) {
	ca := newAuthority(t)
	// A ticket would be written while nobody reads, which a pipe doesn't forgive.
	return ca, server(ca.sign(t, leaf(0, "mx.example.org"), false), func(c *tls.Config) { c.SessionTicketsDisabled = true })
}

// The connection is lost after each byte that the server says.
func TestLostAfterEachByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, conf := bubbleServer(t)
		all := saysUpTo(len(dialogue) - 1)
		if _, p, err := speak(t.Context(), conf, ca); err != nil || p.err != nil || p.said != all {
			t.Fatalf("%v, %v, %d bytes of %d", err, p.err, p.said, all)
		}
		at := 0
		for i, part := range dialogue {
			for range saysIn(part.script) {
				at++
				want := part.kind
				if at == saysUpTo(i) {
					want = next(i)
				}
				_, p, err := speak(t.Context(), conf, ca, func(p *peer) { p.says = at })
				check(t, fmt.Sprintf("after %d bytes, in %q", at, part.script), err, want)
				if !errors.Is(p.err, errHangUp) {
					t.Errorf("after %d bytes: %v", at, p.err)
				}
			}
		}
	})
}

// next is the kind when part i is complete.
func next(i int) Kind {
	if i+1 == len(dialogue) {
		return ""
	}
	return dialogue[i+1].kind
}

// saysIn is how much the server says in a script.
func saysIn(script string) (n int) {
	for line := range strings.Lines(script) {
		if text, ok := strings.CutPrefix(line, "S: "); ok {
			n += len(text) + 1 // CRLF for LF
		}
	}
	return n
}

// saysUpTo is how much it says up to and with part i of dialogue.
func saysUpTo(i int) (n int) {
	for _, part := range dialogue[:i+1] {
		n += saysIn(part.script)
	}
	return n
}

// check is wantKind for one of many.
func check(t *testing.T, what string, err error, want Kind) {
	t.Helper()
	var e *Error
	errors.As(err, &e)
	switch {
	case err == nil && want != "":
		t.Errorf("%s: no error, want %s", what, want)
	case err != nil && (e == nil || e.Kind != want):
		t.Errorf("%s: %v, want kind %q", what, err, want)
	}
}

// The connection is lost, or the job is cancelled, after each command that the
// client has sent: EHLO, STARTTLS, EHLO, AUTH, user, password, MAIL, RCPT,
// RCPT, DATA, the message with its dot, QUIT.
func TestOverAfterEachCommand(t *testing.T) {
	const commands, message = 12, 11
	synctest.Test(t, func(t *testing.T) {
		ca, conf := bubbleServer(t)
		for at := 1; at <= commands; at++ {
			lost, cancelled := KindLost, KindCancelled
			switch {
			case at == message:
				lost, cancelled = KindUncertain, KindUncertain
			case at > message:
				lost, cancelled = "", ""
			}
			result, _, err := speak(t.Context(), conf, ca, func(p *peer) {
				p.heard = func(n int) {
					if n == at {
						p.conn.Close()
					}
				}
			})
			check(t, fmt.Sprintf("lost after command %d", at), err, lost)
			if at > 8 && len(result.Recipients) < 1 || at > 9 && len(result.Recipients) != 2 {
				t.Errorf("after command %d: recipients %v", at, result.Recipients)
			}

			ctx, cancel := context.WithCancel(t.Context())
			start := time.Now()
			_, _, err = speak(ctx, conf, ca, func(p *peer) {
				p.heard = func(n int) {
					if n == at {
						cancel()
						synctest.Wait()
					}
				}
			})
			check(t, fmt.Sprintf("cancelled after command %d", at), err, cancelled)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled after command %d: %v", at, err)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("cancelled after command %d: took %v", at, d)
			}
		}
	})
}

// deaf is a connection whose owner hangs up after having read so much.
type deaf struct {
	net.Conn
	left int
}

func (c *deaf) Read(b []byte) (int, error) {
	if c.left == 0 {
		c.Close()
		return 0, errHangUp
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// The connection is lost after each byte that the client sends: uncertain are
// those bytes of the final dot, and no others.
func TestLostAfterEachByteSent(t *testing.T) {
	const script = "S: 220 hi\nC\nS: 250 mx\nC\nS: 250 ok\nC\nS: 250 ok\nC\nS: 550 no\nC\nS: 354 go\nMSG\nS: 250 ok\nC\nS: 221 bye"
	synctest.Test(t, func(t *testing.T) {
		const before = len("EHLO me\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nhello\r\n")
		for at := range before + len(".\r\nQUIT\r\n") + 1 {
			client, end := net.Pipe()
			p := play(&deaf{end, at}, nil, script)
			_, _, err := deliver(t.Context(), client, Config{Security: Plain, EHLO: "me"}, nil, Envelope{}, "hello", func(Result) error {
				synctest.Wait()
				return nil
			})
			want := Kind("")
			switch {
			case at <= before:
				want = KindLost
			case at < before+3:
				want = KindUncertain
			}
			check(t, fmt.Sprintf("after %d bytes", at), err, want)
			client.Close()
			<-p.done
		}
	})
}

// Every wait ends when its time is up, and not before.
func TestTimeLimits(t *testing.T) {
	const ehlo = "S: 220 hi\nC\nS: 250 mx\n"
	const upTo354 = ehlo + "C\nS: 250 ok\nC\nS: 250 ok\nC\nS: 250 ok\nC\nS: 354 go\n"
	for _, test := range []struct {
		name, script string
		security     Security
		kind         Kind
		after        time.Duration
	}{
		{"greeting", "WAIT", Plain, KindSilent, 5 * time.Minute},
		{"greeting that comes late", "SLEEP 4m59s\n" + ehlo + "C\nS: 550 no\nWAIT", Plain, KindPermanent, 4*time.Minute + 59*time.Second},
		{"greeting byte by byte", strings.Repeat("SLEEP 1m\nS \"2\"\n", 10) + "WAIT", Plain, KindSilent, 5 * time.Minute},
		{"greeting line by line", strings.Repeat("SLEEP 1m\nS: 220-hi\n", 10) + "WAIT", Plain, KindSilent, 5 * time.Minute},
		{"handshake", "WAIT", ImplicitTLS, KindHandshake, 30 * time.Second},
		{"handshake nobody reads", "STOP", ImplicitTLS, KindHandshake, 30 * time.Second},
		{"handshake after STARTTLS", "S: 220 hi\nC\nS: 250-mx\nS: 250 STARTTLS\nC\nS: 220 go\nWAIT", STARTTLS, KindHandshake, 30 * time.Second},
		{"EHLO", "S: 220 hi\nWAIT", Plain, KindTimeout, 5 * time.Minute},
		{"EHLO nobody reads", "S: 220 hi\nSTOP", Plain, KindTimeout, 3*time.Minute + 2*time.Second},
		{"STARTTLS", "S: 220 hi\nC\nS: 250-mx\nS: 250 STARTTLS\nWAIT", STARTTLS, KindTimeout, 5 * time.Minute},
		{"MAIL", ehlo + "WAIT", Plain, KindTimeout, 5 * time.Minute},
		{"RCPT", ehlo + "C\nS: 250 ok\nWAIT", Plain, KindTimeout, 5 * time.Minute},
		{"DATA", ehlo + "C\nS: 250 ok\nC\nS: 250 ok\nC\nS: 250 ok\nC\nWAIT", Plain, KindTimeout, 2 * time.Minute},
		{"message nobody reads", upTo354 + "STOP", Plain, KindTimeout, 3*time.Minute + 2*time.Second},
		{"message read slowly", upTo354 + strings.Repeat("READ 32768\nSLEEP 2m\n", 5) + "MSG\nS: 250 ok\nWAIT", Plain, "", 10 * time.Minute},
		{"reply to the dot", upTo354 + "MSG\nWAIT", Plain, KindUncertain, 10 * time.Minute},
		{"reply to the dot that comes late", upTo354 + "MSG\nSLEEP 9m59s\nS: 250 ok\nWAIT", Plain, "", 9*time.Minute + 59*time.Second},
		{"reply to the dot byte by byte", upTo354 + "MSG\n" + strings.Repeat("S \"250-ok\\r\\n\"\nSLEEP 1m\n", 20) + "WAIT", Plain, KindUncertain, 10 * time.Minute},
		{"slow, but each within its limit", "SLEEP 4m\nS: 220 hi\nC\nSLEEP 4m\nS: 250 mx\nC\nSLEEP 4m\nS: 250 ok\nC\nSLEEP 4m\nS: 250 ok\nC\nSLEEP 4m\nS: 250 ok\nC\nSLEEP 1m\nS: 354 go\nMSG\nSLEEP 9m\nS: 250 ok\nWAIT", Plain, "", 30 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, end := net.Pipe()
				gone := make(chan struct{})
				p := play(end, nil, test.script, func(p *peer) { p.gone = gone })
				start := time.Now()
				s, err := Open(t.Context(), client, Config{Host: "mx", Security: test.security, EHLO: "me"})
				if err == nil {
					err = s.Start(t.Context(), nil)
				}
				if err == nil {
					_, err = s.Send(t.Context(), Envelope{From: "me", To: []string{"a", "b"}}, strings.NewReader(strings.Repeat("x", 200_000)), nil)
				}
				wantKind(t, err, test.kind)
				if d := time.Since(start); d != test.after {
					t.Errorf("after %v, want %v", d, test.after)
				}
				close(gone)
				client.Close()
				<-p.done
			})
		})
	}
}

func TestShortLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, end := net.Pipe()
		p := play(end, nil, "S: 220 hi\nC\nSLEEP 2s\nS: 250 mx\nWAIT")
		s, err := Open(t.Context(), client, Config{Security: Plain, EHLO: "me", Timeouts: Timeouts{Command: time.Second}})
		wantKind(t, err, "")
		wantKind(t, s.Start(t.Context(), nil), KindTimeout)
		<-p.done
	})
}

func TestQuitDoesNotWait(t *testing.T) {
	for _, test := range []struct {
		name, script string
		after        time.Duration
	}{
		{"answered", "C: QUIT\nS: 221 bye", 0},
		{"closed", "", 0},
		{"not answered", "C: QUIT\nWAIT", 2 * time.Second},
		{"not read", "STOP", 2 * time.Second},
		{"answered byte by byte", "C: QUIT\n" + strings.Repeat("S \"2\"\nSLEEP 1s\n", 9), 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, end := net.Pipe()
				gone := make(chan struct{})
				p := play(end, nil, "S: 220 hi\n"+test.script, func(p *peer) { p.gone = gone })
				s, err := Open(t.Context(), client, Config{Security: Plain})
				wantKind(t, err, "")
				synctest.Wait()
				start := time.Now()
				s.Quit(t.Context())
				if d := time.Since(start); d != test.after {
					t.Errorf("took %v, want %v", d, test.after)
				}
				close(gone)
				<-p.done
			})
		})
	}
}

func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, end := net.Pipe()
		p := play(end, nil, "WAIT")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Open(ctx, client, Config{Security: Plain})
		if e := wantKind(t, err, KindSilent); !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		<-p.done

		client, end = net.Pipe()
		p = play(end, nil, "S: 220 hi\nWAIT")
		ctx, cancel = context.WithCancel(t.Context())
		s, err := Open(ctx, client, Config{Security: Plain})
		wantKind(t, err, "")
		cancel()
		wantKind(t, s.Start(ctx, nil), KindCancelled)
		if <-p.done; len(p.lines) > 0 {
			t.Errorf("the server was told %q", p.lines)
		}
	})
}

func TestAbortFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, end := net.Pipe()
		p := play(end, nil, "S: 220 hi\nWAIT")
		s, err := Open(t.Context(), client, Config{Security: Plain})
		wantKind(t, err, "")
		go func() {
			synctest.Wait()
			s.Abort()
		}()
		wantKind(t, s.Start(t.Context(), nil), KindLost)
		<-p.done
	})
}
