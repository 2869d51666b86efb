package optionfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, parent *authority, name string) *authority {
	t.Helper()
	return issue(t, parent, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
}

func (a *authority) server(t *testing.T, change func(*x509.Certificate), names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(template)
	}
	leaf := issue(t, a, template)
	return tls.Certificate{Certificate: [][]byte{leaf.cert.Raw, a.cert.Raw}, PrivateKey: leaf.key}
}

// issue signs a certificate, itself with no parent.
func issue(t *testing.T, parent *authority, template *x509.Certificate) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	signer, signerKey := template, key
	if parent != nil {
		signer, signerKey = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func (a *authority) keyPEM(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// handshake is what the client says of the server, and whom the server saw.
func handshake(t *testing.T, client *tls.Config, server *tls.Config) (peer string, err error) {
	t.Helper()
	near, far := net.Pipe()
	seen := make(chan string, 1)
	go func() {
		c := tls.Server(far, server)
		defer func() { _ = far.Close() }()
		name := ""
		if err := c.HandshakeContext(t.Context()); err == nil && len(c.ConnectionState().PeerCertificates) > 0 {
			name = c.ConnectionState().PeerCertificates[0].Subject.CommonName
		}
		seen <- name
	}()
	err = tls.Client(near, client).HandshakeContext(t.Context())
	_ = near.Close()
	return <-seen, err
}

func TestTLSModes(t *testing.T) {
	dir := t.TempDir()
	ca, other := newAuthority(t, nil, "ca"), newAuthority(t, nil, "other")
	between := newAuthority(t, ca, "between")
	path := func(name, text string) string {
		put(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	caFile, bothFile := path("ca.pem", ca.pem), path("both.pem", other.pem+ca.pem)

	servers := map[string]tls.Certificate{
		"right":          ca.server(t, nil, "db.example"),
		"other name":     ca.server(t, nil, "elsewhere.example"),
		"other CA":       other.server(t, nil, "db.example"),
		"by another":     between.server(t, nil, "db.example"),
		"common name":    ca.server(t, func(c *x509.Certificate) { c.Subject.CommonName = "db.example" }),
		"expired":        ca.server(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "db.example"),
		"for clients":    ca.server(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "db.example"),
		"other and name": other.server(t, nil, "elsewhere.example"),
	}
	const all = "right, other name, other CA, by another, common name, expired, for clients, other and name"
	const chain = "right, other name, by another, common name"
	for _, test := range []struct{ text, accepted string }{
		{"ssl-mode=REQUIRED", all},
		{"ssl-mode=required\nssl-ca=" + caFile, all},
		{"ssl", all},
		{"ssl-mode=REQUIRED\nssl-ca=/no/such", all}, // is not looked at
		{"ssl-mode=REQUIRED\nssl-capath=/no/such", all},
		{"ssl-mode=VERIFY_CA\nssl-ca=" + caFile, chain},
		{"ssl-mode=VERIFY_CA\nssl-ca=" + bothFile, chain + ", other CA, other and name"},
		{"ssl-ca=" + caFile, chain},
		{"ssl\nssl-ca=" + caFile, chain},
		{"ssl-ca=" + caFile + "\nskip-ssl-verify-server-cert", chain},
		{"ssl-ca=" + caFile + "\nssl-verify-server-cert=0", chain},
		{"ssl-mode=VERIFY_IDENTITY\nssl-ca=" + caFile, "right, by another"},
		{"ssl-mode=verify_identity\nssl-ca=" + caFile, "right, by another"},
		{"ssl-verify-server-cert\nssl-ca=" + caFile, "right, by another"},
		{"ssl-mode=VERIFY_IDENTITY\nssl-capath=/no/such\nssl-ca=" + bothFile, "right, by another, other CA"},
		{"ssl-verify-server-cert", ""}, // the system knows none of them
		{"ssl-mode=VERIFY_IDENTITY", ""},
	} {
		t.Run(test.text, func(t *testing.T) {
			cfg := config(t, Sources{}, "host=db.example\n"+test.text)
			want(t, "falls back", cfg.AllowFallbackToPlaintext, false)
			want(t, "name of a TLS configuration", cfg.TLSConfig, "")
			if cfg.TLS == nil {
				t.Fatal("no TLS")
			}
			want(t, "server", cfg.TLS.ServerName, "db.example")
			for name, cert := range servers {
				_, err := handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
				accepted := false
				for _, one := range strings.Split(test.accepted, ", ") {
					accepted = accepted || one == name
				}
				if accepted != (err == nil) {
					t.Errorf("%s: error %v", name, err)
				}
			}
			_, err := handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{servers["right"]}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
			if err == nil {
				t.Error("TLS 1.1 is accepted")
			}
			want(t, "lowest version", cfg.TLS.MinVersion, uint16(tls.VersionTLS12))
		})
	}

	// What an error is of.
	cfg := config(t, Sources{}, "host=db.example\nssl-ca="+caFile)
	_, err := handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{servers["other CA"]}})
	var unknown x509.UnknownAuthorityError
	var failed *tls.CertificateVerificationError
	want(t, "another CA is an unknown one", errors.As(err, &unknown) && errors.As(err, &failed), true)
	cfg = config(t, Sources{}, "host=db.example\nssl-mode=VERIFY_IDENTITY\nssl-ca="+caFile)
	_, err = handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{servers["other name"]}})
	var name x509.HostnameError
	want(t, "another name is a wrong one", errors.As(err, &name), true)
	if err := verifyChain(x509.NewCertPool())(tls.ConnectionState{}); err == nil {
		t.Error("no certificate is accepted")
	}
}

