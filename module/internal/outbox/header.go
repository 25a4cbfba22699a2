// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	valueLimit = 1000    // bytes kept of Subject and of Message-ID
	nameLimit  = 20      // bytes kept of a field's name: enough to know ours
	cutLimit   = 1000    // Bcc fields in a message, neighbours counted as one
	blockSize  = 1 << 16 // bytes read at a time
)

// span is a piece of a file, from its first byte to before its end.
type span struct {
	from, to int64
	afterCR  bool // a line end that is a bare CR comes before it
}

// found is what a message's bytes tell.
type found struct {
	messageID, subject string
	date               string // the value of the first Date
	dateAt             span   // that field, with its line end
	resent             bool   // there is a Resent-Date
	eightBit           bool
	size               int64  // bytes taken so far, and in the end the message's
	cuts               []span // the Bcc and Resent-Bcc fields, in order
}

// scan reads the message r to its end, in bounded memory however long its
// header and its lines are. A line ends in LF, CRLF or CR, as in the session,
// which makes each of them CRLF on the wire. The header goes up to the first
// empty line: a line in it that is no field is passed over, since to take it
// for the body would let a Bcc below it go out.
func scan(r io.Reader) (found, error) {
	in := bufio.NewReaderSize(r, blockSize)
	h := header{}
	for !h.done {
		c, err := in.ReadByte()
		if err == io.EOF {
			break
		}
		if err != nil {
			return found{}, err
		}
		h.take(c)
		h.eightBit = h.eightBit || c >= 0x80
	}
	h.endField()
	if h.tooMany {
		return found{}, fmt.Errorf("%w: the message has more than %d Bcc fields", ErrInvalid, cutLimit)
	}
	err := h.scanBody(in)
	return h.found, err
}

// header is the state of a scan through the header.
type header struct {
	found
	done    bool // the empty line was seen
	tooMany bool
	sawCR   bool // the last byte was a CR
	begun   bool // the line has a byte in it

	start   int64  // where the field starts
	afterCR bool   // the line end before that is a bare CR
	name    []byte // of the field, lower case
	named   bool   // its colon was seen
	value   []byte // of Subject or Message-ID
	wanted  *string
	cut     bool // it is a Bcc
}

// take takes the next byte.
func (h *header) take(c byte) {
	switch {
	case c == '\n' && h.sawCR: // belongs to the line end before it
		h.sawCR = false
	case c == '\n' || c == '\r':
		if !h.begun {
			h.endField() // what is cut ends before the empty line
			h.done = true
			if last := len(h.cuts) - 1; c == '\n' && last >= 0 && h.cuts[last].to == h.size && h.cuts[last].afterCR {
				// The CR before and the LF after would become one line end,
				// and the empty line would be gone: an LF is left between.
				h.cuts[last].to--
			}
		}
		h.begun, h.sawCR = false, c == '\r'
	default:
		if !h.begun && c != ' ' && c != '\t' {
			h.endField()
		}
		h.begun, h.sawCR = true, false
		h.field(c)
	}
	h.size++
}

// field takes a byte of a field, folded or not, but no line end.
func (h *header) field(c byte) {
	switch {
	case h.wanted != nil && len(h.value) < valueLimit:
		h.value = append(h.value, c)
	case h.named || h.cut:
	case c == ':':
		h.named = true
		switch strings.TrimSpace(string(h.name)) { // RFC 5322 §4.5.8 allows "Bcc :"
		case "bcc", "resent-bcc":
			h.cut = true
		case "subject":
			h.wanted = &h.subject
		case "message-id":
			h.wanted = &h.messageID
		case "date":
			h.wanted = &h.date
		case "resent-date":
			h.resent = true
		}
	case len(h.name) > 0 && (c == ' ' || c == '\t') && h.name[len(h.name)-1] == ' ':
	case len(h.name) < nameLimit:
		if c == '\t' {
			c = ' '
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h.name = append(h.name, c)
	}
}

// endField ends the field before the byte at h.size.
func (h *header) endField() {
	if h.wanted != nil && *h.wanted == "" { // the first one counts
		*h.wanted = strings.TrimSpace(printable(h.value))
		if h.wanted == &h.date {
			h.dateAt = span{from: h.start, to: h.size}
		}
	}
	if h.cut {
		end := h.size
		switch last := len(h.cuts) - 1; {
		case last >= 0 && h.cuts[last].to == h.start:
			h.cuts[last].to = end
		case len(h.cuts) >= cutLimit:
			h.tooMany = true
		default:
			h.cuts = append(h.cuts, span{h.start, end, h.afterCR})
		}
	}
	h.start, h.afterCR = h.size, h.sawCR
	h.name, h.named, h.value, h.wanted, h.cut = h.name[:0], false, h.value[:0], nil, false
}

// printable makes text of a field's value: valid UTF-8, a space for each
// control character.
func printable(value []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, string(value))
}

// scanBody counts the rest of the message and looks for a byte over 127.
func (h *header) scanBody(in io.Reader) error {
	block := make([]byte, blockSize)
	for {
		n, err := in.Read(block)
		h.size += int64(n)
		if !h.eightBit {
			h.eightBit = hasEightBit(block[:n])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// hasEightBit reports whether a byte of b is over 127, eight at a time.
func hasEightBit(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.NativeEndian.Uint64(b)&0x8080808080808080 != 0 {
			return true
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
