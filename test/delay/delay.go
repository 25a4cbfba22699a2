// SPDX-License-Identifier: GPL-3.0-or-later

// Package delay is a proxy that makes a server far away: it hands on each
// piece of a TCP stream, in both directions, after a fixed time, without
// holding back what follows. It needs no privileges. A client's connect is
// answered at once, for the proxy is near; the way that the three packets of
// TCP's handshake would have taken is waited for behind its back, so the sum is
// that of the real way, whichever side speaks first.
package delay

import (
	"net"
	"sync"
	"time"
)

// Proxy listens on a port of 127.0.0.1 until it is closed.
type Proxy struct {
	listener net.Listener
	target   string
	oneWay   time.Duration

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// Start starts a proxy for target, host:port, with a delay each way.
func Start(target string, oneWay time.Duration) (*Proxy, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, oneWay: oneWay, conns: make(map[net.Conn]struct{})}
	go p.serve()
	return p, nil
}

// Port returns the port that the proxy listens on.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(client)
	}
}

func (p *Proxy) connect(client net.Conn) {
	// What the client says before it could have been connected leaves then; the
	// server learns of the connection from the handshake's third packet.
	start := time.Now()
	there := p.read(client, start.Add(2*p.oneWay))
	time.Sleep(time.Until(start.Add(3 * p.oneWay)))
	server, err := net.Dial("tcp4", p.target)
	if err != nil {
		client.Close()
		for range there { // let the reader end
		}
		return
	}
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	back := p.read(server, start)
	var both sync.WaitGroup
	both.Go(func() { hand(there, client, server) })
	both.Go(func() { hand(back, server, client) })
	both.Wait()
	client.Close()
	server.Close()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// piece is what was read at once, and when it is due at the other end.
type piece struct {
	due  time.Time
	data []byte
}

// read reads one direction, until it ends; nothing leaves before a time.
func (p *Proxy) read(from net.Conn, earliest time.Time) <-chan piece {
	pieces := make(chan piece, 1<<12)
	go func() {
		defer close(pieces)
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				left := time.Now()
				if left.Before(earliest) {
					left = earliest
				}
				pieces <- piece{left.Add(p.oneWay), append([]byte(nil), buf[:n]...)}
			}
			if err != nil {
				return
			}
		}
	}()
	return pieces
}

// hand writes the pieces of one direction when they are due.
func hand(pieces <-chan piece, from, to net.Conn) {
	for piece := range pieces {
		time.Sleep(time.Until(piece.due))
		if _, err := to.Write(piece.data); err != nil {
			from.Close()
			for range pieces { // let the reader end
			}
			return
		}
	}
	to.(*net.TCPConn).CloseWrite()
}
