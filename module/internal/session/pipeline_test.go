// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// heard builds the script of a server that reads a whole group, one command
// for each reply but those that are "", and then says the replies to it. In
// place of DATA there may be "BDAT".
func heard(last string, replies ...string) (script string) {
	for range len(replies) - 1 {
		script += "C\n"
	}
	script += last + "\n"
	for _, reply := range replies {
		script += "S: " + reply + "\n"
	}
	return script
}

// eager is heard for a server that answers each command as it comes.
func eager(last string, replies ...string) (script string) {
	for i, reply := range replies {
		verb := "C"
		if i == len(replies)-1 {
			verb = last
		}
		script += verb + "\nS: " + reply + "\n"
	}
	return script
}

type pipelined struct {
	name    string
	replies []string // to MAIL, RCPT, RCPT and DATA or BDAT
	then    string   // what follows in the script
	kind    Kind
	outcome string // a letter for each recipient answered: y or n
	reply   string // of the result
	over    bool
}

func (test pipelined) run(t *testing.T, exts, last string) {
	for name, script := range map[string]string{"all at once": heard(last, test.replies...), "one by one": eager(last, test.replies...)} {
		t.Run(test.name+", "+name, func(t *testing.T) {
			s, p := begun(t, exts, script+test.then+"WAIT")
			const body = ".hello\r\n"
			dots := 0
			result, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a", "b"}, Size: int64(len(body))},
				strings.NewReader(body), func(Result) error { dots++; return nil })
			wantKind(t, err, test.kind)
			outcome := ""
			for _, r := range result.Recipients {
				outcome += map[bool]string{true: "y", false: "n"}[r.Accepted]
			}
			if outcome != test.outcome || result.Reply.String() != test.reply {
				t.Errorf("recipients %q, reply %q; want %q, %q", outcome, result.Reply.String(), test.outcome, test.reply)
			}
			if s.Over() != test.over {
				t.Errorf("over is %v", s.Over())
			}
			want := strings.Count(last, "BDAT")
			if strings.HasPrefix(test.then, "MSG") && !strings.Contains(test.then, "nobody") {
				want++
			}
			if dots != want {
				t.Errorf("beforeDot was called %d times, want %d", dots, want)
			}
			s.Abort()
			if <-p.done; p.err != nil && !test.over {
				t.Errorf("%v; the client said %q", p.err, p.lines)
			}
			switch {
			case strings.Contains(test.then, "nobody"):
				if p.message != ".\r\n" {
					t.Errorf("for nobody the server got %q", p.message)
				}
			case last == "BDAT" && !test.over && p.message != body, strings.HasPrefix(test.then, "MSG") && p.message != "."+body+".\r\n":
				t.Errorf("the server got %q", p.message)
			case p.lines[len(p.lines)-1] == "":
				t.Errorf("the client said %q", p.lines)
			}
		})
	}
}

