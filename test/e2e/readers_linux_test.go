// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"submission/test/smtpd"
)

// reader is a mail reader: how its user sets it up, and sends a message to
// bob@example.org with a copy into a folder of its own.
type reader struct {
	name string
	// debian is whether it comes from Debian's packages.
	debian bool
	// imap is whether it has an IMAP server of its own.
	imap bool
	// setup prepares the home; it is told to each Emacs.
	setup string
	// send sends; copies says where the copies are: files, or directories of files.
	send   string
	copies string
	// draft is a bit of Lisp that is true in a buffer with the draft that was
	// brought back.
	draft string
}

var readers = []reader{
	{
		name:   "message-mode",
		send:   `(story-compose "bob@example.org" "Späte Grüße" "Once upon a time.\n" '(("Fcc" . "sent"))) (setq default-directory "~/") (call-interactively #'message-send-and-exit)`,
		copies: "sent",
		draft:  `(eq major-mode 'message-mode)`,
	},
	{
		name: "Gnus",
		setup: `(setq gnus-home-directory "~/" gnus-directory "~/News/" message-directory "~/Mail/"
			gnus-init-file nil gnus-site-init-file nil gnus-select-method '(nnnil "") gnus-secondary-select-methods nil
			gnus-read-active-file nil gnus-verbose 3 gnus-use-full-window nil gnus-novice-user nil gnus-message-highlight-citation nil
			gnus-message-archive-method '(nnfolder "archive" (nnfolder-directory "~/Mail/archive/")
				(nnfolder-active-file "~/Mail/archive/active") (nnfolder-get-new-mail nil) (nnfolder-inhibit-expiry t))
			gnus-message-archive-group "sent")
			(require 'gnus)`,
		send: `(gnus-no-server) (gnus-group-mail) (message-goto-to) (insert "bob@example.org") (message-goto-subject) (insert "Späte Grüße")
			(message-goto-body) (insert "Once upon a time.\n") (unless (message-fetch-field "Gcc") (error "No Gcc: %s" (buffer-string)))
			(call-interactively #'message-send-and-exit)`,
		copies: "Mail/archive/sent",
		draft:  `(and (eq major-mode 'message-mode) (message-field-value "Gcc"))`,
	},
	{
		// Gnus does not run, and its settings are in its init file; the server is
		// Dovecot, which Gnus starts.
		name: "nnimap, without Gnus", imap: true,
		setup: `(write-region (concat "(setq gnus-select-method '(nnnil \"\") gnus-read-active-file nil gnus-verbose 3
			gnus-secondary-select-methods '((nnimap \"here\" (nnimap-stream shell) (nnimap-shell-program \"sh ~/imapd\"))))")
			nil "~/.gnus.el" nil 0)
			;; -Q said that no init file is to be read.
			(setq init-file-user "")`,
		send: `(story-compose "bob@example.org" "Späte Grüße" "Once upon a time.\n" '(("Gcc" . "\"nnimap+here:Sent items\"")))
			(call-interactively #'message-send-and-exit)`,
		copies: "imap/.Sent items/[cn]*/*",
		draft:  `(and (eq major-mode 'message-mode) (message-field-value "Gcc"))`,
	},
	{
		name:  "mail-mode",
		setup: `(require 'sendmail) (setq mail-user-agent 'sendmail-user-agent mail-archive-file-name "~/sent")`,
		send: `(compose-mail "bob@example.org" "Späte Grüße") (unless (eq major-mode 'mail-mode) (error "In %s" major-mode))
			(goto-char (point-max)) (insert "Once upon a time.\n") (call-interactively #'mail-send-and-exit)`,
		copies: "sent",
		draft:  `(and (eq major-mode 'mail-mode) (mail-fetch-field "Fcc"))`,
	},
	{
		name: "notmuch", debian: true,
		setup: `(require 'notmuch) (setq notmuch-command (readers-file "usr/bin/notmuch"))
			(unless (file-exists-p "~/.notmuch-config")
			  (make-directory "~/Maildir/Sent/cur" t) (make-directory "~/Maildir/Sent/new" t) (make-directory "~/Maildir/Sent/tmp" t)
			  (write-region "[database]\npath=Maildir\n[user]\nname=Ann\nprimary_email=ann@example.org\n" nil "~/.notmuch-config")
			  (call-process notmuch-command nil nil nil "new"))
			(setq notmuch-fcc-dirs "Sent" notmuch-always-prompt-for-sender nil)`,
		send: `(notmuch-mua-mail "bob@example.org" "Späte Grüße") (message-goto-body) (insert "Once upon a time.\n")
			(unless (message-fetch-field "Fcc") (error "No Fcc: %s" (buffer-string)))
			(call-interactively #'notmuch-mua-send-and-exit)`,
		copies: "Maildir/Sent/*/*",
		draft:  `(and (eq major-mode 'notmuch-message-mode) (message-field-value "Fcc"))`,
	},
	{
		name: "mu4e", debian: true,
		setup: `(require 'mu4e) (setq mu4e-mu-binary (readers-file "usr/bin/mu"))
			(dolist (folder '("drafts" "sent" "trash"))
			  (dolist (part '("cur" "new" "tmp")) (make-directory (format "~/Maildir/%s/%s" folder part) t)))
			(unless (file-exists-p "~/.cache/mu")
			  (call-process mu4e-mu-binary nil nil nil "init" (concat "--maildir=" (expand-file-name "~/Maildir")) "--my-address=ann@example.org"))
			(setq mail-user-agent 'mu4e-user-agent mu4e-compose-complete-addresses nil mu4e-confirm-quit nil)`,
		send: `(mu4e--init-handlers) (setq mu4e-pong-func #'ignore) (mu4e--server-start) (mu4e--server-call-mu '(ping))
			(while (null mu4e--server-props) (accept-process-output mu4e--server-process 1))
			(compose-mail "bob@example.org" "Späte Grüße") (message-goto-body) (insert "Once upon a time.\n")
			(unless (eq major-mode 'mu4e-compose-mode) (error "In %s" major-mode))
			(call-interactively #'message-send-and-exit)`,
		copies: "Maildir/sent/cur/*",
		draft:  `(eq major-mode 'mu4e-compose-mode)`,
	},
}

