// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"submission/test/smtpd"
)

// mounting has Emacs started by a shell that mounts file systems first, where
// nobody else sees them.
func (h *home) mounting(script string) {
	h.command = func(name string, args ...string) *exec.Cmd {
		unshare := []string{"--mount"}
		if os.Geteuid() != 0 {
			unshare = append(unshare, "--user", "--map-root-user")
		}
		unshare = append(unshare, "sh", "-e", "-c", script+"\nexec \"$@\"", "sh", name)
		return exec.Command("unshare", append(unshare, args...)...)
	}
}

// TestFullOutbox sends a message from outboxes that are full, after one byte or
// one file more or less. Wherever that is noticed, either the message is sent
// or nothing of it is left, and the draft is told apart from both.
func TestFullOutbox(t *testing.T) {
	t.Parallel()
	const most = 7
	var outboxes, script strings.Builder
	add := func(name, options string) {
		fmt.Fprintf(&script, "mkdir %s\nmount -t tmpfs -o %s tmpfs %s\n", name, options, name)
		fmt.Fprintf(&outboxes, " %q", name)
	}
	h := newHome(t)
	add("read-only", "ro")
	for n := 1; n <= most; n++ {
		add(fmt.Sprintf("files-%d", n), fmt.Sprintf("nr_inodes=%d", n))
		add(fmt.Sprintf("pages-%d", n), fmt.Sprintf("size=%dk", 4*n))
	}
	h.mounting("cd \"$HOME\"\n" + script.String() + "cd - >/dev/null")
	server := start(t, smtpd.Script{})
	h.write("message.eml", header+"\n"+strings.Repeat("x\n", 6000))
	notes := h.probe(h.account(server, false, server.Port("")) + fmt.Sprintf(`
		(dolist (name '(%s))
		  (setq submission-directory (probe-file name))
		  (let ((status nil))
		    (with-temp-buffer
		      (insert-file-contents-literally (probe-file "message.eml"))
		      (probe-error name
		        (submission-submit (current-buffer) :to (list (concat name "@example.org"))
		                           :callback (lambda (receipt) (setq status (plist-get receipt :status)))))
		      (probe-note "then" :values (vector (if (submission-wait 60) "done" "still waiting")
		                                         (symbol-name status))
		                  :outbox (probe-outbox)))))`, &outboxes))
	got := byRecipient(server)
	ends := map[string]int{}
	for i := 0; i < len(notes); i += 2 {
		n, then := notes[i], notes[i+1]
		_, delivered := got[n.Name+"@example.org"]
		if then.Values[0] != "done" {
			t.Errorf("%s: %s", n.Name, then.Values[0])
		}
		switch {
		case n.Symbol != "":
			ends["refused"]++
			n.check(t, "submission-outbox-error", "outbox")
			if delivered || len(then.Outbox) > 0 {
				t.Errorf("%s: it could not be queued, and was delivered (%t) or is still there: %v", n.Name, delivered, then.Outbox)
			}
		case delivered:
			ends["delivered"]++
		default:
			// It was queued, so it must still be there, as mail.
			ends["kept"]++
			if !strings.Contains(strings.Join(then.Outbox, " "), ".json") || !strings.Contains(strings.Join(then.Outbox, " "), ".eml") {
				t.Errorf("%s: it was queued, not delivered, and is gone: %v", n.Name, then.Outbox)
			}
		}
		t.Logf("%-10s %-26s delivered %-5t then %v %v %s", n.Name, n.Symbol, delivered, then.Values, then.Outbox, n.Text)
	}
	if ends["refused"] == 0 || ends["delivered"] == 0 {
		t.Errorf("the outboxes were not full at different moments: %v", ends)
	}
}

// TestManyAtOnce submits twenty messages while the server doesn't answer yet.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	const count = 20
	h := newHome(t)
	server := start(t, smtpd.Script{})
	g := newGate(t, server.Addr(""))
	h.write("good.eml", header+"\nx\n")
	go func() {
		// The messages are in the outbox before the server says a word.
		<-g.arrived
		waitFor(t, "the outbox to fill", h.dir, func() bool { return len(h.outbox()) == 2*count })
		g.open()
	}()
	notes := h.probe(h.account(server, false, g.port) + fmt.Sprintf(`
		(dotimes (n %d)
		  (let ((to (format "r%%d@example.org" n)))
		    (submission-submit (probe-file "good.eml") :to (list to)
		                       :callback (lambda (receipt)
		                                   (probe-note "callback" :values (vector to (car (plist-get receipt :accepted))
		                                                                          (symbol-name (plist-get receipt :status))))))))
		(story-wait)`, count))
	seen := map[string]int{}
	for _, n := range named(notes, "callback") {
		seen[n.Values[0]]++
		if n.Values[0] != n.Values[1] || n.Values[2] != "accepted" {
			t.Errorf("a callback for %s was told that %s was %s", n.Values[0], n.Values[1], n.Values[2])
		}
	}
	if len(seen) != count || len(named(notes, "callback")) != count {
		t.Errorf("callbacks: %v", seen)
	}
	if got := byRecipient(server); len(got) != count || len(server.Messages()) != count {
		t.Errorf("the server took %d messages for %d recipients", len(server.Messages()), len(got))
	}
	if left := h.outbox(); len(left) > 0 {
		t.Errorf("the outbox holds %v", left)
	}
}

// waitFor waits until done is true, and looks again whenever a name in the
// directory dir or in one that it holds changes.
func waitFor(t *testing.T, what, dir string, done func() bool) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Error(err)
		return
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	events.SetReadDeadline(time.Now().Add(time.Minute))
	watch := func(dir string) {
		syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE|syscall.IN_MOVED_TO|syscall.IN_CLOSE_WRITE|syscall.IN_DELETE)
	}
	watch(dir)
	for buffer := make([]byte, 4096); ; {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if e.IsDir() {
				watch(dir + "/" + e.Name())
			}
		}
		if done() {
			return
		}
		if _, err := events.Read(buffer); err != nil {
			t.Errorf("waiting for %s: %v", what, err)
			return
		}
	}
}
