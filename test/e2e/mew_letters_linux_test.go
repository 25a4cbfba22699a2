// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// varying is what differs between two equal messages: dates, ids, boundaries.
var varying = regexp.MustCompile(`(?m)^(Date|Resent-Date|Message-Id|Resent-Message-Id): .*$|--[A-Za-z0-9_()]+\(\d{4}.*|boundary="[^"]*"|^--Next_Part.*$|\d{14}[.0-9A-Za-z@]*|Next_Part\([^)]*\)[-0-9]*`)

const mewLetters = `
	(mew-story-send "bob@example.org")
	(mew-story-send "bob@example.org, carol@example.org" "Two" "A line\n.\n..\nFrom here\n" '(("Cc:" . "Dave <dave@example.org>")))
	(mew-story-send "bob@example.org" "日本語の題" "本文です。\n")
	(mew-story-send "bob@example.org" "Grüße" "Ein Brief ohne Ende.")
	(mew-story-send "bob@example.org" "For others too" "Psst.\n" '(("Bcc:" . "eve@example.org, fay@example.org")))
	(mew-story-send "bob@example.org" "And others" "Well.\n" '(("Dcc:" . "eve@example.org")))
	(mew-story-send "bob@example.org" "Filed" "Keep it.\n" '(("Fcc:" . "+archive")))
	(mew-story-send "bob@example.org" "Filed, and for others" "Psst.\n" '(("Fcc:" . "+archive,+copies") ("Bcc:" . "eve@example.org")))
	(mew-story-make "bob@example.org" "Long lines")
	(write-region (concat (make-string 1500 ?x) "\n" (make-string 5000 ?y) "\n.") nil (mew-expand-new-msg "+queue" "1") t)
	(mew-story-flush)
	(mew-story-send "bob@example.org" "Dots" ".\n..\n.a\n\n.\n")
	(let ((mew-use-8bit t))
	  (mew-story-send "bob@example.org" "Bytes" "Grüße, 8 bits.\n"))
	(mew-story-send "Bob <bob@example.org>, carol@example.org,\n dave@example.org" "Folded" "Three.\n")
	(mew-story-attach "bob@example.org" "With a file")
	(let ((mew-smtp-mail-from "bounce@example.org") (mew-use-sender t))
	  (mew-story-send "bob@example.org" "Sent for her" "With a Sender.\n"))
	(mew-story-inbox)
	(mew-story-reply "Indeed.\n")
	(mew-story-forward "dave@example.org")
	(mew-story-resend "bob@example.org")
	(let ((mew-smtp-mail-from "bounce@example.org"))
	  (mew-story-resend "carol@example.org, eve@example.org"))
	(mew-story-note)
	(dolist (file (directory-files (mew-expand-folder "+copies") nil "^[0-9]"))
	  (princ (format "NOTE +copies/%s\n" file)))
`

// TestMewLetters sends all kinds of messages, and compares them with those that
// Mew sends by itself.
func TestMewLetters(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		send := func(stock bool) ([]smtpd.Message, notes) {
			dir := m.dir
			m.dir = t.TempDir()
			defer func() { m.dir = dir }()
			if err := os.MkdirAll(m.path("Mail"), 0o700); err != nil {
				t.Fatal(err)
			}
			env := m.env
			if stock {
				m.env = append(m.env, "STORY_STOCK=1")
			}
			defer func() { m.env = env }()
			server := start(t, smtpd.Script{})
			n := m.tell(m.on(server.Port("")) + mewLetters)
			return server.Messages(), n
		}
		stock, theirs := send(true)
		messages, ours := send(false)
		if len(messages) != len(stock) || len(stock) < 10 {
			t.Fatalf("%d messages, and %d of Mew's; Emacs said:\n%s\n%s", len(messages), len(stock), ours.output, theirs.output)
		}
		if got, want := ours.list, theirs.list; !slices.Equal(got, want) {
			t.Errorf("folders %q, want %q; Emacs said:\n%s", got, want, ours.output)
		}
		for i, m := range messages {
			if m.From.Address != stock[i].From.Address || !slices.Equal(addresses(m), addresses(stock[i])) {
				t.Errorf("message %d: from %v to %v, want %v to %v", i+1, m.From.Address, addresses(m), stock[i].From.Address, addresses(stock[i]))
			}
			same(t, varying.ReplaceAllString(string(m.Data), "…"), varying.ReplaceAllString(string(stock[i].Data), "…"))
		}
		if !strings.Contains(ours.output, "NOTE +archive/2\n") {
			t.Error("nothing was filed")
		}
	})
}
