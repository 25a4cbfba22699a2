// SPDX-License-Identifier: GPL-3.0-or-later

package diagnose

import "submission/fallback"

// Count is one row of a table.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Summary is the paper's: how many lines, what is left when local servers and
// then repeats are set aside, and the two tables of the rest.
type Summary struct {
	Lines   int     `json:"lines"`
	Local   int     `json:"local"`
	Repeats int     `json:"repeats"`
	Servers int     `json:"servers"` // Lines - Local - Repeats; the sum of each table
	Kinds   []Count `json:"kinds"`   // all of Kinds
	Cases   []Count `json:"cases"`   // all of the paper's, then NoCase and Unfinished if there are any
}

// What the paper's second table doesn't have.
const (
	NoCase     = "None of these"
	Unfinished = "Not finished"
)

func cases() []string {
	return []string{
		"Case 1 (Submission)", "Case 2 (TCP RST)", "Case 3 (Hard error)",
		"Case 4 (Soft error)", "Case 5 (TCP timeout)", "SSH(22)", "SSL(465)",
	}
}

// Sum makes the summary. Each server counts once: as SSH or SSL where its line
// says so, else by its case on port 587 over IPv4.
func Sum(rows []Row) Summary {
	s := Summary{Lines: len(rows)}
	local := map[int]bool{} // by line
	kinds, counts := map[string]int{}, map[string]int{}
	for _, row := range rows {
		local[row.Line] = row.Local
		switch {
		case row.Local, local[row.Repeat]:
			s.Local++
		case row.Repeat != 0:
			s.Repeats++
		default:
			s.Servers++
			kinds[row.Kind]++
			counts[row.class()]++
		}
	}
	for _, name := range Kinds() {
		s.Kinds = append(s.Kinds, Count{name, kinds[name]})
	}
	for _, name := range cases() {
		s.Cases = append(s.Cases, Count{name, counts[name]})
	}
	for _, name := range []string{NoCase, Unfinished} {
		if counts[name] > 0 {
			s.Cases = append(s.Cases, Count{name, counts[name]})
		}
	}
	return s
}

// class is the row of the second table that a server counts in.
func (row Row) class() string {
	names := cases()
	switch row.Way {
	case SSH:
		return names[5]
	case SSL:
		return names[6]
	}
	for _, s := range row.Steps {
		if s.Family != fallback.IPv4 || s.Port != fallback.Submission {
			continue
		}
		switch {
		case s.State == Waiting || s.State == Cancelled:
			return Unfinished
		case s.Case > 0:
			return names[s.Case-1]
		}
		return NoCase
	}
	if row.State == Done {
		return NoCase
	}
	return Unfinished
}
