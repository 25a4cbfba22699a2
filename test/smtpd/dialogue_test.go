// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"submission/test/smtpd"
)

// A caller is a client that says and hears exactly what a test writes.
type caller struct {
	t  *testing.T
	nc net.Conn
	in *bufio.Reader
}

func call(t *testing.T, address string) *caller {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(time.Minute))
	return &caller{t: t, nc: nc, in: bufio.NewReader(nc)}
}

// starttls upgrades after the server's 220.
func (c *caller) starttls(config *tls.Config) error {
	t := tls.Client(c.nc, config)
	c.nc, c.in = t, bufio.NewReader(t)
	return t.Handshake()
}

// talk plays lines: "C text" is sent with CRLF, "R text" exactly as it is (\r
// and \n written as escapes), "S text" must be the next line, "E" the end of
// the connection by FIN, "X" by RST.
func (c *caller) talk(lines ...string) {
	c.t.Helper()
	for _, l := range lines {
		kind, text, _ := strings.Cut(l, " ")
		switch kind {
		case "C":
			c.send(text + "\r\n")
		case "R":
			c.send(strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00").Replace(text))
		case "S":
			got, err := c.in.ReadString('\n')
			if got != text+"\r\n" {
				c.t.Fatalf("heard %q (%v), want %q", got, err, text)
			}
		case "E":
			if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
				c.t.Fatalf("heard %q (%v), want the end", rest, err)
			}
		case "X":
			if _, err := io.ReadAll(c.in); !errors.Is(err, syscall.ECONNRESET) {
				c.t.Fatalf("heard %v, want a reset", err)
			}
		default:
			c.t.Fatalf("what is %q?", l)
		}
	}
}

func (c *caller) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatal(err)
	}
}

const (
	hello = `"ehlo":["X"]`
	mail  = "C MAIL FROM:<a@b>|S 250 2.1.0 sender ok|C RCPT TO:<c@d>|S 250 2.1.5 recipient ok"
)

// ehlo greets a server whose only keywords are the given ones.
func ehlo(keywords ...string) string {
	lines := append([]string{"mail.test"}, keywords...)
	s := "S 220 mail.test ESMTP|C EHLO me"
	for i, l := range lines {
		if i == len(lines)-1 {
			return s + "|S 250 " + l
		}
		s += "|S 250-" + l
	}
	return s
}

