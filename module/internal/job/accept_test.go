// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"errors"
	"testing"

	"submission/module/internal/outbox"
	"submission/test/smtpd"
)

// TestAccept: a certificate is no good, a person accepts it, and nothing else
// of the settings changes.
func TestAccept(t *testing.T) {
	o := newOffice(t, smtpd.Script{Behaviour: smtpd.Behaviour{Certificate: smtpd.SelfSigned}})
	id := o.submit(func(s *Settings, _ *Request) { s.Security = "starttls" })
	held := o.wait(id, outbox.Held)
	var certificate struct {
		Fingerprint string `json:"fingerprint"`
	}
	if err := json.Unmarshal(held.Certificate, &certificate); err != nil || held.Reason != outbox.ReasonCertificate {
		t.Fatalf("%s: %v", held.Reason, err)
	}
	if err := o.Accept(id, "00"); err != nil {
		t.Fatal(err)
	}
	if again := o.wait(id, outbox.Held); again.Receipt.TLS != "" {
		t.Errorf("another certificate was accepted: TLS %q", again.Receipt.TLS)
	}
	if err := o.Accept(id, certificate.Fingerprint); err != nil {
		t.Fatal(err)
	}
	if sent := o.wait(id, outbox.Accepted); sent.Receipt.TLS != "pinned" {
		t.Errorf("TLS %q", sent.Receipt.TLS)
	}
	if err := o.Accept(id, certificate.Fingerprint); !errors.Is(err, outbox.ErrMove) {
		t.Errorf("what was sent: %v", err)
	}
}

// TestRepin: what the module doesn't know of the settings stays, too.
func TestRepin(t *testing.T) {
	got, err := repin(json.RawMessage(`{"a":[1,null],"pins":["x","y"],"z":{"b":0.5}}`), "ab")
	if want := `{"a":[1,null],"pins":["ab"],"z":{"b":0.5}}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}
