// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"submission/test/smtpd"
)

// A server that says something without end, wherever in the dialogue, is left
// at once: no limit of time has to pass.
func TestFloods(t *testing.T) {
	ca, err := smtpd.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range []struct {
		on   string
		kind Kind
	}{
		{"GREETING", KindGreeting},
		{"EHLO", KindProtocol},
		{"STARTTLS", KindTLS},
		{"TLS", KindTLS},
		{"AUTH", KindProtocol},
		{"RESPONSE", KindProtocol},
		{"MAIL", KindProtocol},
		{"RCPT", KindProtocol},
		{"DATA", KindProtocol},
		{"DOT", KindUncertain},
	} {
		for name, flood := range map[string]string{
			"lines": "250-more\r\n", "one line": "250 a", "NULs": "\x00", "line ends": "\r\n", "replies": "334 YQ==\r\n", "digits": "2",
		} {
			t.Run(stage.on+" "+name, func(t *testing.T) {
				t.Parallel()
				want := stage.kind
				server := serve(t, smtpd.Script{CA: ca, Behaviour: smtpd.Behaviour{
					EHLOTLS: []string{"AUTH LOGIN"}, Users: map[string]string{"kazu": thePass},
					Rules: []smtpd.Rule{{On: stage.on, Flood: flood}},
				}})
				cfg := Config{Host: "mail.test", Security: STARTTLS, EHLO: "me", Roots: ca.Pool(), Timeouts: patient()}
				_, _, err := deliver(t.Context(), dial(t, server.Addr("")), cfg, &Credentials{User: "kazu", Password: thePass}, Envelope{}, "x\n", nil)
				var e *Error
				if !errors.As(err, &e) {
					t.Fatal(err)
				}
				// A loss may be told before the words, or be one (an alert that
				// isn't answered): it must not be more than that.
				lost := e.Kind == KindHandshake && stage.on == "TLS"
				if e.Kind != want && !lost {
					t.Errorf("%v (%s), want %s", err, e.Kind, want)
				}
				if len(e.Error()) > 500 {
					t.Errorf("an error text of %d bytes", len(e.Error()))
				}
			})
		}
	}
}

// turns is a server that says one part of its text after the other, the next
// when it has been told something, and notes what it was told.
type turns struct {
	net.Conn
	parts []string
	told  strings.Builder
}

func newTurns(text string) *turns { return &turns{parts: strings.Split(text, "|")} }

func (c *turns) Read(b []byte) (int, error) {
	if len(c.parts) == 0 || c.parts[0] == "" {
		return 0, io.EOF
	}
	n := copy(b, c.parts[0])
	c.parts[0] = c.parts[0][n:]
	return n, nil
}

func (c *turns) Write(b []byte) (int, error) {
	if len(c.parts) == 0 {
		return 0, os.ErrClosed
	}
	if c.parts[0] == "" {
		c.parts = c.parts[1:]
	}
	return c.told.Write(b)
}

func (c *turns) Close() error                     { c.parts = nil; return nil }
func (c *turns) SetDeadline(time.Time) error      { return nil }
func (c *turns) SetReadDeadline(time.Time) error  { return nil }
func (c *turns) SetWriteDeadline(time.Time) error { return nil }
func (c *turns) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }
func (c *turns) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)} }