// With PIPELINING the commands go out together, and the replies decide as they
// would one by one.
func TestPipelining(t *testing.T) {
	const ok, no, data = "250 ok", "550 no", "354 go ahead"
	for _, test := range []pipelined{
		{"accepted", []string{ok, ok, ok, data}, "MSG\nS: 250 taken\n", "", "yy", "250 taken", false},
		{"one refused", []string{ok, no, ok, data}, "MSG\nS: 250 taken\n", "", "ny", "250 taken", false},
		{"one refused for now", []string{ok, ok, "451 later", data}, "MSG\nS: 250 taken\n", "", "yn", "250 taken", false},
		{"all refused", []string{ok, no, no, "503 nobody"}, "", KindRecipients, "nn", no, false},
		{"all refused and 354", []string{ok, no, no, data}, "MSG\nS: 250 thanks, for nobody\n", KindRecipients, "nn", no, false},
		{"all refused, 354 and 554", []string{ok, no, "451 no", data}, "MSG\nS: 554 nobody\n", KindRecipients, "nn", "451 no", false},
		{"all refused, 354 and 421", []string{ok, no, no, data}, "MSG\nS: 421 nobody\n", KindRecipients, "nn", no, true},
		{"all refused, 354 and lost", []string{ok, no, no, data}, "MSG\nS: nobody\n", KindRecipients, "nn", no, true},
		{"MAIL refused", []string{no, "503 what", "503 what", "503 what"}, "", KindPermanent, "", no, false},
		{"MAIL refused and 354", []string{no, "503 what", "503 what", data}, "MSG\nS: 250 nobody\n", KindPermanent, "", no, false},
		{"MAIL 552", []string{"552 big", "503 what", "503 what", "503 what"}, "", KindSize, "", "552 big", false},
		{"MAIL 530", []string{"530 who", "530 who", "530 who", "530 who"}, "", KindAuth, "", "530 who", false},
		{"RCPT 530, and 354 for the other", []string{ok, ok, "530 who", data}, "", KindAuth, "y", "530 who", true},
		{"RCPT 354", []string{ok, ok, data, data}, "", KindProtocol, "y", data, true},
		{"DATA refused", []string{ok, ok, ok, "451 later"}, "", KindTemporary, "yy", "451 later", false},
		{"DATA 250", []string{ok, ok, ok, ok}, "", KindProtocol, "yy", ok, true},
		{"DATA 421", []string{ok, ok, ok, "421 bye"}, "", KindTemporary, "yy", "421 bye", true},
		{"message refused", []string{ok, ok, ok, data}, "MSG\nS: 554 spam\n", KindPermanent, "yy", "554 spam", false},
		{"message answered with nonsense", []string{ok, ok, ok, data}, "MSG\nS: fine\n", KindUncertain, "yy", data, true},
	} {
		test.run(t, "PIPELINING", "C")
	}
	t.Run("too many replies", func(t *testing.T) {
		s, p := begun(t, "PIPELINING", heard("C", ok, ok, ok, data+"\nS: 250 taken")+"WAIT")
		_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a", "b"}}, strings.NewReader("hello"), func(Result) error { return nil })
		wantKind(t, err, KindProtocol)
		if <-p.done; strings.Contains(strings.Join(p.lines, "\n"), "\n.") {
			t.Errorf("the client said %q", p.lines)
		}
	})
	t.Run("in pieces", func(t *testing.T) {
		script := "C\nC\nC\nC\n"
		for _, b := range "250-2.1.0 o\r\n250 k\r\n250 ok\r\n550 no\r\n354 go\r\n" {
			script += fmt.Sprintf("S %q\n", string(b))
		}
		s, p := begun(t, "PIPELINING", script+"MSG\nS: 250 ok\nWAIT")
		result, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a", "b"}}, strings.NewReader("hello"), nil)
		wantKind(t, err, "")
		if len(result.Recipients) != 2 || !result.Recipients[0].Accepted || result.Recipients[1].Accepted {
			t.Errorf("%v", result.Recipients)
		}
		s.Abort()
		<-p.done
	})
}

// What follows a message that came to nothing begins with RSET, in the same
// write.
func TestPipeliningAgain(t *testing.T) {
	const ok = "250 ok"
	for _, exts := range []string{"PIPELINING", "PIPELINING\nCHUNKING"} {
		last, end := "C", "S: 354 go\nMSG\nS: 250 ok\n"
		if exts != "PIPELINING" {
			last, end = "BDAT", "S: 250 ok\n"
		}
		s, p := begun(t, exts, heard(last, ok, "550 no", "503 nobody")+
			"C: RSET\nC\nC\n"+last+"\nS: 250 ok\nS: 250 ok\nS: 250 ok\n"+end+
			"C: MAIL FROM:<me@x>\nC\n"+last+"\nS: 250 ok\nS: 250 ok\n"+end+"C: QUIT\nS: 221 bye\n")
		env := Envelope{From: "me@x", To: []string{"a"}}
		for i, kind := range []Kind{KindRecipients, "", ""} {
			if exts != "PIPELINING" {
				env.Size = 7
			}
			s.ext["SIZE"] = nil
			delete(s.ext, "SIZE")
			_, err := s.Send(t.Context(), env, strings.NewReader("hello"), nil)
			if e := wantKind(t, err, kind); kind == "" && e != nil {
				t.Errorf("message %d: %v", i, e)
			}
		}
		s.Quit(t.Context())
		if <-p.done; p.err != nil {
			t.Errorf("%q: %v, the client said %q", exts, p.err, p.lines)
		}
	}
}

