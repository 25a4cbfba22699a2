// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"errors"
	"io"
)

// A message is read in pieces of readBlock and written in blocks of at most
// twice that: what lineEnds makes of a piece is never longer, but for the few
// bytes of finish.
const (
	readBlock  = 32 << 10
	writeBlock = 2*readBlock + 2
)

// lineEnds makes every CRLF, LF and CR of a message a CRLF and doubles the dot
// at the start of a line (RFC 5321 §4.5.2). All other bytes pass as they are,
// NUL and those of overlong lines too. The zero value is at the start of a
// message.
type lineEnds struct {
	plain    bool  // dots stay as they are, as BDAT wants them
	size     int64 // of the message so far: line ends as CRLF, no dots doubled
	eightBit bool  // a byte above 127 has passed
	utf8     bool  // one has passed in the header
	body     bool  // the empty line after the header has passed
	inLine   bool  // the last byte didn't end a line
	cr       bool  // the last byte was a CR; a LF belongs to it
}

// add appends to dst what src becomes, at most twice its length.
func (l *lineEnds) add(dst, src []byte) []byte {
	start, dots := len(dst), 0
	for i := 0; i < len(src); {
		if l.cr {
			l.cr = false
			if src[i] == '\n' {
				i++
				continue
			}
		}
		end, high := i, byte(0)
		for end < len(src) && src[end] != '\r' && src[end] != '\n' {
			high |= src[end]
			end++
		}
		l.eightBit = l.eightBit || high >= 0x80
		l.utf8 = l.utf8 || high >= 0x80 && !l.body
		if end > i {
			if !l.inLine && !l.plain && src[i] == '.' {
				dst = append(dst, '.')
				dots++
			}
			dst = append(dst, src[i:end]...)
			l.inLine = true
		}
		if end < len(src) {
			dst = append(dst, '\r', '\n')
			l.body = l.body || !l.inLine
			l.inLine, l.cr = false, src[end] == '\r'
			end++
		}
		i = end
	}
	l.size += int64(len(dst) - start - dots)
	return dst
}

// finish appends the line end that the message lacks at its end, if it does.
func (l *lineEnds) finish(dst []byte) []byte {
	if !l.inLine {
		return dst
	}
	l.inLine = false
	l.size += 2
	return append(dst, '\r', '\n')
}

// pump writes the message in r in its form on the wire, without the final dot,
// through fixed buffers. write is called with one block after the other.
func (l *lineEnds) pump(r io.Reader, write func([]byte) error) (read error, written error) {
	in, out := make([]byte, readBlock), make([]byte, 0, writeBlock)
	for {
		n, err := r.Read(in)
		out = l.add(out[:0], in[:n])
		if errors.Is(err, io.EOF) {
			out = l.finish(out)
		}
		if len(out) > 0 {
			if e := write(out); e != nil {
				return nil, e
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return err, nil
		}
	}
}

// Measure reads a message to its end and fills in Size, EightBit and UTF8. The
// size is that with every line end as CRLF, which is what SIZE means (RFC 1870).
// The error is the reader's.
func (e *Envelope) Measure(r io.Reader) error {
	var l lineEnds
	err, _ := l.pump(r, func([]byte) error { return nil })
	e.Size, e.EightBit, e.UTF8 = l.size, l.eightBit, l.utf8
	return err
}
