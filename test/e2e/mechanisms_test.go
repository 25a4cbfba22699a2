// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// A login is one server, what auth-source has for it, and how the message is
// to go there.
type login struct {
	name     string
	offers   string // mechanisms, under TLS
	server   smtpd.Behaviour
	authinfo string // what follows the machine and port
	lisp     string // around the sending: bindings of let

	want string   // status, reason and TLS
	used []string // AUTH as the server saw it: mechanism, and "ok" or "no"
}

var logins = []login{
	{name: "the best of many", offers: "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", used: []string{"SCRAM-SHA-256 ok"}},
	{name: "bound to the channel", offers: "PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS", used: []string{"SCRAM-SHA-256-PLUS ok"}},
	{name: "SCRAM-SHA-1", offers: "PLAIN SCRAM-SHA-1", used: []string{"SCRAM-SHA-1 ok"}},
	{name: "CRAM-MD5", offers: "PLAIN CRAM-MD5", used: []string{"CRAM-MD5 ok"}},
	{name: "PLAIN", offers: "PLAIN LOGIN", used: []string{"PLAIN ok"}},
	{name: "LOGIN alone, with prompts of its own", offers: "LOGIN", used: []string{"LOGIN ok"},
		server: smtpd.Behaviour{LoginPrompts: []string{"User Name", "Geheimnis"}}},
	{name: "a list of ours", offers: "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", used: []string{"LOGIN ok"},
		lisp: `(submission-auth-mechanisms '("login" "PLAIN"))`},
	{name: "nothing in common", offers: "PLAIN LOGIN", want: heldAuth, lisp: `(submission-auth-mechanisms '("CRAM-MD5"))`},
	{name: "an entry that names the mechanism", offers: "PLAIN LOGIN CRAM-MD5", used: []string{"PLAIN ok"},
		authinfo: "login kazu password secret smtp-auth plain"},
	{name: "the next one after 504", offers: "CRAM-MD5 PLAIN", used: []string{"CRAM-MD5 no", "PLAIN ok"},
		server: smtpd.Behaviour{Rules: []smtpd.Rule{{On: "AUTH", Match: "CRAM-MD5", Reply: smtpd.Lines{"504 5.5.4 no"}}}}},
	{name: "PLAIN after a CRAM-MD5 that is refused", offers: "CRAM-MD5 PLAIN", used: []string{"CRAM-MD5 no", "PLAIN ok"},
		server: smtpd.Behaviour{Rules: []smtpd.Rule{{On: "AUTH-END", Match: "CRAM-MD5", Reply: smtpd.Lines{"535 5.7.8 no"}}}}},
	{name: "a wrong password, once", offers: "PLAIN LOGIN", want: heldAuth, used: []string{"PLAIN no"},
		authinfo: "login kazu password wrong"},
	{name: "a token for XOAUTH2", offers: "PLAIN XOAUTH2", used: []string{"XOAUTH2 ok"},
		lisp: `(submission-auth-mechanisms '("XOAUTH2"))`},
	{name: "a token for OAUTHBEARER", offers: "PLAIN XOAUTH2 OAUTHBEARER", used: []string{"OAUTHBEARER ok"},
		lisp: `(submission-auth-mechanisms '("OAUTHBEARER" "XOAUTH2"))`},
	{name: "an entry that says it is a token", offers: "PLAIN LOGIN XOAUTH2", used: []string{"XOAUTH2 ok"},
		authinfo: "login kazu password secret smtp-auth xoauth2"},
	{name: "a token or a password, as the server likes", offers: "PLAIN LOGIN", used: []string{"PLAIN ok"},
		lisp: `(submission-auth-mechanisms '("XOAUTH2" "PLAIN"))`},
	{name: "a token from a function", offers: "PLAIN LOGIN XOAUTH2", authinfo: "login kazu password of-no-use", used: []string{"XOAUTH2 ok"},
		lisp: `(submission-oauth2-token-function (lambda (host user refused) (and (equal (list host user refused) '("127.0.0.1" "kazu" nil)) "secret")))`},
	{name: "a function without a token", offers: "PLAIN LOGIN XOAUTH2", used: []string{"PLAIN ok"},
		lisp: `(submission-oauth2-token-function #'ignore)`},
	{name: "a function that fails", offers: "PLAIN LOGIN XOAUTH2", want: "held auth",
		lisp: `(smtpmail-smtp-user "kazu") (submission-oauth2-token-function (lambda (&rest _) (error "No network")))`},
	{name: "a stale token, as Google says it", offers: "XOAUTH2 PLAIN", used: []string{"XOAUTH2 no", "XOAUTH2 ok"},
		server: smtpd.Behaviour{BearerFailure: "google"}, authinfo: "login kazu password of-no-use",
		lisp: `(submission-oauth2-token-function #'fresh-token)`},
	{name: "a stale token, as Microsoft says it", offers: "LOGIN XOAUTH2", used: []string{"XOAUTH2 no", "XOAUTH2 ok"},
		server: smtpd.Behaviour{BearerFailure: "microsoft"}, authinfo: "login kazu password of-no-use",
		lisp: `(submission-oauth2-token-function #'fresh-token)`},
	{name: "a stale token, as RFC 7628 says it", offers: "OAUTHBEARER", used: []string{"OAUTHBEARER no", "OAUTHBEARER ok"},
		authinfo: "login kazu password of-no-use", lisp: `(submission-oauth2-token-function #'fresh-token)`},
	{name: "no other token after Google's no", offers: "XOAUTH2", want: heldAuth, used: []string{"XOAUTH2 no"},
		server: smtpd.Behaviour{BearerFailure: "google"}, authinfo: "login kazu password wrong",
		lisp: `(submission-auth-mechanisms '("XOAUTH2"))`},
	{name: "no good token after Microsoft's no", offers: "XOAUTH2", want: heldAuth, used: []string{"XOAUTH2 no", "XOAUTH2 no"},
		server: smtpd.Behaviour{BearerFailure: "microsoft"}, authinfo: "login kazu password of-no-use",
		lisp: `(submission-oauth2-token-function (lambda (_host _user refused) (concat refused "x")))`},
	{name: "a client certificate", offers: "EXTERNAL PLAIN", used: []string{"EXTERNAL ok"}, server: smtpd.Behaviour{ClientCertificate: true},
		lisp: `(submission-security 'starttls) (submission-tls-client-certificate (list (home "client.key") (home "client.pem")))`},
	{name: "a client certificate from auth-source", offers: "EXTERNAL PLAIN", used: []string{"EXTERNAL ok"},
		server: smtpd.Behaviour{ClientCertificate: true}, authinfo: `login kazu key HOME/client.key cert HOME/client.pem`},
	{name: "no client certificate", offers: "EXTERNAL PLAIN", used: []string{"PLAIN ok"}, server: smtpd.Behaviour{ClientCertificate: true},
		authinfo: `login kazu password secret key HOME/client.key cert HOME/client.pem`, lisp: `(submission-tls-client-certificate nil)`},
	{name: "what was asked for besides", offers: "PLAIN", used: []string{"PLAIN ok"},
		lisp: `(submission-dsn-notify '(success delay)) (submission-require-tls t)`},
}

