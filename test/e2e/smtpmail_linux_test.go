// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// alone has Emacs started in a network of its own, which has nothing but a
// loopback interface and the host both.test, with an address of each family: no
// port of this machine is in the way.
func (h *home) alone() {
	hosts := h.write("hosts", "127.0.0.1 localhost both.test\n::1 both.test\n")
	h.command = func(name string, args ...string) *exec.Cmd {
		unshare := []string{"--net", "--mount"}
		if os.Geteuid() != 0 {
			unshare = append(unshare, "--user", "--map-root-user")
		}
		unshare = append(unshare, "sh", "-e", "-c", "PATH=$PATH:/usr/sbin:/sbin ip link set lo up\n"+
			"mount --bind '"+hosts+"' /etc/hosts\nexec \"$@\"", "sh", name)
		return exec.Command("unshare", append(unshare, args...)...)
	}
}

// services is what smtpmail's variables, and ours, mean: the steps that are
// tried, and the security that is kept with the message.
var services = []struct{ name, lisp, steps, security string }{
	{"nothing set", ``, "ipv4:587 ipv4:25", "opportunistic"},
	{"25", `(smtpmail-smtp-service 25)`, "ipv4:587 ipv4:25", "opportunistic"},
	{"smtp", `(smtpmail-smtp-service "smtp")`, "ipv4:587 ipv4:25", "opportunistic"},
	{"SMTP", `(smtpmail-smtp-service "SMTP")`, "ipv4:587 ipv4:25", "opportunistic"},
	{"587", `(smtpmail-smtp-service 587)`, "ipv4:587 ipv4:25", "opportunistic"},
	{"587 in letters", `(smtpmail-smtp-service "587")`, "ipv4:587 ipv4:25", "opportunistic"},
	{"submission", `(smtpmail-smtp-service "submission")`, "ipv4:587 ipv4:25", "opportunistic"},
	{"465", `(smtpmail-smtp-service 465)`, "ipv4:465", "tls"},
	{"submissions", `(smtpmail-smtp-service "submissions")`, "ipv4:465", "tls"},
	{"smtps", `(smtpmail-smtp-service "smtps")`, "ipv4:465", "tls"},
	{"465 and starttls", `(smtpmail-smtp-service 465) (smtpmail-stream-type 'starttls)`, "ipv4:465", "tls"},
	{"another port", `(smtpmail-smtp-service 2525)`, "ipv4:2525", "opportunistic"},
	{"another port in letters", `(smtpmail-smtp-service "2525")`, "ipv4:2525", "opportunistic"},
	{"another port and tls", `(smtpmail-smtp-service 2525) (smtpmail-stream-type 'tls)`, "ipv4:2525", "tls"},
	{"ssl", `(smtpmail-stream-type 'ssl)`, "ipv4:465", "tls"},
	{"tls", `(smtpmail-stream-type 'tls)`, "ipv4:465", "tls"},
	{"tls and 587", `(smtpmail-stream-type 'tls) (smtpmail-smtp-service 587)`, "ipv4:465", "tls"},
	{"tls and 25", `(smtpmail-stream-type 'ssl) (smtpmail-smtp-service 25)`, "ipv4:465", "tls"},
	{"starttls", `(smtpmail-stream-type 'starttls)`, "ipv4:587 ipv4:25", "starttls"},
	{"plain", `(smtpmail-stream-type 'plain)`, "ipv4:587 ipv4:25", "plain"},
	{"ours wins", `(smtpmail-stream-type 'plain) (submission-security 'starttls)`, "ipv4:587 ipv4:25", "starttls"},
	{"ours wins, tls", `(smtpmail-stream-type 'starttls) (submission-security 'tls)`, "ipv4:465", "tls"},
	{"ours wins, not tls", `(smtpmail-stream-type 'tls) (submission-security 'starttls)`, "ipv4:587 ipv4:25", "starttls"},
	{"an entry in auth-source", `(auth-sources (list (probe-file "with-entry")))`, "ipv4:587 ipv4:25", "starttls"},
	{"an entry by service", `(auth-sources (list (probe-file "by-service")))`, "ipv4:587 ipv4:25", "starttls"},
	{"an entry for port 25", `(auth-sources (list (probe-file "for-25")))`, "ipv4:587 ipv4:25", "starttls"},
	{"an entry for another user", `(auth-sources (list (probe-file "with-entry"))) (smtpmail-smtp-user "other")`, "", "starttls"},
	{"an entry for another service", `(auth-sources (list (probe-file "for-imap")))`, "ipv4:587 ipv4:25", "opportunistic"},
	{"ipv6-first", `(submission-sequence 'ipv6-first) (smtpmail-smtp-server "both.test")`, "ipv6:587 ipv4:587 ipv4:25", "opportunistic"},
	{"symmetric", `(submission-sequence 'symmetric) (smtpmail-smtp-server "both.test")`, "ipv6:587 ipv4:587 ipv6:25 ipv4:25", "opportunistic"},
	{"symmetric, IPv4 alone", `(submission-sequence 'symmetric)`, "ipv4:587 ipv4:25", "opportunistic"},
	{"mew, IPv6 alone", `(smtpmail-smtp-server "::1")`, "ipv6:587 ipv6:25", "opportunistic"},
	{"in brackets", `(smtpmail-smtp-server "[::1]")`, "ipv6:587 ipv6:25", "opportunistic"},
	{"a list", `(submission-sequence '((ipv4 . 2525) (any . 25)))`, "ipv4:2525 ipv4:25", "opportunistic"},
}

