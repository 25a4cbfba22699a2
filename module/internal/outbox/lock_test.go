// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// The test binary is also the other Emacs: with this variable set it does what
// the words after it say, and nothing else.
const otherEmacs = "OUTBOX_TEST_OTHER_EMACS"

func TestMain(m *testing.M) {
	if os.Getenv(otherEmacs) == "" {
		os.Exit(m.Run())
	}
	if err := other(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// other is what the other Emacs does in the outbox dir.
func other(what, dir string, arguments []string) error {
	b, err := Open(dir)
	if err != nil {
		return err
	}
	switch what {
	case "own": // the message with that ID, in the middle of sending, until killed
		e, err := b.Claim(arguments[0])
		if err != nil {
			return err
		}
		if err := e.Move(Sending, nil); err != nil {
			return err
		}
		if arguments[1] == "dot" {
			if err := e.MarkDot(); err != nil {
				return err
			}
		}
		fmt.Println("owned")
		_, err = io.Copy(io.Discard, os.Stdin) // nothing ever comes
		return err
	case "work": // until there is no message left; tell each that was sent
		return work(b, func(id string) { fmt.Println(id) })
	}
	return errors.New("what?")
}

// work sends messages as a job would, until there is none.
func work(b *Box, sent func(id string)) error {
	for {
		states, problems := b.List()
		if len(problems) > 0 {
			return errors.Join(problems...)
		}
		if len(states) == 0 {
			return nil
		}
		for _, s := range states {
			if err := workOn(b, s.ID, sent); err != nil {
				return err
			}
		}
	}
}

func workOn(b *Box, id string, sent func(id string)) error {
	e, err := b.Claim(id)
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer e.Release()
	if err := e.Move(Sending, nil); err != nil {
		return err
	}
	file, err := e.Message()
	if err != nil {
		return err
	}
	file.Close()
	if err := e.MarkDot(); err != nil {
		return err
	}
	sent(id)
	if err := e.Move(Accepted, nil); err != nil {
		return err
	}
	return e.Remove()
}

// start starts another Emacs. It is killed, at the latest, when the test ends.
func start(t *testing.T, arguments ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], arguments...)
	command.Env = append(os.Environ(), otherEmacs+"=1")
	command.Stderr = os.Stderr
	_, err := command.StdinPipe()
	must(t, err)
	out, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	return command, bufio.NewScanner(out)
}

// TestDeadOwner: a message belongs to the other Emacs as long as that lives,
// and not a moment longer.
func TestDeadOwner(t *testing.T) {
	for dot, want := range map[string]Status{"no dot": Queued, "dot": Uncertain} {
		t.Run(dot, func(t *testing.T) {
			b := open(t)
			e := add(t, b, sample)
			e.Release()
			emacs, out := start(t, "own", b.disk.dir, e.ID(), dot)
			if !out.Scan() || out.Text() != "owned" {
				t.Fatalf("%q, %v", out.Text(), out.Err())
			}
			for range 3 {
				if _, err := b.Claim(e.ID()); !errors.Is(err, ErrBusy) {
					t.Errorf("while it lives: %v", err)
				}
				b.sweep() // which takes no lock from the living
			}
			if states, problems := b.List(); len(states) != 1 || states[0].Status != Sending || len(problems) != 0 {
				t.Errorf("%+v, %v", states, problems)
			}
			must(t, emacs.Process.Kill())
			emacs.Wait()
			got := claim(t, b, e.ID())
			if s := got.State(); s.Status != want {
				t.Errorf("%s", s.Status)
			}
			sameOnDisk(t, b, got)
		})
	}
}

