// SPDX-License-Identifier: GPL-3.0-or-later

//go:build unix

package e2e

import (
	"os"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestCertificateQuestion has a person asked about a certificate: no key that
// is typed for something else answers, and the message goes after a yes.
func TestCertificateQuestion(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{Certificate: smtpd.SelfSigned}})
	x := h.interactive(h.account(server, false, server.Port("")) + starttls)
	x.compose("First")
	x.keys("C-c", "C-c")
	x.see("Accept this certificate of 127.0.0.1")
	x.see("Nobody vouches for it but itself.")
	// What a hand may do by accident is no answer.
	x.keys("a", "Enter", "y", "Enter")
	x.see("Please answer")
	x.see("(always, once, no, help)")
	x.keys("C-g")
	x.see("stays in the outbox")
	if n := len(server.Messages()); n > 0 {
		t.Errorf("%d messages went without a yes", n)
	}

	// The list has it, and takes a yes.
	x.keys("M-x")
	x.text("submission-certificates")
	x.keys("Enter")
	x.see("holds 1 message")
	x.text("a")
	x.see("from now on? (yes or no)")
	x.text("yes")
	x.keys("Enter")
	x.see("Sent to 1 recipient by")
	x.see("accepted 20")
	if pins, err := os.ReadFile(h.path(".emacs.d/submission/pins.json")); err != nil || !strings.Contains(string(pins), `"host":"127.0.0.1"`) {
		t.Errorf("the file of pins: %v, %s", err, pins)
	}
	if messages := server.Messages(); len(messages) != 1 || !messages[0].TLS {
		t.Errorf("the server took %+v", messages)
	}
}
