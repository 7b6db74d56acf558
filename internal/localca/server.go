package localca

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
)

// ServerTLS is the server's TLS with the certificate that get answers, the
// GetCertificate of a CA or of Files.
//
// TLS 1.2 is the least, with forward secrecy and AEAD only, as RFC 9325 section
// 4.2 wants it. The key exchange is left to crypto/tls: it prefers the hybrid
// post-quantum X25519MLKEM768 and leaves out what FIPS 140-3 does not approve
// of when that mode is on.
func ServerTLS(get func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are all of this kind
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: get,
	}
}

// lookEvery is how often at most Files looks whether its files changed.
const lookEvery = time.Second

// Files is a certificate chain and its key in two PEM files that the operator
// keeps. A change of the files is taken up by the handshakes that follow it. It
// is safe for concurrent use.
type Files struct {
	certFile, keyFile string
	clk               clock.Clock
	log               *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	seen   [2]fs.FileInfo // of the files that cert was read from
	looked time.Time
	told   string // the error last told to log
}

// OpenFiles reads a certificate chain and its key. Later changes that cannot be
// used are told to log; the certificate in use then stays.
func OpenFiles(certFile, keyFile string, clk clock.Clock, log *slog.Logger) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, clk: clk, log: log, looked: clk.Now()}
	if _, err := f.reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// GetCertificate is for tls.Config.GetCertificate.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clk.Now()
	if since := now.Sub(f.looked); since >= 0 && since < lookEvery {
		return f.cert, nil
	}
	f.looked = now
	// Between the writing of one file and the other the pair does not fit; it is
	// tried again at the next look, and told only once.
	changed, err := f.reload()
	switch {
	case err != nil && err.Error() != f.told:
		f.log.Error("cannot use the changed TLS certificate; the former one stays", "error", err)
		f.told = err.Error()
	case err == nil:
		f.told = ""
	}
	if changed {
		f.log.Info("took up the changed TLS certificate", "file", f.certFile, "expires", f.cert.Leaf.NotAfter)
	}
	return f.cert, nil
}

// reload reads the files if they are not those that were read before.
func (f *Files) reload() (changed bool, err error) {
	// Stat first: a change after it is found by the next look.
	var now [2]fs.FileInfo
	for i, name := range []string{f.certFile, f.keyFile} {
		if now[i], err = os.Stat(name); err != nil {
			return false, fmt.Errorf("TLS certificate: %w", err)
		}
	}
	if f.cert != nil && same(now[0], f.seen[0]) && same(now[1], f.seen[1]) {
		return false, nil
	}
	cert, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
	if err != nil {
		return false, fmt.Errorf("TLS certificate %s with key %s: %w", f.certFile, f.keyFile, err)
	}
	f.cert, f.seen = &cert, now
	return true, nil
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
