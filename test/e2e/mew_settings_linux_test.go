// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestMewFallback goes through the paper's cases that loopback can make.
func TestMewFallback(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  smtpd.Listen
		second smtpd.Listen
		queue  string
		said   string
	}{
		{"the first answers", smtpd.Listen{}, smtpd.Listen{}, "#1", "done"},
		{"reset", smtpd.Listen{Closed: true}, smtpd.Listen{}, "#1", "done"},
		{"closed before the greeting", smtpd.Listen{Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.CloseConn})},
			smtpd.Listen{}, "#1", "done"},
		{"another greeting", smtpd.Listen{Behaviour: behaves(on("GREETING", "554 no"))}, smtpd.Listen{}, "#1", "done"},
		{"accepts and never speaks", smtpd.Listen{Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence})},
			smtpd.Listen{}, "#1", "done"},
		{"both dead", smtpd.Listen{Closed: true}, smtpd.Listen{Closed: true}, "1", "reset (case 2)"},
		{"nothing after 220", smtpd.Listen{Behaviour: behaves(on("MAIL", "451 4.3.0 later"))}, smtpd.Listen{}, "1", "451 4.3.0 later"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				tt.first.Name, tt.second.Name = "first", "second"
				server := start(t, smtpd.Script{Listen: []smtpd.Listen{tt.first, tt.second}})
				n := m.tell(m.falling(server, server.Port("first"), server.Port("second")) + `
					(setq submission-greeting-timeout 1)
					(mew-story-send "bob@example.org")
					(mew-story-note)`)
				n.has(tt.queue)
				n.said(tt.said)
				if want := strings.Count(tt.queue, "#"); len(server.Messages()) != want {
					t.Errorf("%d messages, want %d", len(server.Messages()), want)
				}
				m.log()
			})
		})
	}
}

// TestMewTLS: TLS and STARTTLS, in whatever words.
func TestMewTLS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		listen  smtpd.Listen
		lisp    string // with the port twice
		trusted bool
		queue   string
		said    string
	}{
		{"STARTTLS", smtpd.Listen{}, "(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port \"%d\")", true, "#1", "done"},
		{"STARTTLS, not trusted", smtpd.Listen{}, "(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d)", false, "1", "certificate"},
		{"STARTTLS, not offered", smtpd.Listen{Behaviour: &smtpd.Behaviour{EHLO: []string{"SIZE"}}},
			"(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d)", true, "1", "STARTTLS"},
		{"STARTTLS, good for nothing", smtpd.Listen{Behaviour: &smtpd.Behaviour{Certificate: smtpd.SelfSigned}},
			"(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d mew-ssl-verify-level 0)", true, "1", "certificate"},
		{"TLS", smtpd.Listen{TLS: true}, "(setq mew-smtp-ssl t mew-smtp-port 25 mew-smtp-ssl-port %d) %d", true, "#1", "done"},
		{"TLS, refused", smtpd.Listen{Closed: true}, "(setq mew-smtp-ssl t mew-smtp-port 25 mew-smtp-ssl-port %d) %d", true, "1", "reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Listen: []smtpd.Listen{tt.listen}})
				port := server.Port("")
				lisp := ""
				if tt.trusted {
					lisp = m.account(server, false, port)
				}
				n := m.tell(lisp + fmt.Sprintf(tt.lisp, port, port) + `
					(mew-story-send "bob@example.org")
					(mew-story-note)`)
				n.said(tt.said)
				n.has(tt.queue)
				log := m.log()
				if flag := regexp.MustCompile("SSL/TLS|TLS/STARTTLS"); !flag.MatchString(log) {
					t.Errorf("Mew's log:\n%s", log)
				}
				for _, message := range server.Messages() {
					if !message.TLS {
						t.Error("sent without TLS")
					}
				}
			})
		})
	}
}

