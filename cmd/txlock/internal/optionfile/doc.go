// Package optionfile reads the option files of MySQL and MariaDB (my.cnf) as
// their own clients do, and makes a [mysql.Config] of them.
//
// # Files
//
// They are read in the order of [Sources], and within them [client],
// [client-server], [client-mariadb] and [txlock], in the order in which they are
// written: what comes later wins. In the details (quotes, escapes, comments,
// !include, a file that everybody may write to) this follows what MySQL 9.7 and
// MariaDB 10.11 were seen to do. It differs where they would go on with less than
// the user wrote down, and so might connect to another server than was meant:
//
//   - a file named by --defaults-file that everybody may write to is an error,
//     and so is a directory;
//   - a mistake in an included file is an error, as in any other, and so is a
//     file that includes itself;
//   - a value that cannot be understood (ssl=maybe) is an error, not a default.
//
// And where they stumble over an editor's doing: a byte order mark at the start
// is skipped, and what ends a value is blanks of ASCII only, as they would take
// the last byte of "à" for one. Lines may have 64 KiB instead of 4.
//
// Names are those of the options in full: "pass" is not "password", though some
// clients take it for that. The encrypted ~/.mylogin.cnf of mysql_config_editor is
// not read. Options that are not in the list below are ignored, as these groups are
// for other programs too.
//
// # Options
//
//   - user, password (skip-password is an empty one), database, connect-timeout,
//     compress, enable-cleartext-plugin.
//   - host, port, socket, protocol (tcp or socket). As with the clients, no host
//     and localhost mean the socket, whatever the port, unless protocol is tcp, or
//     no socket is named and none of [Sources].Sockets is there. By TCP no host
//     means 127.0.0.1.
//   - ssl-mode, ssl-ca, ssl-cert, ssl-key, and MariaDB's ssl and
//     ssl-verify-server-cert.
//
// # TLS
//
// ssl-mode decides if it is given. If not, ssl-verify-server-cert is
// VERIFY_IDENTITY, ssl-ca is VERIFY_CA, as it is to clients of both, ssl is
// REQUIRED, and skip-ssl is DISABLED unless an ssl- option follows it. By default it
// is PREFERRED, which has no certificate verified, falls back to a connection
// without TLS, and does without it on a socket. VERIFY_IDENTITY without ssl-ca
// trusts the CAs of the system. It does not look at a certificate's common name.
package optionfile
