// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// canned is a connection that says what it holds and then ends.
type canned struct {
	net.Conn
	r *strings.Reader
}

func (c canned) Read(b []byte) (int, error)      { return c.r.Read(b) }
func (c canned) SetReadDeadline(time.Time) error { return nil }

func readCanned(text string) (Reply, error) {
	var w wire
	w.use(canned{r: strings.NewReader(text)})
	return w.reply(time.Minute)
}

func TestReply(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"one line", "250 ok\r\n", "250 ok"},
		{"LF alone", "250 ok\n", "250 ok"},
		{"no text", "250\r\n", "250"},
		{"no text but a space", "250 \r\n", "250"},
		{"several lines", "550-5.1.1 no\r\n550 5.1.1 such user\r\n", "550 5.1.1 no such user"},
		{"no text, more follow", "250-\r\n250 ok\r\n", "250 ok"},
		{"enhanced code once", "550-5.1.1 no\r\n550 such user\r\n", "550 5.1.1 no such user"},
		{"enhanced code alone", "250 2.1.0\r\n", "250 2.1.0"},
		{"enhanced code of another class", "250 5.1.0 what\r\n", "250 5.1.0 what"},
		{"not quite an enhanced code", "250 2.1000.0 x\r\n", "250 2.1000.0 x"},
		{"an address is no enhanced code", "220 2.2.2.2 x\r\n", "220 2.2.2.2 x"},
		{"controls", "250 a\x00b\x1b[1mc\rd\te\r\n", "250 a b [1mc d e"},
		{"not UTF-8", "250 a\xff\xfeb\r\n", "250 a\uFFFDb"},
		{"C1 controls and direction", "250 a\u0085b\u202ec\u2028d\r\n", "250 a b c d"},
		{"UTF-8", "250 Grüße\r\n", "250 Grüße"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply, err := readCanned(test.in)
			if err != nil || reply.String() != test.want {
				t.Errorf("%q, %v; want %q", reply.String(), err, test.want)
			}
		})
	}
}

func TestReplyThatIsNone(t *testing.T) {
	for _, test := range []struct{ name, in string }{
		{"empty line", "\r\n"},
		{"two digits", "25\r\n"},
		{"four digits", "2500 ok\r\n"},
		{"code 1xx", "150 wait\r\n"},
		{"code 6xx", "650 ok\r\n"},
		{"code 000", "000 ok\r\n"},
		{"not digits", "2a0 ok\r\n"},
		{"digits of another script", "２５０ ok\r\n"},
		{"no separator", "250ok\r\n"},
		{"leading space", " 250 ok\r\n"},
		{"codes differ", "250-a\r\n251 b\r\n"},
		{"continued by something else", "250-a\r\nhello\r\n"},
		{"HTTP", "HTTP/1.1 400 Bad Request\r\n"},
		{"overlong line", "250 " + strings.Repeat("x", maxLine) + "\r\n"},
		{"too many lines", strings.Repeat("250-\r\n", maxLines) + "250 ok\r\n"},
		{"too many bytes", strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 70) + "250 ok\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply, err := readCanned(test.in)
			if !errors.Is(err, errNotSMTP) || reply.Code != 0 {
				t.Errorf("%v, %v; want an error about the reply", reply, err)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("an error text of %d bytes", len(err.Error()))
			}
		})
	}
	for _, in := range []string{"", "2", "250", "250 ok", "250-ok\r\n", "250-ok\r\n250 ok\r"} {
		if reply, err := readCanned(in); err == nil || errors.Is(err, errNotSMTP) || reply.Code != 0 {
			t.Errorf("%q cut short: %v, %v; want a lost connection", in, reply, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{"250 ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 no\n", "334 VXNlcm5hbWU6\r\n", "220\r\n",
		"250-\x00\xff\r\n250", "25", "\r\n", "250-" + strings.Repeat("x", 5000), "999 x\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		reply, err := readCanned(in)
		if err != nil {
			if reply.Code != 0 || reply.Lines != nil {
				t.Fatalf("%v together with %v", reply, err)
			}
			return
		}
		if reply.Code < 200 || reply.Code > 599 || len(reply.Lines) == 0 || len(reply.Lines) > maxLines {
			t.Fatalf("%#v", reply)
		}
		text := reply.String()
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 4*maxReply {
			t.Fatalf("%q", text)
		}
		if !strings.HasPrefix(in, text[:3]) {
			t.Fatalf("code %s of %q", text[:3], in)
		}
		if reply.Enhanced != "" && !strings.HasPrefix(in[4:], reply.Enhanced) {
			t.Fatalf("enhanced code %s of %q", reply.Enhanced, in)
		}
		parseExtensions(reply.Lines)
	})
}

func TestParseExtensions(t *testing.T) {
	for _, test := range []struct {
		name, lines, keyword, params string
		has                          bool
	}{
		{"the first line is a name", "STARTTLS", "STARTTLS", "", false},
		{"upper case", "mx\nSTARTTLS", "STARTTLS", "", true},
		{"lower case", "mx\nstarttls", "STARTTLS", "", true},
		{"parameters", "mx\nSize 1000", "SIZE", "1000", true},
		{"AUTH", "mx\nAUTH plain Login", "AUTH", "PLAIN LOGIN", true},
		{"AUTH=", "mx\nauth=login plain", "AUTH", "PLAIN LOGIN", true},
		{"both", "mx\nAUTH PLAIN\nAUTH=LOGIN", "AUTH", "PLAIN LOGIN", true},
		{"an empty line", "mx\n\n8BITMIME", "8BITMIME", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := parseExtensions(strings.Split(test.lines, "\n"))
			if e.has(test.keyword) != test.has || strings.Join(e[test.keyword], " ") != test.params {
				t.Errorf("%v", e)
			}
		})
	}
}
