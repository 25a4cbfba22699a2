// SPDX-License-Identifier: GPL-3.0-or-later

// Command demo shows the main job in a minute: two messages written in
// message-mode by a batch Emacs, one to a server whose first port is closed,
// one to a server whose first port is open. The servers are scripted ones on
// high ports of this machine; the Emacs has a home of its own. Run it from the
// top of the project, with the module built: make demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"submission/test/batch"
	"submission/test/smtpd"
)

func main() {
	if err := demo(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo() error {
	server, err := smtpd.Start(smtpd.Script{Listen: []smtpd.Listen{
		{Name: "closed", Closed: true},
		{Name: "second"},
		{Name: "open"},
	}})
	if err != nil {
		return err
	}
	defer server.Close()
	home, err := batch.NewHome("", server)
	if err != nil {
		return err
	}
	defer os.RemoveAll(home.Dir)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stories := []struct {
		title       string
		first, next string
	}{
		{"The first port is closed, the second one is open", "closed", "second"},
		{"The first port is open", "open", "second"},
	}
	for i, s := range stories {
		fmt.Printf("\n%d. %s.\n   The sequence: IPv4 %d, then IPv4 %d.\n",
			i+1, s.title, server.Port(s.first), server.Port(s.next))
		if err := send(ctx, home, server.Port(s.first), server.Port(s.next)); err != nil {
			return err
		}
		messages, err := server.WaitMessages(ctx, i+1)
		if err != nil {
			return err
		}
		if m := messages[i]; !m.Accepted {
			return errors.New("the server did not accept the message")
		} else {
			fmt.Printf("   The server has it: %d bytes from %s to %s.\n", m.Size, m.From.Address, m.To[0].Address)
		}
	}
	fmt.Print("\nWith real servers the ports are 587 and 25. Now put two lines into your init file; see README.md.\n")
	return nil
}

// send has a batch Emacs send one message and tell about it.
func send(ctx context.Context, home batch.Home, first, next int) error {
	settings := fmt.Sprintf("(setq submission-sequence '((ipv4 . %d) (ipv4 . %d)))", first, next)
	cmd := home.Emacs(ctx, settings, filepath.Join("test", "demo", "demo.el"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
