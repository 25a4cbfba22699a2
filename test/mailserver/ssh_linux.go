// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import (
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

//go:embed ssh.sh
var sshFrame string

// SSH is an OpenSSH server on 127.0.0.1, for tunnels. It lets root in, with Key
// and nothing else, and forwards to whatever the machine itself can reach.
type SSH struct {
	Port    int
	Key     string // the file with the private key that it lets in
	HostKey string // its own public key, as it is in a file of known hosts

	listener net.Listener
	mu       sync.Mutex
	conns    []*net.TCPConn
	running  sync.WaitGroup
}

// StartSSH starts a server for the time of a test. It skips the test where
// Start does.
func StartSSH(t testing.TB) *SSH {
	t.Helper()
	skipUnlessAble(t)
	root, err := unpacked("openssh", setup{packages: []string{"openssh-server"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &SSH{Key: filepath.Join(dir, "key")}
	if err := s.prepare(dir); err != nil {
		t.Fatal(err)
	}
	if s.listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	s.Port = s.listener.Addr().(*net.TCPAddr).Port
	s.running.Add(1)
	go s.serve(t, root, dir)
	t.Cleanup(func() {
		s.listener.Close()
		s.Cut()
		s.running.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("sshd said:\n%s", log)
		}
	})
	return s
}

// prepare makes the keys and the configuration.
func (s *SSH) prepare(dir string) error {
	for _, name := range []string{"key", "host_key"} {
		if err := do(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", filepath.Join(dir, name))); err != nil {
			return err
		}
	}
	public, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		return err
	}
	s.HostKey = strings.TrimSuffix(string(public), " test\n")
	const config = `HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
UsePAM no
UseDNS no
`
	return os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600)
}

// serve gives each connection an sshd.
func (s *SSH) serve(t testing.TB, root, dir string) {
	defer s.running.Done()
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		tcp := conn.(*net.TCPConn)
		s.mu.Lock()
		s.conns = append(s.conns, tcp)
		s.mu.Unlock()
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			defer tcp.Close()
			if err := s.one(tcp, root, dir); err != nil {
				t.Errorf("sshd: %v", err)
			}
		}()
	}
}

// one lets an sshd have a connection until its end. How sshd ends is no matter.
func (s *SSH) one(conn *net.TCPConn, root, dir string) error {
	socket, err := conn.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", sshFrame, "ssh", root, dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	_ = cmd.Wait()
	return nil
}

// Connections says how many there have been.
func (s *SSH) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Cut ends all connections, as a network does that goes away and says so.
func (s *SSH) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.CloseRead()
		c.CloseWrite()
	}
}
