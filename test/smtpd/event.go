// SPDX-License-Identifier: GPL-3.0-or-later

package smtpd

// An Event is one thing that happened, for those who follow a server as it
// goes; the program prints each as a line of JSON. What doesn't apply is left
// out.
type Event struct {
	// Event is "connect", "command", "reply", "tls", "auth", "message" or "end".
	Event   string `json:"event"`
	Session int    `json:"session"`
	Port    string `json:"port,omitempty"`
	Remote  string `json:"remote,omitempty"`
	Line    string `json:"line,omitempty"`
	TLS     bool   `json:"tls,omitempty"`
	Early   bool   `json:"early,omitempty"`
	// Version, ServerName and Error belong to "tls".
	Version    string `json:"version,omitempty"`
	ServerName string `json:"server-name,omitempty"`
	Error      string `json:"error,omitempty"`
	// Mechanism, User, Secret and OK belong to "auth", User to "message" too.
	Mechanism string `json:"mechanism,omitempty"`
	User      string `json:"user,omitempty"`
	Secret    string `json:"secret,omitempty"`
	OK        bool   `json:"ok,omitempty"`
	Reply     string `json:"reply,omitempty"`
	// Message belongs to "message", which comes for every one that began.
	Message *Message `json:"message,omitempty"`
	// End belongs to "end"; Session.End tells its values.
	End string `json:"end,omitempty"`
}
