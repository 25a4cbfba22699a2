// SPDX-License-Identifier: GPL-3.0-or-later

package event

// Diagnosis tells what changed in a diagnosis of servers: Rows are those that
// did, Summary counts all of them. After the one that is Finished none follows.
type Diagnosis struct {
	ID         string   `json:"id"`
	Rows       any      `json:"rows"`
	Summary    any      `json:"summary"`
	Complaints []string `json:"complaints"`
	Finished   bool     `json:"finished"`
}

func (Diagnosis) name() string { return "diagnosis" }
