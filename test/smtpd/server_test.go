// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"submission/test/smtpd"
)

func TestServerComesBack(t *testing.T) {
	server := start(t, `{"listen":[{"closed":true}]}`)
	for range 3 {
		if _, err := net.Dial("tcp", server.Addr("")); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("a closed port answers with %v", err)
		}
		if err := server.Update(smtpd.Script{}); err != nil {
			t.Fatal(err)
		}
		c := call(t, server.Addr(""))
		c.talk("S 220 mail.test ESMTP", "C QUIT", "S 221 2.0.0 mail.test bye", "E")
		if err := server.Update(smtpd.Script{Listen: []smtpd.Listen{{Closed: true}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("this machine has no ::1")
	} else {
		l.Close()
	}
	server := start(t, `{"listen":[{"name":"six","address":"[::1]:0"},{"name":"four"}]}`)
	call(t, server.Addr("six")).talk("S 220 mail.test ESMTP")
}

func TestUpdateRefusesOtherPorts(t *testing.T) {
	server := start(t, `{"listen":[{"name":"a"}]}`)
	if err := server.Update(smtpd.Script{Listen: []smtpd.Listen{{Name: "b"}}}); err == nil {
		t.Error("a new port came up")
	}
}

func TestScriptErrors(t *testing.T) {
	for _, script := range []string{
		``, `[]`, `{} {}`, `{"rulez":[]}`,
		`{"listen":[{},{}]}`, `{"certificate":"nice"}`, `{"tls-max":"1.4"}`, `{"bearer-failure":"x"}`, `{"login-prompts":["x"]}`,
		`{"rules":[{}]}`, `{"rules":[{"on":"MAIL","match":"("}]}`, `{"rules":[{"on":"MAIL","then":"explode"}]}`,
		`{"rules":[{"on":"MAIL","per":"day"}]}`, `{"rules":[{"on":"MAIL","after":3}]}`, `{"rules":[{"on":"BODY","after":3}]}`,
		`{"rules":[{"on":"SENT","after":3,"then":"close","reply":"250 x"}]}`, `{"rules":[{"on":"MAIL","delay":"soon"}]}`,
		`{"rules":[{"on":"MAIL","then":"nothing"}]}`, `{"rules":[{"on":"SENT","instead":"nothing"}]}`,
		`{"listen":[{"behaviour":{"rules":[{}]}}]}`,
	} {
		if _, err := smtpd.ParseString(script); err == nil {
			t.Errorf("%s is taken for a script", script)
		}
	}
}

// TestFlood also shows that a client may leave at any time.
func TestFlood(t *testing.T) {
	for _, unit := range []string{`220-more\r\n`, `a`, `\u0000`} {
		t.Run(unit, func(t *testing.T) {
			server := start(t, `{"rules":[{"on":"GREETING","flood":"`+unit+`"}]}`)
			c := call(t, server.Addr(""))
			if _, err := io.CopyN(io.Discard, c.in, 1<<20); err != nil {
				t.Fatal(err)
			}
			c.nc.Close()
			sessions, err := server.WaitSessions(limited(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			if sessions[0].End != "client-reset" {
				t.Errorf("ended as %q", sessions[0].End)
			}
		})
	}
}

// TestResetAtOnce may show as a failure of connect itself.
func TestResetAtOnce(t *testing.T) {
	server := start(t, `{"rules":[{"on":"CONNECT","instead":"reset"}]}`)
	nc, err := net.Dial("tcp", server.Addr(""))
	if err == nil {
		defer nc.Close()
		_, err = nc.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("ended with %v", err)
	}
}

func TestStall(t *testing.T) {
	server := start(t, `{`+hello+`,"rules":[{"on":"BODY","after":1000,"instead":"stall"}]}`)
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("X")+"|"+mail+"|C DATA|S 354 end with <CRLF>.<CRLF>", "|")...)
	c.nc.SetWriteDeadline(time.Now().Add(time.Second)) // never enough, however long
	block := []byte(strings.Repeat("x", 1<<20))
	var err error
	for range 64 {
		if _, err = c.nc.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing 64 MB ended with %v", err)
	}
	server.Close()
	if s := server.Sessions()[0]; s.End != "stall" || len(s.Messages) != 1 || s.Messages[0].Size != 1000 {
		t.Errorf("ended as %q with %d messages", s.End, len(s.Messages))
	}
}

func TestTurns(t *testing.T) {
	server := start(t, `{"ehlo":["PIPELINING"],"latency":"10ms"}`)
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("PIPELINING"), "|")...)
	c.talk(`R MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n`,
		"S 250 2.1.0 sender ok", "S 250 2.1.5 recipient ok", "S 250 2.1.5 recipient ok", "S 354 end with <CRLF>.<CRLF>",
		`R x\r\n.\r\nQUIT\r\n`, "S 250 2.0.0 ok, queued", "S 221 2.0.0 mail.test bye", "E")
	sessions, err := server.WaitSessions(limited(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if n := sessions[0].Turns(); n != 3 {
		t.Errorf("%d turns, want 3: %+v", n, sessions[0].Trace)
	}
	early := 0
	for _, l := range sessions[0].Lines {
		if l.Early {
			early++
		}
	}
	if early != 4 { // RCPT, RCPT, DATA, QUIT
		t.Errorf("%d early lines, want 4", early)
	}
}

func TestStore(t *testing.T) {
	script, err := smtpd.ParseString(`{` + hello + `}`)
	if err != nil {
		t.Fatal(err)
	}
	script.Store = t.TempDir()
	server, err := smtpd.Start(script)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c := call(t, server.Addr(""))
	c.talk(strings.Split(ehlo("X")+"|"+mail+"|C DATA|S 354 end with <CRLF>.<CRLF>|C ..x|C .|S 250 2.0.0 ok, queued", "|")...)
	m := server.Messages()[0]
	data, err1 := os.ReadFile(m.File)
	wire, err2 := os.ReadFile(m.File + ".wire")
	if err := errors.Join(err1, err2); err != nil || string(data) != ".x\r\n" || string(wire) != "..x\r\n.\r\n" || m.Size != 4 || m.Data != nil {
		t.Errorf("data %q, wire %q, %v", data, wire, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	server := start(t, `{`+hello+`,"rules":[{"on":"MAIL","times":10,"reply":"451 later"}]}`)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			c := call(t, server.Addr(""))
			io.WriteString(c.nc, "EHLO me\r\n")
			for _, line := range []string{"", "", "", "MAIL FROM:<a@b>\r\n"} {
				io.WriteString(c.nc, line)
				if _, err := c.in.ReadString('\n'); err != nil {
					t.Error(err)
				}
			}
			c.nc.Close()
		})
	}
	group.Wait()
	sessions, err := server.WaitSessions(limited(t), 20)
	if err != nil {
		t.Fatal(err)
	}
	later := 0
	for _, s := range sessions {
		for _, l := range s.Lines {
			if l.Text == "451 later" {
				later++
			}
		}
	}
	if later != 10 {
		t.Errorf("%d were told to come later, want 10", later)
	}
}