// The name that a certificate must have.
func TestServerName(t *testing.T) {
	ca := newAuthority(t, nil, "ca")
	caFile := write(t, "ca.pem", ca.pem)
	local := ca.server(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv6loopback} }, "localhost")
	for text, accepted := range map[string]bool{
		"": true, "host=localhost": true, "host=\nprotocol=tcp": true, "socket=/x.sock": true, "host=::1": true,
		"host=127.0.0.1": false, "host=db.example": false,
	} {
		cfg := config(t, Sources{}, text+"\nssl-mode=VERIFY_IDENTITY\nssl-ca="+caFile)
		_, err := handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{local}})
		want(t, text, err == nil, accepted)
	}
}

// Which mode is meant, where it is not said by what is accepted.
func TestTLSModeOfOptions(t *testing.T) {
	for text, want := range map[string]tlsMode{
		"":                    preferred,
		"ssl-mode=disabled":   disabled,
		"ssl-mode=DISABLED":   disabled,
		"ssl_mode=Preferred":  preferred,
		"skip-ssl":            disabled,
		"ssl=0":               disabled,
		"loose-ssl=OFF":       disabled,
		"ssl\nskip-ssl":       disabled,
		"skip-ssl\nssl":       required,
		"ssl-cert=x":          preferred,
		"ssl-ca=x\nskip-ssl":  disabled,
		"skip-ssl\nssl-ca=x":  verifyCA,
		"ssl-capath=x":        verifyCA,
		"skip-ssl\nssl-key=x": preferred,

		"skip-ssl\nssl-verify-server-cert":           verifyIdentity,
		"skip-ssl\nskip-ssl-verify-server-cert":      disabled,
		"ssl-verify-server-cert\nskip-ssl":           disabled,
		"skip-ssl-verify-server-cert":                preferred,
		"ssl-verify-server-cert=0\nssl-ca=x\nssl":    verifyCA,
		"ssl-ca=x\nskip-ssl\nssl-ca=x":               verifyCA,
		"ssl-mode=REQUIRED\nskip-ssl":                required,
		"ssl-mode=DISABLED\nssl\nssl-ca=x":           disabled,
		"ssl-mode=PREFERRED\nssl-ca=x":               preferred,
		"ssl-verify-server-cert\nssl-mode=VERIFY_CA": verifyCA,
	} {
		o, _ := options(t, Sources{}, text)
		got, err := o.tlsMode()
		if got != want || err != nil {
			t.Errorf("%q is %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestPreferredAndDisabled(t *testing.T) {
	ca := newAuthority(t, nil, "ca")
	own := issue(t, ca, &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	pair := write(t, "pair.pem", own.keyPEM(t)+own.pem)
	for text, tlsConfig := range map[string]string{
		"host=h": "preferred", "host=h\nssl-mode=PREFERRED": "preferred", "ssl-mode=PREFERRED": "preferred",
		"host=h\nssl-mode=PREFERRED\nssl-ca=/no/such": "preferred",
		"host=h\nssl-mode=DISABLED":                   "", "host=h\nskip-ssl": "", "host=h\nssl-mode=DISABLED\nssl-ca=/no/such\nssl-cert=/no/such": "",
		"socket=/x.sock": "", "socket=/x.sock\nssl-mode=PREFERRED": "", "socket=/x.sock\nssl-cert=" + pair: "",
	} {
		cfg := config(t, Sources{}, text)
		want(t, text, cfg.TLSConfig, tlsConfig)
		want(t, text+": TLS", cfg.TLS, (*tls.Config)(nil))
		want(t, text+": falls back", cfg.AllowFallbackToPlaintext, false) // but by the driver, for preferred
	}
	for _, text := range []string{"ssl-mode=REQUIRED", "ssl", "ssl-verify-server-cert"} {
		if config(t, Sources{}, "socket=/x.sock\n"+text).TLS == nil {
			t.Errorf("%s: no TLS on a socket", text)
		}
	}
	cfg := config(t, Sources{}, "host=h\nssl-cert="+pair)
	want(t, "falls back with a certificate", cfg.AllowFallbackToPlaintext, true)
	peer, err := handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{ca.server(t, nil, "x")}, ClientAuth: tls.RequestClientCert})
	if peer != "client" || err != nil {
		t.Errorf("with a certificate: %s, %v", peer, err)
	}
}

func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t, nil, "ca")
	own := issue(t, ca, &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	cert, key, pair := write(t, "cert.pem", own.pem), write(t, "key.pem", own.keyPEM(t)), write(t, "pair.pem", own.keyPEM(t)+own.pem)
	caFile := write(t, "ca.pem", ca.pem)
	for _, text := range []string{"ssl-cert=" + cert + "\nssl-key=" + key, "ssl-cert=" + pair, "ssl-key=" + pair, "ssl-cert=" + pair + "\nssl-key="} {
		for _, mode := range []string{"REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"} {
			cfg := config(t, Sources{}, text+"\nssl-ca="+caFile+"\nssl-mode="+mode)
			peer, err := handshake(t, cfg.TLS, &tls.Config{Certificates: []tls.Certificate{ca.server(t, nil, "localhost")}, ClientAuth: tls.RequireAnyClientCert})
			if peer != "client" || err != nil {
				t.Errorf("%s, %s: %s, %v", text, mode, peer, err)
			}
		}
	}
	tail := ": correct ssl-cert and ssl-key"
	for text, message := range map[string]string{
		"ssl-cert=/no/such":                       ":3: the client's certificate: open /no/such: no such file or directory" + tail,
		"ssl-key=/no/such\nssl-cert=" + cert:      ":4: the client's certificate: open /no/such: no such file or directory" + tail,
		"ssl-key=/no/such":                        ":3: the client's certificate: open /no/such: no such file or directory" + tail,
		"ssl-cert=" + cert:                        ":3: the client's certificate: tls: ",
		"ssl-cert=" + caFile + "\nssl-key=" + key: ":3: the client's certificate: tls: ",
		"ssl-cert":                                ":3: ssl-cert has no value: write ssl-cert=VALUE",
		"ssl-key":                                 ":3: ssl-key has no value: write ssl-key=VALUE",
	} {
		wantError(t, Sources{}, "password="+secret+"\n"+text, message)
	}
}

func TestTLSErrors(t *testing.T) {
	key := write(t, "key.pem", newAuthority(t, nil, "ca").keyPEM(t))
	ca := write(t, "ca.pem", newAuthority(t, nil, "ca").pem)
	for text, message := range map[string]string{
		"ssl-mode":                 ":3: ssl-mode has no value: write ssl-mode=VALUE",
		"ssl-mode=":                ":3: ssl-mode is not known: write DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY",
		"ssl-mode=" + secret:       ":3: ssl-mode is not known",
		"ssl-mode=VERIFY":          ":3: ssl-mode is not known",
		"ssl=" + secret:            ":3: ssl is neither ON nor OFF: write one of them",
		"ssl-verify-server-cert=2": ":3: ssl-verify-server-cert is neither ON nor OFF: write one of them",
		"ssl-mode=VERIFY_CA":       ":3: ssl-mode is VERIFY_CA, but there is no ssl-ca: write the CA's file as that",
		"ssl-ca":                   ":3: ssl-ca has no value: write ssl-ca=VALUE",
		"ssl-ca=":                  ":3: ssl-ca: open : no such file or directory: correct the path",
		"ssl-ca=/no/such":          ":3: ssl-ca: open /no/such: no such file or directory: correct the path",
		"ssl-ca=" + key:            ":3: ssl-ca: " + key + " has no certificate in PEM: give the file of the CA's",

		"\nssl-mode=VERIFY_IDENTITY\nssl-ca=/no/such":         ":5: ssl-ca: open /no/such",
		"ssl-mode=VERIFY_CA\nssl-capath=/etc/ssl/certs":       ":4: ssl-capath is not supported: write the CA's file as ssl-ca",
		"ssl-mode=VERIFY_IDENTITY\nssl-capath=/etc/ssl/certs": ":4: ssl-capath is not supported: write the CA's file as ssl-ca",
		"ssl-capath=/etc/ssl/certs":                           ":3: ssl-capath is not supported: write the CA's file as ssl-ca",
		"ssl-ca=" + ca + "\nssl-crl=/x":                       ":4: ssl-crl is not supported: delete it, and revoked certificates are accepted",
		"ssl-ca=" + ca + "\nssl-crlpath=/x":                   ":4: ssl-crlpath is not supported",
	} {
		wantError(t, Sources{}, "password="+secret+"\n"+text, message)
	}
}
