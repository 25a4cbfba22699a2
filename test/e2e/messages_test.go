// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// rawMessage is a message that is submitted as it is, and what the server is
// to be told of it where that isn't the same with CRLF as line ends.
type rawMessage struct {
	name string
	text string
	want string // in place of text
}

// crlf is text with every line end as CRLF and one at the end, which is what
// goes over the wire.
func crlf(text string) string {
	text = regexp.MustCompile(`\r\n|\r|\n`).ReplaceAllLiteralString(text, "\r\n")
	if text != "" && !strings.HasSuffix(text, "\r\n") {
		text += "\r\n"
	}
	return text
}

// stuffed is a message on the wire, with its dots doubled and the final one.
func stuffed(message string) string {
	lines := strings.SplitAfter(message, "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = "." + line
		}
	}
	return strings.Join(lines, "") + ".\r\n"
}

const header = "From: Ann <ann@example.org>\nTo: bob@example.org\nMessage-ID: <raw@example.org>\nSubject: raw\n"

// dotsAtBorders is a message with dots at the starts of lines, around every
// multiple of 16 KB, at each distance from it. end is its line end.
func dotsAtBorders(end string) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(header+"\n", "\n", end))
	pattern := end + "." + end + ".." + end + ".a" + end + "." + end
	for border := 16 << 10; border < 900<<10; border += 16 << 10 {
		distance := border/(16<<10)%(len(pattern)+6) - 3
		b.WriteString(strings.Repeat("x", border-distance-b.Len()))
		b.WriteString(pattern)
	}
	return b.String()
}

// everyByte holds all bytes but CR and LF.
func everyByte() string {
	var b []byte
	for c := range 256 {
		if c != '\r' && c != '\n' {
			b = append(b, byte(c))
		}
	}
	return string(b)
}

var rawMessages = []rawMessage{
	{name: "lf", text: header + "\none\ntwo\n"},
	{name: "crlf", text: crlf(header + "\none\ntwo\n")},
	{name: "cr", text: strings.ReplaceAll(header+"\none\ntwo\n", "\n", "\r")},
	{name: "mixed", text: header + "\r\none\rtwo\r\n\n\r\r\nthree\n\r"},
	{name: "no-final-line-end", text: header + "\none"},
	{name: "cr-at-the-end", text: header + "\none\r"},
	{name: "nul", text: header + "\nnul \x00\x00 nul\n\x00"},
	{name: "every-byte", text: header + "\n" + everyByte() + "\n"},
	{name: "not-utf8", text: header + "\n\xff\xfe\xc3\x28\n"},
	{name: "999", text: header + "\n" + strings.Repeat("y", 999) + "\n"},
	{name: "long-line", text: header + "\n" + strings.Repeat("z", 300<<10) + "\n."},
	{name: "empty-body", text: header + "\n"},
	{name: "header-only", text: header},
	{name: "header-no-line-end", text: strings.TrimSuffix(header, "\n")},
	{name: "empty", text: ""},
	{name: "one-line-end", text: "\n"},
	{name: "one-dot", text: "."},
	{name: "dots", text: ".\n..\r\n...\r.\n\n.a\n\r.\r\n."},
	{name: "looks-like-the-end", text: header + "\nbefore\r\n.\r\nMAIL FROM:<eve@example.org>\r\n\n.\nafter\r.\r"},
	{name: "borders-lf", text: dotsAtBorders("\n")},
	{name: "borders-crlf", text: dotsAtBorders("\r\n")},
	{name: "borders-cr", text: dotsAtBorders("\r")},
	{name: "mbox-line", text: "From ann Sat Nov 21 22:15:00 2026\nBcc: hidden@example.org\n" + header + "\nx\n",
		want: "From ann Sat Nov 21 22:15:00 2026\n" + header + "\nx\n"},
	{name: "bcc-first", text: "Bcc: hidden@example.org\n" + header + "\nx\n", want: header + "\nx\n"},
	{name: "bcc-last", text: header + "BCC: hidden@example.org\n\nx\n", want: header + "\nx\n"},
	{name: "bcc-folded", text: header + "bcc: hidden@example.org,\n\thidden2@example.org,\n  hidden3@example.org\nX-After: a\n\nx\n",
		want: header + "X-After: a\n\nx\n"},
	{name: "bcc-crlf", text: crlf(header + "Bcc: hidden@example.org,\n hidden2@example.org\n\nx\n"), want: header + "\nx\n"},
	{name: "bcc-cr", text: strings.ReplaceAll(header+"Bcc: hidden@example.org,\n hidden2@example.org\n\nx\n", "\n", "\r"),
		want: header + "\nx\n"},
	{name: "bcc-space", text: header + "Bcc : hidden@example.org\n\nx\n", want: header + "\nx\n"},
	{name: "bcc-empty", text: header + "Bcc:\n\nx\n", want: header + "\nx\n"},
	{name: "bcc-no-body", text: header + "Bcc: hidden@example.org", want: header},
	{name: "bcc-resent", text: "Resent-Bcc: hidden@example.org\n" + header + "\nx\n", want: header + "\nx\n"},
	{name: "bcc-twice", text: "Bcc: hidden@example.org\n" + header + "Bcc: hidden2@example.org\n\nx\n", want: header + "\nx\n"},
	{name: "bcc-far-down", text: header + "References: " + strings.Repeat("<long@example.org>\n ", 10_000) + "\nBcc: hidden@example.org\n\nx\n",
		want: header + "References: " + strings.Repeat("<long@example.org>\n ", 10_000) + "\n\nx\n"},
	{name: "bcc-lookalikes", text: header + "Bccx: a\nX-Bcc: b\nSubject: c\n Bcc: d\n\nBcc: body@example.org\n"},
	{name: "long-first-line", text: "X-Long: " + strings.Repeat("w", 200<<10) + "\n" + header + "\nx\n"},
}

