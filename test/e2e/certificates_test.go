// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// certificate is what a state has on the certificate that it is held for.
type certificate struct {
	Host        string   `json:"host"`
	Problems    []string `json:"problems"`
	Fingerprint string   `json:"fingerprint"`
	Pins        []string `json:"pins"`
}

// held reads the certificate out of the state of a message.
func (h *home) held(r receipt) certificate {
	h.t.Helper()
	text, err := os.ReadFile(h.path("outbox/" + r.ID + ".json"))
	if err != nil {
		h.t.Fatal(err)
	}
	var state struct {
		Certificate certificate `json:"certificate"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		h.t.Fatal(err)
	}
	return state.Certificate
}

// last runs Lisp that has to succeed, and returns how each message ended, by
// its id.
func (h *home) last(lisp string) map[string]receipt {
	h.t.Helper()
	o := h.emacs(lisp)
	if o.err != nil {
		h.t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	last := map[string]receipt{}
	for _, r := range o.receipts {
		last[r.ID] = r
	}
	return last
}

// TestPins accepts a self-signed certificate, for good and once, and meets
// another one.
func TestPins(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	selfSigned := smtpd.Behaviour{Certificate: smtpd.SelfSigned, Users: map[string]string{"kazu": "secret"}, RequireAuth: true}
	bridge := start(t, smtpd.Script{Behaviour: selfSigned})
	other := start(t, smtpd.Script{Behaviour: selfSigned})
	toBridge := h.account(bridge, true, bridge.Port(""))
	toOther := h.account(other, true, other.Port(""))

	// Held, with what is wrong and nothing sent.
	first := h.story(toBridge + `(story-send "bob@example.org")`)
	second := h.story(toBridge + `(story-send "bob@example.org")`)
	shown := h.held(first)
	if first.Status != "held" || first.Reason != "certificate" || shown.Host != "127.0.0.1" ||
		!slices.Equal(shown.Problems, []string{"self-signed"}) || len(shown.Fingerprint) != 64 || len(shown.Pins) != 0 {
		t.Fatalf("%s (%s), %+v", first.Status, first.Reason, shown)
	}
	if again := h.held(second); again.Fingerprint != shown.Fingerprint {
		t.Fatalf("one server has shown %s and %s", shown.Fingerprint, again.Fingerprint)
	}

	// Another fingerprint sends nothing; the right one sends all that waits.
	o := h.last(toBridge + fmt.Sprintf(`
		(submission-certificate-accept "127.0.0.1" %q t)
		(story-wait)
		(submission-certificate-accept "127.0.0.1" %q)
		(story-wait)`, strings.Repeat("ab", 32), strings.ToUpper(shown.Fingerprint)))
	for _, id := range []string{first.ID, second.ID} {
		if r := o[id]; r.Status != "accepted" || r.TLS != "pinned" {
			t.Errorf("after it was accepted: %s (%s), TLS %q", r.Status, r.Reason, r.TLS)
		}
	}
	pins, err := os.ReadFile(h.path(".emacs.d/submission/pins.json"))
	if err != nil || !strings.Contains(string(pins), shown.Fingerprint) {
		t.Errorf("the file of pins: %v, %s", err, pins)
	}
	if info, err := os.Stat(h.path(".emacs.d/submission/pins.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of pins: %v, %v", err, info.Mode())
	}

	// From then on it is good, with the password.
	if r := h.story(toBridge + `(story-send "bob@example.org")`); r.Status != "accepted" || r.TLS != "pinned" {
		t.Errorf("later: %s (%s), TLS %q", r.Status, r.Reason, r.TLS)
	}

	// A changed one is not, in no security that wants TLS or would use it.
	for _, security := range []string{starttls, opportunistic} {
		r := h.story(toOther + security + `(story-send "bob@example.org")`)
		changed := h.held(r)
		if r.Status != "held" || r.Reason != "certificate" || !slices.Contains(changed.Problems, "changed") ||
			!slices.Equal(changed.Pins, []string{shown.Fingerprint}) || changed.Fingerprint == shown.Fingerprint {
			t.Fatalf("%s (%s), %+v", r.Status, r.Reason, changed)
		}
		once := h.last(toOther + fmt.Sprintf(`(submission-certificate-accept "127.0.0.1" %q t) (story-wait)`, changed.Fingerprint))[r.ID]
		if once.Status != "accepted" || once.TLS != "pinned" {
			t.Errorf("once: %s (%s), TLS %q", once.Status, once.Reason, once.TLS)
		}
	}
	if r := h.story(toOther + starttls + `(story-send "bob@example.org")`); r.Status != "held" {
		t.Errorf("once is not once: %s", r.Status)
	}
	for _, server := range []*smtpd.Server{bridge, other} {
		for _, s := range server.Sessions() {
			if accepted := s.TLSError == ""; !accepted && (len(s.Auth) > 0 || len(s.Messages) > 0) {
				t.Errorf("something came to who was not accepted: %+v", s)
			}
		}
	}
	if n, m := len(bridge.Messages()), len(other.Messages()); n != 3 || m != 2 {
		t.Errorf("the servers took %d and %d messages", n, m)
	}
}

// TestAcceptedMeanwhile: what was accepted while a message waited is enough for it.
func TestAcceptedMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{Certificate: smtpd.SelfSigned}})
	g := newGate(t, server.Addr(""))
	lisp := h.account(server, true, server.Port(""))
	first := h.story(lisp + `(story-send "bob@example.org")`)
	go func() {
		<-g.arrived
		g.open()
	}()
	o := h.last(lisp + fmt.Sprintf(`
		(setq submission-sequence '((ipv4 . %d)))
		(story-compose "bob@example.org" "meanwhile" "Once upon a time.\n")
		(call-interactively #'message-send-and-exit)
		(submission-certificate-accept "127.0.0.1" %q)
		(story-wait)`, g.port, h.held(first).Fingerprint))
	if len(o) != 2 {
		t.Fatalf("%d receipts: %+v", len(o), o)
	}
	for _, r := range o {
		if r.Status != "accepted" || r.TLS != "pinned" {
			t.Errorf("%s (%s), TLS %q", r.Status, r.Reason, r.TLS)
		}
	}
}
