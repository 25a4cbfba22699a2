// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"os"
	"testing"
	"time"
)

// TestManyLocks: a thousand messages that are owned take a handful of files.
func TestManyLocks(t *testing.T) {
	b := open(t)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	var locks []*lock
	for range 2*mostNames + 1 {
		l, err := b.owners.acquire(b.disk.path(lockName(NewID(time.Now()))))
		must(t, err)
		locks = append(locks, l)
	}
	if more := count() - before; more > 5 {
		t.Errorf("%d locks take %d files", len(locks), more)
	}
	other := openIn(t, b.disk.dir) // whose sweep leaves them alone
	for _, l := range locks {
		if _, err := other.owners.acquire(l.path); !errors.Is(err, ErrBusy) {
			t.Fatalf("another has it too: %v", err)
		}
	}
	for _, l := range locks {
		l.release()
	}
	if left := names(t, b); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if more := count() - before; more > 0 {
		t.Errorf("%d files are still open", more)
	}
}