// readerOf returns the reader with a name, or one that needs nothing.
func readerOf(name string) reader {
	for _, r := range readers {
		if r.name == name {
			return r
		}
	}
	return reader{}
}

// unpackReaders returns where Debian's mail readers are unpacked. The first time
// they are downloaded.
var unpackReaders = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("sh", "../unpack.sh", "mail-readers", "", "mu4e", "elpa-notmuch", "notmuch").Output()
	return strings.TrimSpace(string(out)), err
})

// unpackIMAP is the same for Dovecot.
var unpackIMAP = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("sh", "../unpack.sh", "imap", "", "dovecot-imapd", "dovecot-core").Output()
	return strings.TrimSpace(string(out)), err
})

// imap writes a script that is an IMAP server on its standard input and output,
// for somebody who has logged in. The mail is in the maildir imap, whose owner
// is nobody where the test is root: Dovecot wants it so.
func (h *home) imap() {
	h.t.Helper()
	root, err := unpackIMAP()
	if err != nil {
		h.t.Fatalf("Debian's dovecot-imapd can't be had: %v", err)
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	if err != nil || len(libraries) != 1 {
		h.t.Fatalf("no libraries in %s: %v", root, err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65534, 65534
	}
	if err := errors.Join(os.Chmod(h.dir, 0o711), os.Mkdir(h.path("imap"), 0o777), os.Chmod(h.path("imap"), 0o777)); err != nil {
		h.t.Fatal(err)
	}
	h.write("imapd", fmt.Sprintf("DOVECONF_ENV=1 MAIL_LOCATION=maildir:%[1]s/imap MAIL_UID=%[2]d MAIL_GID=%[3]d FIRST_VALID_UID=0 \\\n"+
		"BASE_DIR=%[1]s/run STATS_WRITER_SOCKET_PATH= LOG_PATH=/dev/stderr USER=ann HOME=%[1]s \\\n"+
		"LD_LIBRARY_PATH=%[4]s/usr/lib/dovecot:%[5]s exec %[4]s/usr/lib/dovecot/imap 2>/dev/null\n", h.dir, uid, gid, root, libraries[0]))
}

// homeOf returns a home for a mail reader, and what each Emacs there is told
// first.
func homeOf(t *testing.T, r reader) (*home, string) {
	t.Helper()
	h := newHome(t)
	if r.imap {
		h.imap()
	}
	if !r.debian {
		return h, r.setup
	}
	root, err := unpackReaders()
	if err != nil {
		t.Fatalf("Debian's mail readers can't be had: %v", err)
	}
	var dirs []string
	for _, pattern := range []string{"usr/share/emacs/site-lisp/elpa-src/*", "usr/lib/*-linux-gnu"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s in %s: %v", pattern, root, err)
		}
		dirs = append(dirs, found...)
	}
	libraries := dirs[len(dirs)-1]
	h.env = append(h.env, "LD_LIBRARY_PATH="+libraries+":"+os.Getenv("LD_LIBRARY_PATH"))
	setup := `(defun readers-file (name) (expand-file-name name "` + root + `"))`
	for _, dir := range dirs[:len(dirs)-1] {
		setup += "\n(add-to-list 'load-path \"" + dir + "\")"
	}
	return h, setup + r.setup
}

// copies counts the copies of messages that a reader has filed.
func (h *home) copies(r reader) int {
	h.t.Helper()
	files, err := filepath.Glob(h.path(r.copies))
	if err != nil {
		h.t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			h.t.Fatal(err)
		}
		count += bytes.Count(bytes.ToLower(text), []byte("\nsubject: "))
		if !bytes.Contains(text, []byte("Once upon a time.")) {
			h.t.Errorf("what was filed in %s is\n%s", file, text)
		}
	}
	return count
}

