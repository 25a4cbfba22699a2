// SPDX-License-Identifier: GPL-3.0-or-later

package job

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"submission/module/internal/outbox"
)

// writeLog appends a line about a message that leaves the outbox to a file,
// unless its name is "": the time, the status, the id, the Message-ID, the
// account, the recipients, the server, its port and its reply, with a tab
// between them and "-" for what there is not. The file is made with mode 0600.
// A line is one write at the end of the file, so that several Emacsen may share
// it.
func writeLog(name string, s outbox.State, now time.Time) error {
	if name == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("the log of sent mail: %w", err)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("the log of sent mail: %w", err)
	}
	_, err = file.WriteString(logLine(s, now))
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("the log of sent mail: %w", err)
	}
	return nil
}

// logLine returns the line about a message, with its line end.
func logLine(s outbox.State, now time.Time) string {
	var set Settings
	json.Unmarshal(s.Settings, &set) // as far as it goes: a log is no place for errors
	account := set.Host
	if set.User != "" {
		account = set.User + "@" + set.Host
	}
	to := s.Receipt.Accepted
	if s.Status == outbox.Cancelled {
		to = s.Envelope.To
	}
	port := ""
	if s.Receipt.Port != 0 {
		port = strconv.Itoa(s.Receipt.Port)
	}
	fields := []string{
		now.UTC().Format(time.RFC3339), string(s.Status), s.ID, s.MessageID, account,
		strings.Join(to, ","), s.Receipt.Host, port, s.Receipt.Reply,
	}
	for i, field := range fields {
		if fields[i] = oneLine(field); fields[i] == "" {
			fields[i] = "-"
		}
	}
	return strings.Join(fields, "\t") + "\n"
}

// oneLine returns text with a space for each control character.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}
