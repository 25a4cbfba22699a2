// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Await waits until the mailbox of a user has exactly one message with a
// Message-ID, and returns it as the server wrote it.
func (s *Server) Await(t testing.TB, user, messageID string) []byte {
	t.Helper()
	for end := time.Now().Add(limit); ; {
		found, err := s.find(user, messageID)
		switch {
		case err != nil:
			t.Fatal(err)
		case len(found) > 1:
			t.Fatalf("%s has %s %d times", user, messageID, len(found))
		case len(found) == 1:
			return found[0]
		case time.Now().After(end):
			t.Fatalf("%s hasn't got %s within %v", user, messageID, limit)
		}
		<-time.After(20 * time.Millisecond) // until it is looked again
	}
}

// Has reports whether a message is in the mailbox of a user now.
func (s *Server) Has(t testing.TB, user, messageID string) bool {
	t.Helper()
	found, err := s.find(user, messageID)
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

// find returns the messages with a Message-ID in a maildir.
func (s *Server) find(user, messageID string) ([][]byte, error) {
	names, err := filepath.Glob(s.path("out/mail", user, "new/*"))
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for _, name := range names {
		message, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		header, _, _ := bytes.Cut(message, []byte("\n\n"))
		if bytes.Contains(header, []byte(messageID)) {
			found = append(found, message)
		}
	}
	return found, nil
}

// Unchanged says whether a message was delivered as it was prepared: unchanged
// but for line ends and the trace fields that a server puts before it (those of
// RFC 5321 §4.4, and others that servers add to them).
func Unchanged(prepared, delivered []byte) error {
	delivered, prepared = lines(delivered), lines(prepared)
	if !bytes.HasSuffix(delivered, prepared) {
		at := difference(delivered, prepared)
		return fmt.Errorf("of %d bytes prepared and %d delivered the last %d are equal; before that %q became %q",
			len(prepared), len(delivered), at, tail(prepared, at), tail(delivered, at))
	}
	before := string(bytes.TrimSuffix(delivered, prepared))
	for line := range strings.Lines(before) {
		name, _, isField := strings.Cut(line, ":")
		switch {
		case line[0] == ' ' || line[0] == '\t':
		case isField && isTrace(name):
		default:
			return fmt.Errorf("the server put %q before the message", line)
		}
	}
	return nil
}

// isTrace reports whether a field is one that servers put before a message.
func isTrace(name string) bool {
	switch strings.ToLower(name) {
	case "return-path", "received", "x-original-to", "delivered-to", "envelope-to", "delivery-date":
		return true
	}
	return false
}

// lines returns text with LF at the end of each line.
func lines(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) }

// difference counts the bytes at the end that a and b have in common.
func difference(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// tail returns some bytes that come before the last n.
func tail(text []byte, n int) []byte {
	end := len(text) - n
	return text[max(0, end-60):end]
}