// edit brings back the draft of the one message in the outbox, sees that DRAFT
// is true there, and sends it to carol instead of bob.
const edit = `(require 'submission-draft)
	(let ((id (plist-get (car (submission-messages)) :id)))
	  (submission-entries-scan)
	  (submission-draft-edit id)
	  (unless DRAFT (error "The draft is in %s:\n%s" major-mode (buffer-string))))
	(goto-char (point-min))
	(while (search-forward "bob@" nil t) (replace-match "carol@"))
	(call-interactively (key-binding (kbd "C-c C-c")))
	(story-wait)`

// TestCopies sees for each mail reader that the copy of a message is filed once
// the server has accepted it, once, and not at all when it was refused.
func TestCopies(t *testing.T) {
	t.Parallel()
	for _, r := range readers {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			t.Run("accepted", func(t *testing.T) {
				t.Parallel()
				h, setup := homeOf(t, r)
				server := start(t, smtpd.Script{})
				g := newGate(t, server.Addr(""))
				o := h.background(h.account(server, false, g.port)+setup+r.send+"\n(story-wait)", func() {
					select {
					case <-g.arrived:
					case <-time.After(time.Minute):
						t.Error("Emacs did not send within a minute")
					}
					// It is queued, and the server has said nothing yet.
					if n := h.copies(r); n != 0 {
						t.Errorf("%d copies before the server was reached", n)
					}
					g.open()
				})
				if o.err != nil || len(o.receipts) != 1 || o.receipts[0].Status != "accepted" {
					t.Fatalf("%v, receipts %+v; Emacs said:\n%s", o.err, o.receipts, o.output)
				}
				if n := h.copies(r); n != 1 {
					t.Errorf("%d copies; Emacs said:\n%s", n, o.output)
				}
				if files := h.outbox(); len(files) != 0 {
					t.Errorf("the outbox holds %v", files)
				}
				if m := server.Messages(); len(m) != 1 || bytes.Contains(bytes.ToLower(m[0].Data), []byte("cc: sent")) {
					t.Errorf("%d messages; Fcc or Gcc went out: %+v", len(m), m)
				}
			})
			t.Run("refused, and edited", func(t *testing.T) {
				t.Parallel()
				h, setup := homeOf(t, r)
				server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "RCPT", Match: "bob@", Reply: smtpd.Lines{"550 5.1.1 no such user"}})})
				account := h.account(server, false, server.Port(""))
				o := h.emacs(account + setup + r.send + "\n(story-wait)")
				if o.err != nil || len(o.receipts) != 1 || o.receipts[0].Status != "refused" {
					t.Fatalf("%v, receipts %+v; Emacs said:\n%s", o.err, o.receipts, o.output)
				}
				if n := h.copies(r); n != 0 {
					t.Errorf("%d copies", n)
				}
				// Another Emacs, in which the reader need not run.
				o = h.emacs(account + setup + strings.ReplaceAll(edit, "DRAFT", r.draft))
				m := server.Messages()
				if o.err != nil || len(m) != 1 || len(h.outbox()) != 0 || h.copies(r) != 1 {
					t.Fatalf("%v, %d messages, %d copies, the outbox holds %v; Emacs said:\n%s", o.err, len(m), h.copies(r), h.outbox(), o.output)
				}
				if to := strings.Join(addresses(m[0]), " "); to != "carol@example.org" {
					t.Errorf("it went to %s", to)
				}
			})
			t.Run("killed, and sent by the next Emacs", func(t *testing.T) {
				t.Parallel()
				h, setup := homeOf(t, r)
				server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence})})
				account := h.account(server, false, server.Port(""))
				h.killed(account+setup+r.send+"\n(story-wait)", func() {
					limit, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if _, err := server.Wait(limit, func(s []smtpd.Session) bool { return len(s) > 0 }); err != nil {
						t.Error(err)
					}
				})
				if n := h.copies(r); n != 0 {
					t.Errorf("%d copies when Emacs was killed", n)
				}
				if err := server.Update(smtpd.Script{}); err != nil {
					t.Fatal(err)
				}
				h.filesOnce(r, account+setup)
			})
			// Killed at each point from the server's answer on.
			for _, at := range []struct{ name, lisp string }{
				{"killed when it was accepted", `(advice-add 'submission-copies-file :before #'die)`},
				{"killed before it was filed", `(advice-add 'submission-copies--one :before #'die)`},
				{"killed when it was filed", `(advice-add 'submission-copies--one :after #'die)`},
				{"killed before it was settled", `(advice-add 'submission-job--settle :before #'die)`},
			} {
				t.Run(at.name, func(t *testing.T) {
					t.Parallel()
					h, setup := homeOf(t, r)
					server := start(t, smtpd.Script{})
					account := h.account(server, false, server.Port(""))
					o := h.emacs(account + setup + `(require 'submission-job) (require 'submission-copies)
						(defun die (&rest _) (signal-process (emacs-pid) 9))` + at.lisp + r.send + "\n(story-wait)")
					if o.err == nil || o.err.Error() != "signal: killed" {
						t.Fatalf("Emacs was not killed: %v; it said:\n%s", o.err, o.output)
					}
					h.filesOnce(r, account+setup)
					if n := len(server.Messages()); n != 1 {
						t.Errorf("the server took %d messages", n)
					}
				})
			}
		})
	}
}

