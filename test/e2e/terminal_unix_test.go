// SPDX-License-Identifier: GPL-3.0-or-later

//go:build unix

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// terminal is an Emacs that a person types into, in a tmux of its own.
type terminal struct {
	t       *testing.T
	h       *home
	changed chan struct{} // Emacs has written something since it was last read
	shown   []string      // what see has found, for the log
}

// interactive starts an Emacs in a terminal with Lisp, after story.el. Where
// the test fails the screens are in its log.
func (h *home) interactive(lisp string) *terminal {
	t := h.t
	t.Helper()
	x := &terminal{t: t, h: h, changed: make(chan struct{}, 1)}
	// Not in the home: that is where certificates are read from.
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := os.OpenFile(fifo, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for b := make([]byte, 4096); ; {
			if _, err := output.Read(b); err != nil {
				return
			}
			select {
			case x.changed <- struct{}{}:
			default:
			}
		}
	}()
	script := h.write("interactive.el", ";; -*- lexical-binding: t -*-\n(setq inhibit-startup-screen t)\n"+lisp)
	program := os.Getenv("EMACS")
	if program == "" {
		program = "emacs"
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	// What is typed too soon would be lost: first Emacs has to be there.
	x.tmux("new-session", "-d", "-x", "120", "-y", "30", "-c", here, "env", "HOME="+h.dir,
		"STORY_RECEIPTS="+h.path("receipts"), "SSL_CERT_DIR="+h.dir, "LC_ALL=C.UTF-8",
		program, "-nw", "-Q", "-L", filepath.Join(here, "../../lisp"), "-l", filepath.Join(here, "story.el"), "-l", script,
		"--eval", `(message "Emacs is ready")`)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screens:\n%s\nlast:\n%s", strings.Join(x.shown, "\n----\n"), x.screen())
		}
		x.tmux("kill-server")
		output.Close()
	})
	x.tmux("pipe-pane", "-O", "cat >'"+fifo+"'")
	x.see("Emacs is ready")
	return x
}

func (x *terminal) tmux(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-L", "e2e", "-f", "/dev/null"}, args...)...)
	cmd.Env = append(os.Environ(), "TMUX_TMPDIR="+x.h.dir, "TMUX=", "TERM=screen")
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %s: %v: %s", args[0], err, out)
	}
	return string(out)
}

func (x *terminal) screen() string { return x.tmux("capture-pane", "-p") }

// keys types keys, by tmux's names.
func (x *terminal) keys(names ...string) {
	x.t.Helper()
	x.tmux(append([]string{"send-keys"}, names...)...)
}

// text types text.
func (x *terminal) text(text string) {
	x.t.Helper()
	x.tmux("send-keys", "-l", text)
}

// see waits until one of texts is on the screen, and returns which.
func (x *terminal) see(texts ...string) string {
	x.t.Helper()
	limit := time.After(time.Minute)
	for {
		screen := x.screen()
		for _, text := range texts {
			if strings.Contains(screen, text) {
				x.shown = append(x.shown, fmt.Sprintf("%q is seen in:\n%s", text, strings.TrimRight(screen, "\n")))
				return text
			}
		}
		select {
		case <-x.changed:
		case <-limit:
			x.t.Fatalf("%q is not seen", texts)
		}
	}
}

// compose writes a message as a person does, up to C-c C-c.
func (x *terminal) compose(subject string) {
	x.t.Helper()
	x.keys("C-x", "m")
	x.see("*unsent mail*")
	x.text(bob)
	x.keys("C-n", "C-e")
	x.text(subject)
	x.keys("C-c", "C-b")
	x.text("Once upon a time.")
	x.see("Once upon a time.")
}

// other shows a buffer for other work.
func (x *terminal) other(name string) {
	x.t.Helper()
	x.keys("C-x", "b")
	x.text(name)
	x.keys("Enter")
	x.see(name + " ")
}
