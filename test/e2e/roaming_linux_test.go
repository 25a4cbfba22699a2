// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"submission/test/netlab"
	"submission/test/smtpd"
)

// words writes the attempts of each host as "reset 587, connected 25".
func words(got map[string]receipt) map[string]string {
	all := map[string]string{}
	for host, r := range got {
		var list []string
		for _, a := range r.Attempts {
			list = append(list, fmt.Sprintf("%s %s %d", a.Outcome, strings.TrimPrefix(a.Family, "ip"), a.Port))
		}
		all[host] = strings.Join(list, ", ")
	}
	return all
}

// TestRoaming sends to servers whose port 587 fails in each way, again and
// again, from two networks with the same addresses: what is remembered, where,
// and for how long. Each round is an Emacs of its own. The servers have both
// families, as those that people use.
func TestRoaming(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const v6 = "symmetric"
	type server struct {
		name, sequence string
		brief          bool
		make           func(s *site, to netip.AddrPort)
		answer         *netlab.Answer // of the routers
		first          string
		scope          string // "", "here" or "anywhere"
		again          string // how the next message goes, where something is remembered
	}
	forbidden, silence, unreachable := netlab.ICMP(3, 13), netlab.Silence(), netlab.ICMP(3, 1)
	forbidden6 := netlab.ICMP(1, 1)
	servers := []server{
		{name: "reset", first: "reset v4 587, connected v4 25", scope: "anywhere"},
		{name: "hard", answer: &forbidden, first: "hard v4 587, connected v4 25", scope: "here"},
		{name: "timeout", answer: &silence, brief: true, first: "timeout v4 587, connected v4 25", scope: "here"},
		{name: "soft", answer: &unreachable, first: "soft v4 587, connected v4 25"},
		{name: "local", make: ownFirewall("reject"), first: "local v4 587, connected v4 25"},
		{name: "closed", make: serving(smtpd.Rule{On: "CONNECT", Instead: smtpd.Reset}), first: "closed v4 587, connected v4 25"},
		{name: "greeting", make: serving(on("GREETING", "554 5.3.2 no service")), first: "greeting v4 587, connected v4 25"},
		{name: "silent", make: serving(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence}), first: "silent v4 587, connected v4 25"},
		{name: "reset6", sequence: v6, first: "reset v6 587, reset v4 587, connected v6 25", scope: "anywhere"},
		{name: "hard6", sequence: v6, answer: &forbidden6, first: "hard v6 587, reset v4 587, connected v6 25", scope: "here"},
		{name: "timeout6", sequence: v6, answer: &silence, brief: true, first: "timeout v6 587, reset v4 587, connected v6 25", scope: "here"},
		{name: "soft6", sequence: v6, answer: &forbidden6, make: func(s *site, to netip.AddrPort) {
			// One soft error among hard ones: nothing is remembered.
			s.lab.Answer(netip.AddrPortFrom(s.names["soft6"][0], 587), unreachable)
		}, first: "hard v6 587, soft v4 587, connected v6 25"},
	}
	addresses := map[string]netip.Addr{}
	for i := range servers {
		h := &servers[i]
		ip, ip6 := s.host(h.name)
		h.again = "connected v4 25"
		if h.sequence == v6 {
			ip, h.again = ip6, "connected v6 25"
		} else {
			h.sequence = "mew"
		}
		addresses[h.name] = ip
		if h.make != nil {
			h.make(s, netip.AddrPortFrom(ip, 587))
		} else if h.answer != nil {
			s.serve(ip, 587) // for when the routers let it be seen
		}
		s.serve(ip, 25)
	}
	answers := func() {
		for _, h := range servers {
			if h.answer != nil {
				s.lab.Answer(netip.AddrPortFrom(addresses[h.name], 587), *h.answer)
			}
		}
	}
	// On the other network it is the same, but the firewall of the client,
	// which is on both.
	s.lab.Roam(1)
	answers()
	s.lab.Answer(netip.AddrPortFrom(s.names["soft6"][0], 587), unreachable)
	s.lab.Roam(0)
	answers()
	s.open()

	send := func(which func(server) bool) map[string]string {
		t.Helper()
		lisp := "(setq submission-greeting-timeout 1)\n"
		for _, h := range servers {
			wait := patience
			if h.brief {
				wait = 1
			}
			if which(h) {
				lisp += fmt.Sprintf("(site-send %q '%s %d)\n", h.name, h.sequence, wait)
			}
		}
		got := s.tell(lisp + "(story-wait)")
		for host, r := range got {
			if r.Status != "accepted" {
				t.Errorf("%s: %s, %+v", host, r.Status, r.Attempts)
			}
		}
		return words(got)
	}
	round := func(what string, remembered ...string) {
		t.Helper()
		got := send(func(server) bool { return true })
		for _, h := range servers {
			want := h.first
			if h.scope != "" && slices.Contains(remembered, h.scope) {
				want = h.again
			}
			if got[h.name] != want {
				t.Errorf("%s, %s: %q, want %q", what, h.name, got[h.name], want)
			}
		}
	}
	round("the first message")
	round("the second message", "anywhere", "here")
	s.lab.Roam(1)
	round("on another network", "anywhere")
	round("again on that network", "anywhere", "here")
	s.lab.Roam(0)
	round("back on the first", "anywhere", "here")

	// The remembered step fails: the whole sequence from the top, at once. Then
	// 587 has answered, and is where the next message starts.
	within := func(names ...string) func(server) bool {
		return func(h server) bool { return slices.Contains(names, h.name) }
	}
	for _, name := range []string{"hard", "timeout6"} {
		s.lab.Answer(netip.AddrPortFrom(addresses[name], 587), netlab.Pass())
		s.lab.Answer(netip.AddrPortFrom(addresses[name], 25), silence)
	}
	for i := range servers {
		servers[i].brief = true
	}
	got := send(within("hard", "timeout6"))
	if got["hard"] != "timeout v4 25, connected v4 587" || got["timeout6"] != "timeout v6 25, connected v6 587" {
		t.Errorf("the remembered step fails: %q", got)
	}
	got = send(within("hard", "timeout6"))
	if got["hard"] != "connected v4 587" || got["timeout6"] != "connected v6 587" {
		t.Errorf("then: %q", got)
	}
	// That was about this network only.
	s.lab.Roam(1)
	got = send(within("hard", "timeout6"))
	if got["hard"] != "connected v4 25" || got["timeout6"] != "connected v6 25" {
		t.Errorf("and on the other network: %q", got)
	}
}

