// SPDX-License-Identifier: GPL-3.0-or-later

package mailserver

func postfix() setup {
	return setup{
		packages: []string{"postfix", "dovecot-core", "sed", "grep", "findutils", "mawk"},
		accounts: map[string]int{"postfix": 101, "postdrop": 102, "dovecot": 103, "dovenull": 104},
		hosts:    []string{Host, OldHost, WalledHost, SmallHost},
		files: map[string]string{
			"etc/start":                postfixStart,
			"etc/postfix/main.cf":      postfixMain,
			"etc/postfix/master.cf":    postfixMaster,
			"etc/dovecot/dovecot.conf": dovecot,
			"etc/dovecot/users":        User + ":{PLAIN}" + Password + "\n",
		},
	}
}

// Postfix makes the directory that Dovecot's socket is in.
const postfixStart = `set -eu
chown postfix /var/lib/postfix
/usr/sbin/postfix start
/usr/sbin/dovecot
`

const postfixMain = `compatibility_level = 3.6
myhostname = mail.example.org
mydestination =
mynetworks =
inet_protocols = ipv4
alias_maps =
alias_database =
maillog_file_prefixes = /srv
maillog_file = /srv/mail.log
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
default_transport = error:only example.org is delivered to

message_size_limit = 60000000
virtual_mailbox_limit = 0
virtual_mailbox_domains = example.org
virtual_mailbox_base = /srv/mail
virtual_mailbox_maps = inline:{ bob@example.org=bob/, carol@example.org=carol/, dave@example.org=dave/ }
virtual_uid_maps = static:1000
virtual_gid_maps = static:1000

smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/mail/mail.pem
smtpd_tls_key_file = /etc/mail/mail-key.pem
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{ { refused@example.org = 554 5.7.1 not from you } }
`

// Only what is needed of Postfix's own master.cf, and nothing in its chroot:
// there is one around it.
const postfixMaster = `198.18.0.1:25  inet n - n - - smtpd
198.18.0.2:25  inet n - n - - smtpd
198.18.0.3:25  inet n - n - - smtpd
198.18.0.1:587 inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
198.18.0.3:587 inet n - n - - smtpd
198.18.0.4:587 inet n - n - - smtpd
  -o message_size_limit=20000
cleanup    unix n - n - 0 cleanup
qmgr       unix n - n 300 1 qmgr
tlsmgr     unix - - n 1000? 1 tlsmgr
rewrite    unix - - n - - trivial-rewrite
bounce     unix - - n - 0 bounce
defer      unix - - n - 0 bounce
trace      unix - - n - 0 bounce
verify     unix - - n - 1 verify
proxymap   unix - - n - - proxymap
error      unix - - n - - error
retry      unix - - n - - error
virtual    unix - n n - - virtual
anvil      unix - - n - 1 anvil
postlog    unix-dgram n - n - 1 postlogd
`

const dovecot = `protocols =
log_path = /srv/dovecot.log
ssl = no
# Postfix asks for TLS before AUTH; here nobody is to know better.
disable_plaintext_auth = no
# A wrong password is to cost neither it nor the next one any time.
auth_failure_delay = 0
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
`
