// SPDX-License-Identifier: GPL-3.0-or-later

package delay

import (
	"io"
	"net"
	"testing"
	"time"
)

func TestProxy(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c) // an echo
		c.Close()
	}()
	const oneWay = 30 * time.Millisecond
	p, err := Start(l.Addr().String(), oneWay)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now()
	c, err := net.Dial("tcp4", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "there and back"); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	back, err := io.ReadAll(c)
	if err != nil || string(back) != "there and back" {
		t.Fatalf("got %q, %v", back, err)
	}
	// Sleeping never takes less than it was told to.
	if took := time.Since(start); took < 4*oneWay {
		t.Errorf("there and back in %v, with %v each way and a handshake", took, oneWay)
	}
}

// A server that speaks first is heard after two round trips: one is TCP's.
func TestGreeting(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "hello")
		c.Close()
	}()
	const oneWay = 30 * time.Millisecond
	p, err := Start(l.Addr().String(), oneWay)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	start := time.Now()
	c, err := net.Dial("tcp4", p.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, err := io.ReadAll(c)
	if took := time.Since(start); err != nil || string(text) != "hello" || took < 4*oneWay {
		t.Errorf("%q, %v in %v", text, err, took)
	}
}
