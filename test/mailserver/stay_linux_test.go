// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// childVariable marks a test process that is going to be killed.
const childVariable = "SUBMISSION_MAILSERVER_CHILD"

// machine describes what a mail server that is installed would change.
func machine(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{
		"/var/lib/dpkg/status", "/etc/passwd", "/etc/group", "/etc/hosts", "/etc/aliases", "/etc/mailname",
		"/etc/postfix", "/etc/dovecot", "/etc/exim4", "/etc/smtpd.conf",
		"/var/spool/postfix", "/var/spool/exim4", "/var/spool/smtpd", "/var/mail",
		"/var/lib/apt/lists", "/var/cache/apt/archives",
	} {
		info, err := os.Lstat(name)
		if err != nil {
			fmt.Fprintln(&all, name, "isn't there")
			continue
		}
		fmt.Fprintln(&all, name, info.Mode(), info.ModTime())
		if text, err := os.ReadFile(name); err == nil {
			fmt.Fprintf(&all, "%x\n", sha256.Sum256(text))
		}
	}
	return all.String()
}

// inNamespace lists the processes in a network namespace.
func inNamespace(t *testing.T, network string) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if name, err := os.Readlink(link); err == nil && name == network {
			found = append(found, link)
		}
	}
	return found
}

// mounted reports whether anything below dir is a mount of the machine.
func mounted(t *testing.T, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), dir)
}

func TestNothingStays(t *testing.T) {
	skipUnlessAble(t)
	before := machine(t)
	var dir, network string
	t.Run("server", func(t *testing.T) {
		s := Start(t, Postfix)
		var err error
		if network, err = os.Readlink(s.network()); err != nil {
			t.Fatal(err)
		}
		dir = s.dir
		if n := len(inNamespace(t, network)); n < 5 {
			t.Errorf("Postfix runs with %d processes; are they looked for in the right place?", n)
		}
		if mounted(t, dir) {
			t.Error("the machine sees mounts of the server")
		}
	})
	if network == "" {
		t.Fatal("the server didn't start")
	}
	if left := inNamespace(t, network); len(left) > 0 {
		t.Errorf("there still are %v", left)
	}
	if mounted(t, dir) {
		t.Error("there still are mounts of the server")
	}
	if after := machine(t); after != before {
		t.Errorf("the machine was\n%sand is\n%s", before, after)
	}
}

// TestKilled sees what is left of a server whose test is killed.
func TestKilled(t *testing.T) {
	if os.Getenv(childVariable) != "" {
		s := Start(t, Postfix)
		network, err := os.Readlink(s.network())
		fmt.Println("network", network, err)
		io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	skipUnlessAble(t)
	child := exec.Command("/proc/self/exe", "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+t.TempDir())
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	network := ""
	lines := bufio.NewScanner(stdout)
	for network == "" && lines.Scan() {
		if words := strings.Fields(lines.Text()); len(words) == 3 && words[0] == "network" {
			network = words[1]
		}
	}
	child.Process.Kill()
	child.Wait()
	if network == "" {
		t.Fatal("the server didn't start")
	}
	for end := time.Now().Add(limit); ; {
		left := inNamespace(t, network)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("there still are %v", left)
		}
		<-time.After(20 * time.Millisecond) // until it is looked again
	}
}
