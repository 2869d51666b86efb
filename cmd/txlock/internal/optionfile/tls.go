package optionfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// tlsMode is what --ssl-mode can be, in MySQL's words.
type tlsMode string

const (
	disabled       tlsMode = "DISABLED"
	preferred      tlsMode = "PREFERRED"
	required       tlsMode = "REQUIRED"
	verifyCA       tlsMode = "VERIFY_CA"
	verifyIdentity tlsMode = "VERIFY_IDENTITY"
)

// tlsMode is what the options ask for.
func (o *Options) tlsMode() (tlsMode, error) {
	if v, ok := o.values["ssl-mode"]; ok {
		if _, err := o.text("ssl-mode"); err != nil {
			return "", err
		}
		switch mode := tlsMode(strings.ToUpper(v.text)); mode {
		case disabled, preferred, required, verifyCA, verifyIdentity:
			return mode, nil
		}
		return "", v.wrong("ssl-mode is not known: write DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY")
	}
	ssl, err := o.on("ssl")
	if err != nil {
		return "", err
	}
	verify, err := o.on("ssl-verify-server-cert")
	if err != nil {
		return "", err
	}
	switch {
	case o.given("ssl") && !ssl && !o.impliedAfter(o.values["ssl"].order, verify):
		return disabled, nil
	case verify:
		return verifyIdentity, nil
	case o.given("ssl-ca"), o.given("ssl-capath"):
		return verifyCA, nil
	case ssl:
		return required, nil
	}
	return preferred, nil
}

func (o *Options) given(name string) bool {
	_, ok := o.values[name]
	return ok
}

// impliedAfter reports that an option which asks for TLS follows skip-ssl. To
// MariaDB's clients it is as if ssl followed.
func (o *Options) impliedAfter(order int, verify bool) bool {
	for _, name := range []string{"ssl-ca", "ssl-capath", "ssl-cert", "ssl-key", "ssl-verify-server-cert"} {
		if v, ok := o.values[name]; ok && v.order > order && (verify || name != "ssl-verify-server-cert") {
			return true
		}
	}
	return false
}

// secure sets up TLS with a server of that name.
func (o *Options) secure(cfg *mysql.Config, host string) error {
	mode, err := o.tlsMode()
	if err != nil {
		return err
	}
	if mode == disabled || mode == preferred && cfg.Net == "unix" {
		return nil
	}
	own, err := o.certificates()
	if err != nil {
		return err
	}
	if mode == preferred && len(own) == 0 {
		cfg.TLSConfig = "preferred"
		return nil
	}
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, Certificates: own}
	switch mode {
	case verifyCA, verifyIdentity:
		roots, err := o.roots(mode)
		if err != nil {
			return err
		}
		if cfg.TLS.RootCAs = roots; mode == verifyCA {
			cfg.TLS.InsecureSkipVerify = true // of chain and name: the chain is for this
			cfg.TLS.VerifyConnection = verifyChain(roots)
		}
	default: // REQUIRED and PREFERRED, which verify nothing
		cfg.TLS.InsecureSkipVerify = true
		cfg.AllowFallbackToPlaintext = mode == preferred
	}
	return nil
}

// certificates are the client's own, none or one.
func (o *Options) certificates() ([]tls.Certificate, error) {
	cert, err := o.text("ssl-cert")
	if err != nil {
		return nil, err
	}
	key, err := o.text("ssl-key")
	if err != nil {
		return nil, err
	}
	name := "ssl-cert"
	switch { // one file can have both
	case cert == "" && key == "":
		return nil, nil
	case cert == "":
		name, cert = "ssl-key", key
	case key == "":
		key = cert
	}
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, &placedError{o.values[name].place, fmt.Errorf("the client's certificate: %w: correct ssl-cert and ssl-key", err)}
	}
	return []tls.Certificate{own}, nil
}

// roots are the CAs to trust, nil for those of the system.
func (o *Options) roots(mode tlsMode) (*x509.CertPool, error) {
	for _, name := range []string{"ssl-crl", "ssl-crlpath"} {
		if v, ok := o.values[name]; ok {
			return nil, v.wrong(name + " is not supported: delete it, and revoked certificates are accepted")
		}
	}
	path, err := o.text("ssl-ca")
	if err != nil {
		return nil, err
	}
	ca, ok := o.values["ssl-ca"]
	if !ok {
		if v, ok := o.values["ssl-capath"]; ok {
			return nil, v.wrong("ssl-capath is not supported: write the CA's file as ssl-ca")
		}
		if mode == verifyCA { // any certificate of the world would do
			return nil, o.values["ssl-mode"].wrong("ssl-mode is VERIFY_CA, but there is no ssl-ca: write the CA's file as that")
		}
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, &placedError{ca.place, fmt.Errorf("ssl-ca: %w: correct the path", err)}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, &placedError{ca.place, fmt.Errorf("ssl-ca: %s has no certificate in PEM: give the file of the CA's", path)}
	}
	return roots, nil
}

// verifyChain accepts a certificate that a root stands behind, whatever name is in
// it.
func verifyChain(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("optionfile: the server has no certificate")
		}
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between}); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
}
