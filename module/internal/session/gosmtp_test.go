// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"submission/test/smtpd"
)

// goServer is a server made with go-smtp: a peer that none of us has written.
// It keeps what it accepts.
type goServer struct {
	t        *testing.T
	messages chan string // "from to... | text"
}

func (g *goServer) NewSession(*smtp.Conn) (smtp.Session, error) { return &goSession{server: g}, nil }

type goSession struct {
	server *goServer
	user   string
	from   string
	to     []string
}

func (s *goSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *goSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "kazu" || password != "secret" {
			return smtp.ErrAuthFailed
		}
		s.user = user
		return nil
	}), nil
}

func (s *goSession) Mail(from string, _ *smtp.MailOptions) error {
	if s.user == "" {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}

func (s *goSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "bad@") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *goSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.server.messages <- s.from + " " + strings.Join(s.to, " ") + " | " + string(text)
	return nil
}

func (s *goSession) Reset()        { s.from, s.to = "", nil }
func (s *goSession) Logout() error { return nil }

// TestGoSMTP has whole dialogues with go-smtp's server: STARTTLS, AUTH, and
// two messages over one connection, with its PIPELINING and CHUNKING.
func TestGoSMTP(t *testing.T) {
	ca, err := smtpd.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Issue(smtpd.Good, "mail.test")
	if err != nil {
		t.Fatal(err)
	}
	g := &goServer{t: t, messages: make(chan string, 2)}
	server := smtp.NewServer(g)
	server.Domain = "mail.test"
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })

	dial := func(password string) (*Session, error) {
		conn, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), conn, Config{Host: "mail.test", Security: STARTTLS, Roots: ca.Pool(),
			Timeouts: Timeouts{Command: 30 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		return s, s.Start(t.Context(), &Credentials{User: "kazu", Password: password})
	}

	s, err := dial("wrong")
	if e := (*Error)(nil); !errors.As(err, &e) || e.Kind != KindAuth || e.Reply.Code != 535 {
		t.Errorf("a wrong password: %v", err)
	}
	s.Abort()

	if s, err = dial("secret"); err != nil {
		t.Fatal(err)
	}
	defer s.Quit(t.Context())
	if s.TLS() != "verified" {
		t.Errorf("TLS is %q", s.TLS())
	}
	for _, text := range []string{"Subject: one\n\n.\n..\nlast", "Subject: two\n\nagain\n"} {
		env := Envelope{From: "ann@example.org", To: []string{"bad@example.org", "bob@example.org"}}
		if err := env.Measure(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		result, err := s.Send(t.Context(), env, bytes.NewReader([]byte(text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		if r := result.Recipients; len(r) != 2 || r[0].Accepted || r[0].Reply.Enhanced != "5.1.1" || !r[1].Accepted {
			t.Errorf("recipients: %+v", r)
		}
		want := "ann@example.org bob@example.org | " + strings.TrimSuffix(strings.ReplaceAll(text, "\n", "\r\n"), "\r\n") + "\r\n"
		select {
		case got := <-g.messages:
			if got != want {
				t.Errorf("the server has %q, want %q", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the message did not arrive")
		}
	}
}
