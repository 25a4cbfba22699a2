// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"submission/test/mailserver"
	"submission/test/smtpd"
)

// mew is a home in which Mew is used.
type mew struct {
	*home
	lisp string // where Mew's Lisp is
}

// eachMew tells a story with Mew 6.8 from Debian's packages, and with another
// version if MEW_DIR names a checkout of it in which its bin/ was built.
func eachMew(t *testing.T, story func(t *testing.T, m *mew)) {
	t.Parallel()
	for _, version := range []string{"6.8", "development"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			m := &mew{home: newHome(t)}
			root, err := mailserver.Packages("mew", "mew", "mew-bin")
			if err != nil {
				t.Fatal(err)
			}
			m.lisp = filepath.Join(root, "usr/share/mew")
			programs := filepath.Join(root, "usr/bin")
			if version != "6.8" {
				if os.Getenv("MEW_DIR") == "" {
					t.Skip("MEW_DIR names no checkout of Mew")
				}
				m.lisp = filepath.Join(os.Getenv("MEW_DIR"), "elisp")
				programs = filepath.Join(os.Getenv("MEW_DIR"), "bin")
			}
			m.env = append(m.env, "PATH="+programs+":"+os.Getenv("PATH"))
			m.command = func(name string, args ...string) *exec.Cmd {
				last := len(args) - 2 // "-l", the story
				return exec.Command(name, slices.Concat(args[:last], []string{"-L", m.lisp, "-l", "mew.el"}, args[last:])...)
			}
			if err := os.MkdirAll(m.path("Mail"), 0o700); err != nil {
				t.Fatal(err)
			}
			story(t, m)
		})
	}
}