func TestServices(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.alone()
	h.write("with-entry", "machine 127.0.0.1 port 587 login kazu password secret\n")
	h.write("by-service", "machine 127.0.0.1 port submission login kazu password secret\n")
	h.write("for-25", "machine 127.0.0.1 port 25 login kazu password secret\n")
	h.write("for-imap", "machine 127.0.0.1 port imap login kazu password secret\n")
	h.write("good.eml", header+"\nx\n")
	var lisp strings.Builder
	for _, s := range services {
		fmt.Fprintf(&lisp, `(let ((auth-sources nil) %s)
			(story-compose "bob@example.org" %q "x\n")
			;; It also remembers what it didn't find.
			(auth-source-forget-all-cached)
			(call-interactively #'message-send-and-exit)
			(story-wait))
			`, s.lisp, s.name)
	}
	o := h.emacs(`(load (expand-file-name "probe.el")) (require 'smtpmail) (require 'auth-source)` + "\n" + lisp.String())
	if o.err != nil || len(o.receipts) != len(services) {
		t.Fatalf("%v, %d receipts; Emacs said:\n%s", o.err, len(o.receipts), o.output)
	}
	for i, s := range services {
		t.Run(s.name, func(t *testing.T) {
			r := o.receipts[i]
			var steps []string
			for _, a := range r.Attempts {
				steps = append(steps, fmt.Sprintf("%s:%d", a.Family, a.Port))
				if a.Outcome != "reset" {
					t.Errorf("%+v", a)
				}
			}
			status := "deferred"
			if s.steps == "" {
				status = "held"
			}
			if got := strings.Join(steps, " "); got != s.steps || r.Status != status {
				t.Errorf("%s after %q, want %s after %q", r.Status, got, status, s.steps)
			}
			var state struct {
				Settings struct{ Security string }
			}
			text, err := os.ReadFile(h.path("outbox/" + r.ID + ".json"))
			if err == nil {
				err = json.Unmarshal(text, &state)
			}
			if err != nil || state.Settings.Security != s.security {
				t.Errorf("security %q, want %q (%v)", state.Settings.Security, s.security, err)
			}
		})
	}
}

