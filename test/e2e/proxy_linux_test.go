// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

// TestProxyResolves: this machine asks no name server where the proxy connects.
// Without the proxy, to see that it would be noticed, it does.
func TestProxyResolves(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v4, _ := s.host("mail")
	near, _ := s.host("proxy")
	s.serve(v4, 587)
	s.open()
	listener := s.lab.Listen(t, netip.AddrPortFrom(near, 1080))
	p := &socks{
		names: map[string]string{"mail.lab.test": v4.String()},
		dial: func(address string) (conn net.Conn, err error) {
			s.lab.Server.Do(func() { conn, err = net.Dial("tcp", address) })
			return conn, err
		},
	}
	go p.serve(listener)
	got := s.tell(fmt.Sprintf(`(setq submission-proxy "socks5://%s:1080")
		(site-send "mail" 'mew 10)
		(story-wait)`, near))["mail"]
	if got.Status != "accepted" || got.TLS != "verified" || got.steps() != "connected" {
		t.Fatalf("%s, TLS %q, %+v", got.Status, got.TLS, got.Attempts)
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("the name server was asked %d times", n)
	}
	s.tell(`(site-send "mail" 'mew 10) (story-wait)`)
	if s.asked.Load() == 0 {
		t.Error("the name server isn't asked without the proxy, so it proves nothing")
	}
}