// TestMewPassword: a wrong password is forgotten, and asked for by the next
// flush; a mechanism that Mew doesn't like is not used.
func TestMewPassword(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"},
			EHLO: []string{"AUTH PLAIN LOGIN"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu" mew-smtp-auth-list '("LOGIN" "PLAIN") mew-story-passwords '("wrong" "" "secret"))
			(mew-story-send "bob@example.org")
			(mew-story-note)
			(mew-story-flush)
			(mew-story-flush)
			(mew-story-send "carol@example.org")
			(mew-story-note)`)
		n.said("SMTP LOGIN password is wrong!", "NOTE +queue/1\n", "NOTE prompt SMTP LOGIN password (kazu): ")
		if n := strings.Count(n.output, "NOTE prompt"); n != 3 {
			t.Errorf("%d prompts", n)
		}
		if got := server.Messages(); len(got) != 2 || got[0].User != "kazu" {
			t.Errorf("sent %+v", got)
		}
		if log := m.log(); !strings.Contains(log, "SMTP LOGIN password is wrong!") || strings.Count(log, "status=sent") != 2 {
			t.Errorf("Mew's log:\n%s", log)
		}
	})
}

// TestMewIdentity: PLAIN with an authorization identity, as Mew can send it.
func TestMewIdentity(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"}, EHLO: []string{"AUTH PLAIN"},
		}})
		m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu" mew-smtp-auth-plain-authorize-id t mew-smtp-helo-domain "ann.example.org"
			      mew-story-passwords '("secret"))
			(mew-story-send "bob@example.org")`)
		sessions := server.Sessions()
		if len(sessions) != 1 || len(server.Messages()) != 1 {
			t.Fatalf("%+v", sessions)
		}
		var said []string
		for _, line := range sessions[0].Lines {
			said = append(said, line.Text)
		}
		// kazu NUL kazu NUL secret
		if !slices.Contains(said, "EHLO ann.example.org") || !slices.Contains(said, "AUTH PLAIN a2F6dQBrYXp1AHNlY3JldA==") {
			t.Errorf("the client said %q", said)
		}
	})
}

// TestMewItself: what Mew does itself it does as ever, and a word says so.
func TestMewItself(t *testing.T) {
	// A tunnel that is there already: its name ends with its port.
	const tunnel = `(defun tunnel (&rest _) (make-pipe-process :name "tunnel:%[1]d" :noquery t :filter #'ignore))
		(dolist (f '(mew-open-ssh-stream mew-open-ssl-stream mew-open-stunnel-stream))
		  (when (fboundp f) (advice-add f :override #'tunnel)))
		`
	for _, tt := range []struct {
		name string
		lisp string
		why  string
		only string // in this version
		log  string
	}{
		{"SSH", tunnel + `(setq mew-smtp-ssh-server "gate")`, "an SSH server is set", "", "sshsrv=gate"},
		{"stunnel", tunnel + `(setq mew-smtp-ssl 'tunnel submission-mew-tls nil)`, "`submission-mew-tls' is nil", "", "TLS"},
		{"verify level 3", tunnel + `(setq mew-smtp-ssl 'tunnel mew-ssl-verify-level 3)`, "`mew-ssl-verify-level' is 3", "", "TLS"},
		{"TLS proxy", tunnel + `(setq mew-smtp-ssl 'tunnel mew-ssl-proxy-server "proxy")`, "a TLS proxy is set", "development", "TLS"},
		// Neither version gets anywhere with it here.
		{"unix socket", `(setq mew-smtp-port "/no/socket")`, "the port is a unix socket", "none", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{})
				lisp := tt.lisp
				if strings.Contains(lisp, "%") {
					lisp = fmt.Sprintf(lisp, server.Port(""))
				}
				n := m.tell(lisp + `
					(mew-story-make "carol@example.org")
					(submission-mew-queue-mark (mew-expand-new-msg "+queue" "1") "It may have arrived.")
					(mew-story-make "bob@example.org")
					(mew-story-flush)
					(mew-story-note)
					(princ (with-current-buffer "*submission log*" (buffer-string)))`)
				switch {
				case tt.only == "none":
					n.said("Mew sends to 127.0.0.1 itself: "+tt.why, "Cannot connect to the SMTP server")
					n.has("1", "2")
					return
				case tt.only != "" && !strings.HasSuffix(t.Name(), tt.only):
					if strings.Contains(n.output, "itself") {
						t.Errorf("this Mew doesn't know that; Emacs said:\n%s", n.output)
					}
					return
				}
				n.said("Mew sends to 127.0.0.1 itself: " + tt.why)
				n.has("#2", "1")
				if log := m.log(); sentTo(server) != "bob@example.org" || !strings.Contains(log, tt.log) {
					t.Errorf("sent to %s; Mew's log:\n%s", sentTo(server), log)
				}
			})
		})
	}
}

