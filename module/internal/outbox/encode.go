// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"submission/module/internal/ascii"
)

// stateLimit is the size of the largest state file that is written or read, in
// bytes: ten thousand recipients with long replies fit in.
const stateLimit = 8 << 20

// encode gives the state file's bytes: one JSON object, indented for people,
// in ASCII and without a NUL even as an escape, which Emacs 28 can't read. The
// error is ErrInvalid.
func (s State) encode() ([]byte, error) {
	s = s.clone()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(s.Settings) == 0 {
		s.Settings = json.RawMessage("{}")
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	file, err := pad(ascii.JSON(text.Bytes()))
	if err != nil {
		return nil, err
	}
	if len(file) > stateLimit {
		return nil, fmt.Errorf("%w: %d bytes of state are over the limit of %d", ErrInvalid, len(file), stateLimit)
	}
	return file, nil
}

// decode reads the state file of the message id. The error is ErrNewer or
// ErrDamaged.
func decode(text []byte, id string) (State, error) {
	var head struct {
		Version int `json:"version"`
	}
	// The version first: in a newer file anything else may look different.
	if err := json.Unmarshal(text, &head); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if head.Version > Version {
		return State{}, fmt.Errorf("%w (state version %d, this one knows %d)", ErrNewer, head.Version, Version)
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := s.check(); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if s.ID != id {
		return State{}, fmt.Errorf("%w: it is about %.40q", ErrDamaged, s.ID)
	}
	return s.clone(), nil
}

// check returns an error if s is not a state that this version writes.
func (s State) check() error {
	switch {
	case s.Version != Version:
		return fmt.Errorf("version is %d", s.Version)
	case !ValidID(s.ID):
		return fmt.Errorf("id is %.40q", s.ID)
	case s.Rev < 1:
		return fmt.Errorf("rev is %d", s.Rev)
	case !s.Status.Known():
		return fmt.Errorf("status is %.40q", string(s.Status))
	case !s.Reason.Known():
		return fmt.Errorf("reason is %.40q", string(s.Reason))
	case s.Dot && s.Status != Sending:
		return fmt.Errorf("dot is true, status is %q", string(s.Status))
	}
	if len(s.Settings) > 0 && !bytes.HasPrefix(bytes.TrimLeft(s.Settings, " \t\r\n"), []byte("{")) {
		return fmt.Errorf("settings is not an object")
	}
	for _, address := range append([]string{s.Envelope.From}, s.Envelope.To...) {
		// JSON would silently put U+FFFD there, and mail would go elsewhere.
		if !utf8.ValidString(address) {
			return fmt.Errorf("an address is not UTF-8: %.80q", address)
		}
		for _, r := range address {
			if r < ' ' || r == 0x7f {
				return fmt.Errorf("an address has a control character in it: %.80q", address)
			}
		}
	}
	return nil
}
