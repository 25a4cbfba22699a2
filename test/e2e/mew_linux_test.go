// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
			m.install(version)
			story(t, m)
		})
	}
}

// eachMewAt is eachMew at a site. The story calls ready once the servers are
// there.
func eachMewAt(t *testing.T, story func(t *testing.T, s *site, ready func() *mew)) {
	t.Parallel()
	for _, version := range []string{"6.8", "development"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			story(t, s, func() *mew {
				s.open()
				m := &mew{home: s.home}
				m.install(version)
				return m
			})
		})
	}
}

// install has Emacs started with a version of Mew.
func (m *mew) install(version string) {
	m.t.Helper()
	root, err := mailserver.Packages("mew", "mew", "mew-bin")
	if err != nil {
		m.t.Fatal(err)
	}
	m.lisp = filepath.Join(root, "usr/share/mew")
	programs := filepath.Join(root, "usr/bin")
	if version != "6.8" {
		if os.Getenv("MEW_DIR") == "" {
			m.t.Skip("MEW_DIR names no checkout of Mew")
		}
		m.lisp = filepath.Join(os.Getenv("MEW_DIR"), "elisp")
		programs = filepath.Join(os.Getenv("MEW_DIR"), "bin")
	}
	m.env = append(m.env, "PATH="+programs+":"+os.Getenv("PATH"))
	command := m.command
	m.command = func(name string, args ...string) *exec.Cmd {
		last := len(args) - 2 // "-l", the story
		return command(name, slices.Concat(args[:last], []string{"-L", m.lisp, "-l", "mew.el"}, args[last:])...)
	}
	if err := os.MkdirAll(m.path("Mail"), 0o700); err != nil {
		m.t.Fatal(err)
	}
}

// tell runs Lisp that has to succeed, and returns its notes.
func (m *mew) tell(lisp string) notes {
	m.t.Helper()
	return m.notesOf(m.emacs(lisp))
}

func (m *mew) notesOf(o outcome) notes {
	m.t.Helper()
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

// mewFallbackOn turns Mew's fallback on.
const mewFallbackOn = `(setq mew-use-submission t mew-smtp-port (if (fboundp 'mew-smtp-submission-timeout) "smtp" "submission"))` + "\n"

// falling returns settings with the fallback on, between ports of a server.
func (m *mew) falling(server *smtpd.Server, ports ...int) string {
	return m.account(server, false, ports...) + mewFallbackOn
}
