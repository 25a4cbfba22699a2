// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestResolveLiterals(t *testing.T) {
	for host, want := range map[string]string{
		"198.18.0.1":            "198.18.0.1",
		"[198.18.0.1]":          "198.18.0.1",
		"fd00::1":               "fd00::1",
		"[fd00::1]":             "fd00::1",
		"[IPv6:fd00::1]":        "fd00::1",
		"[ipv6:FD00:0::1]":      "fd00::1",
		"::ffff:198.18.0.1":     "198.18.0.1",
		"fe80::1%eth0":          "fe80::1%eth0",
		"[IPv6:::ffff:1.2.3.4]": "1.2.3.4",
	} {
		t.Run(host, func(t *testing.T) {
			got, err := Resolve(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			if all := got.Of("any"); len(all) != 1 || all[0].String() != want {
				t.Errorf("got %v, want %s", all, want)
			}
			if is4 := len(got.IPv4) == 1; is4 != !strings.Contains(want, ":") {
				t.Errorf("%s is in the wrong family: %+v", want, got)
			}
		})
	}
}

func TestASCII(t *testing.T) {
	for host, want := range map[string]string{
		"mail.example.org":  "mail.example.org",
		"Mail.Example.ORG.": "mail.example.org",
		"bücher.example":    "xn--bcher-kva.example",
		"BÜCHER.example.":   "xn--bcher-kva.example",
		"メール。example":       "xn--4dkua4c.example",
		"smtp_relay":        "smtp_relay",
		"[IPv6:fd00::1]":    "fd00::1",
		"[198.18.0.1]":      "198.18.0.1",
	} {
		t.Run(host, func(t *testing.T) {
			if got, err := ASCII(host); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestNotAHostName(t *testing.T) {
	for _, host := range []string{
		"", ".", "a..b", ".a", "a b", "a\nb", "a\x00b", "user@host", "host:587", "[fd00::1", "fd00::1]",
		"[mail.example.org]", "-\u00fc.example", strings.Repeat("a", 64) + ".org",
		strings.Repeat("a.", 127) + "org", "\xff\xfe",
	} {
		t.Run(host, func(t *testing.T) {
			_, err := Resolve(t.Context(), host)
			var name *NameError
			if !errors.As(err, &name) || !name.Invalid || name.NotFound || name.Host != host {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestResolve asks a name server on loopback whose names tell how to answer.
func TestResolve(t *testing.T) {
	v4, v6 := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("fd00::1")
	resolver := nameServer(t, v4, v6)
	for name, test := range map[string]struct {
		want     Addresses
		notFound bool
	}{
		"both.example":      {want: Addresses{[]netip.Addr{v4}, []netip.Addr{v6}}},
		"only4.example":     {want: Addresses{IPv4: []netip.Addr{v4}}},
		"only6.example":     {want: Addresses{IPv6: []netip.Addr{v6}}},
		"broken4.example":   {want: Addresses{IPv6: []netip.Addr{v6}}},
		"broken6.example":   {want: Addresses{IPv4: []netip.Addr{v4}}},
		"empty.example":     {notFound: true},
		"none.example":      {notFound: true},
		"broken.example":    {},
		"halfempty.example": {},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := resolve(t.Context(), resolver, name)
			if len(test.want.Of("any")) > 0 {
				if err != nil || !slices.Equal(got.IPv4, test.want.IPv4) || !slices.Equal(got.IPv6, test.want.IPv6) {
					t.Errorf("got %v, %v; want %v", got, err, test.want)
				}
				return
			}
			var failure *NameError
			if !errors.As(err, &failure) || failure.NotFound != test.notFound || failure.Invalid {
				t.Fatalf("got %v, %#v; want NotFound %v", got, err, test.notFound)
			}
			if says := strings.HasPrefix(err.Error(), "no such name"); says != test.notFound {
				t.Errorf("it says %q", err)
			}
		})
	}
}

func TestResolveCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := resolve(ctx, nameServer(t, netip.IPv4Unspecified(), netip.IPv6Unspecified()), "both.example")
	var failure *NameError
	if !errors.As(err, &failure) || failure.NotFound {
		t.Errorf("got %v", err)
	}
}

// nameServer starts a name server on loopback and returns a resolver that asks
// nobody else.
func nameServer(t *testing.T, v4, v6 netip.Addr) *net.Resolver {
	server, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { server.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			respond(&m, v4, v6)
			if reply, err := m.Pack(); err == nil {
				server.WriteTo(reply, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp4", server.LocalAddr().String())
	}}
}

func respond(m *dnsmessage.Message, v4, v6 netip.Addr) {
	q := m.Questions[0]
	name, _, _ := strings.Cut(q.Name.String(), ".")
	is4 := q.Type == dnsmessage.TypeA
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}
	m.Additionals = nil
	body := dnsmessage.ResourceBody(&dnsmessage.AAAAResource{AAAA: v6.As16()})
	if is4 {
		body = &dnsmessage.AResource{A: v4.As4()}
	}
	switch {
	case !strings.HasSuffix(q.Name.String(), ".example."), name == "none":
		m.RCode = dnsmessage.RCodeNameError
	case name == "broken", name == "halfempty" && is4, name == "broken4" && is4, name == "broken6" && !is4:
		m.RCode = dnsmessage.RCodeServerFailure
	case name == "empty", name == "halfempty", name == "only4" && !is4, name == "only6" && is4:
	default:
		header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
		m.Answers = []dnsmessage.Resource{{Header: header, Body: body}}
	}
}
