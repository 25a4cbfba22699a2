// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	for name, test := range map[string]struct {
		make func(dir string) error
		want string // in the error; "" none
	}{
		"new":       {func(string) error { return nil }, ""},
		"there":     {func(dir string) error { return os.MkdirAll(dir, 0o700) }, ""},
		"too open":  {func(dir string) error { return os.MkdirAll(dir, 0o755) }, ""},
		"by a link": {func(dir string) error { return os.Symlink(t.TempDir(), filepath.Dir(dir)) }, ""},
		"a file": {func(dir string) error {
			return errors.Join(os.MkdirAll(filepath.Dir(dir), 0o700), os.WriteFile(dir, nil, 0o600))
		}, "is not a directory"},
		"under a file": {func(dir string) error { return os.WriteFile(filepath.Dir(dir), nil, 0o600) }, "not a directory"},
		"another's": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir, 0o700), os.Chown(dir, 12345, 12345))
		}, "belongs to another user"},
		"not to be written": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o500))
		}, "it may not be written"},
	} {
		t.Run(name, func(t *testing.T) {
			if root := os.Geteuid() == 0; name == "another's" && !root {
				t.Skip("only root can give a directory away")
			} else if name == "not to be written" && root {
				t.Skip("root can write any directory; TestReadOnly takes the other way there")
			}
			dir := filepath.Join(t.TempDir(), "submission", "outbox")
			must(t, test.make(dir))
			b, err := Open(dir)
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || b != nil {
					t.Errorf("%v", err)
				}
				return
			}
			must(t, err)
			if b.Directory() != dir {
				t.Errorf("%s", b.Directory())
			}
			info, err := os.Stat(dir)
			must(t, err)
			if runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
				t.Errorf("mode %v", info.Mode())
			}
			add(t, b, sample)
		})
	}
}

