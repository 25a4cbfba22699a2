// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// dumping is Lisp that writes down, with f12 or (dump), the text of all
// buffers and what our variables and functions print as, but for the tables
// that secrets are in by their nature.
const dumping = `
	(defun dump ()
	  (interactive)
	  (let ((print-circle t) (file (expand-file-name "dump" (getenv "HOME"))) (coding-system-for-write 'utf-8-unix))
	    (dolist (buffer (buffer-list))
	      (let ((text (with-current-buffer buffer (save-restriction (widen) (buffer-string)))))
	        (write-region (format "\n[buffer %s]\n%s" buffer text) nil file t 'quiet)))
	    (write-region (format "\n[receipts]\n%S\n[table]\n%S\n" (submission-messages)
	                          (and (boundp 'submission-job--table) submission-job--table))
	                  nil file t 'quiet)
	    (message "All is written down")))
	(global-set-key (kbd "<f12>") #'dump)
	`

// secretFiles are those of the test itself.
var secretFiles = []string{"authinfo", "story-main.el", "interactive.el"}

// checkSecrets looks for passwords in all that Emacs has left in its home, in
// any of the forms in which they cross the wire.
func (h *home) checkSecrets(t *testing.T, passwords ...string) {
	t.Helper()
	seen := map[string]bool{}
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(h.dir, path)
		if err != nil {
			return err
		}
		seen[strings.Split(name, "/")[0]] = true
		for _, own := range secretFiles {
			if name == own {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, form := range forms(passwords) {
			if i := bytes.Index(text, []byte(form)); i >= 0 {
				t.Errorf("%s holds %q: %q", name, form, text[max(0, i-200):min(len(text), i+100)])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dump", "outbox", "receipts"} {
		if !seen[name] {
			t.Errorf("there is no %s to look into", name)
		}
	}
}

// forms returns passwords and what PLAIN and LOGIN make of them.
func forms(passwords []string) []string {
	var list []string
	for _, p := range passwords {
		list = append(list, p, base64.StdEncoding.EncodeToString([]byte(p)),
			base64.StdEncoding.EncodeToString([]byte("\x00kazu\x00"+p)))
	}
	return list
}

// TestSecrets has passwords accepted, refused, and said again by a server that
// doesn't care, and functions fail that have them in hand.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const password = "sw0rdfish-and-more"
	plain := base64.StdEncoding.EncodeToString([]byte("\x00kazu\x00" + password))
	users := map[string]string{"kazu": password}
	for _, tt := range []struct {
		name   string
		server smtpd.Behaviour
		lisp   string
		status string // "" where it can't be submitted
	}{
		{"accepted", smtpd.Behaviour{Users: users, RequireAuth: true}, "", "accepted"},
		{"refused", smtpd.Behaviour{Users: map[string]string{"kazu": "another"}}, "", "held"},
		{"accepted, and then deferred", smtpd.Behaviour{Users: users, Rules: []smtpd.Rule{on("MAIL", "451 4.3.0 later")}}, "", "deferred"},
		{"said again", smtpd.Behaviour{Users: users, Rules: []smtpd.Rule{on("AUTH", "535 5.7.8 not "+plain)}}, "", "held"},
		{"said again in words", smtpd.Behaviour{Users: users, Rules: []smtpd.Rule{on("AUTH", "535 5.7.8 bad password "+password)}}, "", "held"},
		{"said again when not understood", smtpd.Behaviour{Users: users, Rules: []smtpd.Rule{on("AUTH", "500 5.5.1 what is AUTH PLAIN "+plain)}}, "", "held"},
		{"the connection breaks", smtpd.Behaviour{Users: users, Rules: []smtpd.Rule{{On: "AUTH", Instead: smtpd.Reset}}}, "", "deferred"},
		{"LOGIN", smtpd.Behaviour{Users: map[string]string{"kazu": "another"}, EHLOTLS: []string{"AUTH LOGIN"}}, "", "held"},
		{"a fault in the module", smtpd.Behaviour{Users: users},
			// What the module may signal, from the place where it would.
			`(advice-add 'submission-loader-ensure :after
			   (lambda (&rest _)
			     (fset 'submission-module-submit (lambda (_json) (signal 'submission-module-error (list "On purpose"))))))`, ""},
		{"the outbox can't be written", smtpd.Behaviour{Users: users},
			`(advice-add 'make-temp-file :override (lambda (&rest _) (signal 'file-error (list "On purpose"))))`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, smtpd.Script{Behaviour: tt.server})
			account := h.account(server, false, server.Port(""))
			h.write("authinfo", "machine 127.0.0.1 login kazu password "+password+"\n")
			o := h.emacs(account + dumping + tt.lisp + `
				(setq debug-on-error t)
				(make-directory submission-directory t)
				(story-send "bob@example.org")
				(dump)`)
			h.write("output", o.output)
			if tt.status == "" {
				// Emacs ends with a backtrace, and does nothing else.
				h.write("dump", o.output)
				h.write("receipts", "")
				h.write("outbox/none", "")
				if o.err == nil || !strings.Contains(o.output, "submission-job-submit(") {
					t.Errorf("no backtrace: %v; Emacs said:\n%s", o.err, o.output)
				}
			} else if o.err != nil || len(o.receipts) != 1 || o.receipts[0].Status != tt.status {
				t.Errorf("%v, receipts %+v, want %s; Emacs said:\n%s", o.err, o.receipts, tt.status, o.output)
			}
			if tt.status == "accepted" {
				h.write("outbox/none", "")
			}
			if _, err := os.Stat(h.path("dump")); err != nil {
				t.Fatalf("%v; Emacs said:\n%s", err, o.output)
			}
			h.checkSecrets(t, password)
			if sessions := server.Sessions(); tt.status != "" && (len(sessions) == 0 || len(sessions[0].Auth) == 0 && tt.name != "the connection breaks") {
				t.Errorf("the password was not used: %s", fmt.Sprint(sessions))
			}
		})
	}
}
