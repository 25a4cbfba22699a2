// SPDX-License-Identifier: GPL-3.0-or-later

// Package ascii has the form in which JSON goes to Emacs, in a file or on a pipe.
package ascii

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON returns valid JSON with every character outside ASCII escaped as \uXXXX,
// and the escaped NUL, which the JSON reader of Emacs 28 refuses, replaced by
// U+FFFD.
func JSON(text []byte) []byte {
	const hex = "0123456789abcdef"
	escaped := make([]byte, 0, len(text)+len(text)/16)
	escape := func(unit uint16) {
		escaped = append(escaped, '\\', 'u', hex[unit>>12], hex[unit>>8&15], hex[unit>>4&15], hex[unit&15])
	}
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\' && bytes.HasPrefix(text[i:], []byte(`\u0000`)):
			escape(utf8.RuneError)
			i += len(`\u0000`)
		case c == '\\' && i+1 < len(text): // with what it escapes, which may be a backslash
			escaped = append(escaped, c, text[i+1])
			i += 2
		case c < utf8.RuneSelf:
			escaped = append(escaped, c)
			i++
		default:
			r, size := utf8.DecodeRune(text[i:])
			for _, unit := range utf16.Encode([]rune{r}) {
				escape(unit)
			}
			i += size
		}
	}
	return escaped
}
