// SPDX-License-Identifier: GPL-3.0-or-later

//go:build !unix

package smtpd

import "net"

// A reservation is only a number here: another process might take the port.
type reservation struct{ addr *net.TCPAddr }

func reserve(addr *net.TCPAddr) (*reservation, error) {
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return &reservation{addr: l.Addr().(*net.TCPAddr)}, nil
}

func (r *reservation) listen() (net.Listener, error) { return net.ListenTCP("tcp", r.addr) }

func (r *reservation) close() {}
