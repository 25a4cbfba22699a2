// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// named returns the notes of that name.
func named(notes []note, name string) []note {
	var list []note
	for _, n := range notes {
		if n.Name == name {
			list = append(list, n)
		}
	}
	return list
}

// value returns the only note of that name as text.
func value(t *testing.T, notes []note, name string) string {
	t.Helper()
	list := named(notes, name)
	if len(list) != 1 {
		t.Fatalf("%d notes %q in %+v", len(list), name, notes)
	}
	return strings.Join(list[0].Values, " ")
}

// TestReceiptShape compares all keys and types of receipts with what is
// promised.
func TestReceiptShape(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{
		{Name: "closed", Closed: true},
		{Name: "open", Behaviour: behaves(smtpd.Rule{On: "RCPT", Match: "bad@", Reply: smtpd.Lines{"550 5.1.1 no such user"}})},
	}})
	closed, open := server.Port("closed"), server.Port("open")
	h.write("good.eml", header+"\nx\n")
	h.write("nameless.eml", "From: ann@example.org\n\nx\n")
	notes := h.probe(h.account(server, false, closed, open) + fmt.Sprintf(`
		(defun submit (name to &rest plist)
		  (apply #'submission-submit (probe-file (if (equal name "nameless") "nameless.eml" "good.eml"))
		         :to to :callback (lambda (receipt) (probe-note name :values (vector (probe-shape receipt))))
		         plist))
		(submit "fallback" '("bob@example.org"))
		(submit "some refused" '("bob@example.org" "bad@example.org"))
		(submit "all refused" '("bad@example.org"))
		(submit "deferred" '("bob@example.org") :sequence '((ipv4 . %d) (any . %[1]d)))
		(submit "port" '("bob@example.org") :port %d)
		(submit "plain" '("bob@example.org") :port %[2]d :security 'plain)
		(submit "held" '("bob@example.org") :user "nobody")
		(submit "nameless" '("bob@example.org"))
		(story-wait)
		(dolist (receipt (submission-messages))
		  (probe-note "messages" :values (vector (probe-shape receipt))))`, closed, open))
	reset := fmt.Sprintf("(:family ipv4 :port integer :address string :outcome reset :case integer :detail %s :elapsed float)", "DETAIL")
	connected := "(:family ipv4 :port integer :address string :outcome connected :case integer :detail DETAIL :elapsed float)"
	reached := ":host string :address string :family ipv4 :port integer :tls "
	bobs, bad := " :accepted (string)", " :refused ((string . string))"
	const nobody = " :accepted nil"
	for name, want := range map[string]string{
		"fallback":     ":status accepted :reason nil " + reached + "verified :reply string" + bobs + " :refused nil :attempts (" + reset + " " + connected + ")",
		"some refused": ":status accepted :reason nil " + reached + "verified :reply string" + bobs + bad + " :attempts (ATTEMPTS)",
		"all refused":  ":status refused :reason recipients " + reached + "verified :reply string" + nobody + bad + " :attempts (ATTEMPTS)",
		"deferred":     ":status deferred :reason nil :host string :address nil :family nil :port nil :tls nil :reply nil" + nobody + " :refused nil :attempts (" + reset + " " + reset + ")",
		"port":         ":status accepted :reason nil " + reached + "verified :reply string" + bobs + " :refused nil :attempts (" + connected + ")",
		"plain":        ":status accepted :reason nil " + reached + "nil :reply string" + bobs + " :refused nil :attempts (" + connected + ")",
		"held":         ":status held :reason auth :host string :address nil :family nil :port nil :tls nil :reply nil" + nobody + " :refused nil :attempts nil",
		"nameless":     ":status accepted :reason nil " + reached + "verified :reply string" + bobs + " :refused nil :attempts (ATTEMPTS)",
	} {
		t.Run(name, func(t *testing.T) {
			id := " :message-id string "
			if name == "nameless" {
				id = " :message-id nil "
			}
			want := "(:id string" + id + want + " :elapsed float)"
			got := plainAttempts(value(t, notes, name), want)
			if got != strings.ReplaceAll(want, "ATTEMPTS", "…") {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
	var statuses []string
	for _, n := range named(notes, "messages") {
		_, rest, _ := strings.Cut(n.Values[0], ":status ")
		status, _, _ := strings.Cut(rest, " ")
		statuses = append(statuses, status)
		if !strings.HasPrefix(n.Values[0], "(:id string :message-id string :status ") {
			t.Errorf("submission-messages has %s", n.Values[0])
		}
	}
	slices.Sort(statuses) // those of one second have no order
	if got := strings.Join(statuses, " "); got != "deferred held refused" {
		t.Errorf("submission-messages has %s", got)
	}
}

// plainAttempts leaves out of a shape what want doesn't look at: a detail may
// be nil or a string, and the attempts may be any where want says so.
func plainAttempts(shape, want string) string {
	shape = strings.ReplaceAll(strings.ReplaceAll(shape, ":detail nil", ":detail DETAIL"), ":detail string", ":detail DETAIL")
	if before, rest, ok := strings.Cut(shape, ":attempts ("); ok && strings.Contains(want, "ATTEMPTS") {
		_, after, _ := strings.Cut(rest, "))")
		shape = before + ":attempts (…)" + after
	}
	return shape
}

// TestHooksAndCallbacks sees that each is called once with the same receipt,
// in order, that errors stop nothing, and that submission-wait waits for them.
func TestHooksAndCallbacks(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	h.write("good.eml", header+"\nx\n")
	notes := h.probe(h.account(server, false, server.Port("")) + `
		(defvar calls nil)
		(defun call (who receipt) (push (cons who receipt) calls))
		(remove-hook 'submission-finished-functions #'story--note)
		(add-hook 'submission-finished-functions (lambda (receipt) (call "first" receipt)))
		(add-hook 'submission-finished-functions (lambda (receipt) (call "bad" receipt) (error "On purpose")) t)
		(add-hook 'submission-finished-functions (lambda (receipt) (call "thrower" receipt) (throw 'nowhere t)) t)
		(add-hook 'submission-finished-functions (lambda (receipt) (call "destroyer" receipt) (set-buffer (get-buffer-create "other"))) t)
		(add-hook 'submission-finished-functions
		          (lambda (receipt)
		            (call "last" receipt)
		            ;; A hook that sends and waits is waited for, too.
		            (when (equal (plist-get receipt :message-id) "<raw@example.org>")
		              (submission-submit (probe-file "second.eml") :callback (lambda (receipt) (call "second callback" receipt)))
		              (submission-wait 60)))
		          t)
		(write-region "From: ann@example.org\nTo: bob@example.org\nMessage-ID: <second@example.org>\n\nx\n" nil (probe-file "second.eml"))
		(let ((buffer (current-buffer))
		      (id (submission-submit (probe-file "good.eml")
		                             :callback (lambda (receipt) (call "callback" receipt) (error "On purpose, too")))))
		  (probe-note "before" :values (vector (number-to-string (length calls))))
		  (probe-note "wait" :values (vector (prin1-to-string (submission-wait))))
		  (probe-note "buffer" :values (vector (prin1-to-string (eq buffer (current-buffer)))))
		  (dolist (call (reverse calls))
		    (probe-note "call" :values
		      (vector (car call)
		              (plist-get (cdr call) :message-id)
		              (prin1-to-string (equal (plist-get (cdr call) :id) id))
		              (prin1-to-string (equal (cdr call)
		                                      (cdr (cl-find-if (lambda (other) (equal (plist-get (cdr other) :id) (plist-get (cdr call) :id)))
		                                                       calls)))))))
		  (probe-note "again" :values (vector (prin1-to-string (submission-wait 0)) (prin1-to-string (submission-wait))))
		  (probe-note "number" :values (vector (number-to-string (length calls)))))`)
	if got := value(t, notes, "before"); got != "0" {
		t.Errorf("%s calls before submission-submit had returned", got)
	}
	if got := value(t, notes, "wait") + value(t, notes, "buffer"); got != "tt" {
		t.Errorf("submission-wait and the current buffer: %s", got)
	}
	if got := value(t, notes, "again"); got != "t t" {
		t.Errorf("with nothing to do, submission-wait returned %s", got)
	}
	var first, second []string
	for _, n := range named(notes, "call") {
		if n.Values[3] != "t" {
			t.Errorf("%s was given another receipt", n.Values[0])
		}
		if n.Values[1] == "<raw@example.org>" {
			first = append(first, n.Values[0])
			if n.Values[2] != "t" {
				t.Errorf("%s was given another id than submission-submit returned", n.Values[0])
			}
		} else {
			second = append(second, n.Values[0])
		}
	}
	hooks := []string{"first", "bad", "thrower", "destroyer", "last"}
	if want := append([]string{"callback"}, hooks...); !slices.Equal(first, want) {
		t.Errorf("the first message: %v, want %v", first, want)
	}
	if want := append([]string{"second callback"}, hooks...); !slices.Equal(second, want) {
		t.Errorf("the second message: %v, want %v", second, want)
	}
	if got := value(t, notes, "number"); got != "12" {
		t.Errorf("%s calls, want 12", got)
	}
}

// TestWait sees what submission-wait returns, and when.
func TestWait(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{
		{Name: "silent", Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence})},
		{Name: "closed", Closed: true},
	}})
	h.write("good.eml", header+"\nx\n")
	notes := h.probe(h.account(server, false, server.Port("silent")) + fmt.Sprintf(`
		(defun note-wait (name &rest args)
		  (let ((start (float-time)) (result (apply #'submission-wait args)))
		    (probe-note name :values (vector (prin1-to-string result)
		                                     (if (>= (- (float-time) start) (or (car args) 0)) "waited" "early")))))
		;; Before anything of ours is loaded, and with no outbox.
		(probe-note "loaded" :values (vector (prin1-to-string (featurep 'submission-job))
		                                     (prin1-to-string (fboundp 'submission-module-version))
		                                     (prin1-to-string (file-exists-p submission-directory))))
		(note-wait "nothing")
		(probe-note "empty" :values (vector (prin1-to-string (submission-messages))))
		(submission-submit (probe-file "good.eml") :port %d)
		(note-wait "deferred")
		(submission-submit (probe-file "good.eml"))
		(note-wait "silent" 0.3)
		(note-wait "zero" 0)
		(probe-note "statuses" :values (vconcat (sort (mapcar (lambda (r) (symbol-name (plist-get r :status))) (submission-messages)) #'string<)))`,
		server.Port("closed")))
	for name, want := range map[string]string{
		"loaded":   "nil nil nil",
		"nothing":  "t waited",
		"empty":    "nil",
		"deferred": "t waited",
		"silent":   "nil waited",
		"zero":     "nil waited",
		"statuses": "deferred sending",
	} {
		if got := value(t, notes, name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
