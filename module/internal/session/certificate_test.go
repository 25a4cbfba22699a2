// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCertificateError(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	const mx = "mx.example.org"
	nameless := leaf(0)
	nameless.Subject.CommonName = mx
	clients := leaf(0, mx)
	clients.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	nasty := leaf(0, strings.Repeat("x", 60)+".example", "\x1b[2J.example")
	nasty.Subject.CommonName = "\u202e\n"
	for i := range 100 {
		nasty.DNSNames = append(nasty.DNSNames, fmt.Sprintf("host%d.example", i))
	}
	day := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.DateOnly) }
	for _, test := range []struct {
		name     string
		template *x509.Certificate
		by       *authority // nil: itself
		pins     []string
		problems []Problem
		text     string
	}{
		{"name", leaf(0, "a.example", "b.example"), ca, nil, []Problem{ProblemName}, "mx.example.org is for a.example, b.example (SHA-256 "},
		{"no names", nameless, ca, nil, []Problem{ProblemName}, "is for no server ("},
		{"expired", leaf(-48*time.Hour, mx), ca, nil, []Problem{ProblemExpired}, "expired on " + day(-47*time.Hour)},
		{"not yet", leaf(48*time.Hour, mx), ca, nil, []Problem{ProblemNotYet}, "is not valid before " + day(47*time.Hour)},
		{"self-signed", leaf(0, mx), nil, nil, []Problem{ProblemSelfSigned}, "is signed by nobody but itself"},
		{"issuer", leaf(0, mx), other, nil, []Problem{ProblemIssuer}, "was issued by CN=Test CA, which is not trusted here"},
		{"everything", leaf(-48*time.Hour, "a.example"), nil, []string{"abcd"},
			[]Problem{ProblemName, ProblemExpired, ProblemSelfSigned, ProblemChanged}, " and is not the one that was accepted before ("},
		{"for clients", clients, ca, nil, []Problem{ProblemOther}, "can't be verified: x509: "},
		{"nasty", nasty, ca, nil, []Problem{ProblemName}, "is for " + strings.Repeat("x", 60) + ".example, "},
	} {
		t.Run(test.name, func(t *testing.T) {
			by := test.by
			if by == nil {
				by = ca
			}
			cert := by.sign(t, test.template, test.by == nil)
			s := &Session{cfg: Config{Host: mx, Roots: ca.pool(), Pins: test.pins}}
			chain := []*x509.Certificate{cert.Leaf}
			err := s.badCertificate(chain, verify(chain, mx, s.cfg.Roots))
			var bad *CertificateError
			if !errors.As(err, &bad) || !slices.Equal(bad.Problems, test.problems) {
				t.Fatalf("%#v, want %v", err, test.problems)
			}
			text := err.Error()
			if !strings.Contains(text, test.text) || !strings.Contains(text, bad.Fingerprint) {
				t.Errorf("%q, want %q in it", text, test.text)
			}
			if strings.ContainsAny(text, "\x1b\n\u202e") || len(text) > 1500 || len(bad.Names) > 10 {
				t.Errorf("not fit to be shown: %q", text)
			}
			if errors.Unwrap(err) == nil {
				t.Error("nothing behind it")
			}
			var back map[string]any
			if b, err := json.Marshal(bad); err != nil || json.Unmarshal(b, &back) != nil || back["fingerprint"] != bad.Fingerprint || back["host"] != mx {
				t.Errorf("as JSON: %v, %v", back, err)
			}
		})
	}
}

