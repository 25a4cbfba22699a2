// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// With CHUNKING the message goes out with the commands, and only a reply
// decides from then on.
func TestChunking(t *testing.T) {
	const ok, no = "250 ok", "550 no"
	for _, test := range []pipelined{
		{"accepted", []string{ok, ok, ok, "250 taken"}, "", "", "yy", "250 taken", false},
		{"one refused", []string{ok, no, ok, "250 taken"}, "", "", "ny", "250 taken", false},
		{"one refused for now", []string{ok, ok, "451 later", "250 taken"}, "", "", "yn", "250 taken", false},
		{"one refused with 530", []string{ok, ok, "530 who", "250 taken"}, "", "", "yn", "250 taken", false},
		{"all refused", []string{ok, no, no, "503 nobody"}, "", KindRecipients, "nn", no, false},
		{"all refused with 530", []string{ok, "530 who", "530 who", "503 nobody"}, "", KindAuth, "", "530 who", false},
		{"all refused, and taken", []string{ok, no, no, "250 taken"}, "", KindRecipients, "nn", no, false},
		{"all refused, and lost", []string{ok, no, no, "what"}, "", KindRecipients, "nn", no, true},
		{"MAIL refused", []string{no, "503 what", "503 what", "503 what"}, "", KindPermanent, "", no, false},
		{"MAIL refused for now", []string{"451 later", "503 what", "503 what", "503 what"}, "", KindTemporary, "", "451 later", false},
		{"MAIL 421", []string{"421 bye", "503 what", "503 what", "503 what"}, "", KindTemporary, "", "421 bye", true},
		{"MAIL 354", []string{"354 what", ok, ok, ok}, "", KindUncertain, "", "354 what", true},
		{"nonsense to MAIL", []string{"what", ok, ok, ok}, "", KindUncertain, "", "", true},
		{"nonsense to RCPT", []string{ok, ok, "what", ok}, "", KindUncertain, "y", ok, true},
		{"RCPT 354", []string{ok, ok, "354 what", ok}, "", KindUncertain, "y", "354 what", true},
		{"RCPT 421", []string{ok, ok, "421 bye", "421 bye"}, "", KindTemporary, "y", "421 bye", true},
		{"message refused", []string{ok, ok, ok, "554 spam"}, "", KindPermanent, "yy", "554 spam", false},
		{"message 552", []string{ok, ok, ok, "552 big"}, "", KindSize, "yy", "552 big", false},
		{"message refused for now", []string{ok, ok, ok, "451 later"}, "", KindTemporary, "yy", "451 later", false},
		{"message 421", []string{ok, ok, ok, "421 bye"}, "", KindTemporary, "yy", "421 bye", true},
		{"message 354", []string{ok, ok, ok, "354 what"}, "", KindUncertain, "yy", "354 what", true},
		{"nonsense to the message", []string{ok, ok, ok, "fine"}, "", KindUncertain, "yy", ok, true},
	} {
		test.run(t, "PIPELINING\nCHUNKING", "BDAT")
	}
}

// What is refused before a large message goes out costs no upload.
func TestLargeChunk(t *testing.T) {
	body := strings.Repeat(".x\r\n", maxAtOnce/4+1)
	size := fmt.Sprint("BDAT ", len(body), " LAST")
	for _, test := range []struct {
		name, script string
		kind         Kind
		marked       bool
	}{
		{"accepted", heard("C", "250 ok", "550 no", "250 ok") + "BDAT\nS: 250 taken\n", "", true},
		{"all refused", heard("C", "250 ok", "550 no", "550 no"), KindRecipients, false},
		{"refused", heard("C", "250 ok", "250 ok", "250 ok") + "BDAT\nS: 554 spam\n", KindPermanent, true},
		{"lost in the middle", heard("C", "250 ok", "250 ok", "250 ok") + "C: " + size + "\nREAD 1000\n", KindLost, false},
		{"no in the middle", heard("C", "250 ok", "250 ok", "250 ok") + "C: " + size + "\nREAD 100000\nS: 552 enough\nSTOP", KindSize, false},
		{"yes in the middle", heard("C", "250 ok", "250 ok", "250 ok") + "C: " + size + "\nREAD 100000\nS: 250 taken\nSTOP", KindProtocol, false},
		{"lost after the end", heard("C", "250 ok", "250 ok", "250 ok") + fmt.Sprintf("C: %s\nREAD %d\n", size, len(body)), KindUncertain, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			gone := make(chan struct{})
			s, p := beginWith(t, "S: 220 hi\nC\nS: 250-mx\nS: 250-PIPELINING\nS: 250 CHUNKING\n"+test.script, func(p *peer) { p.gone = gone })
			marked, progress := false, int64(0)
			_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a", "b"}, Size: int64(len(body)), Progress: func(n int64) { progress = n }},
				strings.NewReader(strings.ReplaceAll(body, "\r", "")), func(Result) error { marked = true; return nil })
			wantKind(t, err, test.kind)
			if marked != test.marked || marked && progress != int64(len(body)) {
				t.Errorf("marked: %v after %d bytes", marked, progress)
			}
			s.Abort()
			close(gone)
			if <-p.done; p.message != "" && p.message != body {
				t.Errorf("the server got %d bytes", len(p.message))
			}
		})
	}
}

