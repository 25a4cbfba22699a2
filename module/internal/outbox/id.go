// SPDX-License-Identifier: GPL-3.0-or-later

package outbox

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// idLength is the length of an ID: 20261121T221500-3f9a2c1b.
const idLength = 24

// NewID makes an ID from the time (UTC, so that names sort by age) and chance.
func NewID(now time.Time) string {
	var chance [4]byte
	rand.Read(chance[:]) // never fails
	return fmt.Sprintf("%s-%x", now.UTC().Format("20060102T150405"), chance)
}

// ValidID reports whether id has the one form an ID has: eight digits, T, six
// digits, -, eight lower-case hexadecimal digits. Only such an ID ever becomes
// part of a file name.
func ValidID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for i := range len(id) {
		c := id[i]
		digit := '0' <= c && c <= '9'
		switch {
		case i == 8 && c != 'T', i == 15 && c != '-':
			return false
		case i == 8, i == 15, digit:
		case i > 15 && 'a' <= c && c <= 'f':
		default:
			return false
		}
	}
	return true
}

// The names of the files of one message. Those with a leading dot are never
// mail: the lock, and what is not yet in its place.
func messageName(id string) string    { return id + messageSuffix }
func stateName(id string) string      { return id + stateSuffix }
func newMessageName(id string) string { return "." + id + messageSuffix }
func newStateName(id string) string   { return "." + id + stateSuffix }
func lockName(id string) string       { return "." + id + lockSuffix }
func keptName(id string) string       { return id + keptSuffix }

const (
	messageSuffix = ".eml"
	stateSuffix   = ".json"
	lockSuffix    = ".lock"
	keptSuffix    = ".draft"
)

// DraftPrefix begins the names of the temporary files in which a message comes
// to Add. One that is older than a day is taken for forgotten.
const DraftPrefix = ".draft-"

// ownerPrefix begins the names of the files that locks are names of.
const ownerPrefix = ".owner-"

// kind is what a file in the directory is, by its name alone.
type kind int

const (
	foreign kind = iota // not ours: left alone
	draft               // DraftPrefix…
	message
	state
	newMessage
	newState
	lockFile
	ownerFile
	kept // a draft that is kept beside its message
)

// classify tells what the file name stands for, and whose ID it has.
func classify(name string) (kind, string) {
	if strings.HasPrefix(name, DraftPrefix) {
		return draft, ""
	}
	if strings.HasPrefix(name, ownerPrefix) {
		return ownerFile, ""
	}
	id, hidden := strings.CutPrefix(name, ".")
	if len(id) < idLength || !ValidID(id[:idLength]) {
		return foreign, ""
	}
	id, suffix := id[:idLength], id[idLength:]
	switch {
	case suffix == messageSuffix && hidden:
		return newMessage, id
	case suffix == messageSuffix:
		return message, id
	case suffix == stateSuffix && hidden:
		return newState, id
	case suffix == stateSuffix:
		return state, id
	case suffix == lockSuffix && hidden:
		return lockFile, id
	case suffix == keptSuffix && !hidden:
		return kept, id
	}
	return foreign, ""
}
