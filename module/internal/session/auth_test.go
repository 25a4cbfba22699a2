// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"encoding/base64"
	"net"
	"strings"
	"testing"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestAuth(t *testing.T) {
	plain := "C: AUTH PLAIN " + b64("\x00user\x00geheim!") + "\n"
	login := "C: AUTH LOGIN\nS: 334 " + b64("Username:") + "\nC: " + b64("user") + "\nS: 334 " + b64("Password:") + "\nC: " + b64("geheim!") + "\n"
	const ok = "S: 235 2.7.0 welcome\n"
	for _, test := range []struct {
		name, offer, script string
		mechanisms          []string
		kind                Kind
		reply               string
	}{
		{"PLAIN", "AUTH PLAIN LOGIN", plain + ok, nil, "", ""},
		{"PLAIN before LOGIN whatever the server's order", "AUTH LOGIN PLAIN", plain + ok, nil, "", ""},
		{"lower case", "auth plain", plain + ok, nil, "", ""},
		{"old form", "AUTH=PLAIN", plain + ok, nil, "", ""},
		{"LOGIN", "AUTH LOGIN", login + ok, nil, "", ""},
		{"LOGIN with its own prompts", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334 " + b64("User Name\x00") + "\nC: " + b64("user") + "\nS: 334\nC: " + b64("geheim!") + "\n" + ok, nil, "", ""},
		{"LOGIN by preference", "AUTH PLAIN LOGIN", login + ok, []string{"login", "PLAIN"}, "", ""},
		{"a preference we don't know", "AUTH PLAIN LOGIN", plain + ok, []string{"X-NEW", "PLAIN"}, "", ""},
		{"not offered", "SIZE", "", nil, "", ""},
		{"offered but empty", "AUTH", "", nil, KindAuth, ""},
		{"none in common", "AUTH NTLM GSSAPI", "", nil, KindAuth, ""},
		{"none in common with the preference", "AUTH PLAIN", "", []string{"LOGIN"}, KindAuth, ""},
		{"535", "AUTH PLAIN LOGIN", plain + "S: 535 5.7.8 wrong\n", nil, KindAuth, "535 5.7.8 wrong"},
		{"530", "AUTH PLAIN LOGIN", plain + "S: 530 5.7.0 must issue STARTTLS\n", nil, KindAuth, "530 5.7.0 must issue STARTTLS"},
		{"538", "AUTH PLAIN LOGIN", plain + "S: 538 encrypt\n", nil, KindAuth, "538 encrypt"},
		{"454", "AUTH PLAIN LOGIN", plain + "S: 454 4.7.0 later\n", nil, KindTemporary, "454 4.7.0 later"},
		{"421", "AUTH PLAIN LOGIN", plain + "S: 421 bye\n", nil, KindTemporary, "421 bye"},
		{"501", "AUTH PLAIN LOGIN", plain + "S: 501 what\n", nil, KindAuth, "501 what"},
		{"504, then the next", "AUTH PLAIN LOGIN", plain + "S: 504 no\n" + login + ok, nil, "", ""},
		{"534, then the next", "AUTH PLAIN LOGIN", plain + "S: 534 too weak\n" + login + ok, nil, "", ""},
		{"504 to all", "AUTH PLAIN LOGIN", plain + "S: 504 no\nC: AUTH LOGIN\nS: 504 not that either\n", nil, KindAuth, "504 not that either"},
		{"535 in LOGIN", "AUTH LOGIN", login + "S: 535 wrong\n", nil, KindAuth, "535 wrong"},
		{"535 after the user", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334\nC: " + b64("user") + "\nS: 535 unknown\n", nil, KindAuth, "535 unknown"},
		{"success after the user", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334\nC: " + b64("user") + "\n" + ok, nil, "", ""},
		{"too many questions", "AUTH LOGIN", login + "S: 334 " + b64("Shoe size:") + "\nC: *\nS: 501 cancelled\n", nil, KindAuth, "501 cancelled"},
		{"a question to PLAIN", "AUTH PLAIN", plain + "S: 334\nC: *\nS: 501 cancelled\n", nil, KindAuth, "501 cancelled"},
		{"a challenge that isn't base64", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334 Username:\nC: *\nS: 501 cancelled\n", nil, KindAuth, "501 cancelled"},
		{"421 to *", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334 Username:\nC: *\nS: 421 enough\n", nil, KindTemporary, "421 enough"},
		{"success to *", "AUTH LOGIN", "C: AUTH LOGIN\nS: 334 Username:\nC: *\n" + ok, nil, KindProtocol, "235 2.7.0 welcome"},
		{"354 in AUTH", "AUTH PLAIN", plain + "S: 354 what\n", nil, KindProtocol, "354 what"},
		{"echoed", "AUTH PLAIN", plain + "S: 500 what is AUTH PLAIN " + b64("\x00user\x00geheim!") + " (geheim!)\n", nil, KindAuth, "500 what is AUTH PLAIN *** (***)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := net.Pipe()
			p := play(server, nil, "S: 220 hi\nC: EHLO me\nS: 250-mx\nS: 250 "+test.offer+"\n"+test.script+"WAIT")
			var tr transcript
			s, err := Open(t.Context(), client, Config{Security: Plain, AllowCleartextAuth: true, EHLO: "me",
				Mechanisms: test.mechanisms, Timeouts: patient(), Trace: tr.note})
			wantKind(t, err, "")
			err = s.Start(t.Context(), &Credentials{User: "user", Password: "geheim!"})
			e := wantKind(t, err, test.kind)
			if e != nil && e.Reply.String() != test.reply {
				t.Errorf("reply %q, want %q", e.Reply.String(), test.reply)
			}
			s.Abort()
			if <-p.done; p.err != nil || len(p.lines) != strings.Count(test.script, "C: ")+1 {
				t.Errorf("%v; the client said %q", p.err, p.lines)
			}
			shown := strings.Join(tr.lines, "\n")
			if e != nil {
				shown += e.Error()
			}
			for _, secret := range []string{"geheim!", b64("\x00user\x00geheim!"), b64("geheim!")} {
				if strings.Contains(shown, secret) {
					t.Errorf("%q was shown in %q", secret, shown)
				}
			}
		})
	}
}

// Which securities and peers let a secret out in the clear. With TLS see
// TestTLS.
func TestAuthInTheClear(t *testing.T) {
	cred := &Credentials{User: "user", Password: "geheim"}
	for _, test := range []struct {
		name     string
		security Security
		allow    bool
		local    bool
		cred     *Credentials
		tried    bool
		kind     Kind
	}{
		{"plain, to this machine", Plain, false, true, cred, true, ""},
		{"plain, to another", Plain, false, false, cred, false, KindAuth},
		{"plain, to another, allowed", Plain, true, false, cred, true, ""},
		{"plain, nothing to show", Plain, true, true, nil, false, ""},
		{"opportunistic, to this machine", Opportunistic, true, true, cred, false, ""},
		{"opportunistic, to another", Opportunistic, true, false, cred, false, ""},
		{"starttls", STARTTLS, true, true, cred, false, KindTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := net.Pipe()
			if test.local {
				client, server = loopback(t)
			}
			p := play(server, nil, "S: 220 hi\nC\nS: 250-mx\nS: 250 AUTH PLAIN LOGIN\nC\nS: 235 ok\nWAIT")
			s, err := Open(t.Context(), client, Config{Security: test.security, AllowCleartextAuth: test.allow, EHLO: "me", Timeouts: patient()})
			wantKind(t, err, "")
			wantKind(t, s.Start(t.Context(), test.cred), test.kind)
			s.Abort()
			<-p.done
			if tried := len(p.lines) > 1; tried != test.tried {
				t.Errorf("the server was told %q", p.lines)
			}
		})
	}
}

// An initial response that would make the line too long goes by itself.
func TestLongInitialResponse(t *testing.T) {
	password := strings.Repeat("x", 400)
	client, server := net.Pipe()
	p := play(server, nil, "S: 220 hi\nC\nS: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 334\nC: "+b64("\x00user\x00"+password)+"\nS: 235 ok\nWAIT")
	s, err := Open(t.Context(), client, Config{Security: Plain, AllowCleartextAuth: true, EHLO: "me", Timeouts: patient()})
	wantKind(t, err, "")
	wantKind(t, s.Start(t.Context(), &Credentials{User: "user", Password: password}), "")
	s.Abort()
	if <-p.done; p.err != nil {
		t.Error(p.err)
	}
}

func TestNULInCredentials(t *testing.T) {
	client, server := net.Pipe()
	p := play(server, nil, "S: 220 hi\nC\nS: 250-mx\nS: 250 AUTH PLAIN\nWAIT")
	s, err := Open(t.Context(), client, Config{Security: Plain, AllowCleartextAuth: true, EHLO: "me", Timeouts: patient()})
	wantKind(t, err, "")
	wantKind(t, s.Start(t.Context(), &Credentials{User: "user\x00root", Password: "x"}), KindAuth)
	s.Abort()
	if <-p.done; len(p.lines) != 1 {
		t.Errorf("the server was told %q", p.lines)
	}
}