// tell runs Lisp that has to succeed, and returns its notes.
func (m *mew) tell(lisp string) notes {
	m.t.Helper()
	o := m.emacs(lisp)
	if o.err != nil {
		m.t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	n := notes{t: m.t, output: o.output}
	for line := range strings.Lines(o.output) {
		if text, ok := strings.CutPrefix(line, "NOTE "); ok {
			n.list = append(n.list, strings.TrimSpace(text))
		}
	}
	return n
}

// notes is what a story has told of Mew's folders and locks.
type notes struct {
	t      *testing.T
	list   []string
	output string
}

// has checks what stands at the end of a story: these files in the queue, and
// nothing locked, claimed or left open.
func (n notes) has(queue ...string) {
	n.t.Helper()
	var got []string
	for _, note := range n.list {
		if file, ok := strings.CutPrefix(note, "+queue/"); ok && !strings.Contains(file, ".mqi") {
			got = append(got, file)
		}
		if strings.HasPrefix(note, "buffer ") || strings.HasSuffix(note, ".wrk") {
			n.t.Errorf("left behind: %s", note)
		}
	}
	if !slices.Equal(got, queue) {
		n.t.Errorf("+queue has %v, want %v; Emacs said:\n%s", got, queue, n.output)
	}
	if !slices.Contains(n.list, "locked nil nil") {
		n.t.Errorf("locked: %v", n.list)
	}
}

func (n notes) said(texts ...string) {
	n.t.Helper()
	for _, text := range texts {
		if !strings.Contains(n.output, text) {
			n.t.Errorf("Emacs has not said %q, but:\n%s", text, n.output)
		}
	}
}

// log returns Mew's log, and checks that our directory for Mew is empty.
func (m *mew) log() string {
	m.t.Helper()
	text, err := os.ReadFile(m.path("Mail/Smtplog"))
	if err != nil {
		m.t.Error(err)
	}
	files, err := os.ReadDir(m.path("mew"))
	if err != nil && !os.IsNotExist(err) || len(files) > 0 {
		m.t.Errorf("our directory for Mew: %v, %v", files, err)
	}
	return string(text)
}

// on returns settings for a server's port, without a fallback.
func (m *mew) on(port int) string { return fmt.Sprintf("(setq mew-smtp-port %d)\n", port) }

// falling returns settings with the fallback on, between ports of a server.
func (m *mew) falling(server *smtpd.Server, ports ...int) string {
	return m.account(server, false, ports...) +
		`(setq mew-use-submission t mew-smtp-port (if (boundp 'mew-smtp-submission-timeout) "smtp" "submission"))` + "\n"
}

// varying is what differs between two equal messages: dates, ids, boundaries.
var varying = regexp.MustCompile(`(?m)^(Date|Resent-Date|Message-Id|Resent-Message-Id): .*$|--[A-Za-z0-9_()]+\(\d{4}.*|boundary="[^"]*"|^--Next_Part.*$|\d{14}[.0-9A-Za-z@]*|Next_Part\([^)]*\)[-0-9]*`)

const mewLetters = `
	(mew-story-send "bob@example.org")
	(mew-story-send "bob@example.org, carol@example.org" "Two" "A line\n.\n..\nFrom here\n" '(("Cc:" . "Dave <dave@example.org>")))
	(mew-story-send "bob@example.org" "日本語の題" "本文です。\n")
	(mew-story-send "bob@example.org" "Grüße" "Ein Brief ohne Ende.")
	(mew-story-send "bob@example.org" "For others too" "Psst.\n" '(("Bcc:" . "eve@example.org, fay@example.org")))
	(mew-story-send "bob@example.org" "And others" "Well.\n" '(("Dcc:" . "eve@example.org")))
	(mew-story-send "bob@example.org" "Filed" "Keep it.\n" '(("Fcc:" . "+archive")))
	(let ((mew-smtp-mail-from "bounce@example.org") (mew-use-sender t))
	  (mew-story-send "bob@example.org" "Sent for her" "With a Sender.\n"))
	(mew-story-inbox)
	(mew-story-reply "Indeed.\n")
	(mew-story-resend "bob@example.org")
	(mew-story-note)
	(dolist (file (directory-files (mew-expand-folder "+archive") t "\\` + "`" + `[0-9]"))
	  (princ (format "FILED %s\n" (file-name-nondirectory file))))
`

// TestMewLetters sends all kinds of messages, and compares them with those that
// Mew sends by itself.
func TestMewLetters(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		send := func(stock bool) ([]smtpd.Message, notes) {
			dir := m.dir
			m.dir = t.TempDir()
			defer func() { m.dir = dir }()
			if err := os.MkdirAll(m.path("Mail"), 0o700); err != nil {
				t.Fatal(err)
			}
			env := m.env
			if stock {
				m.env = append(m.env, "STORY_STOCK=1")
			}
			defer func() { m.env = env }()
			server := start(t, smtpd.Script{})
			n := m.tell(m.on(server.Port("")) + mewLetters)
			return server.Messages(), n
		}
		stock, theirs := send(true)
		messages, ours := send(false)
		if len(messages) != len(stock) || len(stock) < 10 {
			t.Fatalf("%d messages, and %d of Mew's; Emacs said:\n%s\n%s", len(messages), len(stock), ours.output, theirs.output)
		}
		if got, want := ours.list, theirs.list; !slices.Equal(got, want) {
			t.Errorf("folders %q, want %q", got, want)
		}
		for i, m := range messages {
			if m.From.Address != stock[i].From.Address || !slices.Equal(addresses(m), addresses(stock[i])) {
				t.Errorf("message %d: from %v to %v, want %v to %v", i+1, m.From.Address, addresses(m), stock[i].From.Address, addresses(stock[i]))
			}
			same(t, varying.ReplaceAllString(string(m.Data), "…"), varying.ReplaceAllString(string(stock[i].Data), "…"))
		}
		if !strings.Contains(ours.output, "FILED 1") {
			t.Error("nothing was filed")
		}
	})
}

// TestMewFlush flushes several messages: one connection, one login, in order.
func TestMewFlush(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"ann@example.org": "secret"},
			EHLO: []string{"PIPELINING", "8BITMIME", "AUTH CRAM-MD5 PLAIN LOGIN"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-story-passwords '("secret"))
			(mew-story-make "b1@example.org")
			(mew-story-make "b2@example.org" "Two" "2\n" '(("Bcc:" . "eve@example.org")))
			(mew-story-make "b3@example.org")
			(delete-file (concat (mew-expand-new-msg "+queue" "3") ".mqi"))
			(mew-story-make "b4@example.org")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#1", "#2", "#4", "3")
		var to []string
		for _, message := range server.Messages() {
			to = append(to, addresses(message)...)
		}
		if got := strings.Join(to, " "); got != "b1@example.org b2@example.org eve@example.org b4@example.org" {
			t.Errorf("sent to %s", got)
		}
		sessions := server.Sessions()
		if len(sessions) != 1 || len(sessions[0].Auth) != 1 {
			t.Errorf("%d connections: %+v", len(sessions), sessions)
		}
		if strings.Count(n.output, "NOTE prompt") != 1 {
			t.Errorf("prompts: %v", n.list)
		}
		if log := m.log(); strings.Count(log, "status=sent") != 4 || strings.Contains(log, "secret") {
			t.Errorf("Mew's log:\n%s", log)
		}
	})
}

