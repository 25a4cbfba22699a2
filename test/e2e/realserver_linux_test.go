// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"submission/test/mailserver"
)

// realStory is a story that ends at a real mail server: what Emacs does, what the
// sender is told, and who finds the message, as it was prepared, in their
// mailbox. The sequence is the default one, with the real ports.
type realStory struct {
	name     string
	host     string // mailserver.Host if empty
	password string // in auth-source; mailserver.Password if empty, "-" for none
	file     int    // bytes of noise in file.bin
	raw      string // raw.eml, which is submitted as it is
	lisp     string

	status, reason string // "accepted" if empty
	steps          string // "connected" if empty
	port           int    // 587 if 0
	tls            string // "verified" if empty, "-" for none
	reply          string // a piece of the last reply
	refused        []string
	mailboxes      string // who has it, with spaces between; "bob" if empty and accepted
	check          func(t *testing.T, message []byte)
}

// realPrelude keeps the message as smtpmail has prepared it, in the bytes that
// smtpmail itself would send.
const realPrelude = `
(defun story-keep (_recipients buffer &rest _)
  (let ((coding-system-for-write 'no-conversion))
    (with-current-buffer buffer
      (write-region (if enable-multibyte-characters
                        (encode-coding-string (buffer-string) (or smtpmail-code-conv-from 'utf-8))
                      (buffer-string))
                    nil (expand-file-name "prepared" (getenv "HOME")) nil 'quiet))))
(advice-add 'smtpmail-via-smtp :before #'story-keep)
`

// run tells the story to a server of some kind.
func (r realStory) run(t *testing.T, server *mailserver.Server) {
	h := newHome(t)
	h.command = server.Command
	host := or(r.host, mailserver.Host)
	authinfo := ""
	if password := or(r.password, mailserver.Password); password != "" {
		authinfo = fmt.Sprintf("machine %s login %s password %s\n", host, mailserver.User, password)
	}
	h.write("file.bin", string(noise(r.file)))
	if r.raw != "" {
		// Bcc goes, and each line end is one.
		h.write("raw.eml", r.raw)
		text := strings.NewReplacer("Bcc: x@example.org\n", "", "\r\n", "\n", "\r", "\n").Replace(r.raw)
		h.write("prepared", strings.TrimSuffix(text, "\n")+"\n")
	}
	got := h.story(fmt.Sprintf("%s(setq smtpmail-smtp-server %q gnutls-trustfiles '(%q) auth-sources '(%q))\n%s",
		realPrelude, host, server.CA(), h.write("authinfo", authinfo), r.lisp))
	if r.judge(t, h, got); t.Failed() {
		return
	}
	prepared, err := os.ReadFile(h.path("prepared"))
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range r.has() {
		delivered := server.Await(t, user, got.MessageID)
		if err := mailserver.Unchanged(prepared, delivered); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if r.check != nil {
			r.check(t, delivered)
		}
	}
	for _, user := range mailserver.Mailboxes() {
		if !slices.Contains(r.has(), user) && server.Has(t, user, got.MessageID) {
			t.Errorf("%s has got it, too", user)
		}
	}
}

// or returns word, or what it stands for: "" is the usual, "-" nothing.
func or(word, usual string) string {
	switch word {
	case "":
		return usual
	case "-":
		return ""
	}
	return word
}

// has lists who is to have the message.
func (r realStory) has() []string {
	if r.mailboxes == "" && r.status == "" {
		return []string{"bob"}
	}
	return strings.Fields(r.mailboxes)
}

// judge compares the receipt with what the sender is to be told.
func (r realStory) judge(t *testing.T, h *home, got receipt) {
	t.Helper()
	status, tls, steps := or(r.status, "accepted"), or(r.tls, "verified"), or(r.steps, "connected")
	if got.Status != status || got.Reason != r.reason || got.TLS != tls || got.steps() != steps {
		t.Errorf("%s (%s), TLS %q, steps %q; want %s (%s), %q, %q; last reply %q",
			got.Status, got.Reason, got.TLS, got.steps(), status, r.reason, tls, steps, got.Reply)
	}
	port := r.port
	if port == 0 {
		port = 587
	}
	if last := got.Attempts[len(got.Attempts)-1]; last.Port != port {
		t.Errorf("port %d, want %d", last.Port, port)
	}
	if !strings.Contains(got.Reply, r.reply) {
		t.Errorf("the last reply is %q and should have %q in it", got.Reply, r.reply)
	}
	var refused []string
	for address := range got.Refused {
		refused = append(refused, address)
	}
	if slices.Sort(refused); !slices.Equal(refused, r.refused) {
		t.Errorf("refused are %v, want %v", got.Refused, r.refused)
	}
	var left []string
	if status != "accepted" {
		left = []string{got.ID + ".eml", got.ID + ".json"}
	}
	if files := h.outbox(); !slices.Equal(files, left) {
		t.Errorf("the outbox holds %v, want %v", files, left)
	}
}

// realServer tells stories to one server, all of them at once.
func realServer(t *testing.T, kind mailserver.Kind, stories ...[]realStory) {
	t.Parallel()
	server := mailserver.Start(t, kind)
	for _, r := range slices.Concat(stories...) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.run(t, server)
		})
	}
}

// contains checks for a text in the message.
func contains(text string) func(*testing.T, []byte) {
	return func(t *testing.T, message []byte) {
		t.Helper()
		if !bytes.Contains(message, []byte(text)) {
			t.Errorf("there is no %q in\n%.3000s", text, message)
		}
	}
}

func TestPostfix(t *testing.T) {
	// Dovecot's SASL behind Postfix.
	mechanisms := withMechanisms("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256")
	realServer(t, mailserver.Postfix, realSteps, realMessages, realVerdicts, postfixVerdicts, mechanisms)
}

func TestOpenSMTPD(t *testing.T) {
	realServer(t, mailserver.OpenSMTPD, realSteps, realMessages, realVerdicts, opensmtpdVerdicts)
}

func TestExim(t *testing.T) {
	realServer(t, mailserver.Exim, realSteps, realMessages, realVerdicts, eximVerdicts, withMechanisms("PLAIN", "LOGIN", "CRAM-MD5"))
}
