// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"testing"
	"time"
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"20261121T221500-3f9a2c1b":                  true,
		"00000000T000000-00000000":                  true,
		"":                                          false,
		"20261121T221500-3F9A2C1B":                  false, // the same file on macOS
		"20261121t221500-3f9a2c1b":                  false,
		"20261121T221500-3f9a2c1":                   false,
		"20261121T221500-3f9a2c1b0":                 false,
		"20261121T221500_3f9a2c1b":                  false,
		"20261121T221500-3f9a2c1g":                  false,
		"2026112aT221500-3f9a2c1b":                  false,
		"../../../../../etc/passw":                  false,
		"20261121T221500-3f9a2c/b":                  false,
		"20261121T221500-3f9a2c\x001":               false,
		"２0261121T221500-3f9a2c":                    false,
		"20261121T221500-3f9a2c1b/../../etc/passwd": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
}

func TestNewID(t *testing.T) {
	when := time.Date(2026, 11, 21, 23, 15, 0, 0, time.FixedZone("", 3600))
	a, b := NewID(when), NewID(when)
	if !ValidID(a) || a[:16] != "20261121T221500-" || a == b {
		t.Errorf("%q, %q", a, b)
	}
}

func TestClassify(t *testing.T) {
	const id = "20261121T221500-3f9a2c1b"
	for name, want := range map[string]kind{
		id + ".eml":                message,
		id + ".json":               state,
		"." + id + ".eml":          newMessage,
		"." + id + ".json":         newState,
		"." + id + ".lock":         lockFile,
		id + ".draft":              kept,
		"." + id + ".draft":        foreign,
		".draft-x1":                draft,
		id + ".lock":               foreign,
		id + ".eml~":               foreign,
		id:                         foreign,
		"":                         foreign,
		".":                        foreign,
		".DS_Store":                foreign,
		"notes.txt":                foreign,
		".." + id + ".eml":         foreign,
		"20261121T221500-.eml.eml": foreign,
	} {
		got, of := classify(name)
		if got != want {
			t.Errorf("%q: %v", name, got)
		}
		if hasID := want != foreign && want != draft; hasID != (of == id) {
			t.Errorf("%q is of %q", name, of)
		}
	}
}

// TestStrangeID: an ID from outside never reaches the disk.
func TestStrangeID(t *testing.T) {
	b := open(t)
	b.disk.before = func(s step) error {
		t.Errorf("%s %s", s.op, s.name)
		return nil
	}
	for _, id := range []string{"", "..", "../x", "/etc/passwd", "20261121T221500-3f9a2c1b\x00"} {
		if _, err := b.Claim(id); !errors.Is(err, ErrGone) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if got := names(t, b); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}