// TestMechanisms sends a message to each server from one Emacs.
func TestMechanisms(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	listen := make([]smtpd.Listen, len(logins))
	for i, l := range logins {
		b := l.server
		b.EHLOTLS = []string{"DSN", "REQUIRETLS", "AUTH " + l.offers}
		b.Users, b.RequireAuth = map[string]string{"kazu": "secret"}, true
		listen[i] = smtpd.Listen{Name: fmt.Sprint(i), Behaviour: &b}
	}
	server := start(t, smtpd.Script{Listen: listen})
	lisp := h.account(server, false, server.Port("0")) + `
		(defun home (name) (expand-file-name name (getenv "HOME")))
		(defun fresh-token (_host _user refused) (if (equal refused "stale") "secret" "stale"))
		(defun send (name port)
		  (let ((message (generate-new-buffer " message")))
		    (with-current-buffer message
		      (insert "Message-ID: <" name "@example.org>\nSubject: login\n\nOnce upon a time.\n"))
		    (submission-submit message :from "ann@example.org" :to '("bob@example.org") :port port)
		    (kill-buffer message)))
		`
	clientCertificate(t, h, server)
	var authinfo strings.Builder
	for i, l := range logins {
		entry := l.authinfo
		if entry == "" {
			entry = "login kazu password secret"
		}
		port := server.Port(fmt.Sprint(i))
		fmt.Fprintf(&authinfo, "machine 127.0.0.1 port %d %s\n", port, strings.ReplaceAll(entry, "HOME", h.dir))
		lisp += fmt.Sprintf("(let (%s) (send \"%d\" %d) (story-wait))\n", l.lisp, i, port)
	}
	h.write("authinfo", authinfo.String())
	o := h.emacs(lisp)
	if o.err != nil {
		t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	got := map[string]receipt{}
	for _, r := range o.receipts {
		got[r.MessageID] = r
	}
	for i, l := range logins {
		t.Run(l.name, func(t *testing.T) {
			r := got[fmt.Sprintf("<%d@example.org>", i)]
			want := l.want
			if want == "" {
				want = verified
			}
			if end := strings.Join(strings.Fields(r.Status+" "+r.Reason+" "+r.TLS), " "); end != want {
				t.Errorf("%q, want %q; last reply %q", end, want, r.Reply)
			}
			var used []string
			for _, s := range server.Sessions() {
				for _, a := range s.Auth {
					if s.Port == fmt.Sprint(i) {
						used = append(used, a.Mechanism+" "+map[bool]string{true: "ok", false: "no"}[a.OK])
					}
				}
			}
			if strings.Join(used, ", ") != strings.Join(l.used, ", ") {
				t.Errorf("AUTH was %q, want %q", used, l.used)
			}
			if strings.Contains(l.lisp, "dsn-notify") {
				checkRequests(t, server, fmt.Sprint(i))
			}
		})
	}
}

// checkRequests looks for what was asked for in MAIL and RCPT.
func checkRequests(t *testing.T, server *smtpd.Server, port string) {
	t.Helper()
	for _, m := range server.Messages() {
		if m.Port != port {
			continue
		}
		if mail := fmt.Sprint(m.From.Parameters); !strings.Contains(mail, "REQUIRETLS") || !strings.Contains(mail, "ENVID=") {
			t.Errorf("MAIL with %s", mail)
		}
		if rcpt := fmt.Sprint(m.To[0].Parameters); rcpt != "[NOTIFY=SUCCESS,DELAY]" {
			t.Errorf("RCPT with %s", rcpt)
		}
		return
	}
	t.Error("no message came")
}

// clientCertificate writes one, client.pem and client.key, to a home.
func clientCertificate(t *testing.T, h *home, server *smtpd.Server) {
	t.Helper()
	pair, err := server.CA().Issue(smtpd.Good, "kazu.example.org")
	if err != nil {
		t.Fatal(err)
	}
	h.write("client.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})))
	h.write("client.key", keyPEM(t, pair))
}

func keyPEM(t *testing.T, pair tls.Certificate) string {
	t.Helper()
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatal("the key is of another kind")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
