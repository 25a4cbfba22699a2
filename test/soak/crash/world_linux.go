// SPDX-License-Identifier: GPL-3.0-or-later

package crash

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"submission/test/smtpd"
)

//go:embed crash.el
var lisp []byte

// Config says what happens to how many Emacsen.
type Config struct {
	Dir   string // an empty directory for the home, the outbox and the notes
	Lisp  string // the directory with submission.el and the module
	Emacs string // the program; "" is "emacs"
	Seed  uint64
	Lives int  // so many times an Emacs is started, or two at once
	Kill  bool // it is killed; else it ends when it has nothing left to send
	Drop  bool // the server drops connections
	// Log, unless nil, is told of each life.
	Log func(format string, args ...any)
}

// world is what outlives an Emacs.
type world struct {
	Config
	random  *rand.Rand
	server  *smtpd.Server
	script  string        // crash.el
	begins  time.Duration // from the start of an Emacs to its first connection, as seen last
	tally   Tally
	settled map[string]int // messages that are uncertain, and how often they were delivered then

	mu      sync.Mutex
	started time.Time // of the life whose first connection is still to come
	moments []*moment
}

// Between them a moment and the end of a life without one come within so many
// messages; an Emacs that is to be killed has more.
const usual, plenty = 20, 500

// moment fires when its source has ticked so often.
type moment struct {
	source source
	left   int
	fire   func()
}

type source string

const (
	atTime   source = "a time"
	atServer source = "the server"
	onDisk   source = "the outbox"
)

// Run lets the Emacsen live and die, then has one send what is left to a
// server that behaves, and tells what became of every message. The error is
// that of the experiment; what was broken of the promise is in Tally.Wrong.
func Run(ctx context.Context, c Config) (Tally, error) {
	w := &world{Config: c, random: rand.New(rand.NewPCG(c.Seed, 1)), begins: time.Second, settled: map[string]int{}}
	w.tally.Found = map[string]int{}
	if w.Emacs == "" {
		w.Emacs = "emacs"
	}
	if w.Log == nil {
		w.Log = func(string, ...any) {}
	}
	outbox := filepath.Join(w.Dir, "outbox")
	if err := os.MkdirAll(outbox, 0o700); err != nil {
		return w.tally, err
	}
	w.script = filepath.Join(w.Dir, "crash.el")
	if err := os.WriteFile(w.script, lisp, 0o600); err != nil {
		return w.tally, err
	}
	var err error
	if w.server, err = smtpd.Start(smtpd.Script{Events: func(smtpd.Event) { w.tick(atServer) }}); err != nil {
		return w.tally, err
	}
	defer w.server.Close()
	stop, err := watch(outbox, func() { w.tick(onDisk) })
	if err != nil {
		return w.tally, err
	}
	defer stop()
	for n := range w.Lives {
		if err := w.life(ctx, n); err != nil {
			return w.tally, fmt.Errorf("life %d of seed %d: %w", n, w.Seed, err)
		}
	}
	return w.tally, w.settle(ctx)
}

// life is one Emacs, or two at once, and what the server does meanwhile.
func (w *world) life(ctx context.Context, n int) error {
	behaviour := w.behaviour()
	if err := w.server.Update(smtpd.Script{Behaviour: behaviour}); err != nil {
		return err
	}
	w.mu.Lock()
	w.started = time.Now()
	w.mu.Unlock()
	errs := make(chan error)
	count := 1
	if w.random.IntN(4) == 0 {
		count = 2
	}
	for i := range count {
		name := fmt.Sprintf("%d-%d-%d", w.Seed, n, i)
		m := w.moment()
		messages := plenty
		if m == nil {
			messages = 1 + w.random.IntN(usual)
		}
		w.Log("Emacs %s: killed: %v; the server: %s", name, m, describe(behaviour))
		go func() { errs <- w.emacs(ctx, name, messages, m) }()
	}
	var err error
	for range count {
		err = errors.Join(err, <-errs)
	}
	if err == nil {
		err = w.look(ctx)
	}
	return err
}

// moment chooses when an Emacs is killed; nil is never.
func (w *world) moment() *moment {
	if !w.Kill {
		return nil
	}
	switch w.random.IntN(4) {
	case 0:
		w.mu.Lock()
		defer w.mu.Unlock()
		return &moment{source: atTime, left: w.random.IntN(2 * int(w.begins.Microseconds()))}
	case 1:
		return &moment{source: onDisk, left: 1 + w.random.IntN(12*usual)}
	default:
		return &moment{source: atServer, left: 1 + w.random.IntN(12*usual)}
	}
}

func (m *moment) String() string {
	if m == nil {
		return "never"
	}
	return fmt.Sprintf("%s %d", m.source, m.left)
}

