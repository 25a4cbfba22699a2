// SPDX-License-Identifier: GPL-3.0-or-later

package session

import "bytes"

// What is looked for of a secret: all of a password, but any piece of what was
// sent in base64, since servers that repeat a command they don't understand cut
// it short and change its case. Words of fewer bytes than minSecret occur by
// chance, and the gaps would give them away.
const (
	minSecret = 4
	pieceSize = 8
)

type piece [pieceSize]byte

// secrets are what must not be seen in what the server says, for as long as
// AUTH goes on.
type secrets struct {
	whole  [][]byte
	pieces map[piece]bool // in upper case
}

// add takes a secret as it is.
func (s *secrets) add(secret string) {
	if len(secret) >= minSecret {
		s.whole = append(s.whole, []byte(secret))
	}
}

// addEncoded takes the pieces of a secret in base64.
func (s *secrets) addEncoded(text []byte) {
	if len(text) < pieceSize {
		s.add(string(text))
		return
	}
	if s.pieces == nil {
		s.pieces = map[piece]bool{}
	}
	text = upperCase(text)
	defer clear(text)
	for i := range len(text) - pieceSize + 1 {
		s.pieces[piece(text[i:])] = true
	}
}

// forget overwrites what was noted.
func (s *secrets) forget() {
	for _, secret := range s.whole {
		clear(secret)
	}
	clear(s.pieces)
	*s = secrets{}
}

// blot returns the line of a reply with *** for each secret in it. The line
// itself stays as it is.
func (s *secrets) blot(line []byte) []byte {
	if len(line) < 4 || len(s.whole) == 0 && len(s.pieces) == 0 {
		return line
	}
	text := line[4:]
	for _, secret := range s.whole {
		text = bytes.ReplaceAll(text, secret, []byte("***"))
	}
	out := line[:4:4]
	upper := upperCase(text)
	end := 0 // of the pieces found last, in text
	for i, c := range text {
		if i+pieceSize <= len(upper) && s.pieces[piece(upper[i:])] {
			if i >= end {
				out = append(out, "***"...)
			}
			end = i + pieceSize
		}
		if i >= end {
			out = append(out, c)
		}
	}
	return out
}

// upperCase returns a copy in which the letters of ASCII are capitals; every
// byte keeps its place.
func upperCase(text []byte) []byte {
	text = bytes.Clone(text)
	for i, c := range text {
		if 'a' <= c && c <= 'z' {
			text[i] = c - 'a' + 'A'
		}
	}
	return text
}