// TestDoorbell has a message deferred on one network and sent by itself when
// the client comes to another one: long before a minute is over, which is when
// it would be tried again otherwise.
func TestDoorbell(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v4, _ := s.host("mail")
	s.serve(v4, 587)
	s.open()
	for _, port := range []uint16{587, 25} {
		s.lab.Answer(netip.AddrPortFrom(v4, port), netlab.Silence())
	}
	done := make(chan outcome, 1)
	go func() {
		done <- s.at(`
			(site-send "mail" 'mew 1)
			(let ((end (time-add nil 45)))
			  (while (and (time-less-p nil end) (submission-messages))
			    (accept-process-output nil 0.1)))`)
	}()
	waitFor(t, "the message to be deferred", s.dir, func() bool {
		text, _ := os.ReadFile(s.path("receipts"))
		return strings.Contains(string(text), "deferred")
	})
	s.lab.Roam(1)
	o := <-done
	var statuses []string
	for _, r := range o.receipts {
		statuses = append(statuses, r.Status+": "+r.steps())
	}
	if want := []string{"deferred: timeout timeout", "accepted: connected"}; o.err != nil || !slices.Equal(statuses, want) {
		t.Errorf("%v, %q; want %q; Emacs said:\n%s", o.err, statuses, want, o.output)
	}
}

