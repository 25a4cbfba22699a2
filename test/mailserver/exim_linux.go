// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

func exim() setup {
	return setup{
		packages: []string{"exim4-daemon-light"},
		accounts: map[string]int{"Debian-exim": 101},
		hosts:    []string{Host, OldHost, WalledHost, SmallHost},
		files: map[string]string{
			"etc/start":            eximStart,
			"etc/exim4/exim4.conf": eximConf,
		},
	}
}

// Exim reads the key as the user that it runs as, and becomes root again to
// deliver; a cache that was copied may have lost that.
const eximStart = `set -eu
install -d -o Debian-exim -g Debian-exim /var/spool/exim4
chown Debian-exim /etc/mail/mail-key.pem
chmod u+s /usr/sbin/exim4
exim4 -bd
`

const eximConf = `primary_hostname = mail.example.org
local_interfaces = <; [198.18.0.1]:587; [198.18.0.1]:25; [198.18.0.2]:25; [198.18.0.3]:587; [198.18.0.3]:25; [198.18.0.4]:587
keep_environment =
log_file_path = /srv/%slog
rfc1413_query_timeout = 0s
disable_ipv6
never_users = root

message_size_limit = ${if eq{$received_ip_address}{198.18.0.4} {20000}{60000000}}
tls_advertise_hosts = *
tls_certificate = /etc/mail/mail.pem
tls_privatekey = /etc/mail/mail-key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{} {}{*}}
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt

begin acl
mail:
  deny senders = refused@example.org
       message = not from you
  accept
rcpt:
  deny condition = ${if eq{$received_port}{587}}
       !authenticated = *
       message = authentication required
  accept domains = example.org
         verify = recipient
  deny message = only example.org is delivered to

begin routers
mailboxes:
  driver = accept
  domains = example.org
  local_parts = bob : carol : dave
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = /srv/mail/$local_part_data
  user = vmail
  delivery_date_add
  envelope_to_add
  return_path_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{kazu}}{eq{$auth3}{secret}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${if and{{eq{$auth1}{kazu}}{eq{$auth2}{secret}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if eq{$auth1}{kazu}{secret}fail}
  server_set_id = $auth1
`