// A large chunk is uncertain when its last byte is out, and not before.
func TestLargeChunkLostAtItsEnd(t *testing.T) {
	const hello = "S: 220 hi\nC\nS: 250-mx\nS: 250-CHUNKING\nS: 250 PIPELINING\nC\nC\nC\nS: 250 ok\nS: 250 ok\nS: 250 ok\n"
	body := strings.Repeat("x\r\n", maxAtOnce/3+1)
	env := Envelope{From: "me@example.org", To: []string{"a@example.org", "b@example.org"}, Size: int64(len(body))}
	all := len("EHLO me\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"+bdat(env.Size)+"\r\n") + len(body)
	for missing, want := range []Kind{KindUncertain, KindLost, KindLost} {
		client, server := net.Pipe()
		p := play(&deaf{server, all - missing}, nil, hello+"BDAT\nC\n")
		_, _, err := deliver(t.Context(), client, Config{Security: Plain, EHLO: "me", Timeouts: patient()}, nil, env, body, nil)
		check(t, fmt.Sprintf("%d bytes missing", missing), err, want)
		client.Close()
		<-p.done
	}
}

// What isn't offered, wanted or possible goes out with DATA, and a message that
// changes meanwhile doesn't go out at all.
func TestNoChunking(t *testing.T) {
	for name, test := range map[string]struct {
		exts string
		size int64
		no   bool
	}{
		"turned off":    {"PIPELINING\nCHUNKING", 7, true},
		"no pipelining": {"CHUNKING", 7, false},
		"no size":       {"PIPELINING\nCHUNKING", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, p := begun(t, test.exts, eager("C", "250 ok", "250 ok", "354 go")+"MSG\nS: 250 ok\n")
			s.cfg.NoChunking = test.no
			_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}, Size: test.size}, strings.NewReader("hello"), nil)
			wantKind(t, err, "")
			if <-p.done; p.message != "hello\r\n.\r\n" {
				t.Errorf("%q", p.message)
			}
		})
	}
	for _, size := range []int64{6, 8, maxAtOnce + 1} {
		script := "WAIT"
		if size > maxAtOnce {
			script = "C\nC\nS: 250 ok\nS: 250 ok\nWAIT"
		}
		s, p := begun(t, "PIPELINING\nCHUNKING", script)
		_, err := s.Send(t.Context(), Envelope{From: "me@x", To: []string{"a"}, Size: size}, strings.NewReader("hello"), func(Result) error {
			t.Error("marked")
			return nil
		})
		if e := wantKind(t, err, KindLocal); !errors.Is(e, errSize) {
			t.Errorf("%v", err)
		}
		<-p.done
	}
}

// The drop-after-each-byte stories for a server that offers CHUNKING.
func TestChunkingLostAfterEachByte(t *testing.T) {
	const hello = "S: 220 hi\nC\nS: 250-mx\nS: 250-CHUNKING\nS: 250 PIPELINING\n"
	env := Envelope{From: "me@example.org", To: []string{"a@example.org", "b@example.org"}, Size: 7}
	parts := []struct {
		script string
		kind   Kind
	}{
		{hello, ""},
		{"C\nC\nC\nBDAT\nS: 250 2.1.0 ok\nS: 250-2.1.5 ok\nS: 250 2.1.5 fine\nS: 550 no\nS: 250-2.0.0 taken\nS: 250 2.0.0 as 42\n", KindUncertain},
	}
	lostAfterEachByte(t, Config{Security: Plain, EHLO: "me"}, env, "hello\n", parts)

	group := "EHLO me\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nBDAT 7 LAST\r\nhello\r\n"
	lostAfterEachByteSent(t, env, "hello\n", hello+"C\nC\nC\nBDAT\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 ok\n",
		len(group), "", nil)

	// Once the reply to MAIL says no, it counts, whatever else is lost.
	const refused = "C\nC\nC\nBDAT\nS: 550 no\nS: 503 what\nS: 503 what\nS: 503 what\n"
	decided := saysIn(hello) + len("550 no\r\n")
	for at := decided; at < saysIn(hello+refused); at++ {
		s, p := beginWith(t, hello+refused, func(p *peer) { p.says = at })
		_, err := s.Send(t.Context(), env, strings.NewReader("hello\n"), nil)
		check(t, fmt.Sprintf("after %d bytes", at), err, KindPermanent)
		s.Abort()
		<-p.done
	}
}

