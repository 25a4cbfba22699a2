// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A Server listens on loopback, behaves as its script says and records what
// clients do. Its methods may be called from any goroutine.
type Server struct {
	ca     *CA
	store  string
	ctx    context.Context // ends with Close; only to wake what waits
	cancel context.CancelFunc
	group  sync.WaitGroup

	portsMu sync.Mutex // serialises Update and Close
	ports   []*port

	record
}

// port is one Listen at work.
type port struct {
	name string
	addr *net.TCPAddr

	mu        sync.Mutex
	listen    Listen
	behaviour *behaviour
	tls       *tls.Config
	reserved  *reservation // while closed
	listener  net.Listener // while open
}

// Start listens as the script says. The caller must Close the server.
func Start(script Script) (*Server, error) {
	behaviours, err := script.behaviours()
	if err != nil {
		return nil, err
	}
	s := &Server{ca: script.CA, store: script.Store}
	if s.ca == nil {
		if s.ca, err = NewCA(); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.events, s.changed = script.Events, make(chan struct{})
	for i, l := range script.ports() {
		p, err := s.open(l)
		if err == nil {
			s.ports = append(s.ports, p)
			err = s.set(p, l, behaviours[i])
		}
		if err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) open(l Listen) (*port, error) {
	address := l.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	if addr.IP == nil || addr.IP.IsUnspecified() {
		return nil, fmt.Errorf("listen on %s: a test server needs one address of its own", address)
	}
	r, err := reserve(addr)
	if err != nil {
		return nil, err
	}
	return &port{name: l.Name, addr: r.addr, reserved: r}, nil
}

// set gives a port its behaviour and opens or closes it.
func (s *Server) set(p *port, l Listen, b *behaviour) error {
	config, err := s.tlsConfig(b)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listen, p.behaviour, p.tls = l, b, config
	p.mu.Unlock()
	switch {
	case l.Closed && p.listener != nil:
		p.listener.Close()
		p.listener = nil
		p.reserved, err = reserve(p.addr)
	case !l.Closed && p.listener == nil:
		p.listener, err = p.reserved.listen()
		p.reserved = nil
		if err == nil {
			s.group.Add(1)
			go s.accept(p, p.listener)
		}
	}
	return err
}

func (s *Server) tlsConfig(b *behaviour) (*tls.Config, error) {
	cert, err := s.ca.Issue(b.Certificate, b.Names...)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		Certificates:           []tls.Certificate{cert},
		MinVersion:             b.tlsMin,
		MaxVersion:             b.tlsMax,
		SessionTicketsDisabled: !b.Resume,
	}
	if b.ClientCertificate {
		config.ClientAuth = tls.RequestClientCert
	}
	return config, nil
}

func (s *Server) accept(p *port, l net.Listener) {
	defer s.group.Done()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // out of descriptors, most likely
			case <-time.After(10 * time.Millisecond):
			case <-s.ctx.Done():
			}
			continue
		}
		p.mu.Lock()
		c := s.newConn(p, nc.(*net.TCPConn))
		p.mu.Unlock()
		s.group.Add(1)
		go func() {
			defer s.group.Done()
			c.serve()
		}()
	}
}

// Update gives the server a new script. Its ports must be those of the first
// one, by name; their numbers stay. Connections that are open go on as they
// were, later ones follow the new script. Store, CA and Events stay as well.
func (s *Server) Update(script Script) error {
	behaviours, err := script.behaviours()
	if err != nil {
		return err
	}
	s.portsMu.Lock()
	defer s.portsMu.Unlock()
	if s.ctx.Err() != nil {
		return net.ErrClosed
	}
	listens := script.ports()
	if len(listens) != len(s.ports) {
		return errors.New("update: the ports are not those of the first script")
	}
	for _, l := range listens {
		if s.port(l.Name) == nil {
			return fmt.Errorf("update: there is no port %q", l.Name)
		}
	}
	for i, l := range listens {
		if err := s.set(s.port(l.Name), l, behaviours[i]); err != nil {
			return fmt.Errorf("update: %w", err)
		}
	}
	return nil
}

// Close ends every connection and returns when all has stopped. The records
// can be read afterwards.
func (s *Server) Close() {
	s.portsMu.Lock()
	defer s.portsMu.Unlock()
	s.cancel()
	for _, p := range s.ports {
		if p.listener != nil {
			p.listener.Close()
		}
		if p.reserved != nil {
			p.reserved.close()
		}
		p.listener, p.reserved = nil, nil
	}
	s.group.Wait()
}

func (s *Server) port(name string) *port {
	for _, p := range s.ports {
		if p.name == name {
			return p
		}
	}
	return nil
}

// Addr returns the address of the port with that name as "host:port". It
// panics where there is none: the test is wrong.
func (s *Server) Addr(name string) string {
	p := s.port(name)
	if p == nil {
		panic("smtpd: no port is named " + name)
	}
	return p.addr.String()
}

// Port returns the number of the port with that name, as Addr does.
func (s *Server) Port(name string) int {
	s.Addr(name)
	return s.port(name).addr.Port
}

// CA returns the CA that issued the server's certificates.
func (s *Server) CA() *CA { return s.ca }

// Pool returns a pool that trusts the server's CA.
func (s *Server) Pool() *x509.CertPool { return s.ca.Pool() }