// filesOnce starts two more Emacsen, one after the other, which send what waits,
// and sees that there is one copy afterwards.
func (h *home) filesOnce(r reader, setup string) {
	h.t.Helper()
	for range 2 {
		if o := h.emacs(setup + "\n(story-wait)"); o.err != nil || h.copies(r) != 1 || len(h.outbox()) != 0 {
			h.t.Fatalf("%v, %d copies, the outbox holds %v; Emacs said:\n%s", o.err, h.copies(r), h.outbox(), o.output)
		}
	}
}

// TestAccounts sees that the account is chosen by From and kept with the
// message, and that a server that is named for one message comes first.
func TestAccounts(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	users := map[string]string{"kazu": "secret"}
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{
		{Name: "default"},
		{Name: "own", Behaviour: &smtpd.Behaviour{Users: users}},
		{Name: "late", Behaviour: behaves(smtpd.Rule{On: "MAIL", Reply: smtpd.Lines{"451 4.3.0 later"}})},
	}})
	h.account(server, false, server.Port("default"))
	h.write("authinfo", "machine localhost login kazu password secret\n")
	account := h.account(server, false, server.Port("default")) +
		fmt.Sprintf(`(write-region "machine localhost login kazu password secret\n" nil (car auth-sources) nil 0)
		(setq submission-accounts
		      '(("ann@work.example" :server "localhost" :port %d :user "kazu" :ehlo-name "work.example" :envelope-from "bounces@work.example")
		        ("@late.example" :sequence ((ipv4 . %d)))))`, server.Port("own"), server.Port("late"))
	o := h.emacs(account + fmt.Sprintf(`
		(story-send "default@example.org")
		(story-send "own@example.org" nil nil '(("From" . "Ann <ann@work.example>")))
		(story-send "named@example.org" nil nil '(("From" . "ann@work.example") ("X-Message-SMTP-Method" . "smtp 127.0.0.1 %d")))
		(story-send "late@example.org" nil nil '(("From" . "ann@late.example")))
		;; What waits is not redirected when the accounts change.
		(setq submission-accounts nil)
		(submission-outbox-send-all)
		(story-wait)
		;; Unless a person says so.
		(setq submission-accounts '(("@late.example" :server "localhost" :port %[1]d)))
		(require 'submission-act)
		(let ((id (plist-get (car (submission-messages)) :id)))
		  (cl-letf (((symbol-function 'completing-read) (lambda (&rest _) "@late.example")))
		    (submission-act id "settings" (cons 'settings (submission-act-read-settings))))
		  (submission-act id "send"))
		(story-wait)`, server.Port("default")))
	if o.err != nil || len(o.receipts) != 6 {
		t.Fatalf("%v, receipts %+v; Emacs said:\n%s", o.err, o.receipts, o.output)
	}
	for i, want := range []int{server.Port("default"), server.Port("own"), server.Port("default"), server.Port("late"), server.Port("late"), server.Port("default")} {
		if got := o.receipts[i].Port; got != want {
			t.Errorf("message %d went to port %d, want %d: %+v", i, got, want, o.receipts[i])
		}
	}
	m := byRecipient(server)["own@example.org"]
	if m.User != "kazu" || m.From.Address != "bounces@work.example" {
		t.Errorf("sent as %q from %q", m.User, m.From.Address)
	}
}

