// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"submission/test/batch"
	"submission/test/smtpd"
)

// peers is what there is of the others, in directories with Debian's packages.
type peers struct {
	dirs    map[sender]string
	missing map[sender]string // why

	stunnel   string // for Mew's TLS
	noStunnel error
}

// findPeers looks for the senders that Emacs doesn't bring.
func findPeers() peers {
	p := peers{dirs: make(map[sender]string), missing: make(map[sender]string)}
	for who, packages := range map[sender][]string{
		msmtp: {"msmtp"}, async: {"elpa-async"}, mew: {"mew", "mew-bin"},
	} {
		dir, err := unpack(packages...)
		if err != nil {
			p.missing[who] = err.Error()
		}
		p.dirs[who] = dir
	}
	p.stunnel, p.noStunnel = unpack("stunnel4")
	return p
}

// unpack returns the directory with some packages.
func unpack(packages ...string) (string, error) {
	var said bytes.Buffer
	cmd := exec.Command("sh", append([]string{"test/unpack.sh", "bench-" + packages[0], ""}, packages...)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, strings.ReplaceAll(strings.TrimSpace(said.String()), "\n", "; "))
	}
	return strings.TrimSpace(string(out)), nil
}

func (p peers) has(who sender) bool {
	_, missing := p.missing[who]
	return !missing
}

// hasTLS says whether a sender is there and can do TLS.
func (p peers) hasTLS(who sender) bool { return p.has(who) && (who != mew || p.noStunnel == nil) }

// lab is a server and a home for one sender.
type lab struct {
	peers
	who      sender
	server   *smtpd.Server
	home     batch.Home
	security string // "starttls", "tls" or "plain"
	user     bool
	wrapper  []string // what Emacs is started with, such as strace
}

// newLab makes a home in a directory, "" for the one of temporary files.
func (b *suite) newLab(who sender, server *smtpd.Server, in, security string, user bool) (*lab, error) {
	home, err := batch.NewHome(in, server)
	if err != nil {
		return nil, err
	}
	return &lab{peers: b.peers, who: who, server: server, home: home, security: security, user: user}, nil
}

func (l *lab) close() { os.RemoveAll(l.home.Dir) }

// furnish puts into the home what the sender finds there.
func (l *lab) furnish(port int) error {
	files := make(map[string]string)
	if l.user {
		files["authinfo"] = fmt.Sprintf("machine 127.0.0.1 port %d login kazu password secret\n", port)
	}
	switch l.who {
	case msmtp:
		files["msmtp"] = script(l.dirs[msmtp], "usr/bin/msmtp")
		text := fmt.Sprintf("account default\nhost 127.0.0.1\nport %d\nfrom ann@example.org\n", port)
		if l.security != "plain" {
			text += "tls on\ntls_trust_file " + l.home.CA + "\n"
		}
		if l.security == "tls" {
			text += "tls_starttls off\n"
		}
		if l.user {
			text += "auth plain\nuser kazu\npasswordeval echo secret\n"
		}
		files[".msmtprc"] = text
	case mew:
		files["stunnel"] = script(l.stunnel, "usr/bin/stunnel4")
		if err := os.MkdirAll(filepath.Join(l.home.Dir, "Mail"), 0o700); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(l.home.Dir, name), []byte(text), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// script runs a program out of a directory with packages.
func script(dir, program string) string {
	libraries, _ := filepath.Glob(filepath.Join(dir, "usr/lib/*-linux-gnu*"))
	return fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s \"$@\"\n",
		strings.Join(libraries, ":"), filepath.Join(dir, program))
}

// emacs runs a file of this directory in an Emacs that is set up for the
// sender, and returns what it prints.
func (l *lab) emacs(port int, file, settings string, watch func(pid int)) (figures, error) {
	if err := l.furnish(port); err != nil {
		return nil, err
	}
	user := "nil"
	if l.user {
		user = `"kazu"`
	}
	name := map[sender]string{chunking: "submission", mew: "mew"}[l.who]
	if name == "" {
		name = string(l.who)
	}
	settings = fmt.Sprintf("(setq bench-who '%s bench-port %d bench-security '%s bench-user %s %s)",
		name, port, l.security, user, settings)
	files := []string{filepath.Join("test", "bench", "sender.el"), filepath.Join("test", "bench", file)}
	var add []string
	switch l.who {
	case mew:
		files = append([]string{filepath.Join("test", "e2e", "mew.el")}, files...)
		add = []string{"-L", filepath.Join(l.dirs[mew], "usr/share/mew")}
	case async:
		found, _ := filepath.Glob(filepath.Join(l.dirs[async], "usr/share/emacs/site-lisp/elpa-src/async-*"))
		for _, dir := range found {
			add = append(add, "-L", dir)
		}
	}
	cmd := l.home.Emacs(context.Background(), settings, files...)
	cmd.Args = append(append(cmd.Args[:3:3], add...), cmd.Args[3:]...)
	cmd.Env = append(cmd.Env, "STORY_STOCK=1", "PATH="+filepath.Join(l.dirs[mew], "usr/bin")+":"+os.Getenv("PATH"))
	if len(l.wrapper) > 0 {
		cmd = wrapped(cmd, l.wrapper)
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Start()
	if err == nil {
		if watch != nil {
			watch(cmd.Process.Pid)
		}
		err = cmd.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", l.who, err, &said)
	}
	return readFigures(&out)
}

// wrapped is a command that another one runs.
func wrapped(cmd *exec.Cmd, wrapper []string) *exec.Cmd {
	outer := exec.Command(wrapper[0], append(wrapper[1:], cmd.Args...)...)
	outer.Env = cmd.Env
	return outer
}

// figures are those that a sender has printed, by name.
type figures map[string][]float64

func readFigures(out *bytes.Buffer) (figures, error) {
	f := make(figures)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "BENCH ")
		if !ok {
			continue
		}
		what, number, _ := strings.Cut(text, " ")
		figure, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, fmt.Errorf("it printed %q", lines.Text())
		}
		f[what] = append(f[what], figure)
	}
	return f, nil
}