// ways are how mail is sent in Emacs, with and without the mode: Lisp that
// sends one message to PORT.
var ways = []struct{ name, lisp string }{
	{"message-mode, send function", `(submission-mode -1)
		(setq message-send-mail-function #'submission-send-it)
		(story-send "bob@example.org" "way")`},
	{"message-mode, default function", `(submission-mode -1)
		(setq message-send-mail-function #'message--default-send-mail-function
		      send-mail-function #'submission-send-it)
		(story-send "bob@example.org" "way")`},
	{"mail-mode, send function", `(submission-mode -1)
		(setq send-mail-function #'submission-send-it)
		(mail nil "bob@example.org" "way")
		(goto-char (point-max))
		(insert "x\n")
		(mail-send)
		(story-wait)`},
	{"mail-mode, with the mode", `(mail nil "bob@example.org" "way")
		(goto-char (point-max))
		(insert "x\n")
		(mail-send-and-exit nil)
		(story-wait)`},
	{"X-Message-SMTP-Method", `(setq port smtpmail-smtp-service
		      smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25)
		(story-send "bob@example.org" "way" nil (list (cons "X-Message-SMTP-Method" (format "smtp 127.0.0.1 %d" port))))`},
	{"X-Message-SMTP-Method with a user", `(setq port smtpmail-smtp-service
		      smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25
		      auth-sources (list (expand-file-name "authinfo" (getenv "HOME"))))
		(story-send "bob@example.org" "way" nil (list (cons "X-Message-SMTP-Method" (format "smtp 127.0.0.1 %d kazu" port))))`},
	{"smtpmail's queue", `(setq smtpmail-queue-mail t smtpmail-queue-dir (expand-file-name "queue/" (getenv "HOME")))
		(story-compose "bob@example.org" "way" "x\n")
		(call-interactively #'message-send-and-exit)
		(when (submission-messages) (error "It was sent and not queued"))
		(setq smtpmail-queue-mail nil)
		(smtpmail-send-queued-mail)
		(story-wait)`},
	{"what stock smtpmail has queued", `(submission-mode -1)
		(setq smtpmail-queue-mail t smtpmail-queue-dir (expand-file-name "queue/" (getenv "HOME"))
		      message-send-mail-function #'smtpmail-send-it)
		(story-compose "bob@example.org" "way" "x\n")
		(call-interactively #'message-send-and-exit)
		(setq smtpmail-queue-mail nil)
		(submission-mode 1)
		(smtpmail-send-queued-mail)
		(when (directory-files smtpmail-queue-dir nil "^[0-9]") (error "The queue is not empty"))
		(story-wait)`},
	{"sendmail-query-once", `(setq send-mail-function #'sendmail-query-once message-send-mail-function #'sendmail-query-once)
		(advice-add 'customize-save-variable :override #'ignore)
		(advice-add 'completing-read :override
			    (lambda (_ options &rest _)
			      (when (cl-set-difference (mapcar #'car options) '("mail client" "transport" "smtp") :test #'equal)
			        (error "It offers %S" options))
			      "smtp"))
		(story-send "bob@example.org" "way")`},
	{"message-smtpmail-send-it", `(setq message-send-mail-function #'message-smtpmail-send-it)
		(story-send "bob@example.org" "way")`},
	{"a function in the buffer", `(setq message-send-mail-function (lambda () (error "Not this one")))
		(add-hook 'message-mode-hook (lambda () (setq-local message-send-mail-function #'smtpmail-send-it)))
		(story-send "bob@example.org" "way")`},
	{"a function from a hook", `(setq message-send-mail-function (lambda () (error "Not this one")))
		(add-hook 'message-send-hook (lambda () (setq-local message-send-mail-function #'submission-send-it)))
		(story-send "bob@example.org" "way")`},
	{"a function that chooses the server", `(setq port smtpmail-smtp-service smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25)
		(setq message-send-mail-function
		      (lambda () (let ((smtpmail-smtp-server "127.0.0.1") (smtpmail-smtp-service port)) (smtpmail-send-it))))
		(story-send "bob@example.org" "way")`},
	{"a hook that sets the server", `(setq port smtpmail-smtp-service smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25)
		(add-hook 'message-send-hook (lambda () (setq smtpmail-smtp-server "127.0.0.1" smtpmail-smtp-service port)))
		(story-send "bob@example.org" "way")`},
	{"a posting style", gnus + `(setq port smtpmail-smtp-service smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25)
		(setq gnus-posting-styles (list (list ".*" (list "X-Message-SMTP-Method" (format "smtp 127.0.0.1 %d" port)))))
		(gnus-no-server)
		(gnus-group-mail)
		(message-goto-to) (insert "bob@example.org")
		(message-goto-subject) (insert "way")
		(message-goto-body) (insert "x\n")
		(call-interactively #'message-send-and-exit)
		(story-wait)`},
	{"message-server-alist", `(setq port smtpmail-smtp-service smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25)
		(setq message-server-alist (list (cons "ann@example.org" (format "smtp 127.0.0.1 %d" port))))
		(story-send "bob@example.org" "way" nil
			    ;; Emacs 29 adds this.
			    (and (< emacs-major-version 29) (list (cons "X-Message-SMTP-Method" (cdar message-server-alist)))))`},
	{"feedmail", `(require 'feedmail)
		(setq feedmail-enable-queue nil feedmail-confirm-outgoing nil feedmail-buffer-eating-function #'feedmail-buffer-to-smtpmail
		      send-mail-function #'feedmail-send-it message-send-mail-function #'feedmail-send-it)
		(story-send "bob@example.org" "way")`},
	{"smtpmail's queue, with its server", `(setq port smtpmail-smtp-service)
		(setq smtpmail-queue-mail t smtpmail-store-queue-variables t
		      smtpmail-queue-dir (expand-file-name "queue/" (getenv "HOME")))
		(story-compose "bob@example.org" "way" "x\n")
		(call-interactively #'message-send-and-exit)
		(setq smtpmail-queue-mail nil smtpmail-smtp-server "192.0.2.1" smtpmail-smtp-service 25)
		(smtpmail-send-queued-mail)
		(story-wait)`},
}

