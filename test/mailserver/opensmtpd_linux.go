// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

func opensmtpd() setup {
	return setup{
		packages: []string{"opensmtpd"},
		// Debian 12's can't take TLS connections: it is older than the OpenSSL 3
		// that it is built with (OpenSMTPD's issue 1171).
		release:  "trixie",
		accounts: map[string]int{"opensmtpd": 101, "opensmtpq": 102},
		hosts:    []string{Host, OldHost, WalledHost},
		files: map[string]string{
			"etc/start":      opensmtpdStart,
			"etc/smtpd.conf": opensmtpdConf,
			"etc/mail/users": User + " " + opensmtpdPassword + "\n",
		},
	}
}

// It writes to the system's log unless it stays in the foreground, and doesn't
// start without a file of trusted roots.
const opensmtpdStart = `set -eu
mkdir -p /var/empty /var/spool/smtpd /etc/ssl/certs
cp /etc/mail/ca.pem /etc/ssl/certs/ca-certificates.crt
chmod 711 /var/spool/smtpd
smtpd -d >/srv/smtpd.log 2>&1 &
`

// opensmtpdPassword is Password as crypt(3) has it.
const opensmtpdPassword = "$6$submission$VQ/GCIDy4BzNO1LSM9H9nMrKRAW.DdJbxCx03WvbTH9cWU7ikW8VzzCY3/t29MkzHp.4zYYyrOQM8yg8jGBK40"

const opensmtpdConf = `pki mail cert "/etc/mail/mail.pem"
pki mail key "/etc/mail/mail-key.pem"
table users file:/etc/mail/users
table mailboxes { "bob@example.org" = vmail, "carol@example.org" = vmail, "dave@example.org" = vmail }
smtp max-message-size "60M"

listen on 198.18.0.1 port 587 tls-require pki mail auth <users>
listen on 198.18.0.1 port 25 tls pki mail auth-optional <users>
listen on 198.18.0.2 port 25 tls pki mail auth-optional <users>
listen on 198.18.0.3 port 587 tls pki mail auth-optional <users>
listen on 198.18.0.3 port 25 tls pki mail auth-optional <users>

action deliver maildir "/srv/mail/%{rcpt.user}" virtual <mailboxes>
match mail-from "refused@example.org" from any for any reject
match from any for domain "example.org" action deliver
`