// A long list of recipients and long replies block nobody, whoever writes
// first and reads last.
func TestPipeliningManyRecipients(t *testing.T) {
	const n = 5_000
	var to []string
	script := "C\n"
	for i := range n {
		to = append(to, fmt.Sprintf("recipient-%d@example.org", i))
	}
	long := strings.Repeat("x", 200)
	answers := "250 sender\r\n" + strings.Repeat("250 "+long+"\r\n", n) + "354 go\r\n"
	s, p := begun(t, "PIPELINING", script+fmt.Sprintf("S %q\n", answers)+"MSG\nS: 250 ok\nWAIT")
	result, err := s.Send(t.Context(), Envelope{From: "me@x", To: to}, strings.NewReader("hello"), nil)
	// The peer has read one line only when it begins to speak.
	wantKind(t, err, "")
	if len(result.Recipients) != n {
		t.Errorf("%d recipients", len(result.Recipients))
	}
	s.Abort()
	<-p.done
}

// The limits of time are those of one command at a time.
func TestPipeliningTimeLimits(t *testing.T) {
	const ehlo = "S: 220 hi\nC\nS: 250-mx\nS: 250-CHUNKING\nS: 250 PIPELINING\n"
	for _, test := range []struct {
		name, script string
		size         int64 // 0: DATA
		kind         Kind
		after        time.Duration
	}{
		{"MAIL", ehlo + "C\nC\nC\nWAIT", 0, KindTimeout, 5 * time.Minute},
		{"RCPT", ehlo + "C\nS: 250 ok\nC\nC\nWAIT", 0, KindTimeout, 5 * time.Minute},
		{"DATA", ehlo + "C\nC\nC\nS: 250 ok\nS: 250 ok\nWAIT", 0, KindTimeout, 2 * time.Minute},
		{"slow", ehlo + "C\nC\nC\nSLEEP 4m\nS: 250 ok\nSLEEP 4m\nS: 250 ok\nSLEEP 1m\nS: 354 ok\nMSG\nSLEEP 9m\nS: 250 ok\nWAIT", 0, "", 18 * time.Minute},
		{"nobody reads", ehlo + "STOP", 0, KindTimeout, 3*time.Minute + 2*time.Second},
		{"nobody reads a chunk", ehlo + "STOP", 200_000, KindTimeout, 3*time.Minute + 2*time.Second},
		{"a chunk that is not answered", ehlo + "C\nC\nBDAT\nWAIT", 200_000, KindUncertain, 10 * time.Minute},
		{"a chunk read slowly", ehlo + "C\nC\nC\n" + strings.Repeat("SLEEP 1m\nREAD 50000\n", 4) + "S: 250 ok\nS: 250 ok\nS: 250 ok\nWAIT", 200_000, "", 4 * time.Minute},
		{"a large chunk that is not answered", ehlo + "C\nC\nS: 250 ok\nS: 250 ok\nBDAT\nWAIT", 1_000_000, KindUncertain, 10 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, end := net.Pipe()
				gone := make(chan struct{})
				p := play(end, nil, test.script, func(p *peer) { p.gone = gone })
				start := time.Now()
				env := Envelope{From: "me", To: []string{"a"}, Size: test.size}
				body := strings.Repeat("x", max(int(test.size), 100_000)-2) + "\r\n"
				_, _, err := deliver(t.Context(), client, Config{Security: Plain, EHLO: "me", Timeouts: Timeouts{Quit: 2 * time.Second}}, nil, env, body, nil)
				wantKind(t, err, test.kind)
				d := time.Since(start)
				if test.kind == "" {
					d -= 2 * time.Second // for QUIT
				}
				if d != test.after {
					t.Errorf("after %v, want %v", d, test.after)
				}
				close(gone)
				client.Close()
				<-p.done
			})
		})
	}
}

