// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestTranscript keeps the dialogue of every mechanism, with a good password or
// token and with a bad one, and looks for them in all that Emacs has left.
func TestTranscript(t *testing.T) {
	t.Parallel()
	const secret, wrong = "sw0rdfish-and-more", "tr0ut-and-less"
	mechanisms := []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}
	for _, failure := range []string{"google", "microsoft"} {
		t.Run(failure, func(t *testing.T) {
			t.Parallel()
			var listen []smtpd.Listen
			for _, m := range mechanisms {
				listen = append(listen, smtpd.Listen{Name: m, Behaviour: &smtpd.Behaviour{
					EHLOTLS: []string{"AUTH " + m}, Users: map[string]string{"kazu": secret}, RequireAuth: true, BearerFailure: failure}})
			}
			server := start(t, smtpd.Script{Listen: listen})
			h := newHome(t)
			lisp := h.account(server, false, server.Port("PLAIN")) + dumping + `
				(setq submission-transcript t)
				(defun home (name) (expand-file-name name (getenv "HOME")))
				`
			for _, m := range mechanisms {
				for _, file := range []string{"authinfo", "authinfo-wrong"} {
					lisp += fmt.Sprintf(`
						(setq auth-sources (list (home %q)) submission-auth-mechanisms '(%q) submission-sequence '((ipv4 . %d)))
						(require 'auth-source)
						(auth-source-forget-all-cached)
						(story-send "bob@example.org")`, file, m, server.Port(m))
				}
			}
			h.write("authinfo", "machine 127.0.0.1 login kazu password "+secret+"\n")
			h.write("authinfo-wrong", "machine 127.0.0.1 login kazu password "+wrong+"\n")
			o := h.emacs(lisp + "(dump)")
			if o.err != nil || len(o.receipts) != 2*len(mechanisms) {
				t.Fatalf("%d receipts, %v; Emacs said:\n%s", len(o.receipts), o.err, o.output)
			}
			for i, r := range o.receipts {
				want := []string{"accepted", "held"}[i%2]
				if r.Status != want {
					t.Errorf("%s: %s (%s), want %s; last reply %q", mechanisms[i/2], r.Status, r.Reason, want, r.Reply)
				}
			}
			h.write("output", o.output)
			if err := os.Remove(h.path("authinfo-wrong")); err != nil {
				t.Fatal(err)
			}
			h.checkSecrets(t, secret, wrong)
			checkTranscripts(t, h, server, o.receipts)
		})
	}
}

// TestTranscriptOfEach: what is said of one message on a connection that was
// kept is not in the transcript of another.
func TestTranscriptOfEach(t *testing.T) {
	t.Parallel()
	server := start(t, smtpd.Script{})
	h := newHome(t)
	o := h.emacs(h.account(server, false, server.Port("")) + dumping + `
		(setq submission-transcript t)
		(story-send "bob@example.org")
		(story-send "carol@example.org")
		(dump)`)
	if o.err != nil || len(o.receipts) != 2 || len(server.Sessions()) != 1 {
		t.Fatalf("%d receipts, %d connections, %v; Emacs said:\n%s", len(o.receipts), len(server.Sessions()), o.err, o.output)
	}
	text, err := os.ReadFile(h.path("dump"))
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []string{"<bob@example.org>", "<carol@example.org>"} {
		_, transcript, _ := strings.Cut(string(text), "[buffer *submission transcript "+o.receipts[i].ID+"*]\n")
		transcript, _, _ = strings.Cut(transcript, "\n[buffer ")
		if !strings.Contains(transcript, "C: RCPT TO:"+to) || strings.Count(transcript, "RCPT TO:") != 1 {
			t.Errorf("the transcript of the message to %s:\n%s", to, transcript)
		}
	}
}

// checkTranscripts sees that there is one for each message, and in it nothing
// of what the client said within AUTH.
func checkTranscripts(t *testing.T, h *home, server *smtpd.Server, receipts []receipt) {
	t.Helper()
	text, err := os.ReadFile(h.path("dump"))
	if err != nil {
		t.Fatal(err)
	}
	dump := string(text)
	for _, r := range receipts {
		_, transcript, found := strings.Cut(dump, "[buffer *submission transcript "+r.ID+"*]\n")
		transcript, _, _ = strings.Cut(transcript, "\n[buffer ")
		for _, line := range []string{"S: 220", "C: EHLO", "C: STARTTLS", "C: AUTH "} {
			if !strings.Contains(transcript, line) {
				t.Errorf("the transcript of %s (%v) has no %q:\n%s", r.ID, found, line, transcript)
			}
		}
	}
	for _, s := range server.Sessions() {
		for _, l := range s.Lines {
			words := strings.Fields(l.Text)
			if !l.Client || len(words) == 0 {
				continue
			}
			// What is base64 and long enough to be no word.
			last := words[len(words)-1]
			if _, err := base64.StdEncoding.DecodeString(last); err == nil && len(last) >= 12 && strings.Contains(dump, last) {
				t.Errorf("%s: %q is in a transcript", s.Port, l.Text)
			}
		}
	}
}
