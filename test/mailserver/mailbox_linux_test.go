// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import "testing"

func TestUnchanged(t *testing.T) {
	const trace = "Return-Path: <a@b>\nReceived: from x\n\tby y; now\n"
	for _, c := range []struct {
		name, prepared, delivered string
		ok                        bool
	}{
		{"the same", "To: c\n\nx\n", "To: c\n\nx\n", true},
		{"trace fields before it", "To: c\n\nx\n", trace + "To: c\n\nx\n", true},
		{"other line ends", "To: c\r\n\r\nx\r\n", trace + "To: c\n\nx\n", true},
		{"its own trace field", "Received: z\nTo: c\n\nx\n", trace + "Received: z\nTo: c\n\nx\n", true},
		{"another field before it", "To: c\n\nx\n", trace + "X-Spam: no\nTo: c\n\nx\n", false},
		{"an empty line more", "To: c\n\nx\n", trace + "To: c\n\nx\n\n", false},
		{"a dot less", "To: c\n\n..\n", trace + "To: c\n\n.\n", false},
		{"cut short", "To: c\n\nx\ny\n", trace + "To: c\n\nx\n", false},
		{"nothing", "To: c\n\nx\n", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Unchanged([]byte(c.prepared), []byte(c.delivered)); (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