// TestMewFailures has messages go back to the queue, with the reason, and go
// out with the next flush.
func TestMewFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server smtpd.Behaviour
		send   string // "" sends one to bob and nope
		queue  string // what is in it afterwards
		said   string // by Emacs, and in Mew's log
		then   string // who got it after the next flush, from a server that is well
	}{
		{"all refused", rules(on("RCPT", "550 5.1.1 no such 100% user")), "", "1", "550 5.1.1 no such 100% user", "bob@example.org nope@example.org"},
		{"one refused", rules(smtpd.Rule{On: "RCPT", Match: "nope@", Reply: smtpd.Lines{"550 5.1.1 no such user"}}),
			"", "#1", "BUT refused: nope@example.org (550 5.1.1 no such user)", "bob@example.org"},
		{"one later", rules(smtpd.Rule{On: "RCPT", Match: "nope@", Reply: smtpd.Lines{"451 4.7.1 greylisted"}}),
			"", "1", "still to be sent to nope@example.org", "bob@example.org nope@example.org"},
		{"refused", rules(on("DOT", "554 5.6.0 spam")), "", "1", "554 5.6.0 spam", "bob@example.org nope@example.org"},
		{"lost", rules(smtpd.Rule{On: "DATA", Instead: smtpd.CloseConn}), "", "1", "Not sent", "bob@example.org nope@example.org"},
		{"the first of two", rules(smtpd.Rule{On: "MAIL", Times: 1, Reply: smtpd.Lines{"550 5.7.1 not you"}}),
			`(mew-story-make "bob@example.org")(mew-story-make "carol@example.org")(mew-story-flush)`,
			"#2 1", "550 5.7.1 not you", "carol@example.org bob@example.org"},
		{"8 bits", smtpd.Behaviour{EHLO: []string{"PIPELINING"}},
			`(let ((mew-charset-m17n "utf-8") (mew-use-8bit t)) (mew-story-make "bob@example.org" "Bytes" "b\n"))
			(write-region "X: \303\244\n" nil (mew-expand-new-msg "+queue" "1") t)(mew-story-flush)`,
			"1", "Not sent", "bob@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Behaviour: tt.server})
				send := tt.send
				if send == "" {
					send = `(mew-story-send "bob@example.org, nope@example.org")`
				}
				n := m.tell(m.on(server.Port("")) + send + "(mew-story-note)")
				n.has(strings.Fields(tt.queue)...)
				n.said(tt.said)
				if log := m.log(); tt.name != "one refused" && !strings.Contains(log, tt.said) {
					t.Errorf("Mew's log:\n%s", log)
				}
				if err := server.Update(smtpd.Script{}); err != nil {
					t.Fatal(err)
				}
				m.tell(m.on(server.Port("")) + "(mew-story-flush)(mew-story-note)")
				var to []string
				for _, message := range server.Messages() {
					to = append(to, addresses(message)...)
				}
				if got := strings.Join(to, " "); got != tt.then {
					t.Errorf("sent to %s, want %s", got, tt.then)
				}
			})
		})
	}
}

// TestMewPassword: a wrong password is forgotten, and asked for by the next
// flush; a mechanism that Mew doesn't like is not used.
func TestMewPassword(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"},
			EHLO: []string{"AUTH PLAIN LOGIN"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu" mew-smtp-auth-list '("LOGIN" "PLAIN") mew-story-passwords '("wrong" "" "secret"))
			(mew-story-send "bob@example.org")
			(mew-story-note)
			(mew-story-flush)
			(mew-story-flush)
			(mew-story-send "carol@example.org")
			(mew-story-note)`)
		n.said("SMTP LOGIN password is wrong!", "NOTE +queue/1\n", "NOTE prompt SMTP LOGIN password (kazu): ")
		if n := strings.Count(n.output, "NOTE prompt"); n != 3 {
			t.Errorf("%d prompts", n)
		}
		if got := server.Messages(); len(got) != 2 || got[0].User != "kazu" {
			t.Errorf("sent %+v", got)
		}
		if log := m.log(); !strings.Contains(log, "SMTP LOGIN password is wrong!") || strings.Count(log, "status=sent") != 2 {
			t.Errorf("Mew's log:\n%s", log)
		}
	})
}

// TestMewIdentity: PLAIN with an authorization identity, as Mew can send it.
func TestMewIdentity(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"}, EHLO: []string{"AUTH PLAIN"},
		}})
		m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu" mew-smtp-auth-plain-authorize-id t mew-smtp-helo-domain "ann.example.org"
			      mew-story-passwords '("secret"))
			(mew-story-send "bob@example.org")`)
		sessions := server.Sessions()
		if len(sessions) != 1 || len(server.Messages()) != 1 {
			t.Fatalf("%+v", sessions)
		}
		var said []string
		for _, line := range sessions[0].Lines {
			said = append(said, line.Text)
		}
		// kazu NUL kazu NUL secret
		if !slices.Contains(said, "EHLO ann.example.org") || !slices.Contains(said, "AUTH PLAIN a2F6dQBrYXp1AHNlY3JldA==") {
			t.Errorf("the client said %q", said)
		}
	})
}