func TestList(t *testing.T) {
	b := open(t)
	if states, problems := b.List(); len(states) != 0 || len(problems) != 0 {
		t.Errorf("empty: %v, %v", states, problems)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var want []string
	for _, status := range Statuses() {
		b.now = func() time.Time { return now }
		now = now.Add(time.Hour)
		e := add(t, b, sample) // stays owned: List doesn't mind
		advance(t, e, status)
		want = append(want, e.ID()+" "+string(status))
	}
	must(t, os.WriteFile(b.disk.path("notes.txt"), nil, 0o600))
	must(t, os.WriteFile(b.disk.path(".draft-x"), nil, 0o600))
	states, problems := b.List()
	var got []string
	for _, s := range states {
		got = append(got, s.ID+" "+string(s.Status))
	}
	if !reflect.DeepEqual(got, want) || len(problems) != 0 {
		t.Errorf("%q, %v", got, problems)
	}
	must(t, os.RemoveAll(b.disk.dir))
	if _, problems := b.List(); len(problems) != 1 {
		t.Errorf("no directory: %v", problems)
	}
}

// TestSweep: what Open clears away, by name, age and owner.
func TestSweep(t *testing.T) {
	const id = sampleID
	text, err := sampleState().encode()
	must(t, err)
	done := []byte(strings.Replace(string(text), `"deferred"`, `"accepted"`, 1))
	for name, test := range map[string]struct {
		files map[string][]byte
		age   time.Duration
		owned bool
		left  []string
	}{
		"young draft":      {map[string][]byte{".draft-1": nil}, time.Hour, false, []string{".draft-1"}},
		"old draft":        {map[string][]byte{".draft-1": nil}, 25 * time.Hour, false, nil},
		"draft of morrow":  {map[string][]byte{".draft-1": nil}, -1000 * time.Hour, false, []string{".draft-1"}},
		"young temporary":  {map[string][]byte{"." + id + ".eml": nil, "." + id + ".json": nil}, time.Hour, false, []string{"." + id + ".eml", "." + id + ".json"}},
		"old temporary":    {map[string][]byte{"." + id + ".eml": nil, "." + id + ".json": nil}, 25 * time.Hour, false, nil},
		"owned temporary":  {map[string][]byte{"." + id + ".eml": nil, "." + id + ".json": nil}, 25 * time.Hour, true, []string{"." + id + ".eml", "." + id + ".json", "." + id + ".lock"}},
		"dead owner":       {map[string][]byte{ownerPrefix + "0123456789abcdef": nil}, time.Minute, false, nil},
		"dead lock":        {map[string][]byte{"." + id + ".lock": nil}, time.Minute, false, nil},
		"live lock":        {map[string][]byte{}, 25 * time.Hour, true, []string{"." + id + ".lock"}},
		"message":          {map[string][]byte{id + ".eml": nil, id + ".json": text}, 1000 * time.Hour, false, []string{id + ".eml", id + ".json"}},
		"done message":     {map[string][]byte{id + ".eml": nil, id + ".json": done}, 1000 * time.Hour, false, []string{id + ".eml", id + ".json"}},
		"half removed":     {map[string][]byte{id + ".json": done}, time.Minute, false, nil},
		"owned, removed":   {map[string][]byte{id + ".json": done}, 25 * time.Hour, true, []string{"." + id + ".lock", id + ".json"}},
		"half added":       {map[string][]byte{"." + id + ".eml": nil, id + ".json": text}, 25 * time.Hour, false, []string{id + ".eml", id + ".json"}},
		"added, damaged":   {map[string][]byte{"." + id + ".eml": nil, id + ".json": nil}, 25 * time.Hour, false, []string{id + ".eml", id + ".json"}},
		"owned half added": {map[string][]byte{"." + id + ".eml": nil, id + ".json": text}, 25 * time.Hour, true, []string{"." + id + ".eml", "." + id + ".lock", id + ".json"}},
		"with a draft":     {map[string][]byte{id + ".eml": nil, id + ".json": text, id + ".draft": nil}, 1000 * time.Hour, false, []string{id + ".draft", id + ".eml", id + ".json"}},
		"half added, kept": {map[string][]byte{"." + id + ".eml": nil, id + ".json": text, id + ".draft": nil}, 25 * time.Hour, false, []string{id + ".draft", id + ".eml", id + ".json"}},
		"half removed too": {map[string][]byte{id + ".json": done, id + ".draft": nil}, time.Minute, false, nil},
		"young lone draft": {map[string][]byte{id + ".draft": nil}, time.Hour, false, []string{id + ".draft"}},
		"old lone draft":   {map[string][]byte{id + ".draft": nil}, 25 * time.Hour, false, nil},
		"draft, no state":  {map[string][]byte{id + ".draft": nil, id + ".eml": nil}, 25 * time.Hour, false, []string{id + ".draft", id + ".eml"}},
		"draft, damaged":   {map[string][]byte{id + ".draft": nil, id + ".json": nil}, 25 * time.Hour, false, []string{id + ".draft", id + ".json"}},
		"orphans":          {map[string][]byte{id + ".eml": nil}, 1000 * time.Hour, false, []string{id + ".eml"}},
		"state alone":      {map[string][]byte{id + ".json": text}, 1000 * time.Hour, false, []string{id + ".json"}},
		"damaged alone":    {map[string][]byte{id + ".json": nil}, 1000 * time.Hour, false, []string{id + ".json"}},
		"not ours":         {map[string][]byte{".DS_Store": nil, "x.eml": nil, ".x": nil, id + ".eml~": nil}, 1000 * time.Hour, false, []string{".DS_Store", ".x", id + ".eml~", "x.eml"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			if test.owned {
				lock, err := b.owners.acquire(b.disk.path(lockName(id)))
				must(t, err)
				defer lock.release()
			}
			when := time.Now().Add(-test.age)
			for name, content := range test.files {
				must(t, os.WriteFile(b.disk.path(name), content, 0o600))
				must(t, os.Chtimes(b.disk.path(name), when, when))
			}
			got := names(t, openIn(t, b.disk.dir))
			if len(got) != len(test.left) || len(got) > 0 && !reflect.DeepEqual(got, test.left) {
				t.Errorf("left %q", got)
			}
		})
	}
}
