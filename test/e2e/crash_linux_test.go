// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"submission/test/soak/crash"
)

// TestCrashes kills some Emacsen at random moments while they send to a server
// that counts, cuts connections, and does both. make soak does it some hundred
// times.
func TestCrashes(t *testing.T) {
	t.Parallel()
	lisp, err := filepath.Abs("../../lisp")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name       string
		kill, drop bool
		lives      int
	}{
		{"killed", true, false, 6},
		{"cut", false, true, 3},
		{"killed and cut", true, true, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			seed := rand.Uint64N(1_000_000)
			t.Logf("seed %d", seed)
			tally, err := crash.Run(ctx, crash.Config{
				Dir: t.TempDir(), Lisp: lisp, Emacs: emacsProgram(), Seed: seed,
				Lives: tt.lives, Kill: tt.kill, Drop: tt.drop, Log: t.Logf,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Log(tally)
			if tally.Delivered == 0 {
				t.Error("nothing was delivered, so nothing was tried")
			}
			for _, wrong := range tally.Wrong {
				t.Error(wrong)
			}
		})
	}
}
