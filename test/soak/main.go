// SPDX-License-Identifier: GPL-3.0-or-later

// Command soak kills Emacs some hundred times at random moments while it sends
// mail, cuts connections at random points, and does both at once; then it
// holds what was sent against what came. It takes some minutes. Run it from the
// top of the project: make soak. The seed that it prints brings a plan back:
//
//	go run ./test/soak -seed 7
//
// It ends with 1, and leaves the outbox where it is, if a message was lost or
// doubled.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"submission/test/soak/crash"
)

func main() {
	seed := flag.Uint64("seed", rand.Uint64N(1_000_000), "for the random moments")
	lives := flag.Int("lives", 200, "how many times Emacsen live and are killed, with and again without connections cut; with connections cut alone half as many")
	verbose := flag.Bool("v", false, "tell of each Emacs")
	flag.Parse()
	if err := soak(*seed, *lives, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(seed uint64, lives int, verbose bool) error {
	fmt.Printf("seed %d\n", seed)
	broken := 0
	for i, part := range []struct {
		name       string
		kill, drop bool
		lives      int
	}{
		{"Emacs is killed", true, false, lives},
		{"connections are cut", false, true, lives / 2},
		{"Emacs is killed and connections are cut", true, true, lives},
	} {
		dir, err := os.MkdirTemp("", "submission-soak-")
		if err != nil {
			return err
		}
		modules, err := filepath.Abs("lisp")
		if err != nil {
			return err
		}
		config := crash.Config{
			Dir: dir, Lisp: modules, Emacs: os.Getenv("EMACS"), Seed: seed + uint64(i),
			Lives: part.lives, Kill: part.kill, Drop: part.drop,
		}
		if verbose {
			config.Log = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		start := time.Now()
		tally, err := crash.Run(ctx, config)
		cancel()
		if err != nil {
			return fmt.Errorf("%s, in %s: %w", part.name, dir, err)
		}
		fmt.Printf("\n%s, in %v:\n%v\n", part.name, time.Since(start).Round(time.Second), tally)
		for _, w := range tally.Wrong {
			fmt.Println("  WRONG:", w)
		}
		if broken += len(tally.Wrong); len(tally.Wrong) == 0 {
			os.RemoveAll(dir)
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d promises were broken; the outboxes are left in %s", broken, filepath.Join(os.TempDir(), "submission-soak-*"))
	}
	return nil
}
