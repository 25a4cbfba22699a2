// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// gate stands before a server's port. It takes connections at once and lets
// nothing through until it is opened: a server as slow as a test needs it.
type gate struct {
	port    int
	opened  chan struct{}
	open    func()
	arrived chan struct{} // a value for each connection
}

func newGate(t *testing.T, address string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	g := &gate{
		port:    listener.Addr().(*net.TCPAddr).Port,
		opened:  make(chan struct{}),
		arrived: make(chan struct{}, 1000),
	}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(g.open)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			g.arrived <- struct{}{}
			go g.serve(client, address)
		}
	}()
	return g
}

func (g *gate) serve(client net.Conn, address string) {
	defer client.Close()
	<-g.opened
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, server)
}
