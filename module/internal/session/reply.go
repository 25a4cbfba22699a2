// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
)

// What a reply may hold. RFC 5321 §4.5.3.1.5 allows 512 bytes to a line;
// servers are wordier, but none needs more than this.
const (
	maxLine  = 4096
	maxLines = 1000
	maxReply = 64 << 10

	// What is kept of the replies to RCPT, however many there are.
	maxRecipientReply = 2 << 10
	maxReplies        = 256 << 10
)

// Reply is what a server answered. All text is valid UTF-8 without control
// characters.
type Reply struct {
	Code     int      // 200 to 599; 0: there was no reply
	Enhanced string   // the enhanced status code (RFC 3463), such as "5.7.0", or ""
	Lines    []string // the text of each line without the codes

	challenge string // the text of a 334, which is between server and mechanism; in Lines stands ***
}

// String returns the reply on one line: "550 5.1.1 no such user".
func (r Reply) String() string {
	if r.Code == 0 {
		return ""
	}
	words := []string{fmt.Sprint(r.Code)}
	if r.Enhanced != "" {
		words = append(words, r.Enhanced)
	}
	for _, line := range r.Lines {
		if line != "" {
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}

// shortened returns the reply with at most n bytes of text.
func (r Reply) shortened(n int) Reply {
	lines := r.Lines
	r.Lines = nil
	for _, line := range lines {
		if len(line) > n {
			line = cut(line, max(n, 0))
		}
		if n -= len(line); len(line) > 0 {
			r.Lines = append(r.Lines, line)
		}
		if n <= 0 {
			break
		}
	}
	return r
}

// class is the first digit of the code.
func (r Reply) class() int { return r.Code / 100 }

// add takes one line without its line end into the reply and says whether it
// was the last. RFC 5321 §4.2: three digits, then a space, a hyphen where more
// follow, or nothing; all lines of a reply carry the same code.
func (r *Reply) add(line []byte) (last bool, err error) {
	code, mark, ok := replyCode(line)
	if !ok || r.Code != 0 && code != r.Code {
		return false, fmt.Errorf("%w: %q", errNotSMTP, cut(printable(line), 80))
	}
	var text string
	if len(line) > 4 {
		text = printable(line[4:])
	}
	enhanced, rest := enhancedCode(code, text)
	if r.Code == 0 {
		r.Enhanced = enhanced
	}
	if enhanced != "" && enhanced == r.Enhanced {
		text = rest
	}
	r.Code = code
	r.Lines = append(r.Lines, text)
	return mark != '-', nil
}

// replyCode reads the code at the start of a line and the character after it,
// which is ' ' where there is none.
func replyCode(line []byte) (code int, mark byte, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, 0, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, 0, false
		}
		code = code*10 + int(c-'0')
	}
	mark = ' '
	if len(line) > 3 {
		mark = line[3]
	}
	return code, mark, mark == ' ' || mark == '-'
}

// enhancedCode splits an enhanced status code (RFC 2034 §4) from the text. Its
// class must be that of the reply.
func enhancedCode(code int, text string) (enhanced, rest string) {
	word, rest, _ := strings.Cut(text, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != fmt.Sprint(code/100) {
		return "", text
	}
	for _, part := range parts {
		if len(part) < 1 || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return "", text
		}
	}
	return word, strings.TrimLeft(rest, " ")
}

// printable makes what a server said fit to be shown, logged and handed to
// Lisp: valid UTF-8, and a space for everything that controls a terminal, ends
// a line or turns the direction of writing.
func printable(text []byte) string {
	clean := bytes.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, bytes.ToValidUTF8(text, []byte("\uFFFD")))
	return strings.TrimRight(string(clean), " ")
}

// cut shortens text to about n bytes.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "") + "…"
}
