// SPDX-License-Identifier: GPL-3.0-or-later

// Package batch starts a batch Emacs that has a home of its own and trusts a
// server of package smtpd. The caller's working directory is the top of the
// project.
package batch

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"submission/test/smtpd"
)

// Program is the Emacs to start: that of the environment variable EMACS, or
// the one that is found.
func Program() string {
	if emacs := os.Getenv("EMACS"); emacs != "" {
		return emacs
	}
	return "emacs"
}

// A Home is a directory for Emacs to live in.
type Home struct {
	Dir string
	CA  string // the file with the certificate that has issued the server's
}

// NewHome makes a home in a directory, "" for the one of temporary files, whose
// owner removes it when all is done.
func NewHome(in string, server *smtpd.Server) (Home, error) {
	dir, err := os.MkdirTemp(in, "submission-batch-")
	if err != nil {
		return Home{}, err
	}
	ca, err := server.CA().Write(dir)
	if err != nil {
		os.RemoveAll(dir)
	}
	return Home{dir, ca}, err
}

// Emacs returns the command that evaluates settings and loads files.
func (h Home) Emacs(ctx context.Context, settings string, files ...string) *exec.Cmd {
	args := []string{"-Q", "--batch", "-L", "lisp",
		"--eval", fmt.Sprintf("(setq gnutls-trustfiles '(%q))", h.CA), "--eval", settings}
	for _, file := range files {
		args = append(args, "-l", file)
	}
	cmd := exec.CommandContext(ctx, Program(), args...)
	cmd.Env = append(os.Environ(), "HOME="+h.Dir)
	return cmd
}
