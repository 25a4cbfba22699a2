// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"fmt"
	"strings"
	"testing"
)

// What MAIL and RCPT say, by what the server offers; "" for MAIL: nothing.
func TestParameters(t *testing.T) {
	to := []string{"a@x"}
	all := &DSN{Notify: []string{"SUCCESS", "FAILURE", "DELAY"}, Ret: "HDRS", EnvID: "id+1=2 3", Orcpt: true}
	for _, test := range []struct {
		name, exts string
		env        Envelope
		mail, rcpt string
		kind       Kind
	}{
		{"nothing offered", "", Envelope{From: "me@x", Size: 5}, "MAIL FROM:<me@x>", "RCPT TO:<a@x>", ""},
		{"null reverse-path", "", Envelope{}, "MAIL FROM:<>", "RCPT TO:<a@x>", ""},
		{"SIZE without a limit", "SIZE", Envelope{From: "me@x", Size: 5}, "MAIL FROM:<me@x> SIZE=5", "RCPT TO:<a@x>", ""},
		{"SIZE 0", "SIZE 0", Envelope{From: "me@x", Size: 5}, "MAIL FROM:<me@x> SIZE=5", "RCPT TO:<a@x>", ""},
		{"SIZE nonsense", "SIZE lots", Envelope{From: "me@x", Size: 5}, "MAIL FROM:<me@x> SIZE=5", "RCPT TO:<a@x>", ""},
		{"SIZE just enough", "SIZE 5", Envelope{From: "me@x", Size: 5}, "MAIL FROM:<me@x> SIZE=5", "RCPT TO:<a@x>", ""},
		{"SIZE exceeded", "SIZE 4", Envelope{From: "me@x", Size: 5}, "", "", KindSize},
		{"size not known", "SIZE 4", Envelope{From: "me@x"}, "MAIL FROM:<me@x>", "RCPT TO:<a@x>", ""},
		{"8-bit", "8BITMIME", Envelope{From: "me@x", EightBit: true}, "MAIL FROM:<me@x> BODY=8BITMIME", "RCPT TO:<a@x>", ""},
		{"7-bit", "8BITMIME", Envelope{From: "me@x"}, "MAIL FROM:<me@x>", "RCPT TO:<a@x>", ""},
		{"8-bit and not offered", "SIZE", Envelope{From: "me@x", EightBit: true}, "", "", Kind8Bit},

		{"an IDN", "", Envelope{From: "me@größe.example", To: []string{"a@größe.example"}},
			"MAIL FROM:<me@xn--gre-6ka8i.example>", "RCPT TO:<a@xn--gre-6ka8i.example>", ""},
		{"an IDN needs no SMTPUTF8", "SMTPUTF8", Envelope{From: "me@x", To: []string{"a@größe.example"}},
			"MAIL FROM:<me@x>", "RCPT TO:<a@xn--gre-6ka8i.example>", ""},
		{"no such IDN", "", Envelope{From: "me@x", To: []string{"a@-größe-.example"}}, "", "", KindUTF8},
		{"a name", "SMTPUTF8", Envelope{From: "me@größe.example", To: []string{"jörg@größe.example"}},
			"MAIL FROM:<me@größe.example> SMTPUTF8", "RCPT TO:<jörg@größe.example>", ""},
		{"the sender's name", "SMTPUTF8", Envelope{From: "jörg@x"}, "MAIL FROM:<jörg@x> SMTPUTF8", "RCPT TO:<a@x>", ""},
		{"a name and not offered", "8BITMIME", Envelope{From: "me@x", To: []string{"jörg@x"}}, "", "", KindUTF8},
		{"the sender's name and not offered", "", Envelope{From: "jörg@x"}, "", "", KindUTF8},
		{"a name without a domain", "", Envelope{From: "me@x", To: []string{"jörg"}}, "", "", KindUTF8},
		{"a header", "SMTPUTF8\n8BITMIME", Envelope{From: "me@x", UTF8: true, EightBit: true},
			"MAIL FROM:<me@x> BODY=8BITMIME SMTPUTF8", "RCPT TO:<a@x>", ""},
		{"a header and not offered", "8BITMIME", Envelope{From: "me@x", UTF8: true, EightBit: true}, "", "", KindUTF8},

		{"notifications", "DSN", Envelope{From: "me@x", To: []string{"a+b=c@x"}, DSN: all}, "MAIL FROM:<me@x> RET=HDRS ENVID=id+2B1+3D2+203",
			"RCPT TO:<a+b=c@x> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+2Bb+3Dc@x", ""},
		{"notifications, a name", "DSN\nSMTPUTF8", Envelope{From: "me@x", To: []string{"jörg@x"}, DSN: &DSN{Orcpt: true}},
			"MAIL FROM:<me@x> SMTPUTF8", "RCPT TO:<jörg@x>", ""},
		{"never a notification", "DSN", Envelope{From: "me@x", DSN: &DSN{Notify: []string{"NEVER"}}}, "MAIL FROM:<me@x>", "RCPT TO:<a@x> NOTIFY=NEVER", ""},
		{"notifications of nothing", "DSN", Envelope{From: "me@x", DSN: &DSN{}}, "MAIL FROM:<me@x>", "RCPT TO:<a@x>", ""},
		{"notifications and not offered", "SIZE", Envelope{From: "me@x", DSN: all}, "MAIL FROM:<me@x>", "RCPT TO:<a@x>", ""},
		{"never and sometimes", "DSN", Envelope{From: "me@x", DSN: &DSN{Notify: []string{"NEVER", "DELAY"}}}, "", "", KindAddress},
		{"notifications of another kind", "", Envelope{From: "me@x", DSN: &DSN{Notify: []string{"DELAY\r\nDATA"}}}, "", "", KindAddress},
		{"a return of another kind", "DSN", Envelope{From: "me@x", DSN: &DSN{Ret: "full"}}, "", "", KindAddress},
		{"an id of two lines", "DSN", Envelope{From: "me@x", DSN: &DSN{EnvID: "1\r\nDATA"}}, "", "", KindAddress},
		{"an id too long", "DSN", Envelope{From: "me@x", DSN: &DSN{EnvID: strings.Repeat("x", 101)}}, "", "", KindAddress},

		{"REQUIRETLS without TLS", "REQUIRETLS", Envelope{From: "me@x", RequireTLS: true}, "", "", KindTLS},
		{"all at once", "SIZE 9\n8BITMIME\nSMTPUTF8\nDSN", Envelope{From: "me@x", Size: 5, EightBit: true, UTF8: true, DSN: all},
			"MAIL FROM:<me@x> SIZE=5 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+2B1+3D2+203", "RCPT TO:<a@x> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a@x", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			script := "WAIT"
			if test.mail != "" {
				script = "C: " + test.mail + "\nS: 250 ok\nC: " + test.rcpt + "\nS: 250 ok\nC: DATA\nS: 354 go\nMSG\nS: 250 ok\nWAIT"
			}
			s, p := begun(t, test.exts, script)
			if test.env.To == nil {
				test.env.To = to
			}
			result, err := s.Send(t.Context(), test.env, strings.NewReader("abc"), nil)
			wantKind(t, err, test.kind)
			if want := test.env.DSN != nil && test.mail != "" && strings.Contains(test.exts, "DSN"); result.DSN != want {
				t.Errorf("notifications asked for: %v, want %v", result.DSN, want)
			}
			if test.mail != "" && (len(result.Recipients) != 1 || result.Recipients[0].Address != test.env.To[0]) {
				t.Errorf("recipients %v", result.Recipients)
			}
			s.Abort()
			if <-p.done; p.err != nil || test.mail == "" && len(p.lines) != 1 {
				t.Errorf("%v; the client said %q", p.err, p.lines)
			}
		})
	}
}

