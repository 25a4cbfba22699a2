// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestHello(t *testing.T) {
	for _, test := range []struct {
		name, replies string
		kind          Kind
	}{
		{"EHLO", "250 mx", ""},
		{"EHLO 500", "500 what\n250 mx", ""},
		{"EHLO 501", "501 what\n250 mx", ""},
		{"EHLO 502", "502 what\n250 mx", ""},
		{"EHLO 504", "504 what\n250 mx", ""},
		{"EHLO 550", "550 what\n250 mx", ""},
		{"both refused", "500 what\n550 no", KindProtocol},
		{"HELO 451", "500 what\n451 later", KindTemporary},
		{"EHLO 451", "451 later", KindTemporary},
		{"EHLO 421", "421 later", KindTemporary},
		{"EHLO 554", "554 no", KindProtocol},
		{"EHLO 530", "530 5.7.0 no", KindAuth},
		{"EHLO 354", "354 go on", KindProtocol},
		{"EHLO 220", "220 again", KindProtocol},
		{"EHLO nonsense", "hello", KindProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, server := net.Pipe()
			script := "S: 220 hi\n"
			for i, reply := range strings.Split(test.replies, "\n") {
				script += []string{"C: EHLO me\n", "C: HELO me\n"}[i] + "S: " + reply + "\n"
			}
			p := play(server, nil, script+"WAIT")
			s, err := Open(t.Context(), client, Config{Security: Plain, EHLO: "me", Timeouts: patient()})
			wantKind(t, err, "")
			wantKind(t, s.Start(t.Context(), nil), test.kind)
			s.Abort()
			if <-p.done; p.err != nil {
				t.Error(p.err)
			}
		})
	}
}

func TestHelloName(t *testing.T) {
	client, server := loopback(t)
	p := play(server, nil, "S: 220 hi\nC: EHLO [127.0.0.1]\nS: 250 mx")
	s, err := Open(t.Context(), client, Config{Security: Plain, Timeouts: patient()})
	wantKind(t, err, "")
	wantKind(t, s.Start(t.Context(), nil), "")
	if <-p.done; p.err != nil {
		t.Error(p.err)
	}
	if got := addressLiteral(&net.TCPAddr{IP: net.ParseIP("2001:db8::1")}); got != "[IPv6:2001:db8::1]" {
		t.Errorf("%s", got)
	}
	for _, name := range []string{"a b", "a\r\nMAIL FROM:<>", "größe", "a\x00"} {
		client, server := net.Pipe()
		p := play(server, nil, "S: 220 hi\nWAIT")
		s, err := Open(t.Context(), client, Config{Security: Plain, EHLO: name, Timeouts: patient()})
		wantKind(t, err, "")
		wantKind(t, s.Start(t.Context(), nil), KindAddress)
		if <-p.done; len(p.lines) > 0 {
			t.Errorf("%q: the server was told %q", name, p.lines)
		}
	}
}

// begun returns a session that has said EHLO to a server that offers exts and
// goes on with script.
func begun(t *testing.T, exts, script string) (*Session, *peer) {
	t.Helper()
	hello := "S: 220 hi\nC\nS: 250-mx\n"
	for _, ext := range strings.Split(exts, "\n") {
		hello += "S: 250-" + ext + "\n"
	}
	return beginWith(t, hello+"S: 250 HELP\n"+script)
}

