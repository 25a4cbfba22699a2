// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		line     string
		want     Server // Line is not compared
		complain string // a piece of the only complaint
	}{
		{line: "mail.example.org", want: Server{Host: "mail.example.org", Kind: Unknown}},
		{line: "  mail.example.org\tisp\r", want: Server{Host: "mail.example.org", Kind: "ISP"}},
		{line: "mail.example.org, Company # ours", want: Server{Host: "mail.example.org", Kind: "Company"}},
		{line: "mail.example.org:465 UNIVERSITY", want: Server{Host: "mail.example.org", Way: SSL, Kind: "University"}},
		{line: "mail.example.org ASP ssh:gate.example.org", want: Server{Host: "mail.example.org", Way: SSH, Gate: "gate.example.org", Kind: "ASP"}},
		{line: "localhost SSH:gate", want: Server{Host: "localhost", Way: SSH, Gate: "gate", Kind: Unknown}},
		{line: "mail.example.org:587", want: Server{Host: "mail.example.org", Kind: Unknown}},
		{line: "mail.example.org:25", want: Server{Host: "mail.example.org", Kind: Unknown}},
		{line: "198.18.0.1", want: Server{Host: "198.18.0.1", Kind: Unknown}},
		{line: "198.18.0.1:465", want: Server{Host: "198.18.0.1", Way: SSL, Kind: Unknown}},
		{line: "2001:db8::1", want: Server{Host: "2001:db8::1", Kind: Unknown}},
		{line: "[2001:db8::1]", want: Server{Host: "[2001:db8::1]", Kind: Unknown}},
		{line: "[2001:db8::1]:465 isp", want: Server{Host: "[2001:db8::1]", Way: SSL, Kind: "ISP"}},
		{line: "bücher.example", want: Server{Host: "bücher.example", Kind: Unknown}},
		{line: ""},
		{line: " \t # nothing but a comment"},
		// What isn't understood is told, and the rest of the line counts.
		{line: "mail.example.org Bank ISP", want: Server{Host: "mail.example.org", Kind: "ISP"}, complain: `line 1: "Bank" is neither`},
		{line: "mail.example.org ssh:", want: Server{Host: "mail.example.org", Kind: Unknown}, complain: `"ssh:"`},
		{line: "mail.example.org:2525", complain: "only ports"},
		{line: "mail.example.org:", want: Server{Host: "mail.example.org", Kind: Unknown}},
		{line: "mail.example.org:smtp", complain: "only ports"},
		{line: "kazu@mail.example.org", complain: "not the name"},
		{line: "smtp://mail.example.org", complain: "only ports"},
		{line: "mail..example.org", complain: "not the name"},
		{line: "[2001:db8::1", complain: "not the name"},
		{line: ":465", complain: "not the name"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			servers, complaints := Parse([]string{tt.line})
			var got Server
			if len(servers) > 0 {
				got = servers[0]
				got.Line = 0
			}
			if got != tt.want || len(servers) > 1 {
				t.Errorf("got %+v, want %+v", servers, tt.want)
			}
			if len(complaints) > 1 || (len(complaints) == 1) != (tt.complain != "") || tt.complain != "" && !strings.Contains(complaints[0], tt.complain) {
				t.Errorf("complaints %q, want one with %q", complaints, tt.complain)
			}
		})
	}
}

func TestLinesAreCounted(t *testing.T) {
	servers, complaints := Parse([]string{"# a list", "a.example", "", "b@example", "c.example"})
	if len(servers) != 2 || servers[0].Line != 2 || servers[1].Line != 5 {
		t.Errorf("got %+v", servers)
	}
	if len(complaints) != 1 || !strings.HasPrefix(complaints[0], "line 4: ") {
		t.Errorf("got %q", complaints)
	}
}

func TestKeyAndLocal(t *testing.T) {
	tests := []struct {
		line, like    string
		same, isLocal bool
	}{
		{"mail.example.org", "MAIL.example.org.", true, false},
		{"mail.example.org", "mail.example.org:465 ISP", true, false},
		{"mail.example.org", "mail.example.org ssh:gate", true, false},
		{"mail.example.org", "mail2.example.org", false, false},
		{"bücher.example", "xn--bcher-kva.example", true, false},
		{"2001:db8::1", "[2001:DB8:0::1]:465", true, false},
		{"::ffff:198.18.0.1", "198.18.0.1", true, false},
		{"localhost", "localhost.", true, true},
		{"localhost ssh:gate", "localhost", false, false},
		{"localhost ssh:gate", "localhost ssh:other", false, false},
		{"localhost ssh:gate", "localhost SSH:GATE", true, false},
		{"127.0.0.1", "127.0.0.1:465", true, true},
		{"::1", "127.0.0.1", false, true},
		{"192.168.1.5", "192.168.1.5", true, true},
		{"fd00::1", "fd00::1", true, true},
		{"169.254.1.1", "169.254.1.1", true, true},
		{"nas.local", "NAS.Local", true, true},
		{"local", "local", true, true},
		{"notlocal", "notlocal", true, false},
		{"local.example.org", "local.example.org", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.line+" and "+tt.like, func(t *testing.T) {
			servers, complaints := Parse([]string{tt.line, tt.like})
			if len(servers) != 2 || len(complaints) > 0 {
				t.Fatalf("got %+v, %q", servers, complaints)
			}
			if same := servers[0].key() == servers[1].key(); same != tt.same {
				t.Errorf("keys %q and %q", servers[0].key(), servers[1].key())
			}
			if servers[0].local() != tt.isLocal {
				t.Errorf("local is %v", servers[0].local())
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a.example:465 ISP", "[::1]:465", "a ssh:b", "#", "[:", "]:1", "ssh:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		servers, _ := Parse([]string{line})
		for _, s := range servers {
			if s.Host == "" || s.key() == "" || !slices.Contains(Kinds(), s.Kind) || (s.Way == SSH) != (s.Gate != "") {
				t.Errorf("%q became %+v", line, s)
			}
		}
	})
}
