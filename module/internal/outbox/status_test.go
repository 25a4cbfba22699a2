// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"encoding/json"
	"testing"
)

// TestMoves holds the table of moves against one written another way. A + is
// a move, a d one only before the dot.
func TestMoves(t *testing.T) {
	to := []Status{Queued, Sending, Deferred, Held, Refused, Uncertain, Accepted, Cancelled}
	want := map[Status]string{
		Queued:    ".+++...+",
		Sending:   "d.+++++d",
		Deferred:  "++++...+",
		Held:      "+......+",
		Refused:   "+......+",
		Uncertain: "+.....++",
		Accepted:  "........",
		Cancelled: "........",
		"":        "........",
		"sent":    "........",
	}
	for from, marks := range want {
		for i, status := range to {
			if got, want := from.CanMove(status, false), marks[i] != '.'; got != want {
				t.Errorf("%q to %q before the dot: %v", from, status, got)
			}
			if got, want := from.CanMove(status, true), marks[i] == '+'; got != want {
				t.Errorf("%q to %q after the dot: %v", from, status, got)
			}
		}
		if from.CanMove("sent", false) || from.CanMove("", false) {
			t.Errorf("%q moves to a status that is none", from)
		}
		if got, want := from.Known(), from != "" && from != "sent"; got != want {
			t.Errorf("%q known: %v", from, got)
		}
		if got, want := from.Final(), from == Accepted || from == Cancelled; got != want {
			t.Errorf("%q final: %v", from, got)
		}
	}
	if len(Statuses()) != len(to) {
		t.Errorf("statuses: %q", Statuses())
	}
}

func TestReasons(t *testing.T) {
	for _, word := range []string{
		"tls", "certificate", "auth", "protocol", "recipients", "message", "size",
		"utf8", "8bit", "expired", "tunnel", "user",
	} {
		text, err := json.Marshal(Reason(word))
		if err != nil || string(text) != `"`+word+`"` || !Reason(word).Known() {
			t.Errorf("%s: %s, %v", word, text, err)
		}
	}
	if text, err := json.Marshal(NoReason); err != nil || string(text) != "null" || !NoReason.Known() {
		t.Errorf("no reason: %s, %v", text, err)
	}
	if Reason("weather").Known() {
		t.Error("any word is a reason")
	}
}