// beginWith is begun for a whole script.
func beginWith(t *testing.T, script string, change ...func(*peer)) (*Session, *peer) {
	t.Helper()
	client, server := net.Pipe()
	p := play(server, nil, script, change...)
	s, err := Open(t.Context(), client, Config{Security: Plain, EHLO: "me", Timeouts: patient()})
	if err == nil {
		err = s.Start(t.Context(), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s, p
}

// mail builds the script of a transaction with two recipients, a and b, from
// the replies to MAIL, RCPT, RCPT, DATA and the message.
func mail(replies ...string) string {
	script := ""
	for i, reply := range replies {
		script += []string{"C: MAIL FROM:<me@x>\n", "C: RCPT TO:<a>\n", "C: RCPT TO:<b>\n", "C: DATA\n", "MSG\n"}[i]
		script += "S: " + strings.ReplaceAll(reply, "\n", "\nS: ") + "\n"
	}
	return script
}

func TestSend(t *testing.T) {
	const ok, data = "250 ok", "354 go ahead"
	for _, test := range []struct {
		name, exts, script string
		kind               Kind
		outcome            string // a letter for each recipient answered: y or n
		reply              string // of the result
	}{
		{"accepted", "", mail(ok, ok, ok, data, "250 2.0.0 taken"), "", "yy", "250 2.0.0 taken"},
		{"251 and 252", "", mail(ok, "251 forwards", "252 tries", data, "200 odd but 2xx"), "", "yy", "200 odd but 2xx"},
		{"one refused 5xx", "", mail(ok, "550 no", ok, data, ok), "", "ny", ok},
		{"one refused 4xx", "", mail(ok, ok, "451 later", data, ok), "", "yn", ok},
		{"552 to RCPT is that recipient's", "", mail(ok, "552 full", ok, data, ok), "", "ny", ok},
		{"all refused", "", mail(ok, "550 no", "550 5.1.1 no"), KindRecipients, "nn", "550 5.1.1 no"},
		{"all refused, mixed", "", mail(ok, "451 no", "550 no"), KindRecipients, "nn", "550 no"},
		{"MAIL 4xx", "", mail("451 later"), KindTemporary, "", "451 later"},
		{"MAIL 5xx", "", mail("550 no"), KindPermanent, "", "550 no"},
		{"MAIL 552", "", mail("552 too big"), KindSize, "", "552 too big"},
		{"MAIL 354", "", mail("354 what"), KindProtocol, "", "354 what"},
		{"MAIL 530, no STARTTLS", "", mail("530 5.7.0 authenticate"), KindAuth, "", "530 5.7.0 authenticate"},
		{"MAIL 530 5.7.0, STARTTLS not used", "STARTTLS", mail("530 5.7.0 STARTTLS first"), KindTLS, "", "530 5.7.0 STARTTLS first"},
		{"MAIL 530 5.7.11, STARTTLS not used", "STARTTLS", mail("530 5.7.11 x"), KindTLS, "", "530 5.7.11 x"},
		{"MAIL 530 5.7.1, STARTTLS not used", "STARTTLS", mail("530 5.7.1 x"), KindAuth, "", "530 5.7.1 x"},
		{"MAIL 530 without enhanced code", "STARTTLS", mail("530 x"), KindAuth, "", "530 x"},
		{"MAIL 538", "", mail("538 x"), KindAuth, "", "538 x"},
		{"RCPT 530", "", mail(ok, ok, "530 x"), KindAuth, "y", "530 x"},
		{"RCPT 421", "", mail(ok, ok, "421 bye"), KindTemporary, "y", "421 bye"},
		{"RCPT 354", "", mail(ok, "354 what"), KindProtocol, "", "354 what"},
		{"DATA 4xx", "", mail(ok, ok, ok, "451 later"), KindTemporary, "yy", "451 later"},
		{"DATA 5xx", "", mail(ok, ok, ok, "554 no"), KindPermanent, "yy", "554 no"},
		{"DATA 552", "", mail(ok, ok, ok, "552 no"), KindSize, "yy", "552 no"},
		{"DATA 250", "", mail(ok, ok, ok, ok), KindProtocol, "yy", ok},
		{"message 4xx", "", mail(ok, ok, ok, data, "451 4.7.1 greylisted"), KindTemporary, "yy", "451 4.7.1 greylisted"},
		{"message 421", "", mail(ok, ok, ok, data, "421 bye"), KindTemporary, "yy", "421 bye"},
		{"message 5xx", "", mail(ok, ok, ok, data, "554 5.7.1 spam"), KindPermanent, "yy", "554 5.7.1 spam"},
		{"message 552", "", mail(ok, ok, ok, data, "552 too big"), KindSize, "yy", "552 too big"},
		{"message 530", "", mail(ok, ok, ok, data, "530 5.7.57 not authenticated"), KindAuth, "yy", "530 5.7.57 not authenticated"},
		{"message 354", "", mail(ok, ok, ok, data, "354 what"), KindUncertain, "yy", "354 what"},
		{"message 150", "", mail(ok, ok, ok, data, "150 what"), KindUncertain, "yy", data},
		{"message nonsense", "", mail(ok, ok, ok, data, "fine"), KindUncertain, "yy", data},
		{"message two codes", "", mail(ok, ok, ok, data, "250-fine\n251 or not"), KindUncertain, "yy", data},
		{"nonsense to RCPT", "", mail(ok, ok, "what"), KindProtocol, "y", ok},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, p := begun(t, test.exts, test.script+"WAIT")
			dots := 0
			result, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a", "b"}}, strings.NewReader("hello\n"),
				func(Result) error { dots++; return nil })
			e := wantKind(t, err, test.kind)
			outcome := ""
			for i, r := range result.Recipients {
				if r.Address != []string{"a", "b"}[i] {
					t.Errorf("recipient %d is %q", i, r.Address)
				}
				outcome += map[bool]string{true: "y", false: "n"}[r.Accepted]
			}
			if outcome != test.outcome || result.Reply.String() != test.reply {
				t.Errorf("recipients %q, reply %q; want %q, %q", outcome, result.Reply.String(), test.outcome, test.reply)
			}
			if e != nil && e.Reply.Code != 0 && e.Reply.String() != test.reply {
				t.Errorf("the error has reply %q", e.Reply)
			}
			if want := strings.Count(test.script, "MSG"); dots != want {
				t.Errorf("beforeDot was called %d times, want %d", dots, want)
			}
			if over := e != nil && (e.Reply.Code == 421 || e.Kind == KindProtocol || e.Kind == KindUncertain); !over {
				s.Abort()
			}
			if <-p.done; p.err != nil || p.lines[len(p.lines)-1] == "DATA" && !strings.Contains(test.script, "C: DATA") {
				t.Errorf("%v; the client said %q", p.err, p.lines)
			}
		})
	}
}

