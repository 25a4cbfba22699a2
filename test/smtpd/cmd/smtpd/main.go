// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"submission/test/smtpd"
)

func main() {
	script := flag.String("script", "", "`file` with the script, or the script itself, or - for the first line of standard input")
	ca := flag.String("ca", "", "`directory` of the CA")
	store := flag.String("store", "", "`directory` for messages")
	limit := flag.Duration("limit", 10*time.Minute, "`time` after which the program ends")
	keep := flag.Bool("keep", false, "go on when standard input ends")
	flag.Parse()
	p := &program{out: json.NewEncoder(os.Stdout)}
	p.out.SetEscapeHTML(false)
	if err := p.run(os.Stdin, *script, *ca, *store, *limit, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "smtpd:", err)
		os.Exit(1)
	}
}

// program prints events, one at a time.
type program struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (p *program) print(v any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Encode(v) // a reader that went away is no reason to end
}

func (p *program) run(stdin io.Reader, path, caDir, store string, limit time.Duration, keep bool) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	// SIGPIPE would end us in the middle of a story.
	signal.Ignore(syscall.SIGPIPE)
	timeUp := time.After(limit)

	input := bufio.NewReader(stdin)
	script, err := readScript(path, input)
	if err != nil {
		return err
	}
	ready := map[string]any{"event": "ready"}
	if caDir != "" {
		if script.CA, ready["ca"], err = prepareCA(caDir); err != nil {
			return err
		}
	}
	if store != "" {
		script.Store = store
	}
	if script.Store != "" {
		if err := os.MkdirAll(script.Store, 0o700); err != nil {
			return err
		}
	}
	script.Events = func(e smtpd.Event) { p.print(e) }
	server, err := smtpd.Start(script)
	if err != nil {
		return err
	}
	defer server.Close()
	p.printPorts(server, script)
	p.print(ready)

	quit := make(chan struct{})
	go func() {
		if p.control(server, input) || !keep {
			close(quit)
		}
	}()
	select {
	case <-quit:
	case <-signals:
	case <-timeUp:
	}
	return nil
}

func readScript(path string, stdin *bufio.Reader) (smtpd.Script, error) {
	switch {
	case path == "":
		return smtpd.Script{}, nil
	case strings.HasPrefix(path, "{"):
		return smtpd.ParseString(path)
	case path == "-":
		line, err := stdin.ReadString('\n')
		if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
			return smtpd.Script{}, fmt.Errorf("read the script: %w", err)
		}
		return smtpd.ParseString(line)
	}
	f, err := os.Open(path)
	if err != nil {
		return smtpd.Script{}, err
	}
	defer f.Close()
	return smtpd.Parse(f)
}

// prepareCA returns the CA in dir, new if there is none, and its path.
func prepareCA(dir string) (*smtpd.CA, string, error) {
	ca, err := smtpd.LoadCA(dir)
	if errors.Is(err, os.ErrNotExist) {
		ca, err = smtpd.NewCA()
	}
	if err != nil {
		return nil, "", err
	}
	path, err := ca.Write(dir)
	return ca, path, err
}

func (p *program) printPorts(server *smtpd.Server, script smtpd.Script) {
	listens := script.Listen
	if len(listens) == 0 {
		listens = []smtpd.Listen{{}}
	}
	for _, l := range listens {
		p.print(struct {
			Event   string `json:"event"`
			Name    string `json:"name"`
			Address string `json:"address"`
			Port    int    `json:"port"`
			TLS     bool   `json:"tls"`
			Closed  bool   `json:"closed"`
		}{"listen", l.Name, server.Addr(l.Name), server.Port(l.Name), l.TLS, l.Closed})
	}
}

// control obeys the lines of input and tells whether one of them was "quit".
func (p *program) control(server *smtpd.Server, input *bufio.Reader) bool {
	for {
		line, err := input.ReadString('\n')
		switch line = strings.TrimSpace(line); line {
		case "":
		case "quit":
			return true
		default:
			p.update(server, line)
		}
		if err != nil {
			return false
		}
	}
}

func (p *program) update(server *smtpd.Server, line string) {
	script, err := smtpd.ParseString(line)
	if err == nil {
		err = server.Update(script)
	}
	if err != nil {
		p.print(map[string]string{"event": "error", "error": err.Error()})
		return
	}
	p.print(map[string]string{"event": "script"})
}