// TestTwoEmacsen: two processes, two Boxes in this one and two goroutines on
// each send many messages; each is sent once, and nothing is left.
func TestTwoEmacsen(t *testing.T) {
	const messages = 60
	b := open(t)
	for range messages {
		add(t, b, sample).Release()
	}
	var mu sync.Mutex
	sent, by := map[string]int{}, map[string]int{}
	count := func(who string) func(string) {
		return func(id string) {
			mu.Lock()
			defer mu.Unlock()
			sent[id]++
			by[who]++
		}
	}
	var all sync.WaitGroup
	for i := range 2 {
		emacs, out := start(t, "work", b.disk.dir)
		all.Go(func() {
			for out.Scan() {
				count(fmt.Sprint("process ", i))(out.Text())
			}
			if err := emacs.Wait(); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
		box := openIn(t, b.disk.dir)
		for range 2 {
			all.Go(func() {
				if err := work(box, count(fmt.Sprint("box ", i))); err != nil {
					t.Errorf("box %d: %v", i, err)
				}
			})
		}
	}
	all.Wait()
	for id, times := range sent {
		if times != 1 || !ValidID(id) {
			t.Errorf("%q was sent %d times", id, times)
		}
	}
	if left := names(t, b); len(sent) != messages || len(left) != 0 {
		t.Errorf("sent %d of %d, left %q", len(sent), messages, left)
	}
	t.Log(by)
}

// TestOneOwner: of many goroutines that want one message over and over, no two
// ever have it, also while its lock file comes and goes.
func TestOneOwner(t *testing.T) {
	path := open(t).disk.path(lockName(sampleID))
	var holders, owned atomic.Int32
	var all sync.WaitGroup
	shared := new(owners)
	for n := range 8 {
		mine := shared
		if n%2 == 0 {
			mine = new(owners) // as another process
		}
		all.Go(func() {
			for range 5000 {
				l, err := mine.acquire(path)
				if errors.Is(err, ErrBusy) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if holders.Add(1) != 1 {
					t.Error("two owners")
				}
				runtime.Gosched()
				owned.Add(1)
				holders.Add(-1)
				l.release()
			}
		})
	}
	all.Wait()
	if owned.Load() == 0 {
		t.Error("nobody ever had it")
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock file is left: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestListMeanwhile: List is never deceived by what others are doing.
func TestListMeanwhile(t *testing.T) {
	b := open(t)
	var busy atomic.Int32
	var all sync.WaitGroup
	file := filepath.Join(t.TempDir(), "message")
	must(t, os.WriteFile(file, []byte(sample), 0o600))
	for range 2 {
		busy.Add(1)
		all.Go(func() {
			defer busy.Add(-1)
			for range 100 {
				e, err := b.Add(Draft{File: file})
				if err == nil {
					err = errors.Join(e.Move(Cancelled, nil), e.Remove())
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for busy.Load() > 0 {
		if _, problems := b.List(); len(problems) > 0 {
			t.Error(problems)
			break
		}
	}
	all.Wait()
	if left := names(t, b); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// TestUnlinkedLock: a lock on a file that lost its name is none.
func TestUnlinkedLock(t *testing.T) {
	path := open(t).disk.path(lockName(sampleID))
	early := func() *os.File { // one who comes while the lock is held
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		return file
	}
	first, err := acquireFile(path)
	must(t, err)
	tooEarly, inTime := early(), early()
	if l, err := lockOpened(tooEarly, path); l != nil || !errors.Is(err, ErrBusy) {
		t.Errorf("while it is held: %v, %v", l, err)
	}
	tooEarly = early()
	first.release()
	if l, err := lockOpened(inTime, path); l != nil || err != nil {
		t.Errorf("without a name: %v, %v", l, err)
	}
	second, err := acquireFile(path)
	must(t, err)
	defer second.release()
	if l, err := lockOpened(tooEarly, path); l != nil || err != nil {
		t.Errorf("with another file of that name: %v, %v", l, err)
	}
	if _, err := acquireFile(path); !errors.Is(err, ErrBusy) {
		t.Errorf("the second owner: %v", err)
	}
	// The two kinds exclude each other.
	if _, err := new(owners).acquire(path); !errors.Is(err, ErrBusy) {
		t.Errorf("the second owner, by a name: %v", err)
	}
}