// A session serves several messages, whatever the replies to the former ones.
func TestSendAgain(t *testing.T) {
	const ok, data = "250 ok", "354 go ahead"
	for _, test := range []struct {
		name, first string
		kind        Kind
		reset       bool
	}{
		{"after an accepted one", mail(ok, ok, ok, data, ok), "", false},
		{"after MAIL was refused", mail("550 no"), KindPermanent, true},
		{"after no recipient", mail(ok, "550 no", "550 no"), KindRecipients, true},
		{"after DATA was refused", mail(ok, ok, ok, "451 later"), KindTemporary, true},
		{"after the message was refused", mail(ok, ok, ok, data, "554 no"), KindPermanent, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			reset := ""
			if test.reset {
				reset = "C: RSET\nS: 250 ok\n"
			}
			s, p := begun(t, "", test.first+reset+mail(ok, ok, ok, data, ok)+"C: QUIT\nS: 221 bye")
			env := Envelope{From: "me@x", To: []string{"a", "b"}}
			_, err := s.Send(t.Context(), env, strings.NewReader("one"), nil)
			wantKind(t, err, test.kind)
			result, err := s.Send(t.Context(), env, strings.NewReader("two"), nil)
			wantKind(t, err, "")
			if len(result.Recipients) != 2 {
				t.Errorf("%v", result)
			}
			s.Quit(t.Context())
			if <-p.done; p.err != nil {
				t.Error(p.err)
			}
		})
	}
	t.Run("RSET refused", func(t *testing.T) {
		s, p := begun(t, "", mail("550 no")+"C: RSET\nS: 421 enough\n")
		_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}}, strings.NewReader(""), nil)
		wantKind(t, err, KindPermanent)
		_, err = s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}}, strings.NewReader(""), nil)
		wantKind(t, err, KindTemporary)
		<-p.done
	})
}

// What goes wrong on our side before the dot ends the session without one.
func TestLocalTrouble(t *testing.T) {
	trouble := errors.New("disk on fire")
	for _, test := range []struct {
		name      string
		body      io.Reader
		beforeDot func(Result) error
	}{
		{"reading fails", io.MultiReader(strings.NewReader("half\r\n"), iotest.ErrReader(trouble)), nil},
		{"reading fails by timeout", iotest.ErrReader(fmt.Errorf("%w: %w", trouble, os.ErrDeadlineExceeded)), nil},
		{"beforeDot says no", strings.NewReader("whole\r\n"), func(Result) error { return trouble }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, p := begun(t, "", "C\nS: 250 ok\nC\nS: 250 ok\nC\nS: 354 go\nWAIT")
			_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}}, test.body, test.beforeDot)
			if e := wantKind(t, err, KindLocal); !errors.Is(e, trouble) {
				t.Errorf("%v", err)
			}
			s.Quit(t.Context())
			<-p.done
			if said := strings.Join(p.lines[4:], ""); strings.Contains(said, "QUIT") || strings.HasSuffix(said, "\n.\r\n") {
				t.Errorf("after DATA the server was told %q", said)
			}
		})
	}
}