// TestGreetPause has a server that says nothing for longer than the alarm once
// the connection is open: it is waited for, it is not case 5, and nothing is
// remembered of it.
func TestGreetPause(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	v4, _ := s.host("mail")
	s.serve(v4, 587, smtpd.Rule{On: "GREETING", Delay: smtpd.Duration(3 * time.Second)})
	s.serve(v4, 25)
	s.open()
	o := s.at(`
		(dotimes (_ 2)
		  (site-send "mail" 'mew 1)
		  (story-wait))`)
	if o.err != nil || len(o.receipts) != 2 {
		t.Fatalf("%v, %d receipts; Emacs said:\n%s", o.err, len(o.receipts), o.output)
	}
	for i, r := range o.receipts {
		if r.Status != "accepted" || len(r.Attempts) != 1 || r.Port != 587 {
			t.Errorf("message %d: %s on port %d, %+v", i+1, r.Status, r.Port, r.Attempts)
		} else if a := r.Attempts[0]; a.Outcome != "connected" || a.Case != 1 || a.Elapsed < 2.9 {
			t.Errorf("message %d: %+v", i+1, a)
		}
	}
	if text, err := os.ReadFile(s.path(".emacs.d/submission/fallbacks.json")); err == nil {
		t.Errorf("this is remembered: %s", text)
	}
}

// TestFamilies has a server or a machine without one of the families.
func TestFamilies(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	four, six := s.host("both")
	s.serve(four, 25)
	s.serve(six, 25)
	_, only6 := s.host("only6")
	s.names["only6"] = []netip.Addr{only6}
	s.serve(only6, 25)
	only4, _ := s.host("only4")
	s.names["only4"] = []netip.Addr{only4}
	s.serve(only4, 25)
	s.lab.Answer(netip.AddrPortFrom(only6, 587), netlab.ICMP(1, 4))
	_, literal := s.lab.Addresses()
	s.serve(literal, 25)
	s.open()

	rounds := 0
	check := func(what, lisp string, steps map[string]string, says ...string) {
		t.Helper()
		rounds++ // each with an outbox of its own: what is deferred is tried again elsewhere
		o := s.at(fmt.Sprintf(`(setq submission-remember-fallback nil
			submission-directory (expand-file-name "outbox%d/" (getenv "HOME")))
			%s(story-wait)`, rounds, lisp))
		if o.err != nil || len(o.receipts) != len(steps) {
			t.Fatalf("%s: %v, %d receipts; Emacs said:\n%s", what, o.err, len(o.receipts), o.output)
		}
		byHost := map[string]receipt{}
		for _, r := range o.receipts {
			byHost[strings.TrimSuffix(r.Host, ".lab.test")] = r
		}
		got := words(byHost)
		for host, want := range steps {
			status := "accepted"
			if want == "" {
				status = "deferred"
			}
			if got[host] != want || byHost[host].Status != status {
				t.Errorf("%s, %s: %s, %q; want %s, %q", what, host, byHost[host].Status, got[host], status, want)
			}
		}
		for _, say := range says {
			if !strings.Contains(o.output, say) {
				t.Errorf("%s: nobody says %q; Emacs said:\n%s", what, say, o.output)
			}
		}
	}
	check("a machine with both families", fmt.Sprintf(`
		(site-send "only6" 'mew 60)
		(site-send %q 'mew 60 "six@example.org")
		(site-send "only4" 'symmetric 60)
		(site-send "both" 'ipv6-first 60)
		(site-send "nowhere" 'mew 60)
		`, literal), map[string]string{
		"only6":          "hard v6 587, connected v6 25",
		literal.String(): "reset v6 587, connected v6 25",
		"only4":          "reset v4 587, connected v4 25",
		"both":           "reset v6 587, reset v4 587, connected v4 25",
		"nowhere":        "",
	}, "no such name: nowhere.lab.test")
	check("a list is taken as it is written", `(site-send "only4" '((ipv6 . 587) (ipv6 . 25)) 60)`,
		map[string]string{"only4": ""}, "only4.lab.test has no address of a family that the sequence tries")

	ip := func(args ...string) {
		t.Helper()
		if _, err := s.lab.Client.Run(exec.Command("ip", args...)); err != nil {
			t.Fatal(err)
		}
	}
	ip("-4", "address", "flush", "dev", "up0")
	check("a machine without IPv4", `
		(site-send "both" 'mew 60)
		(site-send "only6" 'symmetric 60)
		(site-send "only4" 'mew 60)
		`, map[string]string{
		"both":  "reset v6 587, connected v6 25",
		"only6": "hard v6 587, connected v6 25",
		"only4": "",
	}, "this machine has no IPv4 address now")

	ip("address", "add", "198.18.0.2/24", "dev", "up0")
	ip("route", "add", "default", "via", "198.18.0.1")
	s.lab.Client.Sysctl(t, "net.ipv6.conf.all.disable_ipv6", "1")
	check("a machine without IPv6", `
		(site-send "both" 'symmetric 60)
		(site-send "only6" 'symmetric 60)
		`, map[string]string{
		"both":  "reset v4 587, connected v4 25",
		"only6": "",
	}, "this machine has no IPv6 address now")
}

