// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := &authority{}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	pair := ca.sign(t, template, true)
	ca.cert, ca.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return ca
}

// sign makes a key and signs a certificate for it, with itself if self is set.
func (ca *authority) sign(t *testing.T, template *x509.Certificate, self bool) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, by := ca.cert, ca.key
	if self {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (ca *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// leaf is a template for a server's certificate that is valid for the given
// names from an hour ago to an hour ahead, shifted.
func leaf(shift time.Duration, names ...string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, DNSNames: names,
		NotBefore: time.Now().Add(shift - time.Hour), NotAfter: time.Now().Add(shift + time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

// server is what a server shows; change may alter it.
func server(cert tls.Certificate, change ...func(*tls.Config)) *tls.Config {
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	for _, f := range change {
		f(conf)
	}
	return conf
}

const (
	offersTLS = "S: 220 hi\nC: EHLO me\nS: 250-mx\nS: 250-AUTH PLAIN\nS: 250 STARTTLS\nC: STARTTLS\n"
	afterTLS  = "C: EHLO me\nS: 250-mx\nS: 250-STARTTLS\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHUAZ2VoZWlt\nS: 235 ok\nWAIT"
	noAuth    = "C: EHLO me\nS: 250-mx\nS: 250 AUTH PLAIN\nWAIT"
)

// Every security against every weakness that a server can show before AUTH.
// The last step of a script waits for the client to be gone, so that whatever
// it says beyond the script shows.
func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := server(ca.sign(t, leaf(0, "mx.example.org", "www.example.org"), false))
	bad := map[string]*tls.Config{
		"another name":   server(ca.sign(t, leaf(0, "mx.example.com"), false)),
		"expired":        server(ca.sign(t, leaf(-3*time.Hour, "mx.example.org"), false)),
		"not yet valid":  server(ca.sign(t, leaf(3*time.Hour, "mx.example.org"), false)),
		"self-signed":    server(ca.sign(t, leaf(0, "mx.example.org"), true)),
		"unknown issuer": server(other.sign(t, leaf(0, "mx.example.org"), false)),
		"for clients": server(ca.sign(t, func() *x509.Certificate {
			c := leaf(0, "mx.example.org")
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			return c
		}(), false)),
		"name in CN only": server(ca.sign(t, func() *x509.Certificate { c := leaf(0); c.Subject.CommonName = "mx.example.org"; return c }(), false)),
	}
	old := server(good.Certificates[0], func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 })

	inter := &authority{}
	pair := ca.sign(t, &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "Test CA 2"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, false)
	inter.cert, inter.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	chain := inter.sign(t, leaf(0, "mx.example.org"), false)
	bad["no intermediate"] = server(chain)
	chain.Certificate = append(chain.Certificate[:1:1], pair.Certificate[0])
	chained := server(chain)

	type outcome struct {
		kind Kind
		tls  string
	}
	type row struct {
		name     string
		security Security
		host     string
		conf     *tls.Config
		script   string
		want     outcome
	}
	const mx = "mx.example.org"
	rows := []row{
		{"good", STARTTLS, mx, good, offersTLS + "S: 220 go\nTLS\n" + afterTLS, outcome{"", "verified"}},
		{"good", Opportunistic, mx, good, offersTLS + "S: 220 go\nTLS\n" + afterTLS, outcome{"", "verified"}},
		{"good", ImplicitTLS, mx, good, "TLS\nS: 220 hi\n" + afterTLS, outcome{"", "verified"}},
		{"with an intermediate", STARTTLS, mx, chained, offersTLS + "S: 220 go\nTLS\n" + afterTLS, outcome{"", "verified"}},
		{"case and final dot", STARTTLS, "MX.Example.ORG.", good, offersTLS + "S: 220 go\nTLS\n" + afterTLS, outcome{"", "verified"}},
		{"IDN", STARTTLS, "größe.example", server(ca.sign(t, leaf(0, "xn--gre-6ka8i.example"), false)), offersTLS + "S: 220 go\nTLS\n" + afterTLS, outcome{"", "verified"}},
		{"another IDN", STARTTLS, "größe.example", good, offersTLS + "S: 220 go\nTLS\nWAIT", outcome{KindCertificate, ""}},
		{"no host", STARTTLS, "", good, offersTLS + "S: 220 go\nTLS\nWAIT", outcome{KindCertificate, ""}},
		{"TLS 1.2", STARTTLS, mx, server(good.Certificates[0], func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), offersTLS + "S: 220 go\nTLS\n" + afterTLS, outcome{"", "verified"}},

		{"not offered", STARTTLS, mx, good, "S: 220 hi\nC: EHLO me\nS: 250-mx\nS: 250 AUTH PLAIN\nWAIT", outcome{KindTLS, ""}},
		{"not offered", Opportunistic, mx, good, "S: 220 hi\nC: EHLO me\nS: 250-mx\nS: 250 AUTH PLAIN\nWAIT", outcome{"", ""}},
		{"HELO only", STARTTLS, mx, good, "S: 220 hi\nC: EHLO me\nS: 500 what\nC: HELO me\nS: 250 mx\nWAIT", outcome{KindTLS, ""}},
		{"HELO only", Opportunistic, mx, good, "S: 220 hi\nC: EHLO me\nS: 500 what\nC: HELO me\nS: 250 mx\nWAIT", outcome{"", ""}},
		{"injected", STARTTLS, mx, good, offersTLS + `S "220 go\r\n250 AUTH PLAIN\r\n"` + "\nWAIT", outcome{KindTLS, ""}},
		{"injected", Opportunistic, mx, good, offersTLS + `S "220 go\r\n250 AUTH PLAIN\r\n"` + "\nWAIT", outcome{KindTLS, ""}},
		{"speaks plain", STARTTLS, mx, good, offersTLS + "S: 220 go\nREAD 50\nS: 250 I am no TLS server\nWAIT", outcome{KindTLS, ""}},
		{"speaks plain", ImplicitTLS, mx, good, "S: 220 I am no TLS server\nWAIT", outcome{KindTLS, ""}},
		{"TLS 1.0 only", STARTTLS, mx, old, offersTLS + "S: 220 go\nTLS\nWAIT", outcome{KindTLS, ""}},
		{"TLS 1.0 only", Opportunistic, mx, old, offersTLS + "S: 220 go\nTLS\nWAIT", outcome{KindHandshake, ""}},
		{"TLS 1.0 only", ImplicitTLS, mx, old, "TLS\nWAIT", outcome{KindTLS, ""}},
		{"lost in the handshake", STARTTLS, mx, good, offersTLS + "S: 220 go\nREAD 50\n", outcome{KindHandshake, ""}},
		{"lost in the handshake", Opportunistic, mx, good, offersTLS + "S: 220 go\nREAD 50\n", outcome{KindHandshake, ""}},
		{"lost in the handshake", ImplicitTLS, mx, good, "READ 50\n", outcome{KindHandshake, ""}},
		{"lost before 220 to STARTTLS", STARTTLS, mx, good, offersTLS, outcome{KindLost, ""}},
		{"AUTH offered before TLS only", STARTTLS, mx, good, offersTLS + "S: 220 go\nTLS\nC: EHLO me\nS: 250 mx\nWAIT", outcome{"", "verified"}},
		{"HELO only after TLS", STARTTLS, mx, good, offersTLS + "S: 220 go\nTLS\nC: EHLO me\nS: 500 what\nC: HELO me\nS: 250 mx\nWAIT", outcome{"", "verified"}},
		{"530 under TLS", STARTTLS, mx, good, offersTLS + "S: 220 go\nTLS\nC: EHLO me\nS: 530 5.7.0 what\nWAIT", outcome{KindAuth, "verified"}},
	}
	for _, reply := range []string{"454 4.7.0 later", "500 what", "502 no", "530 5.7.0 no", "250 ok", "354 go", "421 bye", "220x", "fine"} {
		script := offersTLS + "S: " + reply + "\nWAIT"
		lax := outcome{"", ""}
		switch reply[:3] {
		case "250", "354", "220", "fin":
			lax.kind = KindProtocol
		case "421":
			lax.kind = KindTemporary
		}
		rows = append(rows,
			row{"refused with " + reply, STARTTLS, mx, good, script, outcome{KindTLS, ""}},
			row{"refused with " + reply, Opportunistic, mx, good, script, lax})
	}
	for name, conf := range bad {
		rows = append(rows,
			row{name, STARTTLS, mx, conf, offersTLS + "S: 220 go\nTLS\nWAIT", outcome{KindCertificate, ""}},
			row{name, ImplicitTLS, mx, conf, "TLS\nWAIT", outcome{KindCertificate, ""}},
			row{name, Opportunistic, mx, conf, offersTLS + "S: 220 go\nTLS\n" + noAuth, outcome{"", "unverified"}})
	}
	for _, row := range rows {
		t.Run(string(row.security)+" "+row.name, func(t *testing.T) {
			client, end := loopback(t)
			p := play(end, row.conf, row.script)
			var tr transcript
			s, err := Open(t.Context(), client, Config{Host: row.host, Security: row.security, EHLO: "me",
				Roots: ca.pool(), Timeouts: patient(), Trace: tr.note})
			protection := ""
			if err == nil {
				err = s.Start(t.Context(), &Credentials{User: "u", Password: "geheim"})
				protection = s.TLS()
				s.Abort()
			}
			e := wantKind(t, err, row.want.kind)
			if protection != row.want.tls {
				t.Errorf("TLS %q, want %q", protection, row.want.tls)
			}
			if row.name == "injected" && !errors.Is(e, ErrInjected) {
				t.Errorf("%v", err)
			}
			if row.want.kind == KindCertificate {
				if e.Err == nil || !strings.Contains(e.Error(), "certificate") {
					t.Errorf("%v", err)
				}
				var bad *CertificateError
				if !errors.As(e, &bad) || len(bad.Problems) == 0 || bad.Fingerprint != fingerprint(row.conf.Certificates[0].Leaf) {
					t.Errorf("no certificate to look at in %v", err)
				}
			}
			client.Close()
			<-p.done
			if handshakeFails := row.want.kind == KindCertificate || row.conf == old; p.err != nil && !handshakeFails {
				t.Error(p.err)
			}
			// What WAIT read may be the rest of a handshake, but no command.
			said := strings.Join(p.lines[min(len(p.lines), strings.Count(row.script, "C: ")):], "\n")
			for _, word := range []string{"EHLO ", "AUTH ", "MAIL ", "AHUAZ2VoZWlt"} {
				if strings.Contains(said, word) {
					t.Errorf("beyond its script the server was told %q", said)
				}
			}
		})
	}
}

func TestUnknownSecurity(t *testing.T) {
	for _, security := range []Security{"", "STARTTLS", "none"} {
		client, _ := net.Pipe()
		_, err := Open(t.Context(), client, Config{Host: "x", Security: security})
		wantKind(t, err, KindTLS)
	}
}

// The name in SNI is the one that is checked; an address is never sent.
func TestServerName(t *testing.T) {
	for _, test := range []struct{ host, want string }{
		{"mx.example.org", "mx.example.org"},
		{"MX.example.org.", "mx.example.org"},
		{"größe.example", "xn--gre-6ka8i.example"},
		{"127.0.0.1", "127.0.0.1"},
		{"[::1]", "::1"},
		{"::1", "::1"},
		{"under_score.example", "under_score.example"},
	} {
		if got := serverName(test.host); got != test.want {
			t.Errorf("%s: %s, want %s", test.host, got, test.want)
		}
	}
}
