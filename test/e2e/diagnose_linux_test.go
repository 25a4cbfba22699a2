// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"submission/test/netlab"
	"submission/test/smtpd"
)

// field is a laboratory with mail servers in it, for submission-diagnose.
type field struct {
	t      *testing.T
	lab    *netlab.Lab
	home   *home
	listen []smtpd.Listen
	hosts  strings.Builder // for /etc/hosts, since there are no name servers
	list   []string        // what is diagnosed
	server *smtpd.Server
}

func newField(t *testing.T) *field {
	f := &field{t: t, lab: netlab.New(t), home: newHome(t)}
	f.hosts.WriteString("127.0.0.1 localhost printer.local\n10.9.8.7 nas.example.org\n")
	return f
}

// at opens a port for the time of the test.
func (f *field) at(addr netip.Addr, port int, b smtpd.Behaviour) {
	to := netip.AddrPortFrom(addr, uint16(port)).String()
	f.listen = append(f.listen, smtpd.Listen{Name: to, Address: to, TLS: port == 465, Behaviour: &b})
}

// result is what submission-diagnose-results returned.
type result struct {
	Rows       []diagnosis
	Complaints []string
	Finished   any
	Summary    struct {
		Lines, Local, Repeats, Servers int
		Kinds, Cases                   []struct {
			Name  string
			Count int
		}
	}
}

type diagnosis struct {
	Line   int
	Host   string
	State  string
	Local  any
	Repeat int
	Detail string
	Words  string
	Steps  []struct {
		Family, State, Outcome, Detail string
		Port, Case                     int
		Address, Greeting, Name, TLS   string
		STARTTLS                       any
		Certificate, Size, Problem     string
		Mail                           int
		AuthClear                      []string `json:"auth-clear"`
		AuthSecure                     []string `json:"auth-secure"`
	}
}

// outcomes writes the steps of a row as "reset/2 reset/2 - connected/1 -".
func (d diagnosis) outcomes() string {
	var words []string
	for _, s := range d.Steps {
		switch {
		case s.State == "skipped":
			words = append(words, "-")
		case s.State != "done":
			words = append(words, s.State)
		default:
			words = append(words, fmt.Sprintf("%s/%d", s.Outcome, s.Case))
		}
	}
	return strings.Join(words, " ")
}

// diagnosePrelude has the list in a variable and writes results as JSON.
const diagnosePrelude = `
(require 'submission-diagnose)
(setq submission-connect-timeout 3 submission-greeting-timeout 3)
(defvar field-list (with-temp-buffer (insert-file-contents (expand-file-name "list" (getenv "HOME")))
                     (split-string (buffer-string) "\n" t)))
(defun field-write (name)
  (let ((results (submission-diagnose-results)))
    (setq results (plist-put results :rows
                             (vconcat (mapcar (lambda (row)
                                                (plist-put (copy-sequence row) :steps (vconcat (plist-get row :steps))))
                                              (plist-get results :rows)))))
    (setq results (plist-put results :complaints (vconcat (plist-get results :complaints))))
    (let ((summary (copy-sequence (plist-get results :summary))))
      (dolist (key '(:kinds :cases))
        (setq summary (plist-put summary key (vconcat (plist-get summary key)))))
      (setq results (plist-put results :summary summary)))
    (let ((coding-system-for-write 'utf-8-unix))
      (write-region (json-encode results) nil (expand-file-name (concat name ".json") (getenv "HOME")))
      (write-region (buffer-substring-no-properties (point-min) (point-max)) nil
                    (expand-file-name (concat name ".txt") (getenv "HOME"))))))
`

