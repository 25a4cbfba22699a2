// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

func TestRedate(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 30, 0, 0, time.UTC)
	const renewed = "Date: Mon, 23 Nov 2026 09:30:00 +0100"
	for name, test := range map[string]struct{ in, out string }{
		"LF":          {"To: a\nDate: Sat, 21 Nov 2026 23:15:00 +0100\nMessage-ID: <1@x>\n\nb\n", "To: a\n" + renewed + "\nMessage-ID: <1@x>\n\nb\n"},
		"CRLF":        {"date:Sat, 21 Nov 2026 23:15:00 +0100\r\nTo: a\r\n\r\nb", renewed + "\r\nTo: a\r\n\r\nb"},
		"folded":      {"Date: Sat, 21 Nov\n 2026 23:15:00\n +0100\n\nb", renewed + "\n\nb"},
		"no body":     {"Date: Sat, 21 Nov 2026 23:15:00 +0100", renewed},
		"to come":     {"Date: Sat, 28 Nov 2026 23:15:00 +0100\n\n", renewed + "\n\n"},
		"recent":      {"Date: Mon, 23 Nov 2026 09:29:30 +0100\n\n", ""},
		"no date":     {"To: a\n\nDate: Sat, 21 Nov 2026 23:15:00 +0100\n", ""},
		"not a date":  {"Date: yesterday\n\nb", ""},
		"resent":      {"Resent-Date: Sat, 21 Nov 2026 23:15:00 +0100\nDate: Sat, 21 Nov 2026 23:15:00 +0100\n\nb", ""},
		"another one": {"Date: Sat, 21 Nov 2026 23:15:00 +0100\nDate: x\n\nb", renewed + "\nDate: x\n\nb"},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			e := add(t, b, test.in)
			must(t, e.Redate(now))
			want := test.out
			if want == "" {
				want = test.in
			}
			if got := bytesOf(t, e); got != want {
				t.Errorf("%q", got)
			}
			if size := e.State().Size; size != int64(len(want)) {
				t.Errorf("size %d", size)
			}
			must(t, e.MarkData())
			must(t, e.Redate(now.Add(time.Hour)))
			if got := bytesOf(t, e); got != want {
				t.Errorf("after DATA: %q", got)
			}
			if !onDisk(t, b, e.ID()).Data {
				t.Error("DATA is not on disk")
			}
			if got := names(t, b); len(got) != 3 {
				t.Errorf("files %q", got)
			}
		})
	}
}

// TestRedateFault: whatever step fails, the message is whole, old or new.
func TestRedateFault(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 30, 0, 0, time.UTC)
	const old, renewed = "Date: Sat, 21 Nov 2026 23:15:00 +0000\n\nb", "Date: Mon, 23 Nov 2026 08:30:00 +0000\n\nb"
	for n := 1; ; n++ {
		b := open(t)
		e := add(t, b, old)
		f := &faults{first: n, last: n}
		b.disk.before = f.before
		err := e.Redate(now)
		if got := bytesOf(t, e); got != renewed && (err == nil || got != old) {
			t.Errorf("fault %d: %q, %v", n, got, err)
		}
		if err == nil {
			if n < 5 {
				t.Errorf("only %d steps", n)
			}
			return
		}
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("fault %d: %v", n, err)
		}
		if got := names(t, b); len(got) != 3 {
			t.Errorf("fault %d: files %q", n, got)
		}
	}
}