// TestMewFallback goes through the paper's cases that loopback can make.
func TestMewFallback(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  smtpd.Listen
		second smtpd.Listen
		queue  string
		said   string
	}{
		{"the first answers", smtpd.Listen{}, smtpd.Listen{}, "#1", "done"},
		{"reset", smtpd.Listen{Closed: true}, smtpd.Listen{}, "#1", "done"},
		{"closed before the greeting", smtpd.Listen{Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.CloseConn})},
			smtpd.Listen{}, "#1", "done"},
		{"another greeting", smtpd.Listen{Behaviour: behaves(on("GREETING", "554 no"))}, smtpd.Listen{}, "#1", "done"},
		{"accepts and never speaks", smtpd.Listen{Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence})},
			smtpd.Listen{}, "#1", "done"},
		{"both dead", smtpd.Listen{Closed: true}, smtpd.Listen{Closed: true}, "1", "reset (case 2)"},
		{"nothing after 220", smtpd.Listen{Behaviour: behaves(on("MAIL", "451 4.3.0 later"))}, smtpd.Listen{}, "1", "451 4.3.0 later"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				tt.first.Name, tt.second.Name = "first", "second"
				server := start(t, smtpd.Script{Listen: []smtpd.Listen{tt.first, tt.second}})
				n := m.tell(m.falling(server, server.Port("first"), server.Port("second")) + `
					(setq submission-greeting-timeout 1)
					(mew-story-send "bob@example.org")
					(mew-story-note)`)
				n.has(tt.queue)
				n.said(tt.said)
				if want := strings.Count(tt.queue, "#"); len(server.Messages()) != want {
					t.Errorf("%d messages, want %d", len(server.Messages()), want)
				}
				m.log()
			})
		})
	}
}

// TestMewTLS: TLS, STARTTLS and what Mew does itself.
func TestMewTLS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		listen  smtpd.Listen
		lisp    string // with the port twice
		trusted bool
		queue   string
		said    string
	}{
		{"STARTTLS", smtpd.Listen{}, "(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port \"%d\")", true, "#1", "done"},
		{"STARTTLS, not trusted", smtpd.Listen{}, "(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d)", false, "1", "certificate"},
		{"STARTTLS, not offered", smtpd.Listen{Behaviour: &smtpd.Behaviour{EHLO: []string{"SIZE"}}},
			"(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d)", true, "1", "STARTTLS"},
		{"TLS", smtpd.Listen{TLS: true}, "(setq mew-smtp-ssl t mew-smtp-port 25 mew-smtp-ssl-port %d) %d", true, "#1", "done"},
		{"TLS, refused", smtpd.Listen{Closed: true}, "(setq mew-smtp-ssl t mew-smtp-port 25 mew-smtp-ssl-port %d) %d", true, "1", "reset"},
		{"left to Mew", smtpd.Listen{TLS: true}, "(setq mew-smtp-ssl 'tunnel submission-mew-tls nil mew-prog-ssl \"no-stunnel\" mew-smtp-ssl-port %d) %d", true, "1", "no-stunnel"},
		{"through a unix socket", smtpd.Listen{}, `(setq mew-smtp-port "/nowhere/%d") %d`, true, "1", "itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Listen: []smtpd.Listen{tt.listen}})
				port := server.Port("")
				lisp := ""
				if tt.trusted {
					lisp = m.account(server, false, port)
				}
				n := m.tell(lisp + fmt.Sprintf(tt.lisp, port, port) + `
					(mew-story-send "bob@example.org")
					(mew-story-note)
					(princ (with-current-buffer "*submission log*" (buffer-string)))`)
				n.said(tt.said)
				if tt.name == "left to Mew" || tt.name == "through a unix socket" {
					n.said("Mew sends to 127.0.0.1 itself")
					return
				}
				n.has(tt.queue)
				log := m.log()
				if flag := regexp.MustCompile("SSL/TLS|TLS/STARTTLS"); !flag.MatchString(log) {
					t.Errorf("Mew's log:\n%s", log)
				}
				for _, message := range server.Messages() {
					if !message.TLS {
						t.Error("sent without TLS")
					}
				}
			})
		})
	}
}

