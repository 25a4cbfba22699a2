// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// Kind names a mail server.
type Kind string

const (
	Postfix   Kind = "postfix"
	OpenSMTPD Kind = "opensmtpd"
	Exim      Kind = "exim"
)

// The names of a server, see the package's comment.
const (
	Host       = "mail.example.org"
	OldHost    = "old.example.org"
	WalledHost = "walled.example.org"
	SmallHost  = "small.example.org"
)

// User may submit, with Password.
const (
	User     = "kazu"
	Password = "secret"
)

// Mailboxes lists who gets mail, as local parts at example.org.
func Mailboxes() []string { return []string{"bob", "carol", "dave"} }

// A place is the address of a host and the ports that must answer there.
type place struct {
	address string
	ports   []string
}

func placeOf(host string) place {
	switch host {
	case OldHost:
		return place{"198.18.0.2", []string{"25"}}
	case WalledHost:
		return place{"198.18.0.3", []string{"25"}}
	case SmallHost:
		return place{"198.18.0.4", []string{"587"}}
	}
	return place{"198.18.0.1", []string{"587", "25"}} // Host
}

// firewall stands before WalledHost.
const firewall = `table inet wall {
	chain input {
		type filter hook input priority 0;
		ip daddr 198.18.0.3 tcp dport 587 drop
	}
}
`

// limit is how long anything of a server may take.
const limit = time.Minute

//go:embed frame.sh
var frame string

// A Server is a mail server that runs.
type Server struct {
	dir   string
	frame *exec.Cmd
	life  io.Closer     // the frame's standard input
	ended chan struct{} // closed when the frame is gone
}

// Start starts a server for the time of a test, and returns when all of its
// ports have greeted. It skips the test without root or Debian; what fails
// otherwise fails the test.
func Start(t testing.TB, kind Kind) *Server {
	t.Helper()
	skipUnlessAble(t)
	setup, err := setupOf(kind)
	if err != nil {
		t.Fatal(err)
	}
	root, err := unpacked(kind, setup)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: t.TempDir()}
	if err := s.prepare(setup); err != nil {
		t.Fatal(err)
	}
	if err := s.start(root); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", kind, s.Log())
		}
	})
	for _, host := range setup.hosts {
		place := placeOf(host)
		for _, port := range place.ports {
			if err := s.greeted(net.JoinHostPort(place.address, port)); err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
		}
	}
	return s
}

// skipUnlessAble skips the test where no server can be had.
func skipUnlessAble(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: a real mail server runs in namespaces on ports 25 and 587, which takes root")
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		t.Skip("skipped: the real mail servers come from Debian's packages, and this is not a Debian system")
	}
}

// path returns the path of a file of the server, as frame.sh says.
func (s *Server) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// prepare writes what the frame is given.
func (s *Server) prepare(setup setup) error {
	for _, dir := range []string{"top", "out/mail"} {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			return err
		}
	}
	// The server's users are to get as far as their mail.
	if err := os.Chmod(s.path("out"), 0o777); err != nil {
		return err
	}
	var addresses, names, passwd, group strings.Builder
	fmt.Fprintln(&names, "127.0.0.1 localhost")
	for _, host := range setup.hosts {
		address := placeOf(host).address
		fmt.Fprintln(&addresses, address)
		fmt.Fprintln(&names, address, host)
	}
	accounts := map[string]int{"root": 0, "nobody": 65534, "vmail": 1000}
	maps.Copy(accounts, setup.accounts)
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		fmt.Fprintf(&passwd, "%s:x:%d:%[2]d::/:/usr/sbin/nologin\n", name, accounts[name])
		fmt.Fprintf(&group, "%s:x:%d:\n", name, accounts[name])
	}
	fmt.Fprint(&group, "nogroup:x:65533:\nmail:x:8:\n")
	files := map[string]string{
		"addresses":               addresses.String(),
		"firewall":                firewall,
		"files/etc/hosts":         names.String(),
		"files/etc/passwd":        passwd.String(),
		"files/etc/group":         group.String(),
		"files/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"files/etc/resolv.conf":   "",
	}
	for name, text := range setup.files {
		files["files/"+name] = text
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range Mailboxes() {
		if err := os.Mkdir(s.path("out/mail", name), 0o700); err != nil {
			return err
		}
		if err := os.Chown(s.path("out/mail", name), accounts["vmail"], accounts["vmail"]); err != nil {
			return err
		}
	}
	return writeCertificate(s.path("files/etc/mail"), setup.hosts...)
}

