// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"testing"

	"submission/test/smtpd"
)

// TestMemory sends several messages from one and from two sessions to a server
// whose first port is closed.
func TestMemory(t *testing.T) {
	t.Parallel()
	server, err := smtpd.Start(smtpd.Script{Listen: []smtpd.Listen{
		{Name: "first", Closed: true}, {Name: "second"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	h := newHome(t)
	settings := h.account(server, false, server.Port("first"), server.Port("second"))
	check := func(what string, o outcome, want ...string) {
		t.Helper()
		if o.err != nil || len(o.receipts) != len(want) {
			t.Fatalf("%s: %d receipts, %v; Emacs said:\n%s", what, len(o.receipts), o.err, o.output)
		}
		for i, r := range o.receipts {
			if r.Status != "accepted" || r.steps() != want[i] {
				t.Errorf("%s, message %d: %s, steps %q; want %q", what, i+1, r.Status, r.steps(), want[i])
			}
		}
	}
	const send = "(story-send \"bob@example.org\")\n"
	check("never", h.emacs(settings+"(setq submission-remember-fallback nil)"+send+send),
		"reset connected", "reset connected")
	check("ask, with nobody to ask", h.emacs(settings+"(setq submission-remember-fallback 'ask)"+send+send),
		"reset connected", "reset connected")
	check("one session", h.emacs(settings+send+send), "reset connected", "connected")
	check("another session", h.emacs(settings+send), "connected")
	check("forgotten", h.emacs(settings+"(submission-forget-fallbacks)"+send), "reset connected")
	check("a port of its own", h.emacs(settings+fmt.Sprintf("(setq smtpmail-smtp-service %d)", server.Port("second"))+send+send),
		"connected", "connected")

	// The remembered step fails: the whole sequence from the top, at once.
	if err := server.Update(smtpd.Script{Listen: []smtpd.Listen{
		{Name: "first"}, {Name: "second", Closed: true},
	}}); err != nil {
		t.Fatal(err)
	}
	check("the remembered step fails", h.emacs(settings+send+send), "reset connected", "connected")

	// A damaged memory is no memory.
	file := h.path(".emacs.d/submission/fallbacks.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("damaged", h.emacs(settings+send), "connected")
}
