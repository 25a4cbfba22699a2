// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// serve starts a scripted server that goes with the test.
func serve(t *testing.T, script smtpd.Script) *smtpd.Server {
	t.Helper()
	server, err := smtpd.Start(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// record waits for the server's only session to end and returns it.
func record(t *testing.T, server *smtpd.Server) smtpd.Session {
	t.Helper()
	sessions, err := server.WaitSessions(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return sessions[0]
}

// payloads are what the client said within AUTH: initial responses and answers.
func payloads(s smtpd.Session) (list []string) {
	within := false
	for _, line := range s.Lines {
		words := strings.Fields(line.Text)
		switch {
		case !line.Client:
			within = strings.HasPrefix(line.Text, "334")
		case within:
			list = append(list, line.Text)
		case len(words) == 3 && words[0] == "AUTH":
			list = append(list, words[2])
		}
	}
	return list
}

// fromB64 decodes the first response.
func fromB64(t *testing.T, said []string) string {
	t.Helper()
	if len(said) == 0 || said[0] == "=" {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(said[0])
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

const (
	everything = "AUTH LOGIN PLAIN CRAM-MD5 XOAUTH2 OAUTHBEARER SCRAM-SHA-1 SCRAM-SHA-256 SCRAM-SHA-256-PLUS EXTERNAL"
	thePass    = "geheim, größer=als"
	theToken   = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg=="
)

// Each mechanism, and the order of those that a server offers, against a server
// that knows them, under TLS.
func TestMechanisms(t *testing.T) {
	ca, err := smtpd.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(smtpd.Good, "kazu")
	if err != nil {
		t.Fatal(err)
	}
	pass := &Credentials{User: "kazu", Password: thePass}
	wrong := &Credentials{User: "kazu", Password: "something else"}
	bearer := &Credentials{User: "kazu", Token: theToken}
	stale := &Credentials{User: "kazu", Token: "stale token of yesterday"}
	no := func(mechanism, reply string) smtpd.Rule {
		return smtpd.Rule{On: "AUTH", Match: "^" + mechanism + "( |$)", Reply: smtpd.Lines{reply}}
	}
	hashed := smtpd.Rule{On: "AUTH-END", Match: "^CRAM-MD5", Reply: smtpd.Lines{"535 5.7.8 no"}}

	for _, test := range []struct {
		name       string
		offer      string
		cred       *Credentials
		change     func(*smtpd.Behaviour)
		cfg        func(*Config)
		mechanisms string // that were tried, in order
		gs2        string // how the first response begins
		kind       Kind
	}{
		{name: "the best of all", offer: everything, cred: pass, mechanisms: "SCRAM-SHA-256-PLUS", gs2: "p=tls-exporter,,"},
		{name: "bound under TLS 1.2", offer: everything, cred: pass, change: func(b *smtpd.Behaviour) { b.TLSMax = "1.2" }, mechanisms: "SCRAM-SHA-256-PLUS", gs2: "p=tls-server-end-point,,"},
		{name: "SCRAM-SHA-256", offer: "AUTH PLAIN SCRAM-SHA-256", cred: pass, mechanisms: "SCRAM-SHA-256", gs2: "y,,n=kazu,r="},
		{name: "SCRAM-SHA-256, -PLUS not wanted", offer: everything, cred: pass, cfg: func(c *Config) { c.Mechanisms = []string{"scram-sha-256"} }, mechanisms: "SCRAM-SHA-256", gs2: "n,,n=kazu,r="},
		{name: "SCRAM-SHA-256, -PLUS neither wanted nor offered", offer: "AUTH SCRAM-SHA-256", cred: pass, cfg: func(c *Config) { c.Mechanisms = []string{"scram-sha-256"} }, mechanisms: "SCRAM-SHA-256", gs2: "n,,"},
		{name: "SCRAM-SHA-1", offer: "AUTH PLAIN SCRAM-SHA-1", cred: pass, mechanisms: "SCRAM-SHA-1", gs2: "y,,"},
		{name: "a name to be escaped", offer: "AUTH SCRAM-SHA-256", cred: &Credentials{User: "a,b=c", Password: thePass}, mechanisms: "SCRAM-SHA-256", gs2: "y,,n=a=2Cb=3Dc,r="},
		{name: "a password that SCRAM doesn't allow", offer: "AUTH SCRAM-SHA-256 PLAIN", cred: &Credentials{User: "bell", Password: "geheim\a!"}, mechanisms: "PLAIN"},
		{name: "a password that SCRAM doesn't allow, and nothing else", offer: "AUTH SCRAM-SHA-256", cred: &Credentials{User: "bell", Password: "geheim\a!"}, kind: KindAuth},
		{name: "CRAM-MD5", offer: "AUTH PLAIN CRAM-MD5", cred: pass, mechanisms: "CRAM-MD5"},
		{name: "PLAIN", offer: "AUTH LOGIN PLAIN", cred: pass, mechanisms: "PLAIN"},
		{name: "LOGIN", offer: "AUTH LOGIN", cred: pass, mechanisms: "LOGIN"},
		{name: "LOGIN with other prompts", offer: "AUTH LOGIN", cred: pass, change: func(b *smtpd.Behaviour) { b.LoginPrompts = []string{"User Name", "?"} }, mechanisms: "LOGIN"},
		{name: "OAUTHBEARER", offer: everything, cred: bearer, mechanisms: "OAUTHBEARER", gs2: "n,a=kazu,\x01auth=Bearer ya29"},
		{name: "OAUTHBEARER, a name to be escaped", offer: "AUTH OAUTHBEARER", cred: &Credentials{User: "a,b=c", Token: theToken}, mechanisms: "OAUTHBEARER"},
		{name: "XOAUTH2", offer: "AUTH PLAIN XOAUTH2", cred: bearer, mechanisms: "XOAUTH2", gs2: "user=kazu\x01auth=Bearer ya29"},
		{name: "a long token", offer: "AUTH XOAUTH2", cred: &Credentials{User: "long", Token: strings.Repeat("x", 2500)}, mechanisms: "XOAUTH2"},
		{name: "EXTERNAL", offer: everything, change: func(b *smtpd.Behaviour) { b.ClientCertificate = true },
			cfg: func(c *Config) { c.ClientCertificate = &cert }, mechanisms: "EXTERNAL"},
		{name: "EXTERNAL before a password", offer: everything, cred: pass, change: func(b *smtpd.Behaviour) { b.ClientCertificate = true },
			cfg: func(c *Config) { c.ClientCertificate = &cert }, mechanisms: "EXTERNAL"},
		{name: "a certificate that nobody asks for", offer: "AUTH EXTERNAL PLAIN", cred: pass, cfg: func(c *Config) { c.ClientCertificate = &cert }, mechanisms: "PLAIN"},
		{name: "a certificate only, and no EXTERNAL", offer: "AUTH PLAIN", change: func(b *smtpd.Behaviour) { b.ClientCertificate = true },
			cfg: func(c *Config) { c.ClientCertificate = &cert }},
		{name: "nothing to show", offer: everything, cred: &Credentials{}},

		{name: "a token where passwords are wanted", offer: "AUTH PLAIN LOGIN", cred: bearer, kind: KindAuth},
		{name: "a password where tokens are wanted", offer: "AUTH XOAUTH2 OAUTHBEARER", cred: pass, kind: KindAuth},
		{name: "a name alone", offer: everything, cred: &Credentials{User: "kazu"}, kind: KindAuth},
		{name: "504, then the next", offer: everything, cred: pass, change: func(b *smtpd.Behaviour) {
			b.Rules = []smtpd.Rule{no("SCRAM-SHA-256-PLUS", "504 5.5.4 not now"), no("SCRAM-SHA-256", "534 5.7.9 too weak")}
		}, mechanisms: "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1"},
		{name: "535 to CRAM-MD5, then PLAIN", offer: "AUTH LOGIN PLAIN CRAM-MD5", cred: pass,
			change: func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{hashed} }, mechanisms: "CRAM-MD5 PLAIN"},
		{name: "535 to CRAM-MD5, then LOGIN", offer: "AUTH LOGIN CRAM-MD5", cred: pass,
			change: func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{hashed} }, mechanisms: "CRAM-MD5 LOGIN"},
		{name: "535 to CRAM-MD5, then 535 to PLAIN", offer: "AUTH LOGIN PLAIN CRAM-MD5", cred: wrong, mechanisms: "CRAM-MD5 PLAIN", kind: KindAuth},
		{name: "wrong for SCRAM-SHA-256-PLUS", offer: everything, cred: wrong, mechanisms: "SCRAM-SHA-256-PLUS", kind: KindAuth},
		{name: "wrong for SCRAM-SHA-1", offer: "AUTH SCRAM-SHA-1 PLAIN LOGIN", cred: wrong, mechanisms: "SCRAM-SHA-1", kind: KindAuth},
		{name: "wrong for PLAIN", offer: "AUTH PLAIN LOGIN", cred: wrong, mechanisms: "PLAIN", kind: KindAuth},
		{name: "wrong for LOGIN", offer: "AUTH LOGIN", cred: wrong, mechanisms: "LOGIN", kind: KindAuth},
		{name: "stale, as RFC 7628 says", offer: everything, cred: stale, mechanisms: "OAUTHBEARER", kind: KindAuth},
		{name: "stale, as Google says", offer: "AUTH XOAUTH2 OAUTHBEARER", cred: stale, change: func(b *smtpd.Behaviour) { b.BearerFailure = "google" },
			mechanisms: "OAUTHBEARER", kind: KindAuth},
		{name: "stale, as Google says to XOAUTH2", offer: "AUTH XOAUTH2 PLAIN", cred: stale, change: func(b *smtpd.Behaviour) { b.BearerFailure = "google" },
			mechanisms: "XOAUTH2", kind: KindAuth},
		{name: "stale, as Microsoft says", offer: "AUTH XOAUTH2 LOGIN", cred: stale, change: func(b *smtpd.Behaviour) { b.BearerFailure = "microsoft" },
			mechanisms: "XOAUTH2", kind: KindAuth},
		{name: "a token of two fields", offer: "AUTH XOAUTH2", cred: &Credentials{User: "kazu", Token: "x\x01user=root"}, kind: KindAuth},
		{name: "a name of two fields", offer: "AUTH XOAUTH2", cred: &Credentials{User: "kazu\x01auth=x", Token: theToken}, kind: KindAuth},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := smtpd.Behaviour{
				EHLOTLS: []string{test.offer},
				Users:   map[string]string{"kazu": thePass, "a,b=c": thePass, "bell": "geheim\a!", "long": strings.Repeat("x", 2500)},
			}
			if test.cred != nil && test.cred.Token == theToken {
				b.Users = map[string]string{"kazu": theToken, "a,b=c": theToken}
			}
			if test.change != nil {
				test.change(&b)
			}
			server := serve(t, smtpd.Script{Behaviour: b, CA: ca})
			var tr transcript
			cfg := Config{Host: "mail.test", Security: STARTTLS, EHLO: "me", Roots: ca.Pool(), Timeouts: patient(), Trace: tr.note}
			if test.cfg != nil {
				test.cfg(&cfg)
			}
			s, err := Open(t.Context(), dial(t, server.Addr("")), cfg)
			wantKind(t, err, "")
			err = s.Start(t.Context(), test.cred)
			e := wantKind(t, err, test.kind)
			s.Quit(t.Context())

			seen := record(t, server)
			var tried []string
			for i, a := range seen.Auth {
				tried = append(tried, a.Mechanism)
				if last := i == len(seen.Auth)-1; a.OK != (last && e == nil) || !a.TLS {
					t.Errorf("%+v", a)
				}
			}
			if got := strings.Join(tried, " "); got != test.mechanisms {
				t.Errorf("tried %q, want %q", got, test.mechanisms)
			}
			if test.cred == stale != errors.Is(err, ErrToken) {
				t.Errorf("%v", err)
			}
			if e != nil && len(tried) > 0 && e.Reply.Code != 535 {
				t.Errorf("the error has reply %q", e.Reply)
			}
			said := payloads(seen)
			if len(said) == 0 && len(tried) > 0 {
				t.Errorf("the record has no responses: %q", seen.Commands())
			}
			if first := fromB64(t, said); test.gs2 != "" && !strings.HasPrefix(first, test.gs2) {
				t.Errorf("began with %q, want %q", first, test.gs2)
			}
			noneIn(t, append(said, thePass, theToken, "something else"), strings.Join(tr.lines, "\n")+fmt.Sprint(err))
		})
	}
}

// noneIn checks that no secret is shown. Those of four bytes are base64 of so
// little that it is no secret, "=" and an empty line are no secret either.
func noneIn(t *testing.T, secrets []string, shown string) {
	t.Helper()
	for _, secret := range secrets {
		if len(secret) > 4 && strings.Contains(shown, secret) {
			t.Errorf("%q is shown in %q", secret, shown)
		}
	}
}

// What may be used without TLS, by mechanism and by who the peer is.
func TestMechanismsInTheClear(t *testing.T) {
	pass, bearer := &Credentials{User: "kazu", Password: thePass}, &Credentials{User: "kazu", Token: theToken}
	for _, test := range []struct {
		name, offer     string
		cred            *Credentials
		allow, tunnel   bool
		security        Security
		mechanisms      string
		kind            Kind
		refuseCRAM, bad bool
	}{
		{name: "SCRAM to another machine", offer: everything, cred: pass, tunnel: true, mechanisms: "SCRAM-SHA-256"},
		{name: "CRAM-MD5 to another machine", offer: "AUTH PLAIN CRAM-MD5", cred: pass, tunnel: true, mechanisms: "CRAM-MD5"},
		{name: "PLAIN through a tunnel", offer: "AUTH PLAIN LOGIN", cred: pass, tunnel: true, kind: KindAuth},
		{name: "PLAIN through a tunnel, allowed", offer: "AUTH PLAIN LOGIN", cred: pass, tunnel: true, allow: true, mechanisms: "PLAIN"},
		{name: "PLAIN to this machine", offer: "AUTH PLAIN LOGIN", cred: pass, mechanisms: "PLAIN"},
		{name: "LOGIN through a tunnel", offer: "AUTH LOGIN", cred: pass, tunnel: true, kind: KindAuth},
		{name: "a token through a tunnel", offer: "AUTH OAUTHBEARER XOAUTH2", cred: bearer, tunnel: true, kind: KindAuth},
		{name: "a token to this machine", offer: "AUTH XOAUTH2", cred: bearer, mechanisms: "XOAUTH2"},
		{name: "-PLUS alone", offer: "AUTH SCRAM-SHA-256-PLUS", cred: pass, kind: KindAuth},
		{name: "EXTERNAL alone", offer: "AUTH EXTERNAL", cred: pass, kind: KindAuth},
		{name: "535 to CRAM-MD5 and no PLAIN after it", offer: "AUTH PLAIN CRAM-MD5", cred: pass, bad: true, mechanisms: "CRAM-MD5", kind: KindAuth},
		{name: "opportunistic", offer: everything, cred: pass, security: Opportunistic, allow: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := smtpd.Behaviour{EHLO: []string{test.offer}, Users: map[string]string{"kazu": thePass}}
			switch {
			case test.cred == bearer:
				b.Users["kazu"] = theToken
			case test.bad:
				b.Users["kazu"] = "something else"
			}
			server := serve(t, smtpd.Script{Behaviour: b})
			if test.security == "" {
				test.security = Plain
			}
			cert := &tls.Certificate{}
			s, err := Open(t.Context(), dial(t, server.Addr("")), Config{Host: "mail.test", Security: test.security, EHLO: "me",
				AllowCleartextAuth: test.allow, Tunnelled: test.tunnel, ClientCertificate: cert, Timeouts: patient()})
			wantKind(t, err, "")
			wantKind(t, s.Start(t.Context(), test.cred), test.kind)
			s.Quit(t.Context())
			var tried []string
			for _, a := range record(t, server).Auth {
				tried = append(tried, a.Mechanism)
			}
			if got := strings.Join(tried, " "); got != test.mechanisms {
				t.Errorf("tried %q, want %q", got, test.mechanisms)
			}
		})
	}
}