// behaviour chooses what the server does.
func (w *world) behaviour() smtpd.Behaviour {
	pick := func(most int) int { return 1 + w.random.IntN(most) }
	ms := func(most int) smtpd.Duration {
		return smtpd.Duration(time.Duration(w.random.IntN(most+1)) * time.Millisecond)
	}
	end := []smtpd.End{smtpd.CloseConn, smtpd.Cut, smtpd.Reset}[w.random.IntN(3)]
	b := smtpd.Behaviour{Latency: ms(2)}
	if w.random.IntN(2) == 0 {
		b.EHLO = []string{"PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING"}
		if w.random.IntN(2) == 0 {
			b.EHLOTLS = b.EHLO
			b.EHLO = []string{"STARTTLS"}
		}
	}
	if w.Drop {
		b.Rules = append(b.Rules, []smtpd.Rule{
			{On: "*", From: pick(60), Times: pick(4), Instead: end},
			{On: "*", From: pick(12), Per: "session", Instead: end},
			{On: "SENT", From: pick(3), Times: pick(3), After: int64(pick(4000)), Then: end},
			{On: "WIRE", From: pick(3), Times: pick(3), After: int64(pick(6000)), Then: end},
			{On: "DOT", From: pick(8), Times: pick(4), Instead: end},
			{On: "DOT", From: pick(8), Times: pick(4), Reply: smtpd.Lines{"250 2.0.0 ok"}, Then: end},
			{On: "BODY", From: pick(8), Times: pick(4), After: int64(pick(1500)), Instead: end},
			{On: "GREETING", From: pick(2), Times: pick(2), Instead: end},
			{On: "DOT", From: pick(8), Times: pick(4), Reply: smtpd.Lines{"451 4.3.0 try again later"}},
		}[w.random.IntN(9)])
	}
	// Someone whose mail the server takes only later: the message is then sent
	// in two parts.
	if w.random.IntN(3) == 0 {
		b.Rules = append(b.Rules, smtpd.Rule{On: "RCPT", Match: "carol@", From: pick(3), Times: pick(3), Reply: smtpd.Lines{"450 4.2.1 try again later"}})
	}
	// The longer the server thinks, the more often the moment falls between the
	// final dot and its answer.
	b.Rules = append(b.Rules, smtpd.Rule{On: "DOT", Delay: ms(8)})
	return b
}

// describe tells of the rules in a few words.
func describe(b smtpd.Behaviour) string {
	words := []string{strings.Join(b.EHLO, " ")}
	for _, r := range b.Rules {
		words = append(words, fmt.Sprintf("%s%s from %d, %d times, after %d: %s%s%s %v",
			r.On, r.Per, r.From, r.Times, r.After, r.Reply, r.Instead, r.Then, time.Duration(r.Delay)))
	}
	return strings.Join(words, "; ")
}

// tick counts one thing that happened, and fires what waits for it.
func (w *world) tick(s source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s == atServer && !w.started.IsZero() {
		w.begins, w.started = time.Since(w.started), time.Time{}
	}
	for _, m := range w.moments {
		if m.source == s {
			if m.left--; m.left == 0 {
				m.fire()
			}
		}
	}
}

// await has fire called at the moment, and returns a function that gives that
// up. Where what it waits for doesn't come often enough it fires at last
// anyway.
func (w *world) await(m *moment, fire func()) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := 2*time.Second + 10*w.begins
	if m.source == atTime {
		limit = time.Duration(m.left) * time.Microsecond
	}
	timer := time.AfterFunc(limit, fire)
	m.fire = fire
	w.moments = append(w.moments, m)
	return func() {
		timer.Stop()
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range w.moments {
			if w.moments[i] == m {
				w.moments = append(w.moments[:i:i], w.moments[i+1:]...)
				return
			}
		}
	}
}

// emacs is the life of one: it ends at the moment, or else by itself.
func (w *world) emacs(ctx context.Context, name string, messages int, m *moment) error {
	cmd := exec.Command(w.Emacs, "-Q", "--batch", "-L", w.Lisp, "-l", w.script)
	cmd.Env = append(os.Environ(), "HOME="+w.Dir, "CRASH_LIFE="+name, "CRASH_COUNT="+strconv.Itoa(messages),
		"CRASH_PORT="+strconv.Itoa(w.server.Port("")))
	if m != nil {
		cmd.Env = append(cmd.Env, "CRASH_FOREVER=t")
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return err
	}
	stuck := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stuck()
	if m != nil {
		defer w.await(m, func() { cmd.Process.Kill() })()
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("%s was not done in time: %w; it said:\n%s", name, ctx.Err(), &said)
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if m != nil && status.Signaled() && status.Signal() == syscall.SIGKILL {
		w.mu.Lock()
		w.tally.Kills++
		w.mu.Unlock()
		return nil
	}
	if m != nil || err != nil {
		return fmt.Errorf("%s ended by itself: %v; it said:\n%s", name, cmd.ProcessState, &said)
	}
	return nil
}
