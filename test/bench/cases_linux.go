// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"submission/test/batch"
	"submission/test/netlab"
	"submission/test/smtpd"
)

// caseAlarm is the alarm of a step, in seconds: shorter than the default of
// 10, so that nobody waits long for these figures.
const caseAlarm = 3

// cases measures how long it takes until it is known in which of the paper's
// cases port 587 is, and until port 25 has accepted the message: the first one
// to that server, and the one after it. It needs root.
func cases() (err error) {
	if os.Geteuid() != 0 {
		fmt.Println("\nThe paper's cases are not measured: they need network namespaces, which only root may make.")
		return nil
	}
	t := &trial{}
	defer func() { err = errors.Join(t.end(recover()), err) }()
	lab := netlab.New(t)
	names := []string{"1", "2, RST", "3, hard", "4, soft", fmt.Sprintf("5, silence (alarm %d s)", caseAlarm)}
	answers := map[int]netlab.Answer{2: netlab.ICMP(3, 13), 3: netlab.ICMP(3, 1), 4: netlab.Silence()}
	var script smtpd.Script
	var hosts []string
	for i := range names {
		v4, _ := lab.Addresses()
		port := uint16(25)
		if i == 0 {
			port = 587
		}
		at := netip.AddrPortFrom(v4, port).String()
		script.Listen = append(script.Listen, smtpd.Listen{Name: at, Address: at})
		if a, ok := answers[i]; ok {
			lab.Answer(netip.AddrPortFrom(v4, 587), a)
		}
		hosts = append(hosts, v4.String())
	}
	var server *smtpd.Server
	lab.Server.Do(func() { server, err = smtpd.Start(script) })
	if err != nil {
		return err
	}
	defer server.Close()

	home, err := batch.NewHome("", server)
	if err != nil {
		return err
	}
	defer os.RemoveAll(home.Dir)
	cmd := home.Emacs(context.Background(), fmt.Sprintf("(setq bench-hosts %q bench-alarm %d)", hosts, caseAlarm),
		filepath.Join("test", "bench", "cases.el"))
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err = lab.Client.Start(cmd); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("measuring the cases: %w\n%s", err, &complaints)
	}
	fmt.Printf("\nThe paper's cases, in milliseconds: until it is known, and until the message is accepted\n\n")
	fmt.Printf("%-28s %12s %12s %12s\n", "case", "known", "accepted", "the second")
	for _, name := range names {
		var known, first, second float64
		if _, err := fmt.Fscan(&out, &known, &first, &second); err != nil {
			return fmt.Errorf("measuring the cases: %w\n%s", err, &complaints)
		}
		fmt.Printf("%-28s %12.1f %12.1f %12.1f\n", name, known*1000, first*1000, second*1000)
	}
	return nil
}

// trial stands in for the test that a laboratory belongs to.
type trial struct {
	testing.TB // nil: what isn't below is not called
	cleanups   []func()
	complaints []error
}

func (t *trial) Helper()          {}
func (t *trial) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }
func (t *trial) Errorf(format string, args ...any) {
	t.complaints = append(t.complaints, fmt.Errorf(format, args...))
}
func (t *trial) Fatalf(format string, args ...any) { panic(fmt.Errorf(format, args...)) }
func (t *trial) Fatal(args ...any)                 { panic(errors.New(fmt.Sprint(args...))) }

// end takes the laboratory down and returns what went wrong in it; failure is
// what Fatal has thrown.
func (t *trial) end(failure any) error {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	if err, ok := failure.(error); ok {
		t.complaints = append(t.complaints, err)
	}
	return errors.Join(t.complaints...)
}
