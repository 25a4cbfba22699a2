// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"submission/test/mailserver"
	"submission/test/smtpd"
)

// viaSSH returns Lisp for a tunnel through the host "hop". The configuration
// of ssh is that of the server, with changes put before it.
func (h *home) viaSSH(server *mailserver.SSH, changes string) string {
	h.t.Helper()
	h.write("known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s\n", server.Port, server.HostKey))
	// The default comes last: ssh takes the first value.
	h.write("ssh_config", fmt.Sprintf(`Host hop
  %s
  HostName 127.0.0.1
  Port %d
  User root
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile /dev/null
`, strings.ReplaceAll(changes, "\n", "\n  "), server.Port, server.Key, h.path("known_hosts")))
	program := h.write("ssh", fmt.Sprintf("#!/bin/sh\nexec ssh -F %s \"$@\"\n", h.path("ssh_config")))
	if err := os.Chmod(program, 0o700); err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprintf("(setq submission-ssh-host \"hop\" submission-ssh-program %q)\n", program)
}

// TestTunnel sends through one ssh: to the first port, to the second where the
// far end of the first refuses, and again when the tunnel is there already.
func TestTunnel(t *testing.T) {
	t.Parallel()
	ssh := mailserver.StartSSH(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{{Name: "closed", Closed: true}, {Name: "open", Behaviour: &smtpd.Behaviour{
		Users: map[string]string{"kazu": "secret"}, RequireAuth: true}}}})
	h := newHome(t)
	o := h.emacs(h.account(server, true, server.Port("closed"), server.Port("open")) + h.viaSSH(ssh, "") + `
		(story-send "bob@example.org")
		(with-current-buffer "*submission log*"
		  (unless (string-match-p "ssh hop: .*Connection refused" (buffer-string))
		    (error "The log has no word of ssh's:\n%s" (buffer-string))))
		(story-send "bob@example.org")
		;; The certificate is for 127.0.0.1, which is the server's address as the
		;; tunnel's; a name that it isn't for is told from it.
		(setq submission-ssh-host '(("elsewhere.example.org" . "no-such-host") ("127.0.0.1" . "hop")))
		(story-send "carol@example.org")
		;; The idle time begins again with each use.
		(setq submission-ssh-idle-timeout 0.05)
		(maphash (lambda (_ tunnel) (submission-tunnel--rest tunnel)) submission-tunnel--table)
		(story-send "dave@example.org")
		(let ((end (time-add nil 60)))
		  (while (and (process-list) (seq-some (lambda (p) (string-prefix-p "submission-ssh" (process-name p))) (process-list))
		              (time-less-p nil end))
		    (accept-process-output nil 0.05)))
		(when (seq-some (lambda (p) (string-prefix-p "submission-ssh" (process-name p))) (process-list))
		  (error "The tunnel is still there"))`)
	if o.err != nil || len(o.receipts) != 4 {
		t.Fatalf("%d receipts, %v; Emacs said:\n%s", len(o.receipts), o.err, o.output)
	}
	for i, r := range o.receipts {
		// The later ones may go over the connection of the one before.
		steps := r.steps() == "closed connected" || i > 0 && r.steps() == "connected"
		if r.Status != "accepted" || r.TLS != "verified" || !steps || r.Host != "127.0.0.1" || r.Address != "" {
			t.Errorf("%s (%s), TLS %q, %q at %q: %+v", r.Status, r.Reason, r.TLS, r.Host, r.Address, r.Attempts)
		}
	}
	if n, m := ssh.Connections(), len(server.Messages()); n != 1 || m != 4 {
		t.Errorf("%d messages through %d tunnels", m, n)
	}
}

// TestTunnelledServer: the name in the certificate is the server's, and
// this machine is not where the server is.
func TestTunnelledServer(t *testing.T) {
	t.Parallel()
	ssh := mailserver.StartSSH(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{
		{Name: "other", Behaviour: &smtpd.Behaviour{Certificate: smtpd.OtherName}},
		{Name: "plain", Behaviour: &smtpd.Behaviour{Users: map[string]string{"kazu": "secret"}, RequireAuth: true, EHLO: []string{"AUTH PLAIN"}}},
	}})
	h := newHome(t)
	r := h.story(h.account(server, false, server.Port("other")) + h.viaSSH(ssh, "") + starttls + `(story-send "bob@example.org")`)
	if r.Status != "held" || r.Reason != "certificate" {
		t.Errorf("a certificate for another name: %s (%s)", r.Status, r.Reason)
	}
	r = h.story(h.account(server, true, server.Port("plain")) + h.viaSSH(ssh, "") + plain + `(story-send "bob@example.org")`)
	if r.Status != "held" || r.Reason != "auth" {
		t.Errorf("a password in the clear from the other end of the tunnel: %s (%s)", r.Status, r.Reason)
	}
	for _, s := range server.Sessions() {
		if len(s.Auth)+len(s.Messages) > 0 {
			t.Errorf("something came through: %+v", s)
		}
	}
}

