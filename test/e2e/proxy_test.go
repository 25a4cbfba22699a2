// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"submission/test/smtpd"
)

// socks is a SOCKS5 proxy (RFC 1928) without authentication. It knows names of
// its own.
type socks struct {
	names map[string]string                      // and their addresses
	dial  func(address string) (net.Conn, error) // from where the proxy is

	mu    sync.Mutex
	asked []string // what it was to connect to, as the client said it
}

// serve serves until the listener is closed.
func (p *socks) serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go p.one(conn)
	}
}

func (p *socks) one(client net.Conn) {
	defer client.Close()
	host, port, err := p.request(client)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, net.JoinHostPort(host, port))
	p.mu.Unlock()
	answer := func(code byte) { client.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0}) }
	address, known := p.names[host]
	if !known {
		answer(4) // host unreachable
		return
	}
	server, err := p.dial(net.JoinHostPort(address, port))
	if err != nil {
		answer(5) // connection refused
		return
	}
	defer server.Close()
	answer(0)
	go func() {
		io.Copy(server, client)
		server.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(client, server)
}

// request reads what the client wants to be connected to.
func (p *socks) request(client net.Conn) (host, port string, err error) {
	read := func(n int) []byte {
		b := make([]byte, n)
		if err == nil {
			_, err = io.ReadFull(client, b)
		}
		return b
	}
	read(int(read(2)[1])) // its methods
	client.Write([]byte{5, 0})
	head := read(4)
	switch head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	default:
		err = errors.New("no such kind of address")
	}
	port = strconv.Itoa(int(binary.BigEndian.Uint16(read(2))))
	return host, port, err
}

// TestProxy sends to a name that only the proxy knows, and meets what the proxy
// can't reach, and a proxy that isn't there.
func TestProxy(t *testing.T) {
	t.Parallel()
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{{Name: "closed", Closed: true}, {Name: "open", Behaviour: &smtpd.Behaviour{
		Users: map[string]string{"kazu": "secret"}, RequireAuth: true}}}})
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	p := &socks{names: map[string]string{"mail.test": "127.0.0.1"}, dial: func(a string) (net.Conn, error) { return net.Dial("tcp", a) }}
	go p.serve(listener)
	h := newHome(t)
	account := h.account(server, false, server.Port("closed"), server.Port("open"))
	h.write("authinfo", "machine mail.test login kazu password secret\n")
	proxy := "socks5://" + listener.Addr().String()
	o := h.emacs(account + fmt.Sprintf(`
		(setq submission-proxy %q)
		(dolist (server '("mail.test" "unknown.test"))
		  (setq smtpmail-smtp-server server)
		  (story-send "bob@example.org"))
		(setq smtpmail-smtp-server "mail.test"
		      submission-proxy '(("elsewhere.test" . "socks5://127.0.0.1:9") ("MAIL.test" . %q)))
		(story-send "bob@example.org")
		(setq submission-proxy "socks5://127.0.0.1:%d")
		(story-send "bob@example.org")`, proxy, proxy, server.Port("closed")))
	if o.err != nil || len(o.receipts) != 4 {
		t.Fatalf("%d receipts, %v; Emacs said:\n%s", len(o.receipts), o.err, o.output)
	}
	for i, want := range []struct{ status, tls, steps, detail string }{
		{"accepted", "verified", "closed connected", "the proxy says: "},
		{"deferred", "", "closed closed", "host unreachable"},
		{"accepted", "verified", "closed connected", "the proxy says: "},
		{"deferred", "", "local local", "the proxy is out of reach"},
	} {
		r := o.receipts[i]
		if i == 2 && r.steps() == "connected" {
			want.steps, want.detail = "connected", "" // over the connection of the first
		} else if r.Attempts[0].Case != 0 {
			t.Errorf("one of the paper's cases: %+v", r.Attempts)
		}
		if r.Status != want.status || r.TLS != want.tls || r.steps() != want.steps || !strings.Contains(r.Attempts[0].Detail, want.detail) {
			t.Errorf("%s, TLS %q, %+v; want %+v", r.Status, r.TLS, r.Attempts, want)
		}
	}
	var want []string
	for _, host := range []string{"mail.test", "unknown.test"} {
		for _, port := range []string{"closed", "open"} {
			want = append(want, net.JoinHostPort(host, strconv.Itoa(server.Port(port))))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.asked)
	slices.Sort(want)
	if p.asked = slices.Compact(p.asked); !slices.Equal(p.asked, want) {
		t.Errorf("the proxy was asked for %q, want %q", p.asked, want)
	}
	if n := len(server.Messages()); n != 2 {
		t.Errorf("the server took %d messages", n)
	}
}