func TestDialogue(t *testing.T) {
	hi := ehlo("X")
	data := mail + "|C DATA|S 354 end with <CRLF>.<CRLF>|C x|C ."
	tests := []struct {
		name, script, talk, end string
	}{
		{"plain", `{` + hello + `}`, hi + "|" + data + "|S 250 2.0.0 ok, queued|C QUIT|S 221 2.0.0 mail.test bye|E", "quit"},
		{"client leaves", `{` + hello + `}`, hi, "client"},

		{"greeting lines", `{"rules":[{"on":"GREETING","reply":["220-one","220 two"]}]}`, "S 220-one|S 220 two", "client"},
		{"greeting 554", `{"rules":[{"on":"GREETING","reply":"554 no"}]}`,
			"S 554 no|C EHLO me|S 503 5.5.1 no service here|C QUIT|S 221 2.0.0 mail.test bye|E", "quit"},
		{"greeting 421", `{"rules":[{"on":"GREETING","reply":"421 busy"}]}`, "S 421 busy|E", "421"},
		{"no greeting", `{"rules":[{"on":"GREETING","instead":"silence"}]}`, "C EHLO me", "silence"},
		{"closed before the greeting", `{"rules":[{"on":"GREETING","instead":"close"}]}`, "E", "close"},
		{"not SMTP", `{"rules":[{"on":"GREETING","raw":"SSH-2.0-x\r\n\u0000","then":"close"}]}`, "S SSH-2.0-x|R |C EHLO", "close"},
		{"delays and pieces", `{` + hello + `,"rules":[{"on":"*","delay":0.01,"pieces":3,"gap":"1ms"}]}`,
			hi + "|" + data + "|S 250 2.0.0 ok, queued", "client"},
		{"unasked", `{` + hello + `,"rules":[{"on":"EHLO","reply":"250 mail.test\n250 sure"}]}`,
			"S 220 mail.test ESMTP|C EHLO me|S 250 mail.test|S 250 sure", "client"},

		{"EHLO refused", `{"rules":[{"on":"EHLO","reply":"502 no"}]}`,
			"S 220 mail.test ESMTP|C EHLO me|S 502 no|C MAIL FROM:<a@b>|S 503 5.5.1 say EHLO first|C HELO me|S 250 mail.test|" + mail, "client"},
		{"HELO refused too", `{"rules":[{"on":"EHLO","reply":"550 no"},{"on":"HELO","reply":"550 no"}]}`,
			"S 220 mail.test ESMTP|C EHLO me|S 550 no|C HELO me|S 550 no|C QUIT|S 221 2.0.0 mail.test bye|E", "quit"},
		{"HELO has no extensions", `{"ehlo":["SIZE"]}`,
			"S 220 mail.test ESMTP|C HELO me|S 250 mail.test|C MAIL FROM:<a@b> SIZE=1|S 555 5.5.4 SIZE=1 was not offered", "client"},

		{"by argument", `{` + hello + `,"rules":[{"on":"rcpt","match":"bad@","reply":"550 5.1.1 no such user"}]}`,
			hi + "|" + mail + "|C RCPT TO:<BAD@x>|S 550 5.1.1 no such user|C DATA|S 354 end with <CRLF>.<CRLF>", "client"},
		{"the first time", `{` + hello + `,"rules":[{"on":"MAIL","times":1,"reply":"451 later"}]}`,
			hi + "|C MAIL FROM:<a@b>|S 451 later|" + mail, "client"},
		{"the second time", `{` + hello + `,"rules":[{"on":"MAIL","from":2,"times":1,"reply":"451 later"}]}`,
			hi + "|C MAIL FROM:<a@b>|S 250 2.1.0 sender ok|C RSET|S 250 2.0.0 forgotten|C MAIL FROM:<a@b>|S 451 later|" + mail, "client"},
		{"by content", `{` + hello + `,"rules":[{"on":"DOT","match":"^X$","tls":true},{"on":"DOT","match":"^x\r\n$","reply":"554 spam"}]}`,
			hi + "|" + data + "|S 554 spam|" + mail, "client"},
		{"a reply swallowed", `{"ehlo":["PIPELINING"],"rules":[{"on":"NOOP","instead":"nothing"}]}`,
			ehlo("PIPELINING") + "|C NOOP|C RSET|S 250 2.0.0 forgotten", "client"},
		{"every recipient", `{` + hello + `,"rules":[{"on":"RCPT","reply":"450 no"}]}`,
			hi + "|C MAIL FROM:<a@b>|S 250 2.1.0 sender ok|C RCPT TO:<c@d>|S 450 no|C DATA|S 554 5.5.1 no valid recipients", "client"},

		{"after the third line", `{` + hello + `,"rules":[{"on":"*","from":3,"per":"session","then":"close"}]}`,
			hi + "|" + mail + "|E", "close"},
		{"in place of the third", `{` + hello + `,"rules":[{"on":"*","from":3,"per":"session","instead":"reset"}]}`,
			hi + "|C MAIL FROM:<a@b>|S 250 2.1.0 sender ok|C RCPT TO:<c@d>|X", "reset"},
		{"at the dot", `{` + hello + `,"rules":[{"on":"DOT","instead":"cut"}]}`, hi + "|" + data + "|E", "cut"},
		{"the dot is a line", `{` + hello + `,"rules":[{"on":"*","match":"^\\.$","reply":"999 huh"}]}`, hi + "|" + data + "|S 999 huh", "client"},
		{"after DATA", `{` + hello + `,"rules":[{"on":"DATA","then":"close"}]}`,
			hi + "|" + mail + "|C DATA|S 354 end with <CRLF>.<CRLF>|E", "close"},
		{"within the message", `{` + hello + `,"rules":[{"on":"BODY","after":5,"instead":"close"}]}`,
			hi + "|" + mail + "|C DATA|S 354 end with <CRLF>.<CRLF>|R abcde|E", "close"},
		{"after bytes said", `{` + hello + `,"rules":[{"on":"SENT","after":21,"then":"close"}]}`,
			"S 220 mail.test ESMTP|E", "close"},

		{"bare LF", `{` + hello + `}`,
			`S 220 mail.test ESMTP|R EHLO me\n|S 500 5.5.2 a line ends with CRLF and holds no other CR or LF`, "client"},
		{"pipelining not offered", `{` + hello + `}`,
			hi + `|R NOOP\r\nNOOP\r\n|S 250 2.0.0 ok|S 503 5.5.0 pipelining was not offered`, "client"},
		{"pipelining", `{"ehlo":["pipelining"]}`,
			ehlo("pipelining") + `|R MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n|S 250 2.1.0 sender ok|S 250 2.1.5 recipient ok|S 354 end with <CRLF>.<CRLF>`, "client"},
		{"SIZE", `{"ehlo":["size 10"]}`,
			ehlo("size 10") + "|C MAIL FROM:<a@b> SIZE=11|S 552 5.3.4 the message is too large|" + mail +
				"|C DATA|S 354 end with <CRLF>.<CRLF>|C 123456789|C .|S 552 5.3.4 the message is too large", "client"},
		{"8BITMIME not offered", `{` + hello + `}`,
			hi + "|C MAIL FROM:<a@b> BODY=8BITMIME|S 555 5.5.4 BODY=8BITMIME was not offered", "client"},
		{"SMTPUTF8", `{"ehlo":["SMTPUTF8"]}`,
			ehlo("SMTPUTF8") + "|C MAIL FROM:<å@b>|S 553 5.6.7 the address needs SMTPUTF8|C MAIL FROM:<å@b> SMTPUTF8|S 250 2.1.0 sender ok", "client"},
		{"DSN", `{"ehlo":["DSN"]}`,
			ehlo("DSN") + "|C MAIL FROM:<a@b> RET=HDRS ENVID=x|S 250 2.1.0 sender ok|C RCPT TO:<c@d> NOTIFY=NEVER|S 250 2.1.5 recipient ok", "client"},
		{"REQUIRETLS in the clear", `{"ehlo":["REQUIRETLS"]}`,
			ehlo("REQUIRETLS") + "|C MAIL FROM:<a@b> REQUIRETLS|S 530 5.7.10 REQUIRETLS needs TLS", "client"},
		{"LIMITS", `{"ehlo":["LIMITS RCPTMAX=1 MAILMAX=1"]}`,
			ehlo("LIMITS RCPTMAX=1 MAILMAX=1") + "|" + mail + "|C RCPT TO:<e@f>|S 452 4.5.3 too many recipients|C RSET|S 250 2.0.0 forgotten|" +
				"C MAIL FROM:<a@b>|S 421 4.7.0 too many messages on one connection|E", "421"},
		{"one message", `{` + hello + `,"max-messages":1}`,
			hi + "|" + data + "|S 250 2.0.0 ok, queued|C MAIL FROM:<a@b>|S 421 4.7.0 too many messages on one connection|E", "421"},
		{"CHUNKING", `{"ehlo":["CHUNKING"]}`,
			ehlo("CHUNKING") + "|" + mail + `|R BDAT 4\r\n.\r\n\0|S 250 2.0.0 4 bytes|R BDAT 0 LAST\r\n|S 250 2.0.0 ok, queued`, "client"},
		{"CHUNKING cut", `{"ehlo":["CHUNKING"],"rules":[{"on":"BODY","after":6,"from":2,"instead":"close"}]}`,
			ehlo("CHUNKING") + "|" + mail + `|R BDAT 4\r\nabcd|S 250 2.0.0 4 bytes|R BDAT 4\r\nef|E`, "close"},
		{"bad chunk", `{"ehlo":["CHUNKING"]}`, ehlo("CHUNKING") + "|C BDAT x|S 501 5.5.4 bad BDAT|E", "421"},
		{"CHUNKING not offered", `{` + hello + `}`,
			hi + "|" + mail + `|R BDAT 3\r\nabc|S 502 5.5.1 CHUNKING is not offered|C NOOP|S 250 2.0.0 ok`, "client"},
		{"quoted and bad paths", `{` + hello + `}`,
			hi + `|C MAIL FROM:<"a> b"@c>|S 250 2.1.0 sender ok|C RCPT TO: <c@d>|S 501 5.1.3 bad recipient address|C RCPT TO:<c d>|S 501 5.1.3 bad recipient address`, "client"},

		{"STARTTLS not offered", `{` + hello + `}`, hi + "|C STARTTLS|S 502 5.5.1 STARTTLS is not offered", "client"},
		{"STARTTLS refused", `{"ehlo":["STARTTLS"],"rules":[{"on":"STARTTLS","reply":"454 4.7.0 no TLS now"}]}`,
			ehlo("STARTTLS") + "|C STARTTLS|S 454 4.7.0 no TLS now|C NOOP|S 250 2.0.0 ok", "client"},
		{"handshake refused", `{"ehlo":["STARTTLS"],"rules":[{"on":"TLS","instead":"close"}]}`,
			ehlo("STARTTLS") + "|C STARTTLS|S 220 2.0.0 go ahead|E", "close"},
		{"no handshake after all", `{"ehlo":["STARTTLS"],"rules":[{"on":"TLS","raw":"500 what\r\n"}]}`,
			ehlo("STARTTLS") + "|C STARTTLS|S 220 2.0.0 go ahead|S 500 what|C NOOP|S 250 2.0.0 ok", "client"},
		{"TLS first", `{` + hello + `,"require-tls":true}`,
			hi + "|C MAIL FROM:<a@b>|S 530 5.7.0 must issue a STARTTLS command first", "client"},
		{"AUTH first", `{` + hello + `,"require-auth":true}`, hi + "|C MAIL FROM:<a@b>|S 530 5.7.0 authentication required", "client"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := start(t, tt.script)
			c := call(t, server.Addr(""))
			c.talk(strings.Split(tt.talk, "|")...)
			c.nc.Close()
			sessions, err := server.WaitSessions(limited(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			// A client that leaves with replies unread is a reset.
			if got := sessions[0].End; got != tt.end && !(tt.end == "client" && got == "client-reset") {
				t.Errorf("ended as %q, want %q", got, tt.end)
			}
		})
	}
}

func TestExactBytes(t *testing.T) {
	tests := []struct{ name, wire, data string }{
		{"empty", ".\r\n", ""},
		{"dots", "..\r\n...\r\n.x\r\n.\r\n", ".\r\n..\r\nx\r\n"},
		{"LF before the dot", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n"},
		{"LF after the dot", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n"},
		{"CR before the dot", "a\r.\r\n.\r\n", "a\r.\r\n"},
		{"NUL and 8 bits", "\x00\xff\r\n.\r\n", "\x00\xff\r\n"},
		{"long lines", strings.Repeat("x", 100000) + "\r\n.\r\n", strings.Repeat("x", 100000) + "\r\n"},
		{"a dot where the buffer ends", strings.Repeat("x", 16<<10-2) + "\r\n.\r\n", strings.Repeat("x", 16<<10-2) + "\r\n"},
	}
	server := start(t, `{`+hello+`}`)
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("X"), "|")...)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			c.talk(strings.Split(mail, "|")...)
			c.talk("C DATA", "S 354 end with <CRLF>.<CRLF>")
			c.send(tt.wire)
			c.talk("S 250 2.0.0 ok, queued")
			m := server.Messages()[i]
			if string(m.Wire) != tt.wire || string(m.Data) != tt.data || m.Size != len(tt.data) {
				t.Errorf("wire %.40q, data %.40q", m.Wire, m.Data)
			}
		})
	}
}