// What the server says while the message is being written is heard at once,
// and a yes that comes too early isn't believed.
func TestAnswersDuringMessage(t *testing.T) {
	for _, test := range []struct {
		name, script string
		kind         Kind
		reply        string
	}{
		{"552 in the middle", "READ 1000\nS: 552 5.3.4 enough\n", KindSize, "552 5.3.4 enough"},
		{"421 in the middle", "READ 1000\nS: 421 going down\n", KindTemporary, "421 going down"},
		{"554 in the middle", "READ 1000\nS: 554 no\n", KindPermanent, "554 no"},
		{"250 in the middle", "READ 1000\nS: 250 ok\n", KindProtocol, "354 go"},
		{"250 with the 354", "S: 250 ok\n", KindProtocol, "354 go"},
		{"nonsense in the middle", "READ 1000\nS: ok\n", KindProtocol, "354 go"},
		{"closed in the middle", "READ 1000\n", KindLost, "354 go"},
	} {
		// It reads on, once what it said can have been heard, or the client is
		// stuck in a write.
		for _, then := range []string{"SLEEP 1ns\nWAIT", "STOP"} {
			t.Run(test.name+" "+then[len(then)-4:], func(t *testing.T) {
				if test.kind == KindLost {
					then = ""
				}
				synctest.Test(t, func(t *testing.T) {
					client, end := net.Pipe()
					gone := make(chan struct{})
					p := play(end, nil, "S: 220 hi\nC\nS: 250 mx\nC\nS: 250 ok\nC\nS: 250 ok\nC\nS: 354 go\n"+test.script+then,
						func(p *peer) { p.gone = gone })
					start := time.Now()
					result, _, err := deliver(t.Context(), client, Config{Security: Plain, EHLO: "me"}, nil,
						Envelope{From: "me@x", To: []string{"a"}}, strings.Repeat("x", 1<<20), func(Result) error {
							t.Error("beforeDot was called")
							return nil
						})
					wantKind(t, err, test.kind)
					if result.Reply.String() != test.reply {
						t.Errorf("reply %q, want %q", result.Reply.String(), test.reply)
					}
					if d := time.Since(start); d > time.Nanosecond {
						t.Errorf("it took %v to be heard", d)
					}
					close(gone)
					<-p.done
				})
			})
		}
	}
}

// A job that is cancelled while the mark is made sends no dot.
func TestCancelledBeforeDot(t *testing.T) {
	client, end := net.Pipe()
	p := play(end, nil, "S: 220 hi\nC\nS: 250 mx\nC\nS: 250 ok\nC\nS: 250 ok\nC\nS: 354 go\nMSG")
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err := deliver(ctx, client, Config{Security: Plain, EHLO: "me", Timeouts: patient()}, nil,
		Envelope{From: "me@x", To: []string{"a"}}, "hello\n", func(Result) error { cancel(); return nil })
	wantKind(t, err, KindCancelled)
	if <-p.done; p.message != "hello\r\n" {
		t.Errorf("the server has %q", p.message)
	}
}

// brokenPipe is a connection on which nothing can be written; what it says first
// is still to be read.
type brokenPipe struct{ canned }

func (brokenPipe) Write([]byte) (int, error)        { return 0, io.ErrClosedPipe }
func (brokenPipe) SetWriteDeadline(time.Time) error { return nil }
func (brokenPipe) Close() error                     { return nil }

// When a write fails the server's last words are still heard, but a 2xx isn't
// taken for the answer to what didn't go out.
func TestLastWords(t *testing.T) {
	for _, test := range []struct {
		words     string
		mail, dot Kind
		reply     string
	}{
		{"421 4.3.2 going down\r\n", KindTemporary, KindTemporary, "421 4.3.2 going down"},
		{"554 5.7.1 go away\r\n", KindPermanent, KindPermanent, "554 5.7.1 go away"},
		{"250 ok\r\n", KindLost, KindUncertain, ""},
		{"", KindLost, KindUncertain, ""},
	} {
		for stage, kind := range map[Stage]Kind{StageMail: test.mail, StageDot: test.dot} {
			conn := brokenPipe{canned{r: strings.NewReader(test.words)}}
			s := &Session{w: wire{raw: conn}, limits: patient()}
			s.w.use(conn)
			var err error
			if stage == StageMail {
				err = s.expect2(t.Context(), StageMail, "MAIL FROM:<>", s.command, &Result{})
			} else {
				err = s.dot(t.Context(), &Result{})
			}
			if e := wantKind(t, err, kind); e.Reply.String() != test.reply {
				t.Errorf("%s: reply %q", stage, e.Reply.String())
			}
		}
	}
}

// Answers to what wasn't asked put the dialogue out of step.
func TestAnswersUnasked(t *testing.T) {
	for _, test := range []struct {
		name, replies string
		kind          Kind
		reply         string
	}{
		{"250", `S "250 ok\r\n250 2.1.5 and ok\r\n"`, KindProtocol, "250 ok"},
		{"421", `S "250 ok\r\n421 4.4.2 idle\r\n"`, KindTemporary, "421 4.4.2 idle"},
		{"nonsense", `S "250 ok\r\nhello\r\n"`, KindProtocol, "250 ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, p := begun(t, "", "C: MAIL FROM:<me@x>\n"+test.replies+"\nWAIT")
			result, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}}, strings.NewReader("x"), nil)
			e := wantKind(t, err, test.kind)
			if test.kind == KindTemporary && e.Reply.String() != test.reply {
				t.Errorf("reply %q", result.Reply.String())
			}
			s.Abort()
			if <-p.done; len(p.lines) != 2 {
				t.Errorf("the server was told %q", p.lines)
			}
		})
	}
}