// A server that plays SCRAM without knowing the password gets no further, and
// is shown nothing else.
func TestImpostor(t *testing.T) {
	for _, test := range []struct {
		name string
		rule smtpd.Rule
		kind Kind
		end  string // what the client says last
	}{
		{"yes to everything", smtpd.Rule{On: "AUTH", Reply: smtpd.Lines{"235 welcome"}}, KindProtocol, ""},
		{"yes before its proof", smtpd.Rule{On: "RESPONSE", Reply: smtpd.Lines{"235 welcome"}}, KindProtocol, ""},
		{"a false proof", smtpd.Rule{On: "RESPONSE", Reply: smtpd.Lines{"334 " + b64("v=AAAA")}}, KindProtocol, ""},
		{"a proof that is none", smtpd.Rule{On: "RESPONSE", Reply: smtpd.Lines{"334 " + b64("hello")}}, KindProtocol, ""},
		{"no proof at all", smtpd.Rule{On: "RESPONSE", Reply: smtpd.Lines{"334"}}, KindProtocol, ""},
		{"an error", smtpd.Rule{On: "RESPONSE", Times: 1, Reply: smtpd.Lines{"334 " + b64("e=invalid-proof")}}, KindAuth, "*"},
		{"another nonce", smtpd.Rule{On: "AUTH", Reply: smtpd.Lines{"334 " + b64("r=abc,s=QUJD,i=4096")}}, KindAuth, "*"},
		{"too much work", smtpd.Rule{On: "AUTH", Reply: smtpd.Lines{"334 " + b64("r=abc,s=QUJD,i=2000000000")}}, KindAuth, "*"},
		{"more work than a number holds", smtpd.Rule{On: "AUTH", Reply: smtpd.Lines{"334 " + b64("r=abc,s=QUJD,i=99999999999999999999")}}, KindAuth, "*"},
		{"no SCRAM", smtpd.Rule{On: "AUTH", Reply: smtpd.Lines{"334 " + b64(strings.Repeat("\x1b[2J", 500))}}, KindAuth, "*"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, smtpd.Script{Behaviour: smtpd.Behaviour{EHLO: []string{"AUTH SCRAM-SHA-256 PLAIN LOGIN"},
				Users: map[string]string{"kazu": thePass}, Rules: []smtpd.Rule{test.rule}}})
			s, err := Open(t.Context(), dial(t, server.Addr("")), Config{Security: Plain, EHLO: "me", Timeouts: patient()})
			wantKind(t, err, "")
			err = s.Start(t.Context(), &Credentials{User: "kazu", Password: thePass})
			e := wantKind(t, err, test.kind)
			if errors.Is(err, ErrServerProof) != (test.kind == KindProtocol) || len(e.Error()) > 300 || strings.Contains(e.Error(), "\x1b") {
				t.Errorf("%q", err)
			}
			s.Abort()
			commands := record(t, server).Commands()
			if test.end != "" && commands[len(commands)-1] != test.end {
				t.Errorf("the server was told %q", commands)
			}
			if slices.ContainsFunc(commands, func(c string) bool { return strings.Contains(c, "PLAIN") || strings.Contains(c, "LOGIN") }) {
				t.Errorf("the server was told %q", commands)
			}
		})
	}
}