// An accepted certificate serves like a good one, whatever is wrong with it,
// and any other is an error, whatever the security.
func TestPins(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	const mx = "mx.example.org"
	good, renewed := ca.sign(t, leaf(0, mx), false), ca.sign(t, leaf(-48*time.Hour, "a.example"), true)
	odd := other.sign(t, leaf(-48*time.Hour, "a.example"), false)
	pins := []string{strings.Repeat("0", 64), fingerprint(odd.Leaf)}
	for _, security := range []Security{STARTTLS, Opportunistic, ImplicitTLS} {
		for _, test := range []struct {
			name string
			cert tls.Certificate
			host string
			tls  string
			kind Kind
		}{
			{"pinned", odd, mx, "pinned", ""},
			{"pinned, and no name to look for", odd, "", "pinned", ""},
			{"verified though others are pinned", good, mx, "verified", ""},
			{"changed", renewed, mx, "", KindCertificate},
		} {
			t.Run(string(security)+" "+test.name, func(t *testing.T) {
				client, end := loopback(t)
				script := offersTLS + "S: 220 go\nTLS\n"
				if security == ImplicitTLS {
					script = "TLS\nS: 220 hi\n"
				}
				p := play(end, server(test.cert), script+afterTLS)
				cfg := Config{Host: test.host, Security: security, EHLO: "me", Roots: ca.pool(), Pins: pins, Timeouts: patient()}
				s, err := Open(t.Context(), client, cfg)
				protection := ""
				if err == nil {
					err = s.Start(t.Context(), &Credentials{User: "u", Password: "geheim"})
					protection = s.TLS()
					s.Abort()
				}
				wantKind(t, err, test.kind)
				if protection != test.tls {
					t.Errorf("TLS %q, want %q", protection, test.tls)
				}
				var bad *CertificateError
				if test.kind != "" && (!errors.As(err, &bad) || !slices.Contains(bad.Problems, ProblemChanged) || !slices.Equal(bad.Pins, pins)) {
					t.Errorf("%v", err)
				}
				client.Close()
				if <-p.done; test.kind == "" && p.err != nil {
					t.Error(p.err)
				}
			})
		}
	}
}

// The client certificate is for a peer that is proved, and a server that won't
// go on without one, or with this one, says so.
func TestClientCertificate(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	const mx = "mx.example.org"
	template := func() *x509.Certificate {
		c := leaf(0, "me")
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		return c
	}
	ours, strange := ca.sign(t, template(), false), other.sign(t, template(), false)
	for _, test := range []struct {
		name     string
		security Security
		roots    *authority
		cert     *tls.Certificate
		auth     tls.ClientAuthType
		shown    bool
		kind     Kind
	}{
		{"shown", STARTTLS, ca, &ours, tls.RequireAndVerifyClientCert, true, ""},
		{"shown though nothing depends on it", STARTTLS, ca, &strange, tls.RequestClientCert, true, ""},
		{"not shown to a peer that isn't proved", Opportunistic, other, &ours, tls.RequestClientCert, false, ""},
		{"not asked for", STARTTLS, ca, &ours, tls.NoClientCert, false, ""},
		{"asked for and not there", STARTTLS, ca, nil, tls.RequestClientCert, false, ""},
		{"required and not there", STARTTLS, ca, nil, tls.RequireAnyClientCert, false, KindTLS},
		{"not good enough", STARTTLS, ca, &strange, tls.RequireAndVerifyClientCert, false, KindTLS},
		{"not good enough", ImplicitTLS, ca, &strange, tls.RequireAndVerifyClientCert, false, KindTLS},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprint(test.security, " ", test.name, " ", tls.VersionName(version)), func(t *testing.T) {
				client, end := loopback(t)
				script := offersTLS + "S: 220 go\nTLS\nC\nS: 250 mx\nWAIT"
				if test.security == ImplicitTLS {
					script = "TLS\nS: 220 hi\nWAIT"
				}
				p := play(lastWords{end}, server(ca.sign(t, leaf(0, mx), false), func(c *tls.Config) {
					c.ClientAuth, c.ClientCAs, c.MaxVersion = test.auth, ca.pool(), version
				}), script)
				s, err := Open(t.Context(), client, Config{Host: mx, Security: test.security, EHLO: "me", Roots: test.roots.pool(),
					ClientCertificate: test.cert, Timeouts: patient()})
				if err == nil {
					err = s.Start(t.Context(), nil)
				}
				wantKind(t, err, test.kind)
				client.Close()
				<-p.done
				if conn, ok := p.conn.(*tls.Conn); ok && len(conn.ConnectionState().PeerCertificates) > 0 != test.shown {
					t.Errorf("shown: %v, want %v", !test.shown, test.shown)
				}
			})
		}
	}
}

// lastWords is a connection whose close lets the other end read what was said:
// it takes what comes until the other end is gone.
type lastWords struct{ net.Conn }

func (c lastWords) Close() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
		_, _ = io.Copy(io.Discard, tcp)
	}
	return c.Conn.Close()
}
