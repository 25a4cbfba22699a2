// SPDX-License-Identifier: GPL-3.0-or-later

package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// encode returns an event as one line of ASCII JSON.
func encode(e Event) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode %s event: %w", e.name(), err)
	}
	line := append([]byte(`{"event":"`), e.name()...)
	line = append(line, '"')
	if len(body) > len("{}") {
		line = append(line, ',')
	}
	return append(ASCII(append(line, body[1:]...)), '\n'), nil
}

// ASCII returns valid JSON with every character outside ASCII escaped as
// \uXXXX, and the NUL character, which the JSON reader of Emacs 28 refuses,
// replaced by U+FFFD.
func ASCII(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for i := 0; i < len(in); {
		switch c := in[i]; {
		case c == '\\' && bytes.HasPrefix(in[i:], []byte(`\u0000`)):
			out = append(out, `\ufffd`...)
			i += len(`\u0000`)
		case c == '\\' && i+1 < len(in):
			out = append(out, c, in[i+1])
			i += 2
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(in[i:])
			if r >= 0x10000 {
				r -= 0x10000
				out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
			i += n
		}
	}
	return out
}
