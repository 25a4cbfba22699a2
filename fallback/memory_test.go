// SPDX-License-Identifier: GPL-3.0-or-later

package fallback

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	home = "198.18.0.0/24 via 02:00:00:00:00:01"
	cafe = "198.18.0.0/24 via 02:00:00:00:00:02"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newMemory(t *testing.T) *Memory {
	return &Memory{File: filepath.Join(t.TempDir(), "submission", "fallbacks.json")}
}

// recall returns the port recalled, 0 for none.
func recall(t *testing.T, m *Memory, host, network string, steps []Step, now time.Time) int {
	t.Helper()
	s, err := m.Recall(host, network, steps, now)
	if err != nil {
		t.Fatal(err)
	}
	if s == nil {
		return 0
	}
	return s.Port
}

func TestMemory(t *testing.T) {
	mew, _ := Named("mew")
	symmetric, _ := Named("symmetric")
	everywhere := Lesson{Step: v4smtp, Scope: Server}
	onlyHere := Lesson{Step: v4smtp, Scope: OnNetwork}
	forget := Lesson{Forget: true}

	type what struct {
		host, network string
		steps         []Step
		lesson        Lesson
		at            time.Time
	}
	learn := func(l Lesson) what { return what{"mail.example.org", home, mew, l, noon} }
	tests := []struct {
		name          string
		learned       []what
		host, network string
		steps         []Step
		after         time.Duration
		want          int
	}{
		{"nothing learned", nil, "mail.example.org", home, mew, 0, 0},
		{"a reset holds here", []what{learn(everywhere)}, "mail.example.org", home, mew, 0, 25},
		{"a reset holds on another network", []what{learn(everywhere)}, "mail.example.org", cafe, mew, 0, 25},
		{"a reset holds where the network is unknown", []what{learn(everywhere)}, "mail.example.org", "", mew, 0, 25},
		{"a timeout holds here", []what{learn(onlyHere)}, "mail.example.org", home, mew, 0, 25},
		{"a timeout does not hold on another network", []what{learn(onlyHere)}, "mail.example.org", cafe, mew, 0, 0},
		{"a timeout does not hold where the network is unknown", []what{learn(onlyHere)}, "mail.example.org", "", mew, 0, 0},
		{"a timeout on an unknown network is not learned",
			[]what{{"mail.example.org", "", mew, onlyHere, noon}}, "mail.example.org", "", mew, 0, 0},
		{"another server", []what{learn(everywhere)}, "smtp.example.org", home, mew, 0, 0},
		{"another sequence", []what{learn(everywhere)}, "mail.example.org", home, symmetric, 0, 0},
		{"until a day has passed", []what{learn(everywhere)}, "mail.example.org", home, mew, keep - time.Second, 25},
		{"not after a day", []what{learn(everywhere)}, "mail.example.org", home, mew, keep, 0},
		{"not before it was learned", []what{learn(everywhere)}, "mail.example.org", home, mew, -time.Hour, 0},
		{"forgotten", []what{learn(onlyHere), learn(forget)}, "mail.example.org", home, mew, 0, 0},
		{"forgotten here, not at home",
			[]what{learn(onlyHere), {"mail.example.org", cafe, mew, forget, noon}}, "mail.example.org", home, mew, 0, 25},
		{"what is learned later counts", []what{
			{"mail.example.org", home, symmetric, Lesson{Step: v6smtp, Scope: OnNetwork}, noon},
			{"mail.example.org", home, symmetric, Lesson{Step: v4smtp, Scope: Server}, noon.Add(time.Hour)},
		}, "mail.example.org", home, symmetric, time.Hour, 25},
		{"a lesson about nothing", []what{learn(Lesson{})}, "mail.example.org", home, mew, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory(t)
			for _, w := range tt.learned {
				if err := m.Remember(w.host, w.network, w.steps, w.lesson, w.at); err != nil {
					t.Fatal(err)
				}
			}
			if got := recall(t, m, tt.host, tt.network, tt.steps, noon.Add(tt.after)); got != tt.want {
				t.Errorf("recalled %d, want %d", got, tt.want)
			}
		})
	}
}

func TestMemoryIsNotExtendedByUse(t *testing.T) {
	mew, _ := Named("mew")
	m := newMemory(t)
	if err := m.Remember("h", home, mew, Lesson{Step: v4smtp, Scope: Server}, noon); err != nil {
		t.Fatal(err)
	}
	if got := recall(t, m, "h", home, mew, noon.Add(keep-time.Minute)); got != 25 {
		t.Fatalf("recalled %d", got)
	}
	if got := recall(t, m, "h", home, mew, noon.Add(keep+time.Minute)); got != 0 {
		t.Errorf("recalled %d after a day", got)
	}
}

func TestMemoryIsShared(t *testing.T) {
	mew, _ := Named("mew")
	one := newMemory(t)
	two := &Memory{File: one.File}
	var both sync.WaitGroup
	for _, m := range []*Memory{one, two} {
		both.Go(func() {
			for i := range 200 {
				l := Lesson{Step: v4smtp, Scope: Server, Forget: i%5 == 4}
				if err := m.Remember("h", home, mew, l, noon); err != nil {
					t.Error(err)
				}
				if _, err := m.Recall("h", home, mew, noon); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(one.File), ".*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestForget(t *testing.T) {
	mew, _ := Named("mew")
	m := newMemory(t)
	if err := m.Forget(); err != nil {
		t.Errorf("with nothing to forget: %v", err)
	}
	m.Remember("h", home, mew, Lesson{Step: v4smtp, Scope: Server}, noon)
	if err := m.Forget(); err != nil {
		t.Fatal(err)
	}
	if got := recall(t, m, "h", home, mew, noon); got != 0 {
		t.Errorf("recalled %d", got)
	}
}

func TestDamagedMemory(t *testing.T) {
	mew, _ := Named("mew")
	for name, text := range map[string]string{
		"empty":            "",
		"cut":              `{"version":1,"lessons":[{"host":"h"`,
		"newer":            `{"version":2,"lessons":[]}`,
		"no sense":         `{"version":1,"lessons":[{"host":"h","step":{"family":"ipv4","port":99999}}]}`,
		"another language": "\x00\xff\x00",
		"too large":        `{"version":1,"lessons":[]}` + string(bytes.Repeat([]byte(" "), memoryLimit)),
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			if err := os.MkdirAll(filepath.Dir(m.File), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(m.File, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if s, err := m.Recall("h", home, mew, noon); s != nil || err == nil {
				t.Errorf("recalled %v, %v", s, err)
			}
			if err := m.Remember("h", home, mew, Lesson{Step: v4smtp, Scope: Server}, noon); err != nil {
				t.Fatal(err)
			}
			if got := recall(t, m, "h", home, mew, noon); got != 25 {
				t.Errorf("not mended by the next lesson: recalled %d", got)
			}
		})
	}
}

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte(`{"version":1,"lessons":[{"host":"h","network":"","sequence":[{"family":"ipv4","port":25}],"step":{"family":"ipv4","port":25},"learned":"2026-03-01T12:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"lessons":null}`))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		lessons, err := parseMemory(text)
		if err != nil {
			return
		}
		for _, l := range lessons {
			if !slices.Contains(l.Sequence, l.Step) {
				t.Errorf("believed %+v", l)
			}
		}
	})
}