func TestAddressGuard(t *testing.T) {
	s, p := begun(t, "SMTPUTF8", "WAIT")
	send := func(from string, to ...string) error {
		_, err := s.Send(t.Context(), Envelope{From: from, To: to}, strings.NewReader("x"), nil)
		return err
	}
	wantKind(t, send("me@x"), KindAddress)
	wantKind(t, send("me@x", ""), KindAddress)
	for _, bad := range []string{"a\r", "a\nb", "a\x00b", "a b", "<a>", "a>", "a\tb", "a\x7fb", "a> SIZE=1\r\nRCPT TO:<b"} {
		wantKind(t, send(bad, "a"), KindAddress)
		wantKind(t, send("me@x", "a", bad), KindAddress)
	}
	wantKind(t, send("me@x", "a\xff@x"), KindAddress)
	s.Abort()
	if <-p.done; len(p.lines) != 1 {
		t.Errorf("the server was told %q", p.lines)
	}
}

func TestRequireTLS(t *testing.T) {
	for _, test := range []struct {
		name, tls, exts string
		kind            Kind
	}{
		{"verified and offered", "verified", "REQUIRETLS", ""},
		{"pinned and offered", "pinned", "REQUIRETLS", ""},
		{"not offered", "verified", "SIZE", KindTLS},
		{"not verified", "unverified", "REQUIRETLS", KindTLS},
		{"no TLS", "", "REQUIRETLS", KindTLS},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, p := begun(t, test.exts, "C: MAIL FROM:<me@x> REQUIRETLS\nS: 550 no\nWAIT")
			s.tls = test.tls
			_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}, RequireTLS: true}, strings.NewReader("x"), nil)
			if test.kind == "" {
				test.kind = KindPermanent
			}
			wantKind(t, err, test.kind)
			s.Abort()
			if <-p.done; len(p.lines) == 2 != (test.kind == KindPermanent) {
				t.Errorf("the server was told %q", p.lines)
			}
		})
	}
}

// What a server says to each of many recipients is kept in short.
func TestManyWords(t *testing.T) {
	const recipients = 200
	script, env := "C\nS: 250 ok\n", Envelope{From: "me@x"}
	for i := range recipients {
		script += "C\n" + strings.Repeat("S: 550-5.1.1 "+strings.Repeat("x", 3000)+"\n", 2) + "S: 550 5.1.1 no\n"
		env.To = append(env.To, fmt.Sprintf("to%d@x", i))
	}
	s, p := begun(t, "", script)
	result, err := s.Send(t.Context(), env, strings.NewReader("x"), nil)
	wantKind(t, err, KindRecipients)
	kept := 0
	for i, r := range result.Recipients {
		kept += len(r.Reply.String())
		if r.Reply.Code != 550 || r.Reply.Enhanced != "5.1.1" || i == 0 && len(r.Reply.String()) < 1000 {
			t.Fatalf("recipient %d: %v", i, r.Reply)
		}
	}
	if len(result.Recipients) != recipients || kept > maxReplies+recipients*20 {
		t.Errorf("%d bytes of replies to %d recipients are kept", kept, len(result.Recipients))
	}
	s.Abort()
	<-p.done
}

func TestShortened(t *testing.T) {
	reply := Reply{Code: 550, Enhanced: "5.1.1", Lines: []string{"", "abc", "defg"}}
	for n, want := range map[int]string{-1: "550 5.1.1", 0: "550 5.1.1", 2: "550 5.1.1 ab…", 3: "550 5.1.1 abc", 4: "550 5.1.1 abc d…", 7: "550 5.1.1 abc defg", 99: "550 5.1.1 abc defg"} {
		if got := reply.shortened(n).String(); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
