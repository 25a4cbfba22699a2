// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// written are messages that a person writes in message-mode: Lisp that ends in
// the draft, which is then sent with C-c C-c, and a piece of what must arrive.
var written = []struct{ name, lisp, has string }{
	{"plain", `(compose "bob@example.org" "plain" "Hello\n")`, "\r\n\r\nHello\r\n"},
	{"non-ASCII", `(compose "Jörg Müller <bob@example.org>, 山田 <yamada@example.org>"
		"Größe: 日本語の件名がここにあって、とても長いので折り返されるはずです、たぶん" "Grüße aus Köln\nこんにちは\n")`, "Subject: =?utf-8?"},
	{"several recipients", `(compose "bob@example.org, \"Doe, Jane\" <jane@example.org>" "several" "x\n"
		'(("Cc" . "carol@example.org, bob@example.org") ("Bcc" . "dave@example.org, erin@example.org")))`, "Cc: carol@example.org, bob@example.org\r\n"},
	{"bcc alone", `(compose "" "bcc" "x\n" '(("Bcc" . "dave@example.org")))
		(message-remove-header "To")`, "Subject: bcc\r\n"},
	{"dots", `(compose "bob@example.org" "dots" ".\n..\n...\n.a\n\n.\n.")`, "\r\n\r\n.\r\n..\r\n...\r\n.a\r\n\r\n.\r\n.\r\n"},
	{"From at the start of a line", `(compose "bob@example.org" "from" "From here on\n>From there on\n")`, " here on\r\n>From there on\r\n"},
	{"no final line end", `(compose "bob@example.org" "end" "no end")`, "no end\r\n"},
	{"empty body", `(compose "bob@example.org" "empty" "")`, "\r\n\r\n"},
	{"no subject", `(compose "bob@example.org" "" "x\n")`, "\r\n\r\nx\r\n"},
	{"long lines", `(compose "bob@example.org" "long" (concat (make-string 3000 ?l) "\n" (make-string 998 ?m) "\n"))`, "llll"},
	{"attachments", `(compose "bob@example.org" "attachments" "See these.\n")
		(goto-char (point-max))
		(mml-attach-file (file "bytes") "application/octet-stream" "Every byte" "attachment")
		(mml-attach-file (file "dos.txt") "text/plain" nil "inline")
		(mml-attach-file (file "Größe 日本.txt") "text/plain")`, "--boundary-1--"},
	{"a forwarded message", `(compose "bob@example.org" "forward" "x\n")
		(goto-char (point-max))
		(mml-attach-file (file "attached.eml") "message/rfc822" "A message" "inline")`, "The message within.\r\n.\r\n"},
	{"narrowed draft", `(compose "bob@example.org" "narrowed" "first\nsecond\nthird\n")
		(message-goto-body)
		(narrow-to-region (line-end-position) (point-max))`, "\r\n\r\nfirst\r\nsecond\r\nthird\r\n"},
	{"other envelope sender", `(setq mail-specify-envelope-from t mail-envelope-from "bounces@example.org")
		(compose "bob@example.org" "sender" "x\n")`, "From: Ann Writer <ann@example.org>\r\n"},
	{"many recipients", `(setq mail-specify-envelope-from nil)
		(compose (mapconcat (lambda (n) (format "Recipient Number %d <r%d@example.org>" n n)) (number-sequence 1 120) ", ")
		         "many" "x\n")`, "<r120@example.org>"},
	{"domain left out", `(setq smtpmail-sendto-domain "example.org")
		(compose "bob" "domain" "x\n")`, "To: bob\r\n"},
	{"UTF-8, 8-bit", `(setq mm-body-charset-encoding-alist '((utf-8 . 8bit) (iso-8859-1 . 8bit)))
		(compose "bob@example.org" "8-bit" "Grüße\n")`, "\r\n\r\nGrüße\r\n"},
	{"Latin-1, 8-bit", `(setq mm-coding-system-priorities '(iso-8859-1))
		(compose "bob@example.org" "latin" "Grüße\n")`, "\r\n\r\nGr\xfc\xdfe\r\n"},
}