// TestCopiesElsewhere has copies filed when the message is queued, copies that
// can't be filed, and one of several recipients who is refused.
func TestCopiesElsewhere(t *testing.T) {
	t.Parallel()
	for _, r := range readers {
		if r.imap {
			// Where Gnus doesn't run, message-mode files nothing in its groups.
			continue
		}
		t.Run("queued, "+r.name, func(t *testing.T) {
			t.Parallel()
			h, setup := homeOf(t, r)
			server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "RCPT", Match: "bob@", Reply: smtpd.Lines{"550 5.1.1 no such user"}})})
			account := h.account(server, false, server.Port("")) + "(setq submission-file-copies 'queued)"
			// Rmail would ask whether the file is to be made.
			o := h.emacs(account + setup + `(write-region "" nil "~/sent")` + r.send + "\n(story-wait)")
			if n := h.copies(r); o.err != nil || n != 1 {
				t.Fatalf("%v, %d copies; Emacs said:\n%s", o.err, n, o.output)
			}
			o = h.emacs(account + setup + strings.ReplaceAll(edit, "DRAFT", r.draft))
			if n := h.copies(r); o.err != nil || n != 2 || len(server.Messages()) != 1 {
				t.Errorf("%v, %d copies after the draft was sent; Emacs said:\n%s", o.err, n, o.output)
			}
		})
	}
	t.Run("mu4e's other folders and contexts, and message-mode after it", func(t *testing.T) {
		t.Parallel()
		r := readerOf("mu4e")
		h, setup := homeOf(t, r)
		server := start(t, smtpd.Script{})
		o := h.emacs(h.account(server, false, server.Port("")) + setup + `(defvar before message-fcc-handler-function)` + r.send + `
			(story-wait)
			(unless (eq before message-fcc-handler-function) (error "mu4e's function is left: %S" message-fcc-handler-function))
			(defun again (behaviour)
			  (set-buffer "*scratch*")
			  (setq mu4e-sent-messages-behavior behaviour)
			  (compose-mail "bob@example.org" "Späte Grüße") (message-goto-body) (insert "Once upon a time.\n"))
			(again 'delete) (message-send-and-exit) (story-wait)
			;; A first try that fails is not to add to the copies.
			(again 'trash)
			(let ((smtpmail-smtp-server "not a host"))
			  (condition-case nil (progn (message-send-and-exit) (error "It was sent")) (submission-error nil)))
			(message-send-and-exit) (story-wait)
			(unless (eq before message-fcc-handler-function) (error "mu4e's function is left: %S" message-fcc-handler-function))
			(dolist (part '("cur" "new" "tmp")) (make-directory (concat "~/Maildir/work/" part) t))
			(setq smtpmail-smtp-server "nobody.invalid" mu4e-compose-context-policy 'pick-first
			      mu4e-contexts (list (make-mu4e-context :name "work" :match-func #'always
			                                             :vars '((smtpmail-smtp-server . "127.0.0.1") (mu4e-sent-folder . "/work")))))
			(again 'sent) (message-send-and-exit) (story-wait)
			(set-buffer "*scratch*")` + readers[0].send + "\n(story-wait)")
		if o.err != nil || len(server.Messages()) != 5 {
			t.Fatalf("%v, %d messages; Emacs said:\n%s", o.err, len(server.Messages()), o.output)
		}
		for _, glob := range []string{r.copies, "Maildir/trash/cur/*", "Maildir/work/cur/*", readers[0].copies} {
			if n := h.copies(reader{copies: glob}); n != 1 {
				t.Errorf("%d copies in %s", n, glob)
			}
		}
	})
	t.Run("uncertain, and arrived or not", func(t *testing.T) {
		t.Parallel()
		h := newHome(t)
		server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Instead: smtpd.CloseConn})})
		account := h.account(server, false, server.Port(""))
		o := h.emacs(account + `(story-send "bob@example.org" nil nil '(("Fcc" . "~/arrived")))
			(write-region (plist-get (car (submission-messages)) :id) nil "~/id")
			(story-send "carol@example.org" nil nil '(("Fcc" . "~/lost")))`)
		for _, name := range []string{"arrived", "lost"} {
			if n := h.copies(reader{copies: name}); o.err != nil || n != 0 {
				t.Errorf("%v, %d copies in %s; Emacs said:\n%s", o.err, n, name, o.output)
			}
		}
		o = h.emacs(account + `(require 'submission-act) (submission-entries-scan)
			(let ((arrived (with-temp-buffer (insert-file-contents "~/id") (buffer-string))))
			  (dolist (receipt (submission-messages))
			    (let ((id (plist-get receipt :id))) (submission-act id (if (equal id arrived) "arrived" "cancel")))))
			(with-timeout (60 (error "Some are there: %S" (submission-messages)))
			  (while (submission-messages) (accept-process-output nil 0.05)))`)
		for name, want := range map[string]int{"arrived": 1, "lost": 0} {
			if n := h.copies(reader{copies: name}); o.err != nil || n != want {
				t.Errorf("%v, %d copies in %s, want %d; Emacs said:\n%s", o.err, n, name, want, o.output)
			}
		}
	})
	t.Run("a program, killed", func(t *testing.T) {
		t.Parallel()
		h := newHome(t)
		server := start(t, smtpd.Script{})
		account := h.account(server, false, server.Port(""))
		o := h.emacs(account + `(require 'submission-copies)
			(advice-add 'submission-copies--one :after (lambda (&rest _) (signal-process (emacs-pid) 9)))
			(story-send "bob@example.org" nil nil '(("Fcc" . "| cat >>~/sent")))`)
		if n := h.copies(readers[0]); o.err == nil || n != 1 {
			t.Fatalf("%v, %d copies; Emacs said:\n%s", o.err, n, o.output)
		}
		// It may or may not have been filed; a person is told, and decides.
		o = h.emacs(account + "(story-wait)")
		if n := h.copies(readers[0]); o.err != nil || n != 1 || !strings.Contains(o.output, "it may be there") {
			t.Fatalf("%v, %d copies; Emacs said:\n%s", o.err, n, o.output)
		}
		o = h.emacs(account + `(unless (= (submission-copies-again) 1) (error "Not filed"))`)
		if n := h.copies(readers[0]); o.err != nil || n != 2 || len(h.outbox()) != 0 {
			t.Errorf("%v, %d copies; Emacs said:\n%s", o.err, n, o.output)
		}
	})
	t.Run("can't be filed, and can later", func(t *testing.T) {
		t.Parallel()
		h := newHome(t)
		server := start(t, smtpd.Script{})
		account := h.account(server, false, server.Port(""))
		o := h.emacs(account + `(make-directory "~/sent")` + readers[0].send + "\n(story-wait)")
		if o.err != nil || len(o.receipts) != 1 || len(h.outbox()) != 0 || !strings.Contains(o.output, "submission-copies-again") {
			t.Fatalf("%v, receipts %+v, the outbox holds %v; Emacs said:\n%s", o.err, o.receipts, h.outbox(), o.output)
		}
		if o := h.emacs(account + `(delete-directory "~/sent") (unless (= (submission-copies-again) 1) (error "Not filed"))
			(unless (= (submission-copies-again) 0) (error "Filed twice"))`); o.err != nil {
			t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
		}
		if n := h.copies(readers[0]); n != 1 || len(server.Messages()) != 1 {
			t.Errorf("%d copies, %d messages", n, len(server.Messages()))
		}
	})
	t.Run("some accepted, the rest later", func(t *testing.T) {
		t.Parallel()
		h := newHome(t)
		server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "RCPT", Match: "later@", Reply: smtpd.Lines{"450 4.2.1 later"}})})
		account := h.account(server, false, server.Port(""))
		o := h.emacs(account + `(story-send "bob@example.org, later@example.org" nil nil '(("Fcc" . "~/sent")))`)
		if n := h.copies(readers[0]); o.err != nil || n != 1 {
			t.Fatalf("%v, %d copies after the first recipient; Emacs said:\n%s", o.err, n, o.output)
		}
		if err := server.Update(smtpd.Script{}); err != nil {
			t.Fatal(err)
		}
		o = h.emacs(account + "(submission-outbox-send-all) (story-wait)")
		if n := h.copies(readers[0]); o.err != nil || n != 1 || len(h.outbox()) != 0 {
			t.Errorf("%v, %d copies after the second; the outbox holds %v; Emacs said:\n%s", o.err, n, h.outbox(), o.output)
		}
	})
}

