// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"submission/test/mailserver"
)

// The stories that every server is told.
var realSteps = []realStory{
	{name: "587, with STARTTLS and AUTH", lisp: toBob, check: protocol("ESMTPSA")},
	{name: "25, with STARTTLS and AUTH, where nothing listens on 587", host: mailserver.OldHost,
		lisp: toBob, steps: "reset connected", port: 25, check: protocol("ESMTPSA")},
	{name: "25, with STARTTLS and AUTH, where a firewall drops what is for 587", host: mailserver.WalledHost,
		lisp: "(setq submission-connect-timeout 1)" + toBob, steps: "timeout connected", port: 25, check: protocol("ESMTPSA")},
	{name: "25, without a password", host: mailserver.OldHost, password: "-",
		lisp: toBob, steps: "reset connected", port: 25, check: protocol("ESMTPS")},
}

// withMechanisms are logins by one mechanism each; the server's own ESMTPSA
// says that it took the password.
func withMechanisms(names ...string) []realStory {
	var stories []realStory
	for _, name := range names {
		stories = append(stories,
			realStory{name: "AUTH " + name, lisp: "(setq submission-auth-mechanisms '(\"" + name + "\"))" + toBob, check: protocol("ESMTPSA")},
			realStory{name: "AUTH " + name + ", a wrong password", lisp: "(setq submission-auth-mechanisms '(\"" + name + "\"))" + toBob,
				password: "wrong", status: "held", reason: "auth", reply: "535"})
	}
	return stories
}

var realVerdicts = []realStory{
	{name: "a wrong password", password: "wrong", lisp: toBob, status: "held", reason: "auth", reply: "535"},
	{name: "a certificate that nobody trusts", lisp: "(setq gnutls-trustfiles nil)" + toBob,
		status: "held", reason: "certificate", tls: "-"},
	{name: "a recipient that nobody knows, among good ones",
		lisp:      `(story-send "bob@example.org, nobody@example.org, carol@example.org")`,
		mailboxes: "bob carol", refused: []string{"nobody@example.org"}},
}

var realMessages = []realStory{
	{name: "several recipients", lisp: `
(story-send "bob@example.org" nil nil '((Cc . "Carol <carol@example.org>, dave@example.org")))`,
		mailboxes: "bob carol dave"},
	{name: "lines of dots", lisp: `(story-send "bob@example.org" nil ".\n..\n...\n\n.\n.x\n. \n\n..\n.\n")`,
		check: contains("\n\n.\n..\n...\n\n.\n.x\n. \n\n..\n.\n")},
	{name: "an 8-bit body", lisp: `
(setq mm-body-charset-encoding-alist '((utf-8 . 8bit)))
(story-send "bob@example.org" nil "Smørrebrød, 東京\n")`,
		check: contains("\nSmørrebrød, 東京\n")},
	{name: "an attachment", file: 1000, lisp: attach, check: attachment(1000)},
	{name: "names and a subject that are not ASCII", lisp: `
(setq user-full-name "Åsa Æblegrød")
(story-send "Jürgen Größe <bob@example.org>, 王 <carol@example.org>" "Grüße aus 東京" "Schöne Grüße!\n")`,
		mailboxes: "bob carol", check: notASCII},
	{name: "a blind copy", lisp: `(story-send "bob@example.org" nil nil '((Bcc . "Carol <carol@example.org>")))`,
		mailboxes: "bob carol", check: noBcc},
	{name: "resent", lisp: `
(with-temp-buffer
  (insert "Received: from far; Sat, 21 Nov 2026 10:00:00 +0000\nFrom: Zoë <zoe@example.net>\nTo: ann@example.org\n"
          "Subject: An old one\nDate: Sat, 21 Nov 2026 09:00:00 +0000\nMessage-ID: <" (message-unique-id) "@example.net>\n"
          "Resent-To: ann@example.org\nResent-From: old@example.net\nDKIM-Signature: v=1; b=x\n\nOld words.\n.\n")
  (message-resend "carol@example.org"))
(story-wait)`, mailboxes: "carol", check: resent},
	{name: "a file with all that a line can be", raw: raw("lines", "LF\nCRLF\r\nCR\r.\r.\n\n\r\n\r\xff\xfe\x80 8-bit\n"+
		strings.Repeat("long ", 1000)+"\nno end"), lisp: submitRaw},
}

const submitRaw = `
(submission-submit (expand-file-name "raw.eml" (getenv "HOME")) :from "ann@example.org" :to '("bob@example.org"))
(story-wait)`

// raw is a message with a name of its own.
func raw(name, body string) string {
	return "From: ann@example.org\r\nTo: bob@example.org\nMessage-ID: <" + name + "@example.org>\nBcc: x@example.org\n" +
		"Date: Sat, 21 Nov 2026 09:00:00 +0000\nSubject: raw\n\n" + body
}

// nul isn't told to OpenSMTPD, which takes it and cuts the line there.
var nul = realStory{name: "a file with NUL in it", raw: raw("nul", "a\x00b\n\x00\n"), lisp: submitRaw}

