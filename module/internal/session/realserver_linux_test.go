// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"submission/test/mailserver"
)

// counter counts round trips: how often something was written after something
// had been read. A write that is under way counts once.
type counter struct {
	net.Conn
	mu    sync.Mutex
	read  bool
	turns int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = c.read || n > 0
	return n, err
}

func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	if c.read {
		c.turns++
	}
	c.read = false
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// since returns the turns since it was called last.
func (c *counter) since() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.turns
	c.turns = 0
	return n
}

// What pipelines and chunks come to with the servers that most people have,
// several messages on one connection.
func TestRealServers(t *testing.T) {
	for _, kind := range []mailserver.Kind{mailserver.Postfix, mailserver.OpenSMTPD, mailserver.Exim} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			server := mailserver.Start(t, kind)
			pem, err := os.ReadFile(server.CA())
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(pem)
			for _, chunking := range []bool{false, true} {
				t.Run(fmt.Sprint("chunking ", chunking), func(t *testing.T) {
					conn, err := server.Dial("198.18.0.1:587")
					if err != nil {
						t.Fatal(err)
					}
					count := &counter{Conn: conn}
					s, err := Open(t.Context(), count, Config{Host: mailserver.Host, Security: STARTTLS, EHLO: "me.example.org",
						Roots: roots, NoChunking: !chunking, Timeouts: patient()})
					wantKind(t, err, "")
					defer s.Abort()
					wantKind(t, s.Start(t.Context(), &Credentials{User: mailserver.User, Password: mailserver.Password}), "")
					severalMessages(t, server, kind, s, count)
				})
			}
		})
	}
}

func severalMessages(t *testing.T, server *mailserver.Server, kind mailserver.Kind, s *Session, count *counter) {
	chunks := s.chunking(Envelope{Size: 1})
	// OpenSMTPD has neither: everything goes one by one there.
	offered := kind != mailserver.OpenSMTPD
	if s.ext.has("CHUNKING") != offered || s.ext.has("PIPELINING") != offered {
		t.Errorf("the server offers %v", s.ext)
	}
	var many []string
	for i := range 90 {
		many = append(many, fmt.Sprintf("bob@%s", mixed("example.org", i)))
	}
	for i, m := range []struct {
		name   string
		from   string
		to     []string
		lines  int
		kind   Kind
		stages string // where the refusal may come
		has    string // who gets it
		turns  int    // without CHUNKING, and one less with it; 0: not looked at
	}{
		{"all refused", "", []string{"nobody@example.org", "noone@example.org"}, 1, KindRecipients, "rcpt", "", 0},
		{"one refused", "", []string{"nobody@example.org", "bob@example.org"}, 1, "", "", "bob", 2},
		{"another", "", []string{"carol@example.org"}, 10, "", "", "carol", 2},
		{"many", "", many, 1, "", "", "bob", 2},
		{"a sender that is refused", "refused@example.org", []string{"bob@example.org"}, 1, "any", "mail rcpt", "", 0},
		{"after that", "", []string{"dave@example.org"}, 1, "", "", "dave", 2},
		{"large", "", []string{"dave@example.org"}, 10_000, "", "", "dave", 0},
		{"large and refused", "", []string{"nobody@example.org"}, 10_000, KindRecipients, "rcpt", "", 0},
		{"dots", "", []string{"dave@example.org"}, 3, "", "", "dave", 2},
	} {
		id := fmt.Sprintf("<%d-%v-%d@example.org>", i, chunks, time.Now().UnixNano())
		text := fmt.Sprintf("From: ann@example.org\r\nTo: bob@example.org\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: %s\r\nSubject: %s\r\n\r\n", id, m.name) +
			strings.Repeat(".\r\n..\r\nten lines, or a great many of them\r\n.x\r\n", m.lines)
		if m.from == "" {
			m.from = "ann@example.org"
		}
		count.since()
		marked := false
		result, err := s.Send(t.Context(), Envelope{From: m.from, To: m.to, Size: int64(len(text))}, strings.NewReader(text), func(Result) error {
			marked = true
			return nil
		})
		e := wantKindIf(t, err, m.kind)
		if e != nil && !strings.Contains(m.stages, string(e.Stage)) || s.Over() {
			t.Fatalf("%s: %v, over: %v", m.name, err, s.Over())
		}
		turns := count.since()
		switch {
		case !offered && m.turns > 0 && turns < len(m.to)+3:
			t.Errorf("%s: only %d round trips", m.name, turns)
		case offered && m.turns > 0 && chunks != (turns == m.turns-1), offered && m.turns > 0 && !chunks && turns != m.turns:
			t.Errorf("%s: %d round trips", m.name, turns)
		case m.name == "large and refused" && offered && (marked || turns > 1):
			t.Errorf("%s: marked: %v, %d round trips", m.name, marked, turns)
		case m.kind == "" && len(result.Recipients) != len(m.to):
			t.Errorf("%s: %d recipients", m.name, len(result.Recipients))
		}
		switch {
		case m.has == "":
		case m.name == "many": // who may get it more than once, as they were named
			for end := time.Now().Add(time.Minute); !server.Has(t, m.has, id); {
				if time.Now().After(end) {
					t.Fatalf("%s: it isn't there", m.name)
				}
				<-time.After(20 * time.Millisecond) // until it is looked again
			}
		default:
			if err := mailserver.Unchanged([]byte(text), server.Await(t, m.has, id)); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
	s.Quit(t.Context())
}

// wantKindIf is wantKind, where "any" is any kind of no.
func wantKindIf(t *testing.T, err error, kind Kind) *Error {
	t.Helper()
	if e, ok := err.(*Error); ok && kind == "any" {
		return e
	}
	return wantKind(t, err, kind)
}

// mixed returns a name with capitals where n has ones.
func mixed(name string, n int) string {
	b := []byte(name)
	for i := range b {
		if n&(1<<i) != 0 && b[i] >= 'a' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}