// TestTunnelBreaks: ssh ends in the middle of a message, which is tried again
// through a new one.
func TestTunnelBreaks(t *testing.T) {
	t.Parallel()
	ssh := mailserver.StartSSH(t)
	server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{Rules: []smtpd.Rule{{On: "RCPT", Times: 1, Instead: smtpd.Silence}}}})
	go func() {
		if _, err := server.Wait(t.Context(), said("RCPT")); err == nil {
			ssh.Cut()
		}
	}()
	h := newHome(t)
	o := h.emacs(h.account(server, false, server.Port("")) + h.viaSSH(ssh, "") + `
		(story-send "bob@example.org")
		(submission-outbox-send-all)
		(story-wait)
		(with-current-buffer "*submission log*"
		  (goto-char (point-min))
		  (unless (search-forward "the SSH tunnel through hop ended" nil t)
		    (error "The log has no word of it:\n%s" (buffer-string))))`)
	if o.err != nil || len(o.receipts) != 2 {
		t.Fatalf("%d receipts, %v; Emacs said:\n%s", len(o.receipts), o.err, o.output)
	}
	if first, second := o.receipts[0], o.receipts[1]; first.Status != "deferred" || second.Status != "accepted" || first.ID != second.ID {
		t.Errorf("%+v\n%+v", first, second)
	}
	if n, m := ssh.Connections(), len(server.Messages()); n != 2 || m != 1 {
		t.Errorf("%d messages through %d tunnels", m, n)
	}
}

// TestNoTunnel: what keeps ssh from making a tunnel, in its words, and whether
// a person has to mend it.
func TestNoTunnel(t *testing.T) {
	t.Parallel()
	ssh := mailserver.StartSSH(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{{}, {Name: "closed", Closed: true}}})
	mute, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mute.Close()
		if n := len(server.Sessions()); n > 0 {
			t.Errorf("%d connections went past the tunnel", n)
		}
	})
	for _, tt := range []struct {
		name, changes, lisp string
		hosts               string // in the file of known hosts; %d is the port
		status, words       string
	}{
		{name: "a host key that is not known", hosts: "\n", status: "held tunnel", words: "Host key verification failed"},
		{name: "a host key that has changed", hosts: "[127.0.0.1]:%d ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBwpGgoxhoD4bFPdU4aKwn0sYHnWh7xwQ9JvGQLNbBWM\n",
			status: "held tunnel", words: "Host key verification failed"},
		{name: "a key that is not let in", changes: "IdentityFile /dev/null\nIdentityAgent none", status: "held tunnel", words: "Permission denied"},
		{name: "no way to the host", changes: fmt.Sprintf("Port %d", server.Port("closed")), status: "deferred", words: "Connection refused"},
		{name: "no such host", changes: "HostName a..b", status: "deferred", words: "Could not resolve hostname"},
		{name: "a host that says nothing", changes: fmt.Sprintf("Port %d", mute.Addr().(*net.TCPAddr).Port),
			lisp: "(setq submission-ssh-timeout 0.5)", status: "deferred", words: "ssh was not ready within 0.5 s"},
		{name: "no ssh", lisp: `(setq submission-ssh-program "/nonexistent/ssh")`, status: "held tunnel", words: "/nonexistent/ssh"},
		{name: "an option that ssh doesn't know", changes: "NoSuchOption yes", status: "held tunnel", words: "nosuchoption"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			if strings.Contains(tt.changes, "IdentityFile") {
				tt.changes = strings.ReplaceAll(tt.changes, "/dev/null", h.write("no-key", ""))
			}
			lisp := h.account(server, false, server.Port("")) + h.viaSSH(ssh, tt.changes)
			switch {
			case strings.Contains(tt.hosts, "%d"):
				h.write("known_hosts", fmt.Sprintf(tt.hosts, ssh.Port))
			case tt.hosts != "":
				h.write("known_hosts", tt.hosts)
			}
			if strings.Contains(tt.changes, "IdentityFile") {
				config, err := os.ReadFile(h.path("ssh_config"))
				if err != nil {
					t.Fatal(err)
				}
				h.write("ssh_config", strings.ReplaceAll(string(config), "IdentityFile "+ssh.Key, ""))
			}
			o := h.emacs(lisp + tt.lisp + `(story-send "bob@example.org")`)
			if o.err != nil || len(o.receipts) != 1 {
				t.Fatalf("%d receipts, %v; Emacs said:\n%s", len(o.receipts), o.err, o.output)
			}
			r := o.receipts[0]
			if status := strings.TrimSpace(r.Status + " " + r.Reason); status != tt.status || len(r.Attempts) != 0 {
				t.Errorf("%s, want %s; %+v", status, tt.status, r.Attempts)
			}
			if !strings.Contains(o.output, tt.words) || !strings.Contains(o.output, "no SSH tunnel through hop") {
				t.Errorf("no word of %q: Emacs said:\n%s", tt.words, o.output)
			}
			if files := h.outbox(); !slices.Equal(files, []string{r.ID + ".eml", r.ID + ".json"}) {
				t.Errorf("the outbox holds %v", files)
			}
		})
	}
}
