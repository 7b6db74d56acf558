// Package localca gives the server its TLS certificate, from a local
// certificate authority that it keeps in the data folder or from files that the
// operator keeps.
//
// It owns the folder tls and the file ca.pem in the data folder:
//
//	ca.pem          the CA's certificate, for clients to trust
//	tls/ca.pem      the CA's key and certificate, 0600
//	tls/server.pem  the server's key and certificate, 0600
//
// A key and its certificate share a file and a file is replaced as a whole, so
// that a crash leaves the old pair or the new one, never half of one. ca.pem is
// a copy, written again whenever it differs.
package localca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/durable"
)

const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	// backdate lets clients use a new certificate whose clocks are behind.
	backdate = time.Hour
	// retryAfter is how long a renewal that failed waits, while the certificate
	// in use still serves.
	retryAfter = time.Minute
)

// CA is a local certificate authority and the server certificate that it
// issued. It is safe for concurrent use.
type CA struct {
	dir   string
	hosts []string
	clk   clock.Clock
	log   *slog.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	renewAt time.Time
}

// Open loads or makes the CA and the server's certificate in the data folder
// dir, which must exist. The certificate is for hosts, the hosts of the listen
// addresses, and for localhost, the loopback addresses and the machine's name;
// a host that stands for all addresses ("", 0.0.0.0, ::) adds those of all
// interfaces. What is new, and renewals that fail, are told to log.
//
// A certificate is replaced after two thirds of its life, when it is for other
// names, and when it is not of this CA. A CA is replaced when it would expire
// before a certificate that it issues. A file that cannot be understood is left
// alone; the error names it.
func Open(dir string, hosts []string, clk clock.Clock, log *slog.Logger) (*CA, error) {
	c := &CA{dir: dir, hosts: hosts, clk: clk, log: log}
	if err := c.refresh(); err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	return c, nil
}

// CAFile is the certificate that clients trust: what AWS_CA_BUNDLE names.
func (c *CA) CAFile() string { return filepath.Join(c.dir, "ca.pem") }

func (c *CA) caPair() string     { return filepath.Join(c.dir, "tls", "ca.pem") }
func (c *CA) serverPair() string { return filepath.Join(c.dir, "tls", "server.pem") }

// GetCertificate is for tls.Config.GetCertificate. It renews the certificate
// when that is due; a handshake needs no other timer.
func (c *CA) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clk.Now(); !now.Before(c.renewAt) {
		if err := c.refresh(); err != nil {
			c.log.Error("cannot renew the TLS certificate", "error", err, "expires", c.cert.Leaf.NotAfter)
			c.renewAt = now.Add(retryAfter)
		}
	}
	return c.cert, nil
}

// refresh brings the files up to date and takes the certificate from them. Each
// step finds what an earlier run that was cut off left of it.
func (c *CA) refresh() error {
	if err := os.MkdirAll(filepath.Join(c.dir, "tls"), 0o700); err != nil {
		return err
	}
	now := c.clk.Now()
	ca, err := readPair(c.caPair())
	if err != nil {
		return err
	}
	switch {
	case ca != nil && !ca.Leaf.IsCA:
		return fmt.Errorf("%s is not the certificate of a CA; delete the file to have a new CA made", c.caPair())
	case ca != nil && now.Before(ca.Leaf.NotBefore):
		// More likely the clock is wrong than the CA, which clients trust.
		return fmt.Errorf("the clock shows %s, but the CA in %s is valid only from %s; set the clock, or delete the file to have a new CA made",
			now.Format(time.RFC3339), c.caPair(), ca.Leaf.NotBefore.Format(time.RFC3339))
	case ca == nil || ca.Leaf.NotAfter.Before(now.Add(serverLife)):
		if ca, err = newCA(c.caPair(), now); err != nil {
			return err
		}
		c.log.Info("made a new local CA; clients must trust its certificate", "file", c.CAFile(), "expires", ca.Leaf.NotAfter)
	}
	if err := publish(c.CAFile(), ca.Leaf); err != nil {
		return err
	}

	names, err := serverNames(c.hosts)
	if err != nil {
		return err
	}
	cert, err := readPair(c.serverPair())
	if err != nil {
		return err
	}
	if cert == nil || !usable(cert.Leaf, ca.Leaf, names, now) {
		if cert, err = newServer(c.serverPair(), ca, names, now); err != nil {
			return err
		}
		c.log.Info("made a new TLS certificate", "names", names, "expires", cert.Leaf.NotAfter)
	}
	c.cert, c.renewAt = cert, renewalTime(cert.Leaf)
	return nil
}

// usable tells whether a server certificate need not be replaced yet.
func usable(cert, ca *x509.Certificate, names []string, now time.Time) bool {
	return slices.Equal(namesOf(cert), names) &&
		bytes.Equal(cert.RawIssuer, ca.RawSubject) && cert.CheckSignatureFrom(ca) == nil &&
		!now.Before(cert.NotBefore) && now.Before(renewalTime(cert))
}

// renewalTime is after two thirds of a certificate's life.
func renewalTime(cert *x509.Certificate) time.Time {
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) / 3 * 2)
}

// hostName is what can be a DNS name in a certificate.
var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// serverNames lists the names and addresses that the server is reached by, in
// the order of namesOf.
func serverNames(hosts []string) ([]string, error) {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && hostName.MatchString(strings.ToLower(name)) {
		names = append(names, strings.ToLower(name))
	}
	for _, host := range hosts {
		ip, err := netip.ParseAddr(host)
		switch {
		case host == "" || err == nil && ip.IsUnspecified():
			addrs, err := net.InterfaceAddrs()
			if err != nil {
				return nil, fmt.Errorf("addresses of this machine: %w", err)
			}
			for _, a := range addrs {
				// A link-local address says nothing without its link.
				if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
					names = append(names, p.Addr().Unmap().String())
				}
			}
		case err == nil:
			names = append(names, ip.Unmap().WithZone("").String())
		case hostName.MatchString(strings.ToLower(host)):
			names = append(names, strings.ToLower(host))
		default:
			return nil, fmt.Errorf("%q is no host name that a certificate can be for", host)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// namesOf lists a certificate's names and addresses, sorted.
func namesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

// newCA makes a CA and writes its pair to file.
func newCA(file string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	// A name of its own, so that a client that knows an earlier CA says "unknown
	// issuer" and not "bad signature".
	id := sha256.Sum256(public)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Kagimori local CA " + hex.EncodeToString(id[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // issues servers, not CAs
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return writePair(file, der, key)
}

// newServer makes a server certificate of ca and writes its pair to file.
func newServer(file string, ca *tls.Certificate, names []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Kagimori"},
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(-backdate).Add(serverLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, key.Public(), ca.PrivateKey)
	if err != nil {
		return nil, err
	}
	return writePair(file, der, key)
}

// readPair reads a key and its certificate; it is nil when there is no file.
func readPair(file string) (*tls.Certificate, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer clear(data)
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("%s does not hold a key and its certificate (%w); delete the file to have a new pair made", file, err)
	}
	return &pair, nil
}

func writePair(file string, der []byte, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(pkcs8)
	data := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	defer clear(data)
	if err := durable.Replace(file, data, 0o600); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	return &pair, err
}

// publish writes a certificate for clients, unless it is there already.
func publish(file string, cert *x509.Certificate) error {
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return durable.Replace(file, data, 0o644)
}
