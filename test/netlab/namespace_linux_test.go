// SPDX-License-Identifier: GPL-3.0-or-later

package netlab_test

import (
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"submission/test/netlab"
)

// TestClientOfItsOwn has a client that isn't this process: functions and
// commands run there, and this process keeps its own network.
func TestClientOfItsOwn(t *testing.T) {
	t.Setenv("SUBMISSION_NETLAB_CLIENT", "") // as in a process that Main didn't start
	lab := netlab.New(t)
	v4, _ := lab.Addresses()
	to := netip.AddrPortFrom(v4, 25)
	accept(nil)(t, lab, to)

	var conn net.Conn
	var err error
	lab.Client.Do(func() { conn, err = net.Dial("tcp", to.String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); string(said) != "220 hello\r\n" || err != nil {
		t.Errorf("the server said %q, %v", said, err)
	}
	if _, err := net.Dial("tcp", to.String()); err == nil {
		t.Error("this process is in the client's namespace as well")
	}

	for link, n := range map[string]*netlab.Namespace{"up0": lab.Client, "in0": lab.Server} {
		links, err := n.Run(exec.Command("cat", "/proc/thread-self/net/dev"))
		if err != nil || !strings.Contains(links, link+":") {
			t.Errorf("a command that should see %s: %v, %q", link, err, links)
		}
	}
}

// TestTwoLaboratories has two laboratories at once with the same addresses.
func TestTwoLaboratories(t *testing.T) {
	t.Setenv("SUBMISSION_NETLAB_CLIENT", "")
	a, b := netlab.New(t), netlab.New(t)
	v4, _ := a.Addresses()
	if again, _ := b.Addresses(); again != v4 {
		t.Fatalf("the first addresses are %s and %s", v4, again)
	}
	to := netip.AddrPortFrom(v4, 25)
	accept(nil)(t, a, to)
	for lab, open := range map[*netlab.Lab]bool{a: true, b: false} {
		lab.Client.Do(func() {
			conn, err := net.Dial("tcp", to.String())
			if (err == nil) != open {
				t.Errorf("open %v, but dial says %v", open, err)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}
