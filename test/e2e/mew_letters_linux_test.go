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
	(let ((mew-smtp-mail-from "bounce@example.org") (mew-use-sender t))
	  (mew-story-send "bob@example.org" "Sent for her" "With a Sender.\n"))
	(mew-story-inbox)
	(mew-story-reply "Indeed.\n")
	(mew-story-resend "bob@example.org")
	(mew-story-note)
	(dolist (file (directory-files (mew-expand-folder "+archive") t "\\` + "`" + `[0-9]"))
	  (princ (format "FILED %s\n" (file-name-nondirectory file))))
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
			t.Errorf("folders %q, want %q", got, want)
		}
		for i, m := range messages {
			if m.From.Address != stock[i].From.Address || !slices.Equal(addresses(m), addresses(stock[i])) {
				t.Errorf("message %d: from %v to %v, want %v to %v", i+1, m.From.Address, addresses(m), stock[i].From.Address, addresses(stock[i]))
			}
			same(t, varying.ReplaceAllString(string(m.Data), "…"), varying.ReplaceAllString(string(stock[i].Data), "…"))
		}
		if !strings.Contains(ours.output, "FILED 1") {
			t.Error("nothing was filed")
		}
	})
}
