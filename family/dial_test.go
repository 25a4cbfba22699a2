// SPDX-License-Identifier: GPL-3.0-or-later

package family

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// loopback returns the loopback addresses of the families this machine has.
func loopback(t *testing.T) []netip.Addr {
	here := Addresses{addrs("127.0.0.1"), addrs("::1")}.Here().Of("any")
	if len(here) == 0 {
		t.Fatal("no loopback address")
	}
	return here
}

// listen returns a listener on a loopback address and its port.
func listen(t *testing.T, ip netip.Addr) (net.Listener, int) {
	ln, err := net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln, ln.Addr().(*net.TCPAddr).Port
}

func TestDialOpen(t *testing.T) {
	for _, ip := range loopback(t) {
		t.Run(ip.String(), func(t *testing.T) {
			ln, port := listen(t, ip)
			go func() {
				if conn, err := ln.Accept(); err == nil {
					io.WriteString(conn, "220 hello\r\n")
					conn.Close()
				}
			}()
			r := new(Dialer).Connect(t.Context(), []netip.Addr{ip}, port)
			if r.Outcome != Connected || r.Address != ip || r.Detail != "" || r.Err != nil {
				t.Fatalf("got %+v", r)
			}
			defer r.Conn.Close()
			if said, err := io.ReadAll(r.Conn); string(said) != "220 hello\r\n" || err != nil {
				t.Errorf("read %q, %v", said, err)
			}
		})
	}
}

func TestDialRefused(t *testing.T) {
	for _, ip := range loopback(t) {
		t.Run(ip.String(), func(t *testing.T) {
			ln, port := listen(t, ip)
			ln.Close()
			r := new(Dialer).Connect(t.Context(), []netip.Addr{ip}, port)
			if r.Outcome != Reset || !strings.HasPrefix(r.Detail, "connection refused (RST") || r.Conn != nil {
				t.Errorf("got %+v", r)
			}
			if exact := runtime.GOOS == "linux"; exact != (r.Detail == "connection refused (RST)") {
				t.Errorf("%s says %q", runtime.GOOS, r.Detail)
			}
		})
	}
}

// TestDialSecondAddress goes to a closed address first: the second family's.
func TestDialSecondAddress(t *testing.T) {
	here := loopback(t)
	ln, port := listen(t, here[0])
	other := netip.MustParseAddr("127.0.0.2")
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	r := (&Dialer{Stagger: time.Minute}).Connect(t.Context(), []netip.Addr{other, here[0]}, port)
	if r.Outcome != Connected || r.Address != here[0] || !strings.HasPrefix(r.Detail, "127.0.0.2: ") {
		t.Fatalf("got %+v", r)
	}
	r.Conn.Close()
}

func TestDialCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, port := listen(t, netip.MustParseAddr("127.0.0.1"))
	r := new(Dialer).Connect(ctx, addrs("127.0.0.1"), port)
	if r.Outcome != Local || !errors.Is(r.Err, context.Canceled) {
		t.Errorf("got %+v", r)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10*time.Second + 700*time.Microsecond: "10 s",
		9751 * time.Millisecond:               "9.8 s",
		200 * time.Millisecond:                "0.2 s",
	} {
		if got := seconds(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func BenchmarkConnect(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	to := ln.Addr().(*net.TCPAddr).AddrPort()
	// A RST instead of a farewell leaves no port behind in TIME_WAIT.
	drop := func(conn net.Conn) {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			conn, err := net.Dial("tcp", to.String())
			if err != nil {
				b.Fatal(err)
			}
			drop(conn)
		}
	})
	b.Run("exact", func(b *testing.B) {
		for b.Loop() {
			r := new(Dialer).Connect(b.Context(), []netip.Addr{to.Addr()}, int(to.Port()))
			if r.Conn == nil {
				b.Fatal(r.Detail)
			}
			drop(r.Conn)
		}
	})
}