// Whatever the server repeats of a secret, and wherever, is shown to nobody.
func TestEchoedSecrets(t *testing.T) {
	token := b64("user=kazu\x01auth=Bearer " + theToken + "\x01\x01")
	for _, test := range []struct{ name, script string }{
		{"in a refusal", "S: 535 not " + token + "\n"},
		{"in a challenge", "S: 334 " + token + "\nC:\nS: 535 no\n"},
		{"in the second challenge", "S: 334 e30=\nC:\nS: 334 " + token + "\nC: *\nS: 334 " + token + "\n"},
		{"in several lines", "S: 535-5.7.8 not " + token + "\nS: 535 5.7.8 " + theToken + "\n"},
		{"in another class", "S: 354 " + token + "\n"},
		{"unasked", "S \"334 e30=\\r\\n334 " + token + "\\r\\n\"\n"},
		{"with nonsense", "S: nonsense " + token + "\n"},
		{"with success", "S: 235 " + theToken + "\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, end := net.Pipe()
			p := play(end, nil, "S: 220 hi\nC\nS: 250-mx\nS: 250 AUTH XOAUTH2\nC: AUTH XOAUTH2 "+token+"\n"+test.script+"WAIT")
			var tr transcript
			s, err := Open(t.Context(), client, Config{Security: Plain, AllowCleartextAuth: true, EHLO: "me", Timeouts: patient(), Trace: tr.note})
			wantKind(t, err, "")
			err = s.Start(t.Context(), &Credentials{User: "kazu", Token: theToken})
			var e *Error
			if errors.As(err, &e) {
				tr.lines = append(tr.lines, e.Reply.String(), e.Error())
			}
			s.Abort()
			<-p.done
			noneIn(t, []string{token, theToken}, strings.Join(tr.lines, "\n"))
			if shown := strings.Join(tr.lines, "\n"); !strings.Contains(shown, "AUTH XOAUTH2 ***") {
				t.Errorf("%q", shown)
			}
			if len(s.w.secrets.whole)+len(s.w.secrets.pieces) != 0 {
				t.Error("secrets are kept")
			}
		})
	}
}