// run starts the servers and then an Emacs at the client, which runs Lisp.
func (f *field) run(lisp string) {
	f.t.Helper()
	var err error
	f.lab.Server.Do(func() { f.server, err = smtpd.Start(smtpd.Script{Listen: f.listen}) })
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(f.server.Close)
	ca, err := f.server.CA().Write(f.home.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	hosts := f.home.write("hosts", f.hosts.String())
	f.home.write("list", strings.Join(f.list, "\n")+"\n")
	f.home.command = func(name string, args ...string) *exec.Cmd {
		return exec.Command("unshare", append([]string{"--mount", "sh", "-e", "-c",
			"mount --bind '" + hosts + "' /etc/hosts\nexec \"$@\"", "sh", name}, args...)...)
	}
	lisp = fmt.Sprintf("%s(setq gnutls-trustfiles '(%q))\n%s", diagnosePrelude, ca, lisp)
	var o outcome
	f.lab.Client.Do(func() { o = f.home.emacs(lisp) })
	if o.err != nil {
		f.t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
}

func (f *field) file(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(f.home.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func (f *field) result(name string) result {
	f.t.Helper()
	var r result
	if err := json.Unmarshal([]byte(f.file(name+".json")), &r); err != nil {
		f.t.Fatal(err)
	}
	return r
}

// polite checks what the servers saw: one connection to each port, no RCPT and
// no message, MAIL on 587 alone, and QUIT.
func (f *field) polite() {
	f.t.Helper()
	seen := map[string]int{}
	for _, s := range f.server.Sessions() {
		if seen[s.Port]++; seen[s.Port] > 1 {
			f.t.Errorf("%d connections to %s", seen[s.Port], s.Port)
		}
		commands := strings.Join(s.Commands(), "\n")
		if strings.Contains(commands, "RCPT") || strings.Contains(commands, "DATA") || strings.Contains(commands, "AUTH") {
			f.t.Errorf("%s was told\n%s", s.Port, commands)
		}
		if strings.Contains(commands, "MAIL") && (!strings.HasSuffix(s.Port, ":587") ||
			!strings.HasSuffix(commands, "MAIL FROM:<>\nRSET\nQUIT")) {
			f.t.Errorf("%s was told\n%s", s.Port, commands)
		}
	}
	if len(seen) == 0 {
		f.t.Error("no server saw anybody")
	}
}

// offering is a server as it should be.
func offering(host string) smtpd.Behaviour {
	return smtpd.Behaviour{Host: host, Names: []string{host}, Users: map[string]string{"kazu": "secret"}, RequireAuth: true}
}

// TestFieldTest is the paper's: 39 reports about 26 servers give its two tables.
func TestFieldTest(t *testing.T) {
	f := newField(t)
	kinds := slices.Concat(slices.Repeat([]string{"ISP"}, 16), []string{"asp"},
		slices.Repeat([]string{"Company"}, 6), []string{"university", "University", ""})
	for i, kind := range kinds {
		v4, _ := f.lab.Addresses()
		host := fmt.Sprintf("mail%d.example.org", i)
		fmt.Fprintln(&f.hosts, v4, host)
		line := host
		switch {
		case i < 12:
			f.at(v4, 587, offering(host))
		case i < 19: // 587 is closed
			f.at(v4, 25, smtpd.Behaviour{Host: host, Names: []string{host}})
		case i < 23:
			f.lab.Answer(netip.AddrPortFrom(v4, 587), netlab.Silence())
			f.at(v4, 25, smtpd.Behaviour{Host: host, Names: []string{host}})
		case i < 25:
			line += " ssh:gate.example.org"
		default:
			line += ":465"
			f.at(v4, 465, offering(host))
		}
		f.list = append(f.list, line+"  "+kind)
	}
	// The order doesn't matter but for repeats.
	f.list = append(f.list, "localhost ISP", "127.0.0.1 ISP", "::1", "printer.local", "nas.example.org", "192.168.7.7 Company", "localhost ISP",
		"mail0.example.org ISP", "MAIL0.example.org. Company", "mail0.example.org:465 ISP", "mail13.example.org", "mail20.example.org", "mail25.example.org:465")
	f.run(`
(defvar field-told nil)
(add-hook 'submission-diagnose-finished-functions (lambda (buffer) (push buffer field-told)))
(let ((buffer (submission-diagnose field-list)))
  (when (plist-get (submission-diagnose-results buffer) :finished)
    (error "It has waited for the servers"))
  (unless (submission-diagnose-wait 120)
    (error "Not finished: %s" (with-current-buffer buffer (buffer-string))))
  (unless (equal field-told (list buffer))
    (error "The hook was told %S" field-told))
  (with-current-buffer buffer
    (field-write "paper")
    (submission-diagnose-save-csv (expand-file-name "paper.csv" (getenv "HOME")))
    (submission-diagnose-save-org (expand-file-name "paper.org" (getenv "HOME")))
    (tabulated-list-sort 0)))
`)
	r := f.result("paper")
	s := r.Summary
	if got, want := fmt.Sprint(s.Lines, s.Local, s.Lines-s.Local, s.Repeats, s.Servers), "39 7 32 6 26"; got != want {
		t.Errorf("reports %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(s.Kinds), "[{ISP 16} {ASP 1} {Company 6} {University 2} {Unknown 1}]"; got != want {
		t.Errorf("kinds %s, want %s", got, want)
	}
	want := "[{Case 1 (Submission) 12} {Case 2 (TCP RST) 7} {Case 3 (Hard error) 0} {Case 4 (Soft error) 0} {Case 5 (TCP timeout) 4} {SSH(22) 2} {SSL(465) 1}]"
	if got := fmt.Sprint(s.Cases); got != want {
		t.Errorf("cases %s, want %s", got, want)
	}
	if len(r.Complaints) > 0 {
		t.Errorf("complaints: %q", r.Complaints)
	}
	text := f.file("paper.txt")
	for _, line := range []string{
		"39 reports, less 7 local: 32, less 6 repeats: 26 servers",
		fmt.Sprintf("%-24s%4d", "ISP", 16), fmt.Sprintf("%-24s%4d", "Case 1 (Submission)", 12), fmt.Sprintf("%-24s%4d", "SSH(22)", 2),
		"mail0.example.org offers submission as RFC 6409 asks: yes, because",
		"mail12.example.org offers submission as RFC 6409 asks: no, because",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the buffer lacks %q:\n%s", line, text)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(f.file("paper.csv"))).ReadAll()
	if err != nil || len(rows) != 1+39 || rows[1][0] != "mail0.example.org" || rows[1][4] != "1 connected" {
		t.Errorf("CSV: %v, %d rows, %q", err, len(rows), rows[1])
	}
	for _, line := range []string{"| mail24.example.org ssh:gate.example.org | ", "| Case 5 (TCP timeout) | 4 |", "| University | 2 |"} {
		if !strings.Contains(f.file("paper.org"), line) {
			t.Errorf("Org lacks %q:\n%s", line, f.file("paper.org"))
		}
	}
	f.polite()
}

// TestEveryCase has a server for each way in which a step can end, over both
// families, and for each thing that a server can offer or refuse.
func TestEveryCase(t *testing.T) {
	f := newField(t)
	answers := func(four, six netlab.Answer) func(v4, v6 netip.Addr) {
		return func(v4, v6 netip.Addr) {
			f.lab.Answer(netip.AddrPortFrom(v4, 587), four)
			f.lab.Answer(netip.AddrPortFrom(v6, 587), six)
		}
	}
	both := func(change func(*smtpd.Behaviour)) func(v4, v6 netip.Addr) {
		return func(v4, v6 netip.Addr) {
			b := offering(fmt.Sprintf("host%d.example.org", len(f.list)))
			change(&b)
			f.at(v4, 587, b)
			f.at(v6, 587, b)
		}
	}
	rule := func(r smtpd.Rule) func(v4, v6 netip.Addr) {
		return both(func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{r} })
	}
	overTLS := false
	tests := []struct {
		name     string
		prepare  func(v4, v6 netip.Addr)
		outcomes string // of 587 over IPv6 and IPv4
		words    string // the beginning
		detail   string // a piece of the details and problems
	}{
		{"good", both(func(*smtpd.Behaviour) {}), "connected/1 connected/1", "yes, because port 587 over IPv6 offers AUTH (PLAIN LOGIN) and refuses mail without it (530", ""},
		{"reset", func(v4, v6 netip.Addr) {}, "reset/2 reset/2", "no, because port 587 over IPv6 is closed", ""},
		{"hard", answers(netlab.ICMP(3, 13), netlab.ICMP(1, 1)), "hard/3 hard/3", "no, because port 587 over IPv6 is filtered: ICMP", "ICMP 3/13 from 198.18.0.1"},
		{"soft", answers(netlab.ICMP(3, 1), netlab.ICMP(1, 3)), "soft/4 soft/4", "not known, because port 587 over IPv6 can't be reached now", "ICMP 3/1 from 198.18.0.1"},
		{"timeout", answers(netlab.Silence(), netlab.Silence()), "timeout/5 timeout/5", "no, because port 587 over IPv6 doesn't answer (case 5)", "no answer"},
		{"local", func(v4, v6 netip.Addr) { f.lab.NoRoute(v4, "prohibit"); f.lab.NoRoute(v6, "prohibit") }, "local/0 local/0", "not known, because of trouble on this machine", ""},
		{"closed", rule(smtpd.Rule{On: "CONNECT", Instead: smtpd.Reset}), "closed/0 closed/0", "no, because port 587 over IPv6 closes", ""},
		{"greeting", rule(smtpd.Rule{On: "GREETING", Reply: smtpd.Lines{"554 5.3.2 not today"}}), "greeting/0 greeting/0", `no, because port 587 over IPv6 greets with "554`, "not today"},
		{"not SMTP", rule(smtpd.Rule{On: "GREETING", Raw: "SSH-2.0-x\r\n"}), "greeting/0 greeting/0", "no, because port 587 over IPv6 greets with", "SSH-2.0-x"},
		{"silent", rule(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence}), "silent/0 silent/0", "no, because port 587 over IPv6 connects and says nothing", ""},
		{"by IPv4 alone", func(v4, v6 netip.Addr) {
			f.at(v4, 587, offering("x"))
			f.lab.Answer(netip.AddrPortFrom(v6, 587), netlab.Silence())
		}, "timeout/5 connected/1", "yes, because port 587 over IPv4", ""},
		{"open", both(func(b *smtpd.Behaviour) { b.RequireAuth = false }), "connected/1 connected/1", "no, because port 587 over IPv6 takes mail without AUTH (250", ""},
		{"no AUTH", both(func(b *smtpd.Behaviour) { b.Users = nil }), "connected/1 connected/1", "no, because port 587 over IPv6 refuses mail (530", ""},
		{"later", rule(smtpd.Rule{On: "MAIL", Reply: smtpd.Lines{"451 4.3.0 later"}}), "connected/1 connected/1", "not known, because port 587 over IPv6 puts mail", ""},
		{"refused", rule(smtpd.Rule{On: "MAIL", Reply: smtpd.Lines{"550 5.7.1 no"}}), "connected/1 connected/1", "yes, because port 587 over IPv6 offers AUTH", ""},
		{"expired", both(func(b *smtpd.Behaviour) { b.Certificate = smtpd.Expired }), "connected/1 connected/1", "yes, because", "expired on"},
		{"other name", both(func(b *smtpd.Behaviour) { b.Certificate = smtpd.OtherName }), "connected/1 connected/1", "yes, because", "is for other.example"},
		{"lost in TLS", rule(smtpd.Rule{On: "TLS", Instead: smtpd.Reset}), "connected/1 connected/1", "not known, because port 587 over IPv6 was greeted and then lost: tls", "tls: "},
		{"STARTTLS refused", rule(smtpd.Rule{On: "STARTTLS", Reply: smtpd.Lines{"454 4.7.0 not now"}}), "connected/1 connected/1", "no, because port 587 over IPv6 refuses mail", "STARTTLS is offered and refused"},
		{"EHLO refused", rule(smtpd.Rule{On: "EHLO", Reply: smtpd.Lines{"502 5.5.1 what?"}}), "connected/1 connected/1", "no, because port 587 over IPv6 refuses mail", ""},
		{"lost at MAIL", rule(smtpd.Rule{On: "MAIL", TLS: &overTLS, Instead: smtpd.CloseConn}), "connected/1 connected/1", "yes, because", ""},
	}
	for i, tt := range tests {
		v4, v6 := f.lab.Addresses()
		host := fmt.Sprintf("host%d.example.org", i)
		fmt.Fprintf(&f.hosts, "%s %s\n%s %s\n", v4, host, v6, host)
		tt.prepare(v4, v6)
		f.list = append(f.list, host)
	}
	// One server has everything on all ports.
	v4, v6 := f.lab.Addresses()
	fmt.Fprintf(&f.hosts, "%s all.example.org\n%s all.example.org\n", v4, v6)
	for _, port := range []int{25, 465, 587} {
		b := offering("all.example.org")
		b.EHLO = []string{"STARTTLS", "AUTH CRAM-MD5", "SIZE 111"}
		b.EHLOTLS = []string{"AUTH PLAIN", "SIZE 222"}
		if port == 465 {
			b.Certificate = smtpd.SelfSigned
		}
		f.at(v4, port, b)
		f.at(v6, port, b)
	}
	f.list = append(f.list, "all.example.org", v4.Next().String()+" bank", "no@server")
	f.run(`
(with-current-buffer (submission-diagnose field-list)
  (unless (submission-diagnose-wait 120)
    (error "Not finished: %s" (buffer-string)))
  (field-write "cases")
  (dolist (row (plist-get (submission-diagnose-results) :rows))
    (goto-char (point-min))
    (while (not (eql (tabulated-list-get-id) (plist-get row :line)))
      (when (eobp) (error "Line %d is not in the table" (plist-get row :line)))
      (forward-line))
    (submission-diagnose-details)))
`)
	r := f.result("cases")
	if len(r.Rows) != len(tests)+2 || len(r.Complaints) != 2 ||
		!strings.Contains(r.Complaints[0], `"bank"`) || !strings.Contains(r.Complaints[1], `"no@server"`) {
		t.Fatalf("%d rows, complaints %q", len(r.Rows), r.Complaints)
	}
	for i, tt := range tests {
		row := r.Rows[i]
		var details string
		for _, s := range row.Steps {
			details += s.Detail + "\n" + s.Problem + "\n" + s.Certificate + "\n"
		}
		if !strings.HasPrefix(row.outcomes(), tt.outcomes) || row.State != "done" {
			t.Errorf("%s: %s, %q, want %q", tt.name, row.State, row.outcomes(), tt.outcomes)
		}
		if !strings.HasPrefix(row.Words, tt.words) || strings.HasSuffix(row.Words, ": ") {
			t.Errorf("%s: %q, want %q", tt.name, row.Words, tt.words)
		}
		if !strings.Contains(details, tt.detail) {
			t.Errorf("%s: %q isn't in %s", tt.name, tt.detail, details)
		}
	}
	all := r.Rows[len(tests)]
	if all.outcomes() != "connected/1 connected/1 connected/1 connected/1 connected/1" {
		t.Fatalf("all.example.org: %s", all.outcomes())
	}
	for _, s := range all.Steps {
		mail, tls, clear := 0, "verified", "[CRAM-MD5]"
		if s.Port == 587 {
			mail = 530
		}
		if s.Port == 465 {
			tls, clear = "unverified", "[]"
		}
		if !strings.HasPrefix(s.Greeting, "220 all.example.org") || s.Name != "all.example.org" || s.TLS != tls || s.Mail != mail ||
			fmt.Sprint(s.AuthClear) != clear || fmt.Sprint(s.AuthSecure) != "[PLAIN]" || s.Size != "222" ||
			(s.Certificate != "") != (s.Port == 465) {
			t.Errorf("all.example.org: %+v", s)
		}
	}
	counts := map[string]int{}
	for _, c := range r.Summary.Cases {
		counts[c.Name] = c.Count
	}
	if counts["Case 3 (Hard error)"] != 1 || counts["Case 4 (Soft error)"] != 1 || counts["Case 5 (TCP timeout)"] != 1 ||
		counts["Case 2 (TCP RST)"] != 2 || counts["None of these"] != 5 || counts["Case 1 (Submission)"] != len(tests)+2-10 {
		t.Errorf("cases %v", r.Summary.Cases)
	}
	f.polite()
}

// TestCancelledDiagnosis cancels while a server makes everyone wait: what was
// there is kept, the rest says that it isn't finished.
func TestCancelledDiagnosis(t *testing.T) {
	f := newField(t)
	for i, name := range []string{"quick.example.org", "slow.example.org"} {
		v4, _ := f.lab.Addresses()
		fmt.Fprintln(&f.hosts, v4, name)
		b := offering(name)
		if i == 1 {
			b.Rules = []smtpd.Rule{{On: "GREETING", Instead: smtpd.Silence}}
		}
		f.at(v4, 587, b)
		f.list = append(f.list, name)
	}
	f.run(`
(setq submission-greeting-timeout 300)
(defun field-state (line)
  (plist-get (nth line (plist-get (submission-diagnose-results) :rows)) :state))
(defun field-open (line)
  (cl-count "waiting" (plist-get (nth line (plist-get (submission-diagnose-results) :rows)) :steps)
            :test #'equal :key (lambda (step) (plist-get step :state))))
(with-current-buffer (submission-diagnose field-list)
  (with-timeout (60 (error "No answers: %s" (buffer-string)))
    (while (not (and (equal (field-state 0) "done") (equal (field-open 1) 1)
                     (string-search "1 connected" (buffer-string))))
      (accept-process-output nil 1)))
  (field-write "open")
  (submission-diagnose-cancel)
  (unless (submission-diagnose-wait 60)
    (error "Not cancelled: %s" (buffer-string)))
  (field-write "cancelled")
  ;; And once more, for a buffer that is killed.
  (revert-buffer)
  (kill-buffer))
(unless (submission-diagnose-wait 0)
  (error "A diagnosis without a buffer is waited for"))
`)
	open := f.result("open")
	if open.Finished != nil || open.Rows[1].State != "trying" || open.Rows[1].outcomes() != "- waiting - reset/2 reset/2" {
		t.Errorf("before: %v, %s %s", open.Finished, open.Rows[1].State, open.Rows[1].outcomes())
	}
	if text := f.file("open.txt"); !strings.Contains(text, "Not finished: 1 of 2 lines") || !strings.Contains(text, "waiting") {
		t.Errorf("before:\n%s", text)
	}
	r := f.result("cancelled")
	if r.Finished == nil || r.Rows[0].State != "done" || !strings.HasPrefix(r.Rows[0].Words, "yes") ||
		r.Rows[1].State != "cancelled" || r.Rows[1].outcomes() != "- cancelled - reset/2 reset/2" {
		t.Errorf("after: %+v", r.Rows)
	}
	if last := r.Summary.Cases[len(r.Summary.Cases)-1]; last.Name != "Not finished" || last.Count != 1 {
		t.Errorf("after: %v", r.Summary.Cases)
	}
}
