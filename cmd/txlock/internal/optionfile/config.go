package optionfile

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// maxTimeout is the most that clients take for connect-timeout; they lower what is
// above it.
const maxTimeout = 12 * time.Hour

// Config makes a new [mysql.Config] of the options, the driver's defaults for what
// they do not say. Its errors name the file, the line and the option, never a
// value of it, but for the path of a certificate that cannot be read.
func (o *Options) Config() (*mysql.Config, error) {
	cfg := mysql.NewConfig()
	for _, step := range []func(*mysql.Config) error{o.account, o.session, o.connection} {
		if err := step(cfg); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

func (o *Options) account(cfg *mysql.Config) (err error) {
	if cfg.User, err = o.text("user"); err != nil {
		return err
	}
	if cfg.User == "" {
		cfg.User = o.user
	}
	switch password, ok := o.values["password"]; {
	case password.negated:
	case ok && !password.given:
		return password.wrong("password has no value, and nobody is asked for it here: write it into the file, as password=\"...\"")
	default:
		cfg.Passwd = password.text
	}
	cfg.AllowCleartextPasswords, err = o.on("enable-cleartext-plugin")
	return err
}

func (o *Options) session(cfg *mysql.Config) (err error) {
	if cfg.DBName, err = o.text("database"); err != nil {
		return err
	}
	if cfg.Timeout, err = o.timeout(); err != nil {
		return err
	}
	compress, err := o.on("compress")
	if err != nil {
		return err
	}
	return cfg.Apply(mysql.EnableCompression(compress))
}

func (o *Options) timeout() (time.Duration, error) {
	text, err := o.text("connect-timeout")
	v, ok := o.values["connect-timeout"]
	if err != nil || !ok {
		return 0, err
	}
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, v.wrong("connect-timeout is no number of seconds: write 0 for none, or more")
	}
	return time.Duration(min(seconds, uint64(maxTimeout/time.Second))) * time.Second, nil
}

// connection sets where to and how.
func (o *Options) connection(cfg *mysql.Config) error {
	host, err := o.text("host")
	if err != nil {
		return err
	}
	port, err := o.port()
	if err != nil {
		return err
	}
	local := host == "" || host == "localhost"
	socket, err := o.socket(local)
	if err != nil {
		return err
	}
	switch {
	case socket != "":
		cfg.Net, cfg.Addr = "unix", socket
	case host == "":
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort("127.0.0.1", port)
	default:
		cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(host, port)
	}
	if local {
		host = "localhost"
	}
	return o.secure(cfg, host)
}

func (o *Options) port() (string, error) {
	text, err := o.text("port")
	v, ok := o.values["port"]
	if err != nil || !ok {
		return "3306", err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", v.wrong("port is no number from 1 to 65535: correct it")
	}
	if port == 0 {
		return "3306", nil
	}
	return strconv.FormatUint(port, 10), nil
}

// socket is the path of the socket to connect to, empty to connect by TCP.
func (o *Options) socket(local bool) (string, error) {
	protocol, err := o.text("protocol")
	if err != nil {
		return "", err
	}
	v := o.values["protocol"]
	protocol = strings.ToLower(protocol)
	switch protocol {
	case "tcp":
		return "", nil
	case "", "socket":
	case "pipe", "memory":
		return "", v.wrong("protocol is one of Windows, which is not supported: write tcp or socket")
	default:
		return "", v.wrong("protocol is not known: write tcp or socket")
	}
	switch {
	case local:
	case protocol == "socket":
		return "", v.wrong("protocol is socket, but host is another machine: delete one of the two")
	default:
		return "", nil
	}
	path, err := o.text("socket")
	if err != nil || path != "" {
		return path, err
	}
	for _, path := range o.sockets {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return path, nil
		}
	}
	if protocol == "socket" {
		return "", v.wrong("protocol is socket, but none was found (" + strings.Join(o.sockets, ", ") + "): write socket=PATH")
	}
	return "", nil
}
