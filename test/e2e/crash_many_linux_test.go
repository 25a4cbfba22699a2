// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"submission/test/smtpd"
)

// once sees that each of so many recipients got one message.
func once(t *testing.T, server *smtpd.Server, count int) {
	t.Helper()
	got := make(map[string]int)
	for _, m := range server.Messages() {
		for _, to := range m.To {
			got[to.Address]++
		}
	}
	for to, n := range got {
		if n != 1 {
			t.Errorf("%s got %d messages", to, n)
		}
	}
	if len(got) != count {
		t.Errorf("%d recipients got a message, not %d", len(got), count)
	}
}

// TestTwoEmacsenSend has two Emacsen send a hundred messages each from one
// outbox, both at once, and both see to it again and again that what waits is
// sent.
func TestTwoEmacsenSend(t *testing.T) {
	t.Parallel()
	const each = 100
	server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
		// A message comes back now and then, for either of them to take.
		Rules: []smtpd.Rule{
			{On: "MAIL", From: 20, Times: 5, Reply: smtpd.Lines{"451 4.3.0 later"}},
			{On: "DATA", From: 50, Times: 1, Instead: smtpd.Reset},
			{On: "DATA", From: 90, Times: 1, Instead: smtpd.CloseConn},
		},
	}})
	shared := newHome(t)
	var all sync.WaitGroup
	for n := range 2 {
		h := newHome(t)
		h.write("good.eml", header+"\nx\n")
		lisp := h.account(server, false, server.Port("")) + fmt.Sprintf(`
			(setq submission-directory %q)
			(dotimes (n %d)
			  (submission-submit (probe-file "good.eml") :to (list (format "e%d-%%d@example.org" n)))
			  (when (= (%% n 7) %d) (submission-outbox-send-all))
			  (accept-process-output nil 0.002))
			(while (submission-messages)
			  (submission-outbox-send-all)
			  (story-wait))
			(write-region "" nil %q)
			(with-timeout (120)
			  (while (not (file-exists-p %q)) (accept-process-output nil 0.05)))
			(probe-note "left" :outbox (probe-outbox) :values (vconcat (mapcar #'prin1-to-string (submission-messages))))`,
			shared.path("outbox/"), each, n, 3*n, shared.path(fmt.Sprint("done", n)), shared.path(fmt.Sprint("done", 1-n)))
		all.Go(func() {
			o := h.emacs(`(load (expand-file-name "probe.el"))` + "\n" + lisp)
			notes := named(h.notes(), "left")
			if o.err != nil || len(notes) != 1 {
				t.Errorf("%v; Emacs said:\n%s", o.err, o.output)
				return
			}
			if len(notes[0].Values) > 0 || len(notes[0].Outbox) > 0 {
				t.Errorf("one Emacs sees %q, files %q", notes[0].Values, notes[0].Outbox)
			}
		})
	}
	all.Wait()
	once(t, server, 2*each)
}

// TestAThousandWait: more messages than an Emacs may have files open go out over
// one connection or, where the machine is slow, over a few.
func TestAThousandWait(t *testing.T) {
	t.Parallel()
	const count = 1100
	h := newHome(t)
	server := start(t, smtpd.Script{})
	account := h.account(server, false, server.Port(""))
	h.multiply(h.waiting(server, account, 1)[0], count)
	notes := h.probe(account + `
		(submission-outbox-send-all)
		(probe-note "files" :values (vector (number-to-string (length (directory-files (format "/proc/%d/fd" (emacs-pid)))))))
		(story-wait)
		(probe-note "left" :outbox (probe-outbox))`)
	var files int
	fmt.Sscan(value(t, notes, "files"), &files)
	if files > 200 {
		t.Errorf("Emacs has %d files open", files)
	}
	once(t, server, count)
	if n := len(server.Sessions()); n > 3 {
		t.Errorf("%d connections", n)
	}
	if left := named(notes, "left")[0].Outbox; len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if n := len(h.receipts()); n != count {
		t.Errorf("%d receipts", n)
	}
}

// multiply makes count messages of one that waits, each to another recipient.
func (h *home) multiply(id string, count int) {
	h.t.Helper()
	path := func(id, suffix string) string { return filepath.Join(h.path("outbox"), id+suffix) }
	state, err := os.ReadFile(path(id, ".json"))
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := os.ReadFile(path(id, ".eml"))
	if err != nil {
		h.t.Fatal(err)
	}
	for n := 1; n < count; n++ {
		other := fmt.Sprintf("%s%08x", id[:len(id)-8], n)
		replace := strings.NewReplacer(id, other, "r0@", fmt.Sprintf("r%d@", n)).Replace
		write(h.t, path(other, ".json"), replace(string(state)))
		write(h.t, path(other, ".eml"), replace(string(text)))
	}
}