// TestMewUncertain: what may have arrived is in the queue, and a flush leaves
// it there until a person has said so.
func TestMewUncertain(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Times: 1, Instead: smtpd.CloseConn})})
		n := m.tell(m.on(server.Port("")) + `
			(mew-story-send "bob@example.org")
			(mew-story-note)
			(mew-story-flush)`)
		n.has("1")
		n.said("may have arrived", "submission-mew-release")
		n = m.tell(m.on(server.Port("")) + `
			(mew-story-make "carol@example.org")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#2", "1")
		n.said("1 of +queue may have arrived")
		if got := server.Messages(); len(got) != 1 || got[0].To[0].Address != "carol@example.org" {
			t.Errorf("sent %+v", got)
		}
		n = m.tell(m.on(server.Port("")) + `
			(submission-mew-release "+queue" "1")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#1", "#2")
		if log := m.log(); len(server.Messages()) != 2 || !strings.Contains(log, "may have arrived") {
			t.Errorf("%d messages; Mew's log:\n%s", len(server.Messages()), log)
		}
	})
}

// TestMewKilled kills Emacs with SIGKILL at each point of a message's way, and
// sees what the next one makes of it.
func TestMewKilled(t *testing.T) {
	quiet := func(on string, from int) smtpd.Script {
		return smtpd.Script{Behaviour: rules(smtpd.Rule{On: on, From: from, Instead: smtpd.Silence})}
	}
	const suicide = "(lambda (&rest _) (signal-process (emacs-pid) 9) (sleep-for 60))"
	for _, tt := range []struct {
		name    string
		script  smtpd.Script
		until   func([]smtpd.Session) bool // the server sees that it is time
		lisp    string                     // or Emacs kills itself
		headers string
		queue   string // what the next Emacs has in the end
		to      string // whom the server has taken messages for
	}{
		{"claimed", smtpd.Script{}, nil, "(advice-add 'submission-mew--transmit :before " + suicide + ")", "", "#1", "bob@example.org"},
		{"before the greeting", quiet("GREETING", 1), func(s []smtpd.Session) bool { return len(s) > 0 }, "", "", "#1", "bob@example.org"},
		{"after RCPT", quiet("RCPT", 1), said("RCPT"), "", "", "#1", "bob@example.org"},
		{"after DATA", quiet("DATA", 1), said("DATA"), "", "", "#1", "bob@example.org"},
		{"after the final dot", quiet("DOT", 1), took, "", "", "1", ""},
		{"before it is filed", smtpd.Script{}, nil, "(advice-add 'mew-smtp-command-done :before " + suicide + ")",
			`(("Fcc:" . "+archive"))`, "#1", "bob@example.org"},
		{"before it is back", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "MAIL", Times: 1, Reply: smtpd.Lines{"451 later"}})}, nil,
			"(advice-add 'submission-mew--failed :before " + suicide + ")", "", "#1", "bob@example.org"},
		{"before it is marked", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Times: 1, Instead: smtpd.CloseConn})}, nil,
			"(advice-add 'submission-mew-queue-mark :before " + suicide + ")", "", "1", ""},
		{"before the copy for Bcc", smtpd.Script{}, nil, "(advice-add 'mew-smtp-bcc :before " + suicide + ")",
			`(("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org"},
		{"before Bcc", smtpd.Script{}, nil, "(advice-add 'mew-smtp-command-done :before " + suicide + ")",
			`(("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org eve@example.org"},
		{"with the copy for Bcc", quiet("RCPT", 2), func(s []smtpd.Session) bool {
			return len(s) > 0 && len(s[0].Messages) > 0 && said("RCPT TO:<eve")(s)
		}, "", `(("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org eve@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, tt.script)
				account := m.on(server.Port(""))
				headers := tt.headers
				if headers == "" {
					headers = "nil"
				}
				m.killed(account+tt.lisp+fmt.Sprintf(`(mew-story-send "bob@example.org" nil nil '%s)`, headers), func(ended <-chan struct{}) {
					if tt.until != nil {
						if sessions, err := server.Wait(t.Context(), tt.until); err != nil {
							t.Errorf("%v: %+v", err, sessions)
						}
						return
					}
					<-ended
				})
				if err := server.Update(smtpd.Script{}); err != nil {
					t.Fatal(err)
				}
				n := m.tell(account + "(mew-story-flush)(mew-story-flush)(mew-story-note)")
				n.has(tt.queue)
				var to []string
				for _, message := range server.Messages() {
					to = append(to, addresses(message)...)
				}
				if got := strings.Join(to, " "); got != tt.to {
					t.Errorf("sent to %q, want %q", got, tt.to)
				}
				m.log()
				if strings.Contains(headers, "Fcc") && !slices.Contains(n.list, "+archive/1") {
					t.Errorf("not filed: %v", n.list)
				}
			})
		})
	}
}

