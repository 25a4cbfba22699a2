// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// receipt is what submission-finished-functions was given, as story.el writes
// it.
type receipt struct {
	ID        string            `json:"id"`
	MessageID string            `json:"message-id"`
	Status    string            `json:"status"`
	Reason    string            `json:"reason"`
	Host      string            `json:"host"`
	Address   string            `json:"address"`
	Family    string            `json:"family"`
	Port      int               `json:"port"`
	TLS       string            `json:"tls"`
	Reply     string            `json:"reply"`
	Accepted  []string          `json:"accepted"`
	Refused   map[string]string `json:"refused"`
	Attempts  []attempt         `json:"attempts"`
	Elapsed   float64           `json:"elapsed"`
}

type attempt struct {
	Family  string  `json:"family"`
	Port    int     `json:"port"`
	Address string  `json:"address"`
	Outcome string  `json:"outcome"`
	Case    int     `json:"case"`
	Detail  string  `json:"detail"`
	Elapsed float64 `json:"elapsed"`
}

// steps writes attempts as "reset connected".
func (r receipt) steps() string {
	var words []string
	for _, a := range r.Attempts {
		words = append(words, a.Outcome)
	}
	return strings.Join(words, " ")
}

// home is where one Emacs lives: its directory, and what it is started with.
type home struct {
	t   *testing.T
	dir string
	env []string
	// command starts Emacs; tests that need another network put theirs here.
	command func(name string, args ...string) *exec.Cmd
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir, err := os.MkdirTemp("", "story-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(t, dir) })
	return &home{t: t, dir: dir, command: exec.Command}
}

// leave removes a home. What Emacs has started, such as a mail indexer, may
// write there until it has noticed that Emacs is gone.
func leave(t *testing.T, dir string) {
	late := time.After(30 * time.Second)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := os.RemoveAll(dir)
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-late:
			t.Errorf("somebody is still at home: %v", err)
			return
		}
	}
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) write(name, text string) string {
	h.t.Helper()
	path := h.path(name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// outcome is what a batch Emacs left behind.
type outcome struct {
	output   string // what it printed
	receipts []receipt
	err      error
}

// emacs runs Lisp, after story.el, in a batch Emacs.
func (h *home) emacs(lisp string) outcome {
	h.t.Helper()
	receipts := h.path("receipts")
	os.Remove(receipts)
	script := h.write("story-main.el", ";; -*- lexical-binding: t -*-\n"+lisp)
	cmd := h.command(emacsProgram(), "-Q", "--batch", "-L", "../../lisp", "-l", "story.el", "-l", script)
	cmd.Env = append(os.Environ(), "HOME="+h.dir, "STORY_RECEIPTS="+receipts, "SSL_CERT_DIR="+h.dir)
	cmd.Env = append(cmd.Env, h.env...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	o := outcome{err: run(cmd, 3*time.Minute)}
	o.output = output.String()
	o.receipts = h.receipts()
	return o
}

// receipts returns those that were written so far.
func (h *home) receipts() []receipt { return jsonLines[receipt](h, "receipts") }

// jsonLines returns what stands in a file of the home, a line of JSON each; no
// file is nothing.
func jsonLines[T any](h *home, name string) []T {
	h.t.Helper()
	f, err := os.Open(h.path(name))
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			h.t.Fatalf("%s: %s: %v", name, lines.Text(), err)
		}
		list = append(list, one)
	}
	return list
}

// emacsProgram is the Emacs that the stories are told to.
func emacsProgram() string {
	if program := os.Getenv("EMACS"); program != "" {
		return program
	}
	return "emacs"
}

// story runs Lisp that has to succeed and returns its one receipt.
func (h *home) story(lisp string) receipt {
	h.t.Helper()
	o := h.emacs(lisp)
	if o.err != nil || len(o.receipts) != 1 {
		h.t.Fatalf("%d receipts, %v; Emacs said:\n%s", len(o.receipts), o.err, o.output)
	}
	return o.receipts[0]
}

// outbox lists what is in the outbox, by file name.
func (h *home) outbox() []string {
	h.t.Helper()
	entries, err := os.ReadDir(h.path("outbox"))
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext == ".eml" || ext == ".json" {
			names = append(names, e.Name())
		}
	}
	return names
}

// run runs a command and ends it, should it outlast the limit.
func run(cmd *exec.Cmd, limit time.Duration) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		cmd.Process.Kill()
		<-done
		return fmt.Errorf("still running after %v", limit)
	}
}