func TestWaysToSend(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{Users: map[string]string{"kazu": "secret"}}})
			h.write("authinfo", fmt.Sprintf("machine 127.0.0.1 port %d login kazu password secret\n", server.Port("")))
			ca, err := server.CA().Write(h.dir)
			if err != nil {
				t.Fatal(err)
			}
			r := h.story(fmt.Sprintf(`(require 'smtpmail) (require 'sendmail) (defvar port)
				(setq gnutls-trustfiles '(%q) auth-sources nil smtpmail-smtp-service %d mail-interactive nil)
				(advice-add 'y-or-n-p :override (lambda (&rest _) t))
				`, ca, server.Port("")) + w.lisp)
			messages := server.Messages()
			if r.Status != "accepted" || r.TLS != "verified" || len(messages) != 1 {
				t.Fatalf("%s, TLS %q, %d messages: %+v", r.Status, r.TLS, len(messages), r)
			}
			m := messages[0]
			if m.From.Address != "ann@example.org" || strings.Join(addresses(m), " ") != bob {
				t.Errorf("from %q to %v", m.From.Address, m.To)
			}
			if !strings.Contains(string(m.Data), "Subject: way\r\n") || strings.Contains(string(m.Data), "X-Message-SMTP-Method") {
				t.Errorf("the message is\n%s", m.Data)
			}
			if user := strings.Contains(w.name, "user"); user != (m.User == "kazu") {
				t.Errorf("sent as %q", m.User)
			}
		})
	}
}

// TestMode sees what the mode changes and that it is all put back, and that
// loading changes nothing.
func TestMode(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.command = func(name string, args ...string) *exec.Cmd {
		// Without story.el, which turns the mode on.
		for i, arg := range args {
			if arg == "story.el" {
				args[i] = "probe.el"
			}
		}
		return exec.Command(name, args...)
	}
	notes := h.probe(`
		(require 'message)
		(require 'sendmail)
		(require 'smtpmail)
		(defun probe-state (name)
		  (probe-note name :values (vector (symbol-name (default-value 'send-mail-function))
		                                   (symbol-name (default-value 'message-send-mail-function))
		                                   (prin1-to-string (eq (symbol-function 'smtpmail-via-smtp) original))
		                                   (prin1-to-string (file-exists-p (locate-user-emacs-file "submission"))))))
		(defvar original (symbol-function 'smtpmail-via-smtp))
		(setq message-send-mail-function 'sendmail-query-once)
		(probe-state "before")
		(require 'submission)
		(probe-state "loaded")
		(submission-mode 1)
		(submission-mode 1)
		(probe-state "on")
		(submission-mode -1)
		(probe-state "off")
		(submission-mode -1)
		(probe-state "off twice")
		(submission-mode 1)
		(setq send-mail-function 'sendmail-send-it)
		(submission-mode -1)
		(probe-state "chosen meanwhile")
		(submission-mode 1)
		(probe-state "chosen before")
		(submission-mode -1)
		(probe-state "chosen, off")`)
	for name, want := range map[string]string{
		"before":           "sendmail-query-once sendmail-query-once t nil",
		"loaded":           "sendmail-query-once sendmail-query-once t nil",
		"on":               "smtpmail-send-it smtpmail-send-it nil nil",
		"off":              "sendmail-query-once sendmail-query-once t nil",
		"off twice":        "sendmail-query-once sendmail-query-once t nil",
		"chosen meanwhile": "sendmail-send-it sendmail-query-once t nil",
		"chosen before":    "sendmail-send-it smtpmail-send-it nil nil",
		"chosen, off":      "sendmail-send-it sendmail-query-once t nil",
	} {
		if got := value(t, notes, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
