// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"submission/test/delay"
	"submission/test/smtpd"
)

// recipientCounts is to how many recipients the messages go whose round trips
// are counted: two to each, one after the other.
var recipientCounts = []int{1, 10, 100}

// A door is a port as servers keep it; its floors are the least round trips to
// the reply to a message, for the first one on a connection and the next.
type door struct {
	name  string
	tls   bool
	user  bool
	first int
}

var doors = []door{
	{"587", false, true, 9}, // TCP, greeting, EHLO, STARTTLS, TLS, EHLO, AUTH, envelope, message
	{"465", true, true, 7},  // TCP, TLS, greeting, EHLO, AUTH, envelope, message
	{"25", false, false, 8}, // as 587, without AUTH
}

// further is the floor for another message on a connection.
const further = 2

// peers are who is measured. With "+ CHUNKING" the server offers that, and the
// floor is one less.
var peers = []string{"submission", "+ CHUNKING", "msmtp", "smtpmail", "smtpmail-async"}

const csvFile = "test/.run/round-trips.csv"

// figure is what one message took.
type figure struct {
	trips   int
	seconds float64
}

// run is one sender and one door at one distance.
type run struct {
	peer string
	door door
	rtt  time.Duration
}

// trips counts round trips and measures the seconds to the final reply.
func trips() error {
	fmt.Printf("\nRound trips and seconds from connecting to the reply to the message; behind them the seconds by ours\n\n")
	others, err := findPeers()
	if err != nil {
		fmt.Printf("%v\nmsmtp and smtpmail-async are not measured.\n\n", err)
	}
	figures := make(map[run][][2]figure) // by recipients, first and further
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond} {
		if err := measureTrips(figures, others, rtt); err != nil {
			return err
		}
	}
	return printTrips(figures)
}

// measureTrips measures everybody at one distance: one after the other where
// the machine's time counts, else a few at once, for all they do is wait.
func measureTrips(figures map[run][][2]figure, others string, rtt time.Duration) error {
	for _, group := range [][]string{peers[:1], peers[1:2], peers[2:3], peers[3:]} {
		var all sync.WaitGroup
		var mu sync.Mutex
		var failed error
		for _, peer := range group {
			if others == "" && (peer == "msmtp" || peer == "smtpmail-async") {
				continue
			}
			for _, door := range doors {
				r := run{peer, door, rtt}
				one := func() {
					got, err := r.measure(others)
					mu.Lock()
					defer mu.Unlock()
					failed = errors.Join(failed, err)
					figures[r] = got
				}
				if rtt == 0 {
					one()
				} else {
					all.Go(one)
				}
			}
		}
		if all.Wait(); failed != nil {
			return failed
		}
	}
	return nil
}

// findPeers returns the directory with those that Emacs doesn't bring.
func findPeers() (string, error) {
	var said bytes.Buffer
	cmd := exec.Command("sh", "test/unpack.sh", "bench-peers", "", "msmtp", "elpa-async")
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, &said)
	}
	return strings.TrimSpace(string(out)), nil
}

// measure sends the messages of a run: three times where the machine's time is
// all there is, of which the middle counts.
func (r run) measure(others string) ([][2]figure, error) {
	times := 1
	if r.rtt == 0 {
		times = 3
	}
	var all [][][2]figure
	for range times {
		got, err := r.once(others)
		if err != nil {
			return nil, fmt.Errorf("%s on %s, %v: %w", r.peer, r.door.name, r.rtt, err)
		}
		all = append(all, got)
	}
	middle := all[0]
	for i := range middle {
		for j := range middle[i] {
			var list []figure
			for _, got := range all {
				list = append(list, got[i][j])
			}
			slices.SortFunc(list, func(a, b figure) int { return int((a.seconds - b.seconds) * 1e9) })
			middle[i][j] = list[len(list)/2]
		}
	}
	return middle, nil
}

func (r run) once(others string) ([][2]figure, error) {
	b := smtpd.Behaviour{
		Names:   []string{"127.0.0.1"},
		EHLO:    []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "STARTTLS"},
		EHLOTLS: []string{"PIPELINING", "SIZE 52428800", "8BITMIME"},
	}
	if r.door.user {
		b.Users = map[string]string{"kazu": "secret"}
		b.EHLOTLS = append(b.EHLOTLS, "AUTH PLAIN")
	}
	if r.peer == "+ CHUNKING" {
		b.EHLOTLS = append(b.EHLOTLS, "CHUNKING")
	}
	server, err := smtpd.Start(smtpd.Script{Behaviour: b, Listen: []smtpd.Listen{{TLS: r.door.tls}}})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	proxy, err := delay.Start(server.Addr(""), r.rtt/2)
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	home, err := os.MkdirTemp("", "submission-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home)
	ca, err := server.CA().Write(home)
	if err != nil {
		return nil, err
	}
	if r.peer == "msmtp" {
		err = r.msmtp(others, ca, proxy.Port())
	} else {
		err = r.emacs(others, home, ca, proxy.Port())
	}
	if err != nil {
		return nil, err
	}
	return r.figures(server.Sessions())
}

