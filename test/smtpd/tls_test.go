// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// secure calls a server and brings it under TLS by STARTTLS.
func secure(t *testing.T, server *smtpd.Server, config *tls.Config) (*caller, error) {
	t.Helper()
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("STARTTLS")+"|C STARTTLS|S 220 2.0.0 go ahead", "|")...)
	return c, c.starttls(config)
}

func TestCertificates(t *testing.T) {
	var name x509.HostnameError
	var issuer x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	tests := []struct {
		kind smtpd.Kind
		ok   func(error) bool
	}{
		{smtpd.Good, func(err error) bool { return err == nil }},
		{smtpd.OtherName, func(err error) bool { return errors.As(err, &name) }},
		{smtpd.Expired, func(err error) bool { return errors.As(err, &invalid) && invalid.Reason == x509.Expired }},
		{smtpd.NotYet, func(err error) bool { return errors.As(err, &invalid) && invalid.Reason == x509.Expired }},
		{smtpd.SelfSigned, func(err error) bool { return errors.As(err, &issuer) }},
		{smtpd.UnknownIssuer, func(err error) bool { return errors.As(err, &issuer) }},
	}
	if len(tests) != len(smtpd.Kinds()) {
		t.Error("a kind is not tested")
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			server := start(t, fmt.Sprintf(`{"ehlo":["STARTTLS"],"certificate":%q}`, tt.kind))
			c, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"})
			if !tt.ok(err) {
				t.Errorf("the handshake ended with %v", err)
			}
			c.nc.Close()
			sessions, waitErr := server.WaitSessions(limited(t), 1)
			if waitErr != nil {
				t.Fatal(waitErr)
			}
			if s := sessions[0]; (err == nil) != (s.TLSError == "") || (err != nil) != (s.End == "handshake") {
				t.Errorf("the client has %v, the server %q and ends as %q", err, s.TLSError, s.End)
			}
		})
	}
}

func TestTLSVersions(t *testing.T) {
	for max, want := range map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(max, func(t *testing.T) {
			server := start(t, fmt.Sprintf(`{"ehlo":["STARTTLS"],"tls-max":%q}`, max))
			config := &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test", MinVersion: tls.VersionTLS10}
			c, err := secure(t, server, config)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.nc.(*tls.Conn).ConnectionState().Version; got != want {
				t.Errorf("version %s", tls.VersionName(got))
			}
			if want < tls.VersionTLS12 {
				if _, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"}); err == nil {
					t.Error("a client of today got on with it")
				}
			}
		})
	}
}

func TestImplicitTLS(t *testing.T) {
	server := start(t, `{"listen":[{"name":"smtp"},{"name":"submissions","tls":true}]}`)
	nc, err := tls.Dial("tcp", server.Addr("submissions"), &tls.Config{RootCAs: server.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := make([]byte, 21)
	if _, err := io.ReadFull(nc, b); err != nil || string(b) != "220 mail.test ESMTP\r\n" {
		t.Errorf("heard %q, %v", b, err)
	}
	if _, err := tls.Dial("tcp", server.Addr("smtp"), &tls.Config{RootCAs: server.Pool()}); err == nil {
		t.Error("a plain port speaks TLS")
	}
}

func TestInjectionAfterSTARTTLS(t *testing.T) {
	server := start(t, `{"ehlo":["STARTTLS"],"rules":[{"on":"STARTTLS","raw":"220 go\r\n250 evil\r\n"}]}`)
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("STARTTLS")+"|C STARTTLS|S 220 go|S 250 evil", "|")...)
	if err := c.starttls(&tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"}); err != nil {
		t.Error(err)
	}
}

func TestEndsUnderTLS(t *testing.T) {
	// Go's client takes FIN between two records for the end, so whether
	// close_notify came shows in the trace only.
	for end, notify := range map[string]bool{"close": true, "cut": false} {
		t.Run(end, func(t *testing.T) {
			server := start(t, `{"ehlo":["STARTTLS"],"rules":[{"on":"NOOP","instead":"`+end+`"}]}`)
			c, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"})
			if err != nil {
				t.Fatal(err)
			}
			c.talk("C NOOP", "E")
			sessions, err := server.WaitSessions(limited(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			trace := sessions[0].Trace
			if last := trace[len(trace)-1]; last.Client == notify || sessions[0].End != end {
				t.Errorf("ended as %q, the last bytes were %+v", sessions[0].End, last)
			}
		})
	}
}

func TestCutWithinARecord(t *testing.T) {
	server := start(t, `{"ehlo":["STARTTLS"],"rules":[{"on":"WIRE","after":3000,"then":"cut"},{"on":"NOOP","flood":"250-x\r\n"}]}`)
	c, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"})
	if err != nil {
		t.Fatal(err)
	}
	c.talk("C NOOP")
	if _, err := io.Copy(io.Discard, c.in); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ended with %v", err)
	}
}

// TestEveryWireByte cuts the handshake after each of its bytes.
func TestEveryWireByte(t *testing.T) {
	ca, err := smtpd.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 {
		script, err := smtpd.ParseString(`{"ehlo":["STARTTLS"],"rules":[{"on":"WIRE","then":"reset"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		// 21 of the greeting, 29 of EHLO, 20 of STARTTLS; then TLS.
		script.Rules[0].After = int64(71 + 20*n)
		script.CA = ca
		server, err := smtpd.Start(script)
		if err != nil {
			t.Fatal(err)
		}
		c, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test"})
		if err == nil && script.Rules[0].After < 400 {
			t.Errorf("a handshake of %d bytes came to its end", script.Rules[0].After)
		}
		c.nc.Close()
		sessions, err := server.WaitSessions(limited(t), 1)
		if err != nil {
			t.Fatal(err)
		}
		sent := int64(0)
		for _, run := range sessions[0].Trace {
			if !run.Client {
				sent += run.Bytes
			}
		}
		if end := sessions[0].End; end == "reset" && sent != script.Rules[0].After {
			t.Errorf("%d bytes were sent, want %d", sent, script.Rules[0].After)
		}
		server.Close()
	}
}

func TestClientCertificate(t *testing.T) {
	server := start(t, `{"ehlo":["STARTTLS"],"ehlo-tls":["AUTH EXTERNAL"],"client-certificate":true}`)
	cert, err := server.CA().Issue(smtpd.Good, "kazu")
	if err != nil {
		t.Fatal(err)
	}
	c, err := secure(t, server, &tls.Config{RootCAs: server.Pool(), ServerName: "mail.test", Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	c.talk("C EHLO me", "S 250-mail.test", "S 250 AUTH EXTERNAL", "C AUTH EXTERNAL =", "S 235 2.7.0 welcome")
	s := server.Sessions()[0]
	if string(s.ClientCert) != string(cert.Certificate[0]) || len(s.Auth) != 1 || s.Auth[0].User != "kazu" {
		t.Errorf("session %+v", s)
	}
}

func TestCAOnDisk(t *testing.T) {
	dir := t.TempDir()
	ca, err := smtpd.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.WriteAll(dir, "mail.test"); err != nil {
		t.Fatal(err)
	}
	again, err := smtpd.LoadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !ca.Pool().Equal(again.Pool()) {
		t.Error("another CA came back")
	}
	for _, kind := range smtpd.Kinds() {
		if _, err := tls.LoadX509KeyPair(dir+"/"+string(kind)+".pem", dir+"/"+string(kind)+"-key.pem"); err != nil {
			t.Error(err)
		}
	}
}