// TestMewMechanisms: each of Mew's, with a wrong password and then the right one.
func TestMewMechanisms(t *testing.T) {
	for _, tt := range []struct {
		mechanism string
		offered   string
		list      string
		only      string
	}{
		{"CRAM-MD5", "PLAIN LOGIN CRAM-MD5", `'("CRAM-MD5" "PLAIN" "LOGIN")`, ""},
		{"PLAIN", "LOGIN PLAIN", `'("CRAM-MD5" "PLAIN" "LOGIN")`, ""},
		{"LOGIN", "LOGIN PLAIN CRAM-MD5", `'("LOGIN")`, ""},
		{"XOAUTH2", "PLAIN XOAUTH2", `'("XOAUTH2")`, "development"},
		{"", "PLAIN", `'("CRAM-MD5")`, ""},
	} {
		t.Run(tt.mechanism, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
					Users: map[string]string{"kazu": "secret"}, EHLO: []string{"AUTH " + tt.offered},
				}})
				n := m.tell(m.on(server.Port("")) + `
					(setq mew-smtp-user "kazu" mew-smtp-auth-list ` + tt.list + ` mew-story-passwords '("wrong" "secret"))
					(defun mew-xoauth2-get-access-token (&rest _) (pop mew-story-passwords))
					(mew-story-make "bob@example.org")
					(mew-story-flush)
					(mew-story-flush)
					(mew-story-flush)
					(mew-story-note)`)
				n.said("1.wrk has been queued to +queue/1")
				var tries []string
				for _, s := range server.Sessions() {
					for _, a := range s.Auth {
						tries = append(tries, fmt.Sprint(a.Mechanism, " ", a.User, " ", a.OK))
					}
				}
				if tt.mechanism == "" || tt.only != "" && !strings.HasSuffix(t.Name(), tt.only) {
					n.has("1")
					n.said("No SMTP AUTH available!")
					if len(tries) > 0 {
						t.Errorf("%q", tries)
					}
					return
				}
				n.has("#1")
				n.said("SMTP " + tt.mechanism + " password is wrong!")
				if want := []string{tt.mechanism + " kazu false", tt.mechanism + " kazu true"}; !slices.Equal(tries, want) {
					t.Errorf("%q, want %q", tries, want)
				}
				if log := m.log(); strings.Contains(log, "secret") || strings.Contains(n.output, "wrong\n") {
					t.Errorf("Mew's log:\n%s", log)
				}
			})
		})
	}
}

// TestMewTrust: whom Mew's settings trust, and what it shows of us.
func TestMewTrust(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lisp  string // with CA in it for the file of the authority
		old   string // what becomes of it with 6.8, where that has no such setting
		queue string
		shown bool // our certificate
	}{
		{"directory", `(setq mew-ssl-cert-directory (file-name-directory CA))`, "", "#1", false},
		{"directory of a case", `(setq mew-config-alist (list (list "default" (list "ssl-cert-directory" (file-name-directory CA)))))(mew-config-setup)`, "", "#1", false},
		{"files", `(setq mew-ssl-trustfiles (list CA))`, "1", "#1", false},
		{"native", `(setq mew-smtp-ssl 'native mew-ssl-verify-level 3 mew-ssl-trustfiles (list CA))`, "1", "#1", false},
		{"certificate of ours", `(setq gnutls-trustfiles (list CA) submission-tls-client-certificate (list KEY CERTIFICATE))`, "", "#1", true},
		{"certificate of Mew's", `(setq gnutls-trustfiles (list CA) mew-ssl-client-keycert-list (list (list KEY CERTIFICATE)))`, "#1", "#1", true},
		{"no certificate", `(setq gnutls-trustfiles (list CA))`, "", "#1", false},
		{"a certificate that isn't there", `(setq gnutls-trustfiles (list CA) submission-tls-client-certificate '("/no/key" "/no/certificate"))`, "", "1", false},
		{"accepted", `(setq accepted t)`, "", "#1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{ClientCertificate: true}})
				clientCertificate(t, m.home, server)
				ca, err := server.CA().Write(t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				hashed := filepath.Join(filepath.Dir(ca), "0123abcd.0")
				if err := os.Rename(ca, hashed); err != nil {
					t.Fatal(err)
				}
				lisp := strings.NewReplacer("CA", strconv.Quote(hashed), "KEY", strconv.Quote(m.path("client.key")),
					"CERTIFICATE", strconv.Quote(m.path("client.pem"))).Replace(tt.lisp)
				n := m.tell(fmt.Sprintf("(setq gnutls-trustfiles nil mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port mew-smtp-port)", server.Port("")) +
					`(defvar accepted nil)` + lisp + `
					(mew-story-send "bob@example.org")
					(when accepted
					  (with-temp-buffer
					    (insert-file-contents (expand-file-name "Smtplog" mew-conf-path))
					    (re-search-forward "SHA-256 \\([0-9a-f]+\\)")
					    (submission-certificate-accept mew-smtp-server (match-string 1)))
					  (mew-story-flush))
					(mew-story-note)`)
				queue, shown := tt.queue, tt.shown
				if tt.old != "" && strings.HasSuffix(t.Name(), "6.8") {
					queue, shown = tt.old, false
				}
				if n.has(queue); queue != "#1" {
					return
				}
				sessions := server.Sessions()
				last := sessions[len(sessions)-1]
				if last.TLS == "" || len(last.Messages) != 1 || (len(last.ClientCert) > 0) != shown {
					t.Errorf("TLS %q, %d messages, certificate of %d bytes", last.TLS, len(last.Messages), len(last.ClientCert))
				}
			})
		})
	}
}