// figures reads the record of a server.
func (r run) figures(sessions []smtpd.Session) ([][2]figure, error) {
	var list []figure
	for _, s := range sessions {
		var before time.Time
		for i, m := range s.Messages {
			f := figure{}
			began := time.Time{}
			for _, stretch := range s.Trace {
				// What it wrote after the server had is another round trip.
				if stretch.Client && stretch.Start.After(before) && stretch.Start.Before(m.At) {
					if f.trips++; began.IsZero() {
						began = stretch.Start
					}
				}
			}
			if i == 0 { // The server hears of a connection after a round trip and a half.
				if f.trips++; !r.door.tls {
					f.trips++
				}
				f.seconds = (m.At.Sub(s.Start) + 2*r.rtt).Seconds()
			} else {
				f.seconds = (m.At.Sub(began) + r.rtt).Seconds()
			}
			before = m.At
			list = append(list, f)
		}
	}
	if len(list) != 2*len(recipientCounts) {
		return nil, fmt.Errorf("the server has %d messages", len(list))
	}
	var pairs [][2]figure
	for pair := range slices.Chunk(list, 2) {
		pairs = append(pairs, [2]figure(pair))
	}
	return pairs, nil
}

func (r run) emacs(others, home, ca string, port int) error {
	who := r.peer
	user := "nil"
	if who == "+ CHUNKING" {
		who = "submission"
	}
	if r.door.user {
		user = `"kazu"`
		text := fmt.Sprintf("machine 127.0.0.1 port %d login kazu password secret\n", port)
		if err := os.WriteFile(filepath.Join(home, "authinfo"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	tls := "nil"
	if r.door.tls {
		tls = "t"
	}
	async := others
	if found, _ := filepath.Glob(others + "/usr/share/emacs/site-lisp/elpa-src/async-*"); len(found) > 0 {
		async = found[0]
	}
	settings := fmt.Sprintf("(setq bench-who '%s bench-port %d bench-tls %s bench-user %s bench-recipients '%s gnutls-trustfiles '(%q))",
		who, port, tls, user, strings.NewReplacer("[", "(", "]", ")").Replace(fmt.Sprint(recipientCounts)), ca)
	cmd := exec.Command(emacsProgram(), "-Q", "--batch", "-L", "lisp", "-L", async, "--eval", settings,
		"-l", filepath.Join("test", "bench", "trips.el"))
	cmd.Env = append(os.Environ(), "HOME="+home)
	return quietly(cmd)
}

func (r run) msmtp(others, ca string, port int) error {
	var to []string
	for i := range recipientCounts[len(recipientCounts)-1] {
		to = append(to, fmt.Sprintf("bob%03d@example.org", i+1))
	}
	args := []string{"--host=127.0.0.1", fmt.Sprint("--port=", port), "--from=ann@example.org", "--tls=on", "--tls-trust-file=" + ca}
	if r.door.tls {
		args = append(args, "--tls-starttls=off")
	}
	if r.door.user {
		args = append(args, "--auth=plain", "--user=kazu", "--passwordeval=echo secret")
	}
	for _, n := range recipientCounts {
		for range 2 {
			cmd := exec.Command(filepath.Join(others, "usr/bin/msmtp"), append(append(slices.Clone(args), "--"), to[:n]...)...)
			cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+others+"/usr/lib/x86_64-linux-gnu")
			cmd.Stdin = strings.NewReader("From: ann@example.org\nTo: bob@example.org\nSubject: Figures\n\n" +
				strings.Repeat(strings.Repeat("x", 70)+"\n", 20))
			if err := quietly(cmd); err != nil {
				return err
			}
		}
	}
	return nil
}

// quietly runs a command; the error has what it said.
func quietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// printTrips prints the table, and writes it as CSV.
func printTrips(figures map[run][][2]figure) error {
	rows := [][]string{{"port", "rtt_ms", "recipients", "message", "sender", "floor_trips", "trips", "floor_seconds", "seconds", "by_ours"}}
	fmt.Printf("%-5s%7s%6s%9s%14s", "port", "rtt", "rcpt", "message", "floor")
	for _, peer := range peers {
		fmt.Printf("%20s", peer)
	}
	fmt.Println()
	for _, door := range doors {
		for _, rtt := range []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond} {
			for i, n := range recipientCounts {
				for j, which := range []string{"first", "further"} {
					floor := []int{door.first, further}[j]
					fmt.Printf("%-5s%7v%6d%9s%5d%9.3f", door.name, rtt, n, which, floor, rtt.Seconds()*float64(floor))
					ours := figures[run{peers[0], door, rtt}][i][j].seconds
					for _, peer := range peers {
						got, ok := figures[run{peer, door, rtt}]
						if !ok {
							fmt.Printf("%20s", "-")
							continue
						}
						f, least := got[i][j], floor
						if peer == "+ CHUNKING" {
							least--
						}
						fmt.Printf("%5d%8.3f%6.1fx", f.trips, f.seconds, f.seconds/ours)
						rows = append(rows, []string{door.name, fmt.Sprint(rtt.Milliseconds()), strconv.Itoa(n), which, peer,
							strconv.Itoa(least), strconv.Itoa(f.trips), fmt.Sprintf("%.3f", rtt.Seconds()*float64(least)),
							fmt.Sprintf("%.4f", f.seconds), fmt.Sprintf("%.2f", f.seconds/ours)})
					}
					fmt.Println()
				}
			}
		}
	}
	if err := os.MkdirAll(filepath.Dir(csvFile), 0o755); err != nil {
		return err
	}
	f, err := os.Create(csvFile)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	err = errors.Join(w.WriteAll(rows), f.Close())
	fmt.Printf("\nOn %s; the table is in %s too.\n", machine(), csvFile)
	return err
}

// machine says what the figures were measured on.
func machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	emacs, _ := exec.Command(emacsProgram(), "--version").Output()
	version, _, _ := strings.Cut(string(emacs), "\n")
	return fmt.Sprintf("%d × %s, %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version(), version)
}