// TestRawFiles submits files, and buffers that visit them, and compares what
// the server received byte for byte.
func TestRawFiles(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	var names strings.Builder
	for _, m := range rawMessages {
		h.write(m.name+".eml", m.text)
		fmt.Fprintf(&names, " %q", m.name)
	}
	lisp := h.account(server, false, server.Port("")) + fmt.Sprintf(`
		(dolist (name '(%s))
		  (let ((file (expand-file-name (concat name ".eml") (getenv "HOME"))))
		    (dolist (kind '(file relative unibyte raw-multibyte))
		      (let ((message file)
		            (default-directory (getenv "HOME"))
		            (to (format "%%s+%%s@example.org" name kind)))
		        (pcase kind
		          ('relative (setq message (concat name ".eml")))
		          ((or 'unibyte 'raw-multibyte)
		           (setq message (generate-new-buffer " message"))
		           (with-current-buffer message
		             (set-buffer-multibyte nil)
		             (insert-file-contents-literally file)
		             ;; Bytes over 127 become characters of their own.
		             (when (eq kind 'raw-multibyte)
		               (set-buffer-multibyte 'to)))))
		        (submission-submit message :from "ann@example.org" :to (list to))
		        (when (bufferp message) (kill-buffer message))))))
		(story-wait)`, &names)
	o := h.emacs(lisp)
	if o.err != nil {
		t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	got := byRecipient(server)
	for _, m := range rawMessages {
		want := m.text
		if m.want != "" {
			want = m.want
		}
		want = crlf(want)
		for _, kind := range []string{"file", "relative", "unibyte", "raw-multibyte"} {
			t.Run(m.name+"/"+kind, func(t *testing.T) {
				message, ok := got[m.name+"+"+kind+"@example.org"]
				if !ok {
					t.Fatal("the server did not receive it")
				}
				same(t, string(message.Data), want)
				same(t, string(message.Wire), stuffed(want))
				if bytes.Contains(bytes.ToLower(message.Data), []byte("hidden")) {
					t.Error("a Bcc went out")
				}
			})
		}
	}
	if left := h.outbox(); len(left) > 0 {
		t.Errorf("the outbox holds %v", left)
	}
}

// TestBuffers submits buffers of text, whole and narrowed.
func TestBuffers(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	o := h.emacs(h.account(server, false, server.Port("")) + `
		(defun submit (name &rest parts)
		  (with-temp-buffer
		    (apply #'insert parts)
		    (funcall (pcase name
		               ("narrowed" (lambda () (narrow-to-region 5 (- (point-max) 4))))
		               ("point" (lambda () (goto-char 20)))
		               ("dos" (lambda () (setq buffer-file-coding-system 'utf-8-dos)))
		               ("latin-1" (lambda () (setq buffer-file-coding-system 'iso-8859-1)))
		               ("read-only" (lambda () (setq buffer-read-only t)))
		               ("invisible" (lambda () (add-text-properties 1 20 '(invisible t read-only t))))
		               (_ #'ignore)))
		    (let ((before (list (buffer-string) (point) (point-min) (point-max) (buffer-modified-p))))
		      (submission-submit (current-buffer) :to (list (concat name "@example.org")))
		      (unless (equal before (list (buffer-string) (point) (point-min) (point-max) (buffer-modified-p)))
		        (error "The buffer changed")))))
		(defvar header "From: Ann <ann@example.org>\nSubject: text\n")
		(submit "plain" header "\nGröße 日本語\n")
		(submit "narrowed" "abc\n" header "\nbody\n" "abc\n")
		(submit "point" header "\nbody\n")
		(submit "dos" header "\nGröße\n")
		(submit "latin-1" header "\nGröße\n")
		(submit "read-only" header "\nbody\n")
		(submit "invisible" header "\nbody\n")
		;; From the header: a folded address, a group, comments, a quoted comma.
		(with-temp-buffer
		  (insert "From: \"Writer, Ann\" (at home)\n <ann@example.org>\n"
		          "To: friends: bob@example.org, \"Doe, Jane\" <jane@example.org>;,\n carol@example.org (Carol)\n"
		          "Cc: dave@example.org\nBcc: erin@example.org,\n frank@example.org\nSubject: header\n\nTo: nobody@example.org\n")
		  (submission-submit (current-buffer)))
		;; Without a Resent-From the sender is that of From.
		(with-temp-buffer
		  (insert "Resent-To: gail@example.org\nResent-Cc: hank@example.org\nResent-Bcc: iris@example.org\n"
		          "From: ann@example.org\nTo: nobody@example.org\nCc: nobody@example.org\nSubject: resent\n\nbody\n")
		  (submission-submit (current-buffer)))
		(story-wait)`)
	if o.err != nil {
		t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	got := byRecipient(server)
	text := "From: Ann <ann@example.org>\nSubject: text\n"
	for name, want := range map[string]string{
		"plain":     text + "\nGröße 日本語\n",
		"narrowed":  text + "\nbody\n",
		"point":     text + "\nbody\n",
		"dos":       text + "\nGröße\n",
		"latin-1":   text + "\nGröße\n",
		"read-only": text + "\nbody\n",
		"invisible": text + "\nbody\n",
	} {
		t.Run(name, func(t *testing.T) {
			message, ok := got[name+"@example.org"]
			if !ok {
				t.Fatalf("the server did not receive it; Emacs said:\n%s", o.output)
			}
			same(t, string(message.Data), crlf(want))
		})
	}
	for subject, want := range map[string]string{
		"header": "ann: bob jane carol dave erin frank",
		"resent": "ann: gail hank iris",
	} {
		i := slices.IndexFunc(server.Messages(), func(m smtpd.Message) bool {
			return bytes.Contains(m.Data, []byte("Subject: "+subject))
		})
		if i < 0 {
			t.Errorf("%q was not received", subject)
			continue
		}
		m := server.Messages()[i]
		envelope := strings.TrimSpace(m.From.Address + ": " + strings.Join(addresses(m), " "))
		if envelope = strings.ReplaceAll(envelope, "@example.org", ""); envelope != want {
			t.Errorf("%s: envelope %q, want %q", subject, envelope, want)
		}
		if bytes.Contains(m.Data, []byte("Bcc")) {
			t.Errorf("%s: a Bcc went out", subject)
		}
	}
}

// start starts a server that stops with the test.
func start(t *testing.T, script smtpd.Script) *smtpd.Server {
	t.Helper()
	server, err := smtpd.Start(script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func addresses(m smtpd.Message) []string {
	var list []string
	for _, path := range m.To {
		list = append(list, path.Address)
	}
	return list
}

// byRecipient returns the server's messages by their first recipients.
func byRecipient(server *smtpd.Server) map[string]smtpd.Message {
	list := make(map[string]smtpd.Message)
	for _, m := range server.Messages() {
		list[m.To[0].Address] = m
	}
	return list
}

// same compares long texts and shows where they part.
func same(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	around := func(s string) string { return s[max(0, i-60):min(len(s), i+60)] }
	t.Errorf("%d bytes, want %d; at %d:\n got %q\nwant %q", len(got), len(want), i, around(got), around(want))
}
