// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"submission/module/internal/event"
)

// told is an event of a diagnosis as Emacs reads it.
type told struct {
	Event      string
	ID         string
	Rows       []Row
	Summary    Summary
	Complaints []string
	Finished   bool
}

// listen runs a diagnosis and calls see with each of its events.
func listen(t *testing.T, ctx context.Context, spec Spec, see func(told)) {
	t.Helper()
	r, w := io.Pipe()
	events := event.NewStream(w)
	go func() {
		defer events.Close()
		Run(ctx, "7", spec, events)
	}()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e told
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		see(e)
	}
}

func TestRun(t *testing.T) {
	// Nothing listens on these ports of loopback's other addresses, or
	// whatever does is none of ours: only that each row ends is looked at.
	spec := Spec{
		Lines:    []string{"127.77.77.77 ISP", "localhost ssh:gate", "127.77.77.77:465", "a@b", "no-such-name.invalid"},
		Timeouts: Timeouts{Connect: 5, TLS: 5, Greeting: 5, Command: 5},
	}
	rows := map[int]Row{}
	var finished, after int
	var last Summary
	listen(t, t.Context(), spec, func(e told) {
		if e.Event == "closed" {
			return
		}
		if e.Event != "diagnosis" || e.ID != "7" || len(e.Complaints) != 1 {
			t.Errorf("got %+v", e)
		}
		if finished > 0 {
			after++
		}
		if e.Finished {
			finished++
		}
		for _, row := range e.Rows {
			rows[row.Line] = row
		}
		last = e.Summary
	})
	if finished != 1 || after != 0 {
		t.Errorf("%d ends, %d events after it", finished, after)
	}
	for _, line := range []int{1, 2, 3, 5} {
		if rows[line].State != Done {
			t.Errorf("line %d: %+v", line, rows[line])
		}
	}
	if r := rows[1]; !r.Local || len(r.Steps) != 5 || r.Steps[0].State != Skipped || r.Steps[1].State != Done {
		t.Errorf("line 1: %+v", r)
	}
	if r := rows[2]; r.Local || len(r.Steps) != 0 || !strings.Contains(r.Detail, "not tried from here") {
		t.Errorf("line 2: %+v", r)
	}
	if r := rows[3]; r.Repeat != 1 || len(r.Steps) != 0 {
		t.Errorf("line 3: %+v", r)
	}
	if r := rows[5]; len(r.Steps) != 0 || r.Detail == "" {
		t.Errorf("line 5: %+v", r)
	}
	if last.Lines != 4 || last.Local != 2 || last.Servers != 2 {
		t.Errorf("summary %+v", last)
	}
}

func TestRunCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var end told
	rows := map[int]Row{}
	listen(t, ctx, Spec{Lines: []string{"127.77.77.77", "mail.example.org"}}, func(e told) {
		for _, row := range e.Rows {
			rows[row.Line] = row
		}
		if e.Finished {
			end = e
		}
	})
	if rows[1].State != Cancelled || rows[2].State != Cancelled || !end.Finished || end.Summary.Cases[7].Name != Unfinished {
		t.Errorf("got %+v, %+v", rows, end)
	}
}

func TestRunOfNothing(t *testing.T) {
	n := 0
	listen(t, t.Context(), Spec{Lines: []string{"", "# nobody"}}, func(e told) {
		if e.Finished {
			n++
		}
	})
	if n != 1 {
		t.Errorf("%d ends", n)
	}
}
