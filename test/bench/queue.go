// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"submission/test/smtpd"
)

const waiting = 1000

// queue measures a thousand messages of 10 KB that wait for a server: how long
// it takes to put them there and to send them, for how long Emacs doesn't
// listen meanwhile, and how much memory it has then; ours beside smtpmail's
// queue, on the disk and in memory.
func queue() error {
	fmt.Printf("\n%d waiting messages of 10 KB, to a server next door\n\n", waiting)
	fmt.Printf("%-8s %-11s %10s %9s %10s %11s %11s %9s %12s\n", "", "",
		"queued/s", "longest", "sent/s", "deaf at all", "longest", "memory", "connections")
	places := []struct{ name, dir string }{{"disk", os.TempDir()}}
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		places = append(places, struct{ name, dir string }{"memory", "/dev/shm"})
	}
	for _, place := range places {
		for _, who := range []string{"smtpmail", "submission"} {
			if err := queueOf(who, place.name, place.dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func queueOf(who, place, dir string) error {
	home, err := os.MkdirTemp(dir, "submission-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	server, err := smtpd.Start(smtpd.Script{
		Listen:    []smtpd.Listen{{Closed: true}},
		Behaviour: smtpd.Behaviour{EHLO: []string{"PIPELINING", "8BITMIME"}},
	})
	if err != nil {
		return err
	}
	defer server.Close()
	queued, err := queueEmacs(home, who, fmt.Sprint(waiting), server.Port(""))
	if err != nil {
		return err
	}
	if err := server.Update(smtpd.Script{Behaviour: smtpd.Behaviour{EHLO: []string{"PIPELINING", "8BITMIME"}}}); err != nil {
		return err
	}
	sent, err := queueEmacs(home, who, "nil", server.Port(""))
	if err != nil {
		return err
	}
	sessions := server.Sessions()
	if n := len(server.Messages()); n != waiting {
		return fmt.Errorf("%s: the server has %d messages", who, n)
	}
	ms := func(seconds float64) time.Duration {
		return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	}
	fmt.Printf("%-8s %-11s %10.0f %9v %10.0f %11v %11v %6.0f MB %12d\n", place, who,
		waiting/queued["queue"], ms(queued["queue-longest"]), waiting/sent["send"],
		ms(sent["total"]), ms(sent["longest"]), sent["memory"], len(sessions))
	return nil
}

// queueEmacs runs queue.el and returns what it prints.
func queueEmacs(home, who, count string, port int) (map[string]float64, error) {
	emacs := os.Getenv("EMACS")
	if emacs == "" {
		emacs = "emacs"
	}
	settings := fmt.Sprintf("(setq bench-port %d bench-who '%s bench-count %s)", port, who, count)
	cmd := exec.Command(emacs, "-Q", "--batch", "-L", "lisp", "--eval", settings,
		"-l", filepath.Join("test", "bench", "queue.el"))
	cmd.Env = append(os.Environ(), "HOME="+home)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", who, err, &said)
	}
	figures := make(map[string]float64)
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var what string
		var figure float64
		if _, err := fmt.Sscan(lines.Text(), &what, &figure); err != nil {
			return nil, fmt.Errorf("%s printed %q", who, lines.Text())
		}
		figures[what] = figure
	}
	return figures, nil
}