// TestAsk answers the paper's dialog in an Emacs in a terminal, yes for one
// server and no for another. Each is asked about once, and a name that does not
// exist is a warning.
func TestAsk(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"yes", "no", "later"} {
		v4, _ := s.host(name)
		s.lab.Answer(netip.AddrPortFrom(v4, 587), netlab.ICMP(3, 13))
		s.serve(v4, 25)
	}
	s.open()
	keys := s.interactive(`
		(setq submission-remember-fallback 'ask)
		(add-hook 'minibuffer-setup-hook
		          (lambda () (probe-note "question" :values (vector (minibuffer-prompt)))))
		(defun site-round (&rest hosts)
		  (lambda () (interactive)
		    (dolist (host hosts)
		      (site-send host 'mew 60))))
		(global-set-key (kbd "<f5>") (site-round "yes" "no" "nowhere"))
		(global-set-key (kbd "<f6>") (site-round "yes" "no" "later"))
		(global-set-key (kbd "<f7>") (lambda () (interactive)
		  (probe-note "warnings" :text (with-current-buffer "*Warnings*" (buffer-string)))))
		(run-with-idle-timer 0 nil (lambda () (probe-note "ready")))`)
	// await waits for notes of a name.
	await := func(name string, n int) []note {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d notes %q", n, name), s.dir, func() bool { return len(named(s.notes(), name)) >= n })
		if t.Failed() {
			t.FailNow()
		}
		return named(s.notes(), name)
	}
	// answers answers the questions that come from number n on, until those
	// about hosts have come.
	asked := 0
	answers := func(hosts int) {
		t.Helper()
		for ; hosts > 0; hosts-- {
			asked++
			if strings.Contains(await("question", asked)[asked-1].Values[0], "yes.lab.test") {
				keys("y")
			} else {
				keys("n")
			}
		}
	}
	sent := func(n int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d receipts", n), s.dir, func() bool {
			text, _ := os.ReadFile(s.path("receipts"))
			return strings.Count(string(text), "\n") >= n
		})
	}
	await("ready", 1)
	keys("F5")
	sent(3)
	answers(2)
	keys("F6")
	sent(6)
	answers(1)
	keys("F7")
	await("warnings", 1)

	notes := s.notes()
	var questions []string
	for _, n := range named(notes, "question") {
		questions = append(questions, n.Values[0])
	}
	slices.Sort(questions)
	var want []string
	for _, host := range []string{"later", "no", "yes"} {
		want = append(want, fmt.Sprintf("Port 587 of %s.lab.test was blocked; use 25 on this network from now on? (y or n) ", host))
	}
	if !slices.Equal(questions, want) {
		t.Errorf("the questions were %q, want %q", questions, want)
	}
	if text := named(notes, "warnings")[0].Text; !strings.Contains(text, "no such name: nowhere.lab.test") {
		t.Errorf("the warnings are %q", text)
	}
	steps := map[string][]string{}
	for _, r := range s.receipts() {
		host := strings.TrimSuffix(r.Host, ".lab.test")
		steps[host] = append(steps[host], r.steps())
	}
	if got := fmt.Sprint(steps); got != "map[later:[hard connected] no:[hard connected hard connected] nowhere:[] yes:[hard connected connected]]" {
		t.Errorf("the steps were %q", steps)
	}
}
