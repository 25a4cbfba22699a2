// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestMewFlush flushes several messages: one connection, one login, in order.
func TestMewFlush(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"ann@example.org": "secret"},
			EHLO: []string{"PIPELINING", "8BITMIME", "AUTH CRAM-MD5 PLAIN LOGIN"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-story-passwords '("secret"))
			(mew-story-make "b1@example.org")
			(mew-story-make "b2@example.org" "Two" "2\n" '(("Bcc:" . "eve@example.org")))
			(mew-story-make "b3@example.org")
			(delete-file (concat (mew-expand-new-msg "+queue" "3") ".mqi"))
			(mew-story-make "b4@example.org")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#1", "#2", "#4", "3")
		var to []string
		for _, message := range server.Messages() {
			to = append(to, addresses(message)...)
		}
		if got := strings.Join(to, " "); got != "b1@example.org b2@example.org eve@example.org b4@example.org" {
			t.Errorf("sent to %s", got)
		}
		sessions := server.Sessions()
		if len(sessions) != 1 || len(sessions[0].Auth) != 1 {
			t.Errorf("%d connections: %+v", len(sessions), sessions)
		}
		if strings.Count(n.output, "NOTE prompt") != 1 {
			t.Errorf("prompts: %v", n.list)
		}
		if log := m.log(); strings.Count(log, "status=sent") != 4 || strings.Contains(log, "secret") {
			t.Errorf("Mew's log:\n%s", log)
		}
	})
}