// TestCopyInAQuietMoment sees that nothing is filed while a person types: the
// mail reader may ask something.
func TestCopyInAQuietMoment(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	x := h.interactive(h.account(server, false, server.Port("")) + `
		(setq message-default-mail-headers "Fcc: ~/sent\n")
		(with-eval-after-load 'submission-copies
		  (advice-add 'submission-copies--log :after
		              (lambda (_ line) (when (equal line "done 1") (message "The copy is filed %s" (if (>= (float-time (or (current-idle-time) 0)) 1) "in a quiet moment" "too early"))))))`)
	x.compose("A story")
	x.keys("C-c", "C-c")
	if seen := x.see("The copy is filed in a quiet moment", "The copy is filed too early"); strings.HasSuffix(seen, "early") {
		t.Error(seen)
	}
	if n := h.copies(readers[0]); n != 1 {
		t.Errorf("%d copies", n)
	}
}

// TestCopyAtTheEnd leaves Emacs as soon as the message is sent: the copy is
// filed all the same, and not by the next Emacs.
func TestCopyAtTheEnd(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	x := h.interactive(h.account(server, false, server.Port("")) + `(setq message-default-mail-headers "Fcc: ~/sent\n")`)
	x.compose("A story")
	x.keys("C-c", "C-c")
	x.see("Sent to 1 recipient")
	x.ends(func() { x.keys("C-x", "C-c") })
	if n := h.copies(readers[0]); n != 1 || len(h.outbox()) != 0 {
		t.Errorf("%d copies, the outbox holds %v", n, h.outbox())
	}
}