// The drop-after-each-byte stories for a server that offers PIPELINING.
func TestPipeliningLostAfterEachByte(t *testing.T) {
	const hello = "S: 220 hi\nC\nS: 250-mx\nS: 250 PIPELINING\n"
	const group = "C\nC\nC\nC\nS: 250 2.1.0 ok\nS: 250-2.1.5 ok\nS: 250 2.1.5 fine\nS: 550 no\nS: 354 go\n"
	parts := []struct {
		script string
		kind   Kind // if it is not complete
	}{{hello, ""}, {group, KindLost}, {"MSG\nS: 250-2.0.0 taken\nS: 250 2.0.0 as 42\n", KindUncertain}}
	lostAfterEachByte(t, Config{Security: Plain, EHLO: "me"}, Envelope{}, "hello\n", parts)

	sent := "MAIL FROM:<me@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nhello\r\n"
	lostAfterEachByteSent(t, Envelope{}, "hello\n", hello+group+"MSG\nS: 250 ok\n", len("EHLO me\r\n"+sent), ".\r\n", func(n int) bool { return n > 0 })
}

// lostAfterEachByte has the connection lost after each byte that the server
// says after EHLO.
func lostAfterEachByte(t *testing.T, cfg Config, env Envelope, body string, parts []struct {
	script string
	kind   Kind
}) {
	synctest.Test(t, func(t *testing.T) {
		all := ""
		for _, part := range parts {
			all += part.script
		}
		at := saysIn(parts[0].script)
		for i, part := range parts[1:] {
			for n := range saysIn(part.script) {
				at++
				want := part.kind
				if n+1 == saysIn(part.script) {
					want = ""
					if i+2 < len(parts) {
						want = parts[i+2].kind
						if strings.Contains(parts[i+2].script, "MSG") {
							want = KindLost // the message is still to come
						}
					}
				}
				client, end := net.Pipe()
				p := play(end, nil, all, func(p *peer) { p.says = at })
				_, _, err := deliver(t.Context(), client, cfg, nil, env, body, func(Result) error {
					synctest.Wait()
					return nil
				})
				check(t, fmt.Sprintf("after %d bytes, in %q", at, part.script), err, want)
				client.Close()
				<-p.done
			}
		}
	})
}

// lostAfterEachByteSent has the connection lost after each byte that the client
// sends: before are those up to the ones that end the message, and unsure says
// whether a message of which so many of the latter went out is uncertain.
func lostAfterEachByteSent(t *testing.T, env Envelope, body, script string, before int, end string, unsure func(n int) bool) {
	synctest.Test(t, func(t *testing.T) {
		for at := range before + len(end) + 1 {
			client, server := net.Pipe()
			p := play(&deaf{server, at}, nil, script)
			_, _, err := deliver(t.Context(), client, Config{Security: Plain, EHLO: "me"}, nil, env, body, func(Result) error {
				synctest.Wait()
				return nil
			})
			want := KindLost
			switch {
			case at == before+len(end):
				want = "" // and QUIT goes into the void
			case at > before && unsure(at-before):
				want = KindUncertain
			}
			check(t, fmt.Sprintf("after %d bytes of %d", at, before+len(end)), err, want)
			client.Close()
			<-p.done
		}
	})
}

// A job that is cancelled ends at once, whatever is going on.
func TestPipeliningCancelled(t *testing.T) {
	for _, test := range []struct {
		exts, script string
		at           int // the command after which it is
		kind         Kind
	}{
		{"PIPELINING", "C\nC\nC\nC\nWAIT", 3, KindCancelled},
		{"PIPELINING", "C\nC\nC\nC\nWAIT", 5, KindCancelled},
		{"PIPELINING\nS: 250-CHUNKING", "C\nC\nC\nBDAT\nWAIT", 3, KindCancelled},
		{"PIPELINING\nS: 250-CHUNKING", "C\nC\nC\nBDAT\nWAIT", 5, KindUncertain},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, end := net.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			p := play(end, nil, "S: 220 hi\nC\nS: 250-mx\nS: 250-"+test.exts+"\nS: 250 HELP\n"+test.script, func(p *peer) {
				p.heard = func(n int) {
					if n == test.at {
						cancel()
						synctest.Wait()
					}
				}
			})
			start := time.Now()
			env := Envelope{From: "me@x", To: []string{"a", "b"}, Size: 100_000}
			_, _, err := deliver(ctx, client, Config{Security: Plain, EHLO: "me"}, nil, env, strings.Repeat("x", 99_998)+"\r\n", nil)
			check(t, fmt.Sprintf("%q after %d", test.exts, test.at), err, test.kind)
			if d := time.Since(start); d != 0 {
				t.Errorf("it took %v", d)
			}
			client.Close()
			<-p.done
		})
	}
}