// A server that has hung up between two messages has got nothing of the second,
// which isn't even marked.
func TestGoneBetweenMessages(t *testing.T) {
	for name, exts := range map[string]string{"data": "HELP", "pipelining": "PIPELINING", "chunking": "PIPELINING\nCHUNKING"} {
		for bye, kind := range map[string]Kind{"": KindLost, "S: 421 4.4.2 idle\nWAIT\n": KindTemporary} {
			t.Run(name+" "+bye, func(t *testing.T) {
				script := eager("C", "250 ok", "250 ok", "354 go") + "MSG\nS: 250 ok\n"
				if name == "chunking" {
					script = heard("BDAT", "250 ok", "250 ok", "250 ok")
				}
				s, p := begun(t, exts, script+bye)
				env := Envelope{From: "me@x", To: []string{"a"}, Size: 7}
				_, err := s.Send(t.Context(), env, strings.NewReader("hello"), nil)
				wantKind(t, err, "")
				for s.ear != nil && len(s.ear.heard) == 0 {
					runtime.Gosched() // the peer goes, or speaks
				}
				_, err = s.Send(t.Context(), env, strings.NewReader("hello"), func(Result) error {
					t.Error("marked")
					return nil
				})
				if e := wantKind(t, err, kind); e.Stage != StageMail || !s.Over() {
					t.Errorf("%v; over: %v", err, s.Over())
				}
				<-p.done
			})
		}
	}
}

// Whatever a server says to a pipeline, a message is taken only if it says so,
// and one that has gone out as a whole is lost only if it says no.
func FuzzPipeline(f *testing.F) {
	for _, seed := range []string{
		"250 ok\r\n250 ok\r\n250 ok\r\n250 taken\r\n", "250 ok\r\n550 no\r\n550 no\r\n354 go\r\n250 taken\r\n",
		"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n250 taken\r\n250 more\r\n", "421 bye\r\n", "550 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n",
		"250 ok\r\n530 5.7.0 who\r\n250 ok\r\n250 ok\r\n", "250-ok\r\n250 ok\r\n354 go\r\n250 ok\r\n", "250 ok\r\n250", "250 ok\r\n250 ok\r\n421 bye\r\n",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, says string, chunking bool) {
		client, server := net.Pipe()
		defer client.Close()
		text := make(chan string)
		go func() {
			defer close(text)
			r := bufio.NewReader(server)
			fmt.Fprint(server, "220 hi\r\n")
			_, _ = r.ReadString('\n')
			fmt.Fprint(server, "250-mx\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
			first, _ := r.Peek(1) // it says nothing unasked
			if len(first) > 0 {
				go func() {
					_, _ = io.WriteString(server, says)
					server.Close()
				}()
			}
			all, _ := io.ReadAll(r)
			text <- string(all)
		}()
		limits := patient()
		limits.Quit = 10 * time.Millisecond
		cfg := Config{Security: Plain, EHLO: "me", NoChunking: !chunking, Timeouts: limits}
		env := Envelope{From: "me@x", To: []string{"a", "b"}, Size: 7}
		result, _, err := deliver(t.Context(), client, cfg, nil, env, "hello\r\n", nil)
		client.Close()
		sent := <-text
		accepted := slices.ContainsFunc(result.Recipients, func(r Recipient) bool { return r.Accepted })
		whole := strings.Contains(sent, "hello\r\n") && (chunking || strings.Contains(sent, "hello\r\n.\r\n"))
		var e *Error
		switch {
		case err == nil:
			if !accepted || !whole || result.Reply.class() != 2 {
				t.Errorf("taken: %v after %q", result, sent)
			}
		case !errors.As(err, &e):
			t.Errorf("not an *Error: %v", err)
		case e.Kind == KindUncertain:
			if !strings.Contains(sent, "hello") {
				t.Errorf("uncertain: %v after %q", err, sent)
			}
		case whole && e.Reply.class() < 4:
			t.Errorf("%v (%s) after %q", err, e.Kind, sent)
		}
	})
}