func TestIncompleteMessage(t *testing.T) {
	server := start(t, `{`+hello+`}`)
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("X")+"|"+mail+"|C DATA|S 354 end with <CRLF>.<CRLF>|C ..half", "|")...)
	c.nc.Close()
	sessions, err := server.WaitSessions(limited(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(sessions[0].Messages) != 1 || len(server.Messages()) != 0 {
		t.Fatalf("%d messages began, %d were accepted", len(sessions[0].Messages), len(server.Messages()))
	}
	if m := sessions[0].Messages[0]; m.Complete || m.Accepted || string(m.Data) != ".half\r\n" {
		t.Errorf("complete %v, accepted %v, data %q", m.Complete, m.Accepted, m.Data)
	}
}

// TestEverySentByte cuts one dialogue after each byte the server says.
func TestEverySentByte(t *testing.T) {
	const all = "220 mail.test ESMTP\r\n250-mail.test\r\n250 X\r\n250 2.0.0 ok\r\n"
	for n := range len(all) {
		script, err := smtpd.ParseString(`{` + hello + `,"rules":[{"on":"SENT","then":"close"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		script.Rules[0].After = int64(n)
		server, err := smtpd.Start(script)
		if err != nil {
			t.Fatal(err)
		}
		c := call(t, server.Addr(""))
		var got strings.Builder
		for _, line := range []string{"", "EHLO me\r\n", "NOOP\r\n"} {
			// Whether the server has gone shows when we read.
			io.WriteString(c.nc, line)
			for {
				reply, err := c.in.ReadString('\n')
				got.WriteString(reply)
				if err != nil || len(reply) > 3 && reply[3] == ' ' {
					break
				}
			}
		}
		if got.String() != all[:n] {
			t.Errorf("heard %q, want %q", got.String(), all[:n])
		}
		server.Close()
	}
}