// start starts the frame.
func (s *Server) start(root string) error {
	s.frame = exec.Command("unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork",
		"sh", "-c", frame, "frame", root, s.dir, Host)
	life, err := s.frame.StdinPipe()
	if err != nil {
		return err
	}
	said, err := s.frame.StdoutPipe()
	if err != nil {
		return err
	}
	var complaint strings.Builder
	s.frame.Stderr = &complaint
	if err := s.frame.Start(); err != nil {
		return err
	}
	s.life, s.ended = life, make(chan struct{})
	// Until it says so, it may still be in the namespaces of the machine.
	word, _ := bufio.NewReader(said).ReadString('\n')
	go func() {
		s.frame.Wait()
		close(s.ended)
	}()
	if word != "started\n" {
		s.stop()
		return fmt.Errorf("the frame failed: %s\n%s", &complaint, s.Log())
	}
	return nil
}

// stop ends the frame and with it all that it started.
func (s *Server) stop() {
	s.life.Close()
	<-s.ended
}

// greeted waits until a port says 220.
func (s *Server) greeted(address string) error {
	for end := time.Now().Add(limit); ; {
		err := s.hear220(address)
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("no greeting within %v: %w", limit, err)
		}
		select {
		case <-s.ended:
			return fmt.Errorf("it ended at once: %w", err)
		case <-time.After(20 * time.Millisecond): // until it is tried again
		}
	}
}

func (s *Server) hear220(address string) error {
	conn, err := s.Dial(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "220") {
		err = fmt.Errorf("%s greets with %q", address, line)
	}
	return err
}

// Dial connects to an address and port, numbers both, in the server's network.
func (s *Server) Dial(address string) (net.Conn, error) {
	there, err := netns.GetFromPath(s.network())
	if err != nil {
		return nil, err
	}
	defer there.Close()
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer here.Close()
	if err := netns.Set(there); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	conn, dialErr := net.DialTimeout("tcp", address, limit)
	if err := netns.Set(here); err != nil {
		panic(fmt.Sprintf("can't go back to the namespace: %v", err))
	}
	runtime.UnlockOSThread()
	return conn, dialErr
}

// network is the file that stands for the frame's network namespace.
func (s *Server) network() string { return fmt.Sprintf("/proc/%d/ns/net", s.frame.Process.Pid) }

// Command returns a command that runs in the server's network and knows its
// hosts by name; all else is as it is for the test.
func (s *Server) Command(name string, args ...string) *exec.Cmd {
	const script = `mount --bind "$0" /etc/hosts && exec "$@"`
	wrapper := []string{"--net=" + s.network(), "unshare", "--mount", "sh", "-c", script, s.path("files/etc/hosts"), name}
	return exec.Command("nsenter", append(wrapper, args...)...)
}

// CA returns the path of the certificate that the server's is issued by.
func (s *Server) CA() string { return s.path("files/etc/mail/ca.pem") }

// Log returns what the server wrote to its logs.
func (s *Server) Log() string {
	var all bytes.Buffer
	names, _ := filepath.Glob(s.path("out/*log"))
	for _, name := range names {
		text, err := os.ReadFile(name)
		fmt.Fprintf(&all, "== %s %v\n%s", filepath.Base(name), err, text)
	}
	return all.String()
}
