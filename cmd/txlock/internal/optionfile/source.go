package optionfile

import "runtime"

// Sources says where to look.
type Sources struct {
	DefaultsFile string   // as of --defaults-file: only this one is read, and it must be there
	System       []string // files of the machine, normally SystemFiles()
	Home         string   // the user's home directory, for ~/.my.cnf and ~ in paths; empty: neither
	User         string   // who connects if no file says, normally the user of the operating system
	Sockets      []string // where the server's socket may be if no file says, normally SocketFiles()
	GroupSuffix  string   // as of --defaults-group-suffix: with "_x" [client_x] and the others are read too
}

// SystemFiles is where clients look for the machine's option files. On Windows it
// is empty: anyone may write to \etc there.
func SystemFiles() []string {
	if runtime.GOOS == "windows" {
		return nil
	}
	return []string{"/etc/my.cnf", "/etc/mysql/my.cnf"}
}

// SocketFiles is where packages of MySQL and MariaDB put the server's socket.
func SocketFiles() []string {
	if runtime.GOOS == "windows" {
		return nil
	}
	return []string{"/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}
}

// groups are the names of those that are read.
func (s Sources) groups() []string {
	names := []string{"client", "client-server", "client-mariadb", "txlock"}
	if s.GroupSuffix != "" {
		for _, name := range names[:len(names):len(names)] {
			names = append(names, name+s.GroupSuffix)
		}
	}
	return names
}
