// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"submission/test/netlab"
	"submission/test/smtpd"
)

// site is a laboratory with a name server and mail servers, and an Emacs at its
// client that sends on the real ports.
type site struct {
	*home
	lab    *netlab.Lab
	names  map[string][]netip.Addr // under .lab.test
	listen []smtpd.Listen
	server *smtpd.Server
	asked  atomic.Int64 // how often the name server was asked for one of names
}

func newSite(t *testing.T) *site {
	return &site{home: newHome(t), lab: netlab.New(t), names: map[string][]netip.Addr{}}
}

// host gives a name addresses of its own, in both families. Each port of them
// answers with RST until the test says otherwise.
func (s *site) host(name string) (v4, v6 netip.Addr) {
	v4, v6 = s.lab.Addresses()
	s.names[name] = []netip.Addr{v4, v6}
	return v4, v6
}

// serve puts a mail server on a port, whose name in the records is the address.
func (s *site) serve(addr netip.Addr, port uint16, rules ...smtpd.Rule) {
	to := netip.AddrPortFrom(addr, port).String()
	s.listen = append(s.listen, smtpd.Listen{Name: to, Address: to,
		Behaviour: &smtpd.Behaviour{Names: []string{"*.lab.test"}, Rules: rules}})
}

// open starts the servers; no more are added after that.
func (s *site) open() {
	s.t.Helper()
	var err error
	s.lab.Server.Do(func() { s.server, err = smtpd.Start(smtpd.Script{Listen: s.listen}) })
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.server.Close)
	v4, v6 := s.lab.Addresses()
	s.nameServer(v4)
	s.nameServer(v6)
	s.write("resolv.conf", fmt.Sprintf("nameserver %s\nnameserver %s\n", v4, v6))
	s.write("nsswitch.conf", "hosts: files dns\n")
	s.mounting(`mount --bind "$HOME/resolv.conf" /etc/resolv.conf
mount --bind "$HOME/nsswitch.conf" /etc/nsswitch.conf`)
}

// nameServer answers for the names on an address of the server.
func (s *site) nameServer(on netip.Addr) {
	s.t.Helper()
	var conn net.PacketConn
	var err error
	s.lab.Server.Do(func() { conn, err = net.ListenPacket("udp", netip.AddrPortFrom(on, 53).String()) })
	if err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	s.t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			s.respond(&m)
			if reply, err := m.Pack(); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
}

// respond turns a question into its answer.
func (s *site) respond(m *dnsmessage.Message) {
	q := m.Questions[0]
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}
	m.Additionals = nil
	name, ours := strings.CutSuffix(q.Name.String(), ".lab.test.")
	addrs, known := s.names[name]
	if ours && known {
		s.asked.Add(1)
	}
	if !ours || !known {
		m.RCode = dnsmessage.RCodeNameError
		return
	}
	for _, a := range addrs {
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
}

// sitePrelude has site-send, which sends to HOST, under .lab.test if it has no
// dot or colon, and goes on; and it measures how long Emacs is ever kept.
const sitePrelude = `
(load (expand-file-name "probe.el") nil t)
(require 'submission-job)
(submission-channel-open)
(setq auth-sources nil)
(defun site-send (host sequence alarm &optional to)
  (setq smtpmail-smtp-server (if (string-match-p "[.:]" host) host (concat host ".lab.test"))
        submission-sequence sequence
        submission-connect-timeout alarm)
  (story-compose (or to (concat host "@example.org")) "A story" "Once upon a time.\n")
  (call-interactively #'message-send-and-exit)
  (accept-process-output nil 0.01))
(defvar site-longest 0.0)
(defvar site-tick nil)
(defun site-measure ()
  (run-with-timer 0 0.05 (lambda ()
                           (when site-tick
                             (setq site-longest (max site-longest (float-time (time-since site-tick)))))
                           (setq site-tick (current-time)))))
`

// at runs Lisp in an Emacs at the client, which may end in any way.
func (s *site) at(lisp string) (o outcome) {
	s.t.Helper()
	ca, err := s.server.CA().Write(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	s.lab.Client.Do(func() { o = s.emacs(fmt.Sprintf("%s(setq gnutls-trustfiles '(%q))\n%s", sitePrelude, ca, lisp)) })
	return o
}

// tell runs Lisp that has to succeed and returns the last receipt of each host,
// by the part of its name before .lab.test.
func (s *site) tell(lisp string) map[string]receipt {
	s.t.Helper()
	o := s.at(lisp)
	if o.err != nil {
		s.t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	byHost := map[string]receipt{}
	for _, r := range o.receipts {
		byHost[strings.TrimSuffix(r.Host, ".lab.test")] = r
	}
	return byHost
}

// interactive starts an Emacs with Lisp in a terminal at the client, and
// returns a function that types keys, in tmux's words.
func (s *site) interactive(lisp string) (keys func(...string)) {
	s.t.Helper()
	ca, err := s.server.CA().Write(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	script := s.write("story-main.el", fmt.Sprintf(";; -*- lexical-binding: t -*-\n%s(setq gnutls-trustfiles '(%q))\n%s", sitePrelude, ca, lisp))
	tmux := func(args ...string) {
		s.t.Helper()
		cmd := s.command("tmux", append([]string{"-S", s.path("tmux"), "-f", "/dev/null"}, args...)...)
		cmd.Env = append(cmd.Environ(), "HOME="+s.dir, "STORY_RECEIPTS="+s.path("receipts"), "SSL_CERT_DIR="+s.dir, "TERM=screen", "LC_ALL=C.UTF-8")
		if _, err := s.lab.Client.Run(cmd); err != nil {
			s.t.Fatal(err)
		}
	}
	tmux("new-session", "-d", "-x", "100", "-y", "30", emacsProgram(),
		"-Q", "-nw", "-L", "../../lisp", "-l", "story.el", "-l", script)
	s.t.Cleanup(func() { exec.Command("tmux", "-S", s.path("tmux"), "kill-server").Run() })
	return func(keys ...string) { tmux(append([]string{"send-keys"}, keys...)...) }
}
