// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bytes"
	"slices"
	"testing"
)

func TestBlot(t *testing.T) {
	var s secrets
	for _, secret := range []string{"", "535", "geheim"} {
		s.add(secret)
	}
	encoded := b64("\x00kazu\x00geheim") // AGthenUAZ2VoZWlt
	s.addEncoded([]byte(encoded))
	s.addEncoded([]byte(b64("kz"))) // a3o=
	for _, test := range []struct{ name, in, want string }{
		{"repeated", "500 unknown: AUTH PLAIN " + encoded, "500 unknown: AUTH PLAIN ***"},
		{"decoded", "535 geheim is wrong, geheim", "535 *** is wrong, ***"},
		{"the beginning", "500 unknown: AUTH PLAIN " + encoded[:11] + "...", "500 unknown: AUTH PLAIN ***..."},
		{"the end", "500 unknown: A..." + encoded[5:] + "!", "500 unknown: A...***!"},
		{"in capitals", "500 AUTH PLAIN AGTHENUAZ2VOZWLT", "500 AUTH PLAIN ***"},
		{"after letters whose capitals are shorter", "500 ııııııſſſſſſ" + encoded + "\xff", "500 ııııııſſſſſſ***\xff"},
		{"twice", "500 " + encoded + " " + encoded, "500 *** ***"},
		{"a short one", "500 a3o= a3o", "500 *** a3o"},
		{"nothing of it", "500 AGthenU is seven bytes", "500 AGthenU is seven bytes"},
		{"no text", "535", "535"},
		{"the code isn't text", "535 535", "535 535"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := []byte(test.in)
			if got := s.blot(in); string(got) != test.want || !bytes.Equal(in, []byte(test.in)) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	noted := s.whole[0]
	s.forget()
	if in := "500 geheim " + encoded; string(s.blot([]byte(in))) != in || slices.ContainsFunc(noted, func(b byte) bool { return b != 0 }) {
		t.Error("not forgotten")
	}
}
