// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd_test

import (
	"context"
	"crypto/tls"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"submission/test/smtpd"
)

// start runs a script, in JSON, for the length of a test.
func start(t *testing.T, script string) *smtpd.Server {
	t.Helper()
	s, err := smtpd.ParseString(script)
	if err != nil {
		t.Fatal(err)
	}
	server, err := smtpd.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// limited is a context that no healthy test outlives.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestMailOverSTARTTLS(t *testing.T) {
	server := start(t, `{"users":{"kazu":"secret"},"require-auth":true}`)
	client, err := smtp.Dial(server.Addr(""))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.StartTLS(&tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"}); err != nil {
		t.Fatal(err)
	}
	if err := client.Auth(smtp.PlainAuth("", "kazu", "secret", "127.0.0.1")); err != nil {
		t.Fatal(err)
	}
	if err := client.Mail("a@example.org"); err != nil {
		t.Fatal(err)
	}
	if err := client.Rcpt("b@example.org"); err != nil {
		t.Fatal(err)
	}
	w, err := client.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("Subject: x\r\n\r\n.dot\r\n..\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Quit(); err != nil {
		t.Fatal(err)
	}
	messages, err := server.WaitMessages(limited(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	m := messages[0]
	if got, want := string(m.Data), "Subject: x\r\n\r\n.dot\r\n..\r\n"; got != want {
		t.Errorf("data %q, want %q", got, want)
	}
	if got, want := string(m.Wire), "Subject: x\r\n\r\n..dot\r\n...\r\n.\r\n"; got != want {
		t.Errorf("wire %q, want %q", got, want)
	}
	if m.From.Address != "a@example.org" || strings.Join(m.From.Parameters, " ") != "BODY=8BITMIME SMTPUTF8" ||
		len(m.To) != 1 || m.To[0].Address != "b@example.org" || !m.TLS || m.User != "kazu" || !m.Complete {
		t.Errorf("message %+v", m)
	}
	sessions, err := server.WaitSessions(limited(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	s := sessions[0]
	if s.End != "quit" || s.TLS != "TLS 1.3" || s.ServerName != "mail.test" || len(s.Auth) != 1 {
		t.Errorf("session %+v", s)
	}
	if a := s.Auth[0]; a.Mechanism != "PLAIN" || a.User != "kazu" || a.Secret != "secret" || !a.TLS || !a.OK {
		t.Errorf("auth %+v", a)
	}
	// EHLO, STARTTLS, ClientHello, Finished with EHLO, AUTH, MAIL, RCPT, DATA,
	// the message, QUIT.
	if n := s.Turns(); n != 10 {
		t.Errorf("%d turns, want 10: %+v", n, s.Trace)
	}
}