// killed runs an Emacs that is killed when meanwhile returns, which is given a
// channel that is closed when Emacs is dead.
func (m *mew) killed(lisp string, meanwhile func(ended <-chan struct{})) {
	m.t.Helper()
	var cmd *exec.Cmd
	started, ended := make(chan struct{}), make(chan struct{})
	command := m.command
	m.command = func(name string, args ...string) *exec.Cmd {
		cmd = command(name, args...)
		close(started)
		return cmd
	}
	defer func() { m.command = command }()
	var o outcome
	go func() {
		defer close(ended)
		o = m.emacs(lisp)
	}()
	<-started
	meanwhile(ended)
	cmd.Process.Kill()
	<-ended
	if o.err == nil || o.err.Error() != "signal: killed" {
		m.t.Fatalf("Emacs was not killed: %v; it said:\n%s", o.err, o.output)
	}
}

// TestMewOtherTrouble: a killed process, an Fcc that fails, cases, a mode that
// is off.
func TestMewOtherTrouble(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		first := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "RCPT", Times: 1, Instead: smtpd.Silence})})
		second := start(t, smtpd.Script{})
		n := m.tell(m.on(first.Port("")) + fmt.Sprintf(`
			(setq mew-config-alist '(("other" ("smtp-port" %d) ("mail-domain" "example.net"))))
			(mew-config-setup)
			(mew-story-draft "bob@example.org" "Killed" "K\n")
			(mew-draft-send-message)
			(let ((end (+ (float-time) 60)))
			  (while (and (< (float-time) end)
			              (not (with-current-buffer "*submission log*"
			                     (save-excursion (goto-char (point-min)) (search-forward "220" nil t)))))
			    (accept-process-output nil 0.02)))
			(mew-smtp-flush-queue mew-case-default)
			(delete-process (mew-smtp-info-name mew-case-default))
			(mew-story-wait)
			(mew-story-note)
			(princ "NEXT\n")
			(mew-story-flush)
			(advice-add 'mew-net-fcc-message :before (lambda (_case fcc &rest _) (when fcc (error "No space"))))
			(mew-story-draft "carol@example.org" "No place" "N\n" '(("Fcc:" . "+archive")))
			(mew-draft-send-message)
			(mew-story-wait)
			(mew-story-draft "dave@example.org" "Another case" "A\n")
			(mew-tinfo-set-case "other")
			(mew-draft-send-message)
			(mew-story-wait)
			(submission-mew-mode -1)
			(mew-story-send "eve@example.org")
			(mew-story-note)
			(princ (format "NOTE advised %%s\n" (advice--p (symbol-function 'mew-smtp-command-quit))))`, second.Port("")))
		before, _, _ := strings.Cut(n.output, "NEXT")
		if !strings.Contains(before, "NOTE +queue/1\n") || !strings.Contains(before, "NOTE locked nil nil") {
			t.Errorf("after the kill:\n%s", before)
		}
		n.said("+queue is locked", "the copy could not be filed", "NOTE advised nil")
		n.has("1", "#1")
		if got := first.Messages(); len(got) != 3 {
			t.Errorf("%d messages at the first server", len(got))
		}
		if got := second.Messages(); len(got) != 1 || got[0].To[0].Address != "dave@example.org" {
			t.Errorf("at the second server: %+v", got)
		}
	})
}
