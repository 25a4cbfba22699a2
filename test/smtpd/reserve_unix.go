// SPDX-License-Identifier: GPL-3.0-or-later

//go:build unix

package smtpd

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// A reservation is a socket bound to a port on which nobody listens yet: the
// system answers SYN with RST, and gives the port to nobody else.
type reservation struct {
	file *os.File
	addr *net.TCPAddr
}

func reserve(addr *net.TCPAddr) (*reservation, error) {
	domain := syscall.AF_INET6
	var sa syscall.Sockaddr
	if ip := addr.IP.To4(); ip != nil {
		domain = syscall.AF_INET
		sa = &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)}
	} else {
		sa = &syscall.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP.To16())}
	}
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(domain, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "reserved port")
	if err := bind(fd, domain, sa); err != nil {
		file.Close()
		return nil, fmt.Errorf("reserve %s: %w", addr, err)
	}
	r := &reservation{file: file, addr: &net.TCPAddr{IP: addr.IP, Port: addr.Port}}
	bound, err := syscall.Getsockname(fd)
	switch bound := bound.(type) {
	case *syscall.SockaddrInet4:
		r.addr.Port = bound.Port
	case *syscall.SockaddrInet6:
		r.addr.Port = bound.Port
	default:
		file.Close()
		return nil, fmt.Errorf("reserve %s: %w", addr, os.NewSyscallError("getsockname", err))
	}
	return r, nil
}

func bind(fd, domain int, sa syscall.Sockaddr) error {
	// Connections that an earlier listener of ours accepted may linger.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if domain == syscall.AF_INET6 {
		if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("bind", syscall.Bind(fd, sa))
}

// listen opens the port and gives the reservation up.
func (r *reservation) listen() (net.Listener, error) {
	defer r.file.Close()
	if err := syscall.Listen(int(r.file.Fd()), 128); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return net.FileListener(r.file)
}

func (r *reservation) close() { r.file.Close() }
