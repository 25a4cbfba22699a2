// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkAdd is the time Emacs waits for a message to be safe on disk.
func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{10 << 10, 1 << 20, 25 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			box, err := Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			text := []byte(sample + strings.Repeat(strings.Repeat("x", 75)+"\n", size/76))
			file := box.disk.path(DraftPrefix)
			b.ReportAllocs()
			for range b.N {
				b.StopTimer()
				if err := os.WriteFile(file, text, 0o600); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				e, err := box.Add(Draft{File: file})
				b.StopTimer()
				if err == nil {
					err = e.Move(Cancelled, nil)
				}
				if err == nil {
					err = e.Remove()
				}
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkLife is the disk's part in sending a small message.
func BenchmarkLife(b *testing.B) {
	box, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(b.TempDir(), "message")
	if err := os.WriteFile(file, []byte(sample), 0o600); err != nil {
		b.Fatal(err)
	}
	for range b.N {
		e, err := box.Add(Draft{File: file})
		if err != nil {
			b.Fatal(err)
		}
		e.Release()
		if err := workOn(box, e.ID(), func(string) {}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is a new Emacs with a thousand messages waiting.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		s := sampleState()
		s.ID = fmt.Sprintf("20261121T221500-%08x", i)
		text, err := s.encode()
		if err != nil {
			b.Fatal(err)
		}
		for name, content := range map[string][]byte{stateName(s.ID): text, messageName(s.ID): []byte(sample)} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		box, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		if states, problems := box.List(); len(states) != 1000 || len(problems) != 0 {
			b.Fatal(len(states), problems)
		}
	}
}