// What follows is each server's own: its ways to say no, and what need not be
// told to all of them.
var postfixVerdicts = []realStory{
	nul,
	{name: "an attachment of 25 MB", file: 25_000_000, lisp: attach, check: attachment(25_000_000)},
	{name: "larger than the server takes", host: mailserver.SmallHost, lisp: large, status: "refused", reason: "size"},
	// Postfix waits for RCPT to say no to a sender (smtpd_delay_reject).
	{name: "a sender that the server refuses", lisp: fromRefused,
		status: "refused", reason: "recipients", reply: "554 5.7.1", refused: []string{bob}},
	// The same words as for any other refusal, not 530.
	{name: "587, without a password", password: "-", lisp: toBob,
		status: "refused", reason: "recipients", reply: "554 5.7.1", refused: []string{bob}},
	{name: "587, without TLS", password: "-", lisp: plain + toBob,
		status: "held", reason: "tls", tls: "-", reply: "530 5.7.0"},
}

var opensmtpdVerdicts = []realStory{
	{name: "a sender that the server refuses", lisp: fromRefused,
		status: "refused", reason: "recipients", reply: "550", refused: []string{bob}},
	{name: "587, without a password", password: "-", lisp: toBob, status: "held", reason: "auth", reply: "530 5.5.1"},
	// It means TLS, but the code for that would be 5.7.0 (RFC 3207 §4).
	{name: "587, without TLS", password: "-", lisp: plain + toBob,
		status: "held", reason: "auth", tls: "-", reply: "530 5.5.1 Invalid command: Must issue a STARTTLS"},
}

var eximVerdicts = []realStory{
	nul,
	{name: "larger than the server takes", host: mailserver.SmallHost, lisp: large, status: "refused", reason: "size"},
	{name: "a sender that the server refuses", lisp: fromRefused, status: "refused", reason: "message", reply: "550 not from you"},
	{name: "587, without a password", password: "-", lisp: toBob,
		status: "refused", reason: "recipients", reply: "550 authentication required", refused: []string{bob}},
}

const (
	toBob       = `(story-send "bob@example.org")`
	fromRefused = `(setq user-mail-address "refused@example.org")` + toBob
	large       = `(story-send "bob@example.org" nil (make-string 30000 ?x))`
)

// attach is Lisp that sends bob the story's file.
const attach = `
(story-compose "bob@example.org" "A file" "Here it is.\n")
(goto-char (point-max))
(mml-attach-file (expand-file-name "file.bin" (getenv "HOME")) "application/octet-stream")
(call-interactively #'message-send-and-exit)
(story-wait)`

// noise returns bytes of all values, always the same ones.
func noise(size int) []byte {
	bytes := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(bytes)
	return bytes
}

// attachment checks that the message has a file of noise in it.
func attachment(size int) func(*testing.T, []byte) {
	return func(t *testing.T, message []byte) {
		m := parse(t, message)
		_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(m.Body, params["boundary"])
		for {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatalf("there is no file in it: %v", err)
			}
			if part.FileName() != "file.bin" {
				continue
			}
			got, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
			if err != nil || !bytes.Equal(got, noise(size)) {
				t.Errorf("the file came with %d bytes of %d, or with other ones; %v", len(got), size, err)
			}
			return
		}
	}
}

// protocol checks that the server took the message over a protocol of RFC 3848,
// in its own words: ESMTPS is with TLS, ESMTPSA with TLS and AUTH.
func protocol(name string) func(*testing.T, []byte) {
	return func(t *testing.T, message []byte) {
		received := strings.Fields(strings.ToUpper(parse(t, message).Header.Get("Received")))
		with := slices.Index(received, "WITH")
		if with < 0 || received[with+1] != name {
			t.Errorf("it came not with %s: %s", name, received)
		}
	}
}

func parse(t *testing.T, message []byte) *mail.Message {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func notASCII(t *testing.T, message []byte) {
	m := parse(t, message)
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Name != "Åsa Æblegrød" {
		t.Errorf("from %v, %v", from, err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 2 || to[0].Name != "Jürgen Größe" || to[1].Name != "王" {
		t.Errorf("to %v, %v", to, err)
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil || subject != "Grüße aus 東京" {
		t.Errorf("subject %q, %v", subject, err)
	}
}

func noBcc(t *testing.T, message []byte) {
	if m := parse(t, message); m.Header.Get("Bcc") != "" || strings.Contains(m.Header.Get("To")+m.Header.Get("Cc"), "carol") {
		t.Errorf("carol is no longer blind: %v", m.Header)
	}
}

func resent(t *testing.T, message []byte) {
	h := parse(t, message).Header
	if h.Get("Resent-To") != "carol@example.org" || !strings.Contains(h.Get("Resent-From"), "ann@example.org") ||
		h.Get("To") != "ann@example.org" || h.Get("Subject") != "An old one" || h.Get("Also-Resent-To") != "ann@example.org" {
		t.Errorf("the header is %v", h)
	}
}