// Whatever a server says before TLS, it gets no secret and no message, and the
// session ends with a kind from which a verdict can be made.
func FuzzBeforeTLS(f *testing.F) {
	for _, seed := range []string{
		"220 hi\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|\x16\x03\x03\x00\x00",
		"220 hi\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n250 ok\r\n|",
		"220 hi\r\n|250-mx\r\n250 AUTH PLAIN\r\n|454 later\r\n|250 ok\r\n|250 ok\r\n",
		"220 hi\r\n|502 what\r\n|250 mx\r\n|250 ok\r\n",
		"220 hi\r\n250 mx\r\n|", "421 bye\r\n", "\x15\x03\x01\x00\x02\x02\x0a", "220-hi\r\n220 there\r\n|250-MX\r\n250-auth=login\r\n250 StartTLS x\r\n|530 5.7.0 no\r\n",
		"220 hi\r\n|250-mx\r\n250 STARTTLS\r\n|220 go\r\n|\x15\x03\x03\x00\x02\x02\x28", "220 hi\r\n|250-\x00\xff\r\n250 STARTTLS\r\n|220-\r\n220 go\r\n|HTTP/1.1 400\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, security := range []Security{STARTTLS, Opportunistic, ImplicitTLS} {
			conn := newTurns(text)
			var tr transcript
			s, err := Open(t.Context(), conn, Config{Host: "mx.example.org", Security: security, EHLO: "me", AllowCleartextAuth: true, Trace: tr.note})
			if err == nil {
				err = s.Start(t.Context(), &Credentials{User: "kazu", Password: thePass, Token: theToken})
			}
			var e *Error
			switch {
			case err == nil && security != Opportunistic:
				t.Fatalf("%s: no error", security)
			case err != nil && (!errors.As(err, &e) || e.Kind == "" || e.Kind == KindUncertain || e.Kind == KindLocal):
				t.Fatalf("%s: %v", security, err)
			}
			told := conn.told.String()
			for _, word := range []string{"AUTH ", "MAIL ", "RCPT ", "DATA", thePass, theToken, b64("\x00kazu\x00" + thePass)} {
				if strings.Contains(told, word) {
					t.Fatalf("%s: the server was told %q", security, told)
				}
			}
			if shown := strings.Join(tr.lines, "\n"); strings.ContainsAny(shown, "\x00\x1b\r") {
				t.Fatalf("shown: %q", shown)
			}
		}
	})
}

// Whatever a server says to AUTH, it is shown nothing but what the mechanisms
// show, and nobody else is shown that.
func FuzzAuth(f *testing.F) {
	for _, seed := range []string{
		"SCRAM-SHA-256 PLAIN|334 " + b64("r=x,s=QUJD,i=4096") + "\r\n|501 no\r\n", "CRAM-MD5|334 PDFAeD4=\r\n|235 ok\r\n", "CRAM-MD5 PLAIN|334 PDFAeD4=\r\n|535 no\r\n",
		"SCRAM-SHA-1|235 ok\r\n", "SCRAM-SHA-1|334 " + b64("e=no") + "\r\n|334\r\n", "CRAM-MD5|334 ????\r\n|501 what\r\n",
		"SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5|504 no\r\n|534 no\r\n|334 YQ==\r\n|334 YQ==\r\n|235 yes\r\n", "XOAUTH2|334 e30=\r\n", "LOGIN|334-YQ==\r\n334 YQ==\r\n|235 ok\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		offer, rest, _ := strings.Cut(text, "|")
		if strings.ContainsAny(offer, "\r\n") {
			return
		}
		conn := newTurns("220 hi\r\n|250-mx\r\n250 AUTH " + offer + "\r\n|" + rest)
		var tr transcript
		s, err := Open(t.Context(), conn, Config{Security: Plain, EHLO: "me", Trace: tr.note})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Start(t.Context(), &Credentials{User: "kazu", Password: thePass, Token: theToken})
		shown := strings.Join(tr.lines, "\n")
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind == "" || e.Kind == KindUncertain || e.Kind == KindLocal {
				t.Fatalf("%v", err)
			}
			shown += err.Error()
		}
		told := conn.told.String()
		for _, secret := range []string{"AUTH PLAIN", "AUTH LOGIN", "AUTH XOAUTH2", "AUTH OAUTHBEARER", thePass, theToken} {
			if strings.Contains(told, secret) {
				t.Fatalf("the server was told %q", told)
			}
		}
		if strings.Count(told, "AUTH ") > 3 || len(s.w.secrets.whole)+len(s.w.secrets.pieces) != 0 {
			t.Fatalf("the server was told %q", told)
		}
		for line := range strings.Lines(told) {
			words := strings.Fields(line)
			if len(words) == 3 && words[0] == "AUTH" && strings.Contains(shown, words[2]) {
				t.Fatalf("%q is shown in %q", words[2], shown)
			}
		}
	})
}