// TestWhatMessageModeMakes sends each message twice: with smtpmail itself and
// in the background. Servers must receive the same, to the same people.
func TestWhatMessageModeMakes(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.write("bytes", strings.Repeat(everyByte()+"\r\n\r\n", 50))
	h.write("dos.txt", "one\r\ntwo\r\n.\r\n")
	h.write("Größe 日本.txt", "content\n")
	h.write("attached.eml", header+"\nThe message within.\n.\n")
	// It takes as many recipients at once as smtpmail names.
	many := smtpd.Script{Behaviour: smtpd.Behaviour{EHLO: []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "LIMITS RCPTMAX=1000"}}}
	theirs, ours := start(t, many), start(t, many)
	var stories strings.Builder
	for i, m := range written {
		fmt.Fprintf(&stories, "(story-twice %q (lambda () %s))\n", fmt.Sprint(i), m.lisp)
	}
	o := h.emacs(h.account(ours, false, ours.Port("")) + fmt.Sprintf(`
		(require 'smtpmail)
		(require 'mml)
		(defvar theirs)
		(defun file (name) (expand-file-name name (getenv "HOME")))
		(defun compose (to subject body &optional headers)
		  (story-compose to subject body headers))
		(defun prompt-free (&rest _) t)
		(setq theirs %d)
		(advice-add 'y-or-n-p :override #'prompt-free)
		(advice-add 'message-make-date :override (lambda (&rest _) "Sat, 21 Nov 2026 22:15:00 +0000"))
		(defun story-twice (name draft)
		  (advice-add 'message-make-message-id :override (lambda (&rest _) (format "<%%s@example.org>" name)))
		  (dolist (mode '(-1 1))
		    (submission-mode mode)
		    (let ((smtpmail-smtp-service (if (= mode 1) nil theirs))
		          (smtpmail-stream-type (if (= mode 1) nil 'plain))
		          (auth-sources nil)
		          (mml-boundary-function (lambda (n) (format "boundary-%%s" n)))
		          (message-send-mail-function #'smtpmail-send-it))
		      (funcall draft)
		      (call-interactively #'message-send-and-exit)
		      (story-wait))))
		`, theirs.Port("")) + stories.String())
	if o.err != nil {
		t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	want, got := theirs.Messages(), ours.Messages()
	if len(want) != len(written) || len(got) != len(written) {
		t.Fatalf("smtpmail sent %d, we sent %d, of %d; Emacs said:\n%s", len(want), len(got), len(written), o.output)
	}
	for i, m := range written {
		t.Run(m.name, func(t *testing.T) {
			same(t, string(got[i].Data), string(want[i].Data))
			same(t, string(got[i].Wire), string(want[i].Wire))
			if !strings.Contains(string(got[i].Data), m.has) {
				t.Errorf("%q is missing in:\n%.3000s", m.has, got[i].Data)
			}
			if got[i].From.Address != want[i].From.Address {
				t.Errorf("from %q, smtpmail says %q", got[i].From.Address, want[i].From.Address)
			}
			a, b := addresses(got[i]), addresses(want[i])
			slices.Sort(a)
			slices.Sort(b)
			if b = slices.Compact(b); !slices.Equal(a, b) {
				t.Errorf("to %v, smtpmail says %v", a, b)
			}
		})
	}
}

// TestResend resends a message with message-resend, to other people than its
// header names.
func TestResend(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	original := strings.Replace(header, "Ann <ann@example.org>", "Carl <carl@example.net>", 1) + "Cc: carol@example.org\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n" +
		"Content-Transfer-Encoding: 8bit\n\nGrüße\n.\nthe end\n"
	r := h.story(h.account(server, false, server.Port("")) + fmt.Sprintf(`
		(with-temp-buffer
		  (set-buffer-multibyte nil)
		  (insert-file-contents-literally %q)
		  (message-resend "dave@example.org, Erin <erin@example.org>"))
		(story-wait)`, h.write("original.eml", original)))
	messages := server.Messages()
	if r.Status != "accepted" || len(messages) != 1 {
		t.Fatalf("%+v, %d messages", r, len(messages))
	}
	if to := strings.Join(addresses(messages[0]), " "); to != "dave@example.org erin@example.org" {
		t.Errorf("resent to %q", to)
	}
	// Failures concern who resends it, and a server may take no other sender.
	if from := messages[0].From.Address; from != "ann@example.org" {
		t.Errorf("resent from %q", from)
	}
	resent, rest, _ := strings.Cut(string(messages[0].Data), "From: Carl <carl@example.net>")
	same(t, "From: Carl <carl@example.net>"+rest, crlf(original))
	for _, field := range []string{"Resent-From: Ann Writer <ann@example.org>\r\n", "Resent-To: dave@example.org, Erin <erin@example.org>\r\n"} {
		if !strings.Contains(resent, field) {
			t.Errorf("%q is missing in %q", field, resent)
		}
	}
}

// TestLargeAttachment sends 25 MB that no compression makes less of.
func TestLargeAttachment(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	content := make([]byte, 25<<20)
	rand.NewChaCha8([32]byte{25}).Read(content)
	r := h.story(h.account(server, false, server.Port("")) + fmt.Sprintf(`
		(setq message-send-mail-partially-limit nil)
		(story-compose "bob@example.org" "large" "See this.\n")
		(goto-char (point-max))
		(mml-attach-file %q "application/octet-stream")
		(call-interactively #'message-send-and-exit)
		(story-wait)`, h.write("large.bin", string(content))))
	messages := server.Messages()
	if r.Status != "accepted" || len(messages) != 1 {
		t.Fatalf("%+v, %d messages", r, len(messages))
	}
	_, part, _ := strings.Cut(string(messages[0].Data), "filename=large.bin")
	_, part, _ = strings.Cut(part, "\r\n\r\n")
	part, _, _ = strings.Cut(part, "\r\n--")
	got, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(part, "\r\n", ""))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the attachment came with %d bytes (%v), %d were sent", len(got), err, len(content))
	}
	if left := h.outbox(); len(left) > 0 {
		t.Errorf("the outbox holds %v", left)
	}
}
