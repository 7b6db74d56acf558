package localca_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/localca"
)

const day = 24 * time.Hour

// newClock shows the present time, which clients other than ours check
// certificates against.
func newClock() *clock.Manual { return clock.NewManual(clock.System().Now()) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, dir string, clk clock.Clock, hosts ...string) *localca.CA {
	t.Helper()
	ca, err := localca.Open(dir, hosts, clk, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

type source interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

func leaf(t *testing.T, s source) *x509.Certificate {
	t.Helper()
	cert, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return cert.Leaf
}

func serial(t *testing.T, s source) string { return leaf(t, s).SerialNumber.String() }

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// trusts checks the server's certificate as a client does that has read ca.pem.
func trusts(t *testing.T, ca *localca.CA, host string, now time.Time) error {
	t.Helper()
	cert := leaf(t, ca) // may renew
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(read(t, ca.CAFile())) {
		t.Fatal("ca.pem holds no certificate")
	}
	_, err := cert.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now})
	return err
}

// handshake connects over loopback and gives what the client sees.
func handshake(t *testing.T, s source, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", localca.ServerTLS(s.GetCertificate))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		conn.Write([]byte("x")) // only after the handshake
		conn.Close()
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	// With TLS 1.3 the client is done before the server is.
	_, err = io.ReadFull(conn, make([]byte, 1))
	return conn.ConnectionState(), err
}

func TestHandshake(t *testing.T) {
	clk := newClock()
	ca := open(t, t.TempDir(), clk, "kms.example.com")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(t, ca.CAFile()))

	state, err := handshake(t, ca, &tls.Config{RootCAs: pool, ServerName: "kms.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("%s with %s", tls.VersionName(state.Version), state.CurveID)
	}
	state, err = handshake(t, ca, &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	if state.Version != tls.VersionTLS12 || !strings.Contains(tls.CipherSuiteName(state.CipherSuite), "_ECDHE_") {
		t.Errorf("%s with %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	}
	for what, config := range map[string]*tls.Config{
		"TLS 1.1":      {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"a CBC suite":  {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
		"another name": {ServerName: "kms.example.org"},
	} {
		config.RootCAs = pool
		if config.ServerName == "" {
			config.ServerName = "localhost"
		}
		if _, err := handshake(t, ca, config); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestFilesAndModes(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir, newClock())
	if ca.CAFile() != filepath.Join(dir, "ca.pem") {
		t.Errorf("CA file %s", ca.CAFile())
	}
	want := map[string]fs.FileMode{"ca.pem": 0o644, "tls": 0o700 | fs.ModeDir, "tls/ca.pem": 0o600, "tls/server.pem": 0o600}
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if info.Mode() != want[rel] {
			t.Errorf("%s has mode %v, want %v", rel, info.Mode(), want[rel])
		}
		delete(want, rel)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; missing %v", err, want)
	}
	if bytes.Contains(read(t, ca.CAFile()), []byte("PRIVATE")) {
		t.Error("ca.pem holds a private key")
	}
}

func TestCertificates(t *testing.T) {
	clk := newClock()
	ca := open(t, t.TempDir(), clk)
	block, rest := pem.Decode(read(t, ca.CAFile()))
	if block == nil || len(rest) > 0 {
		t.Fatal("ca.pem is not one PEM block")
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if life := authority.NotAfter.Sub(clk.Now()); life < 3640*day || life > 3653*day {
		t.Errorf("the CA lives %v", life)
	}
	if !authority.IsCA || !authority.MaxPathLenZero || authority.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("the CA may do more or less than issue server certificates: %+v", authority)
	}
	cert := leaf(t, ca)
	if life := cert.NotAfter.Sub(cert.NotBefore); life > 90*day || life < 89*day {
		t.Errorf("the server certificate lives %v", life)
	}
	if cert.IsCA || !slices.Equal(cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("the server certificate is good for %v", cert.ExtKeyUsage)
	}
	if _, err := handshake(t, ca, &tls.Config{ServerName: "localhost"}); err == nil {
		t.Error("a client that was not given ca.pem trusts the server")
	}
}

func TestReopenKeepsAll(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	ca := open(t, dir, clk, "kms.example.com")
	first, before := read(t, ca.CAFile()), serial(t, ca)
	clk.Advance(59 * day)
	again := open(t, dir, clk, "kms.example.com")
	if serial(t, again) != before || !bytes.Equal(read(t, again.CAFile()), first) {
		t.Error("certificates were made anew without need")
	}
}

func TestRenewal(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	ca := open(t, dir, clk)
	first, authority := serial(t, ca), read(t, ca.CAFile())

	clk.Advance(59 * day)
	if serial(t, ca) != first {
		t.Error("renewed before two thirds of its life")
	}
	clk.Advance(2 * day)
	second := serial(t, ca)
	if second == first {
		t.Error("not renewed while running")
	}
	if serial(t, open(t, dir, clk)) != second {
		t.Error("the renewed certificate was not kept")
	}
	clk.Advance(61 * day)
	if serial(t, open(t, dir, clk)) == second {
		t.Error("not renewed at start")
	}
	if !bytes.Equal(read(t, ca.CAFile()), authority) {
		t.Error("the CA changed with the server's certificate")
	}
	// Ten years with a handshake now and then: the chain is always good, and the
	// CA is replaced before a certificate would outlive it.
	for range 10 * 365 / 5 {
		clk.Advance(5 * day)
		if err := trusts(t, ca, "localhost", clk.Now()); err != nil {
			t.Fatalf("%v: %v", clk.Now(), err)
		}
	}
	if bytes.Equal(read(t, ca.CAFile()), authority) {
		t.Error("the CA was not replaced")
	}
}

func TestRenewalThatFailsIsTriedAgain(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	var log strings.Builder
	ca, err := localca.Open(dir, nil, clk, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	first := serial(t, ca)
	pair := filepath.Join(dir, "tls", "ca.pem")
	good := read(t, pair)
	write(t, pair, good[:len(good)/2])

	clk.Advance(61 * day)
	log.Reset()
	for range 3 {
		if serial(t, ca) != first {
			t.Error("not the certificate that is still good")
		}
	}
	if n := strings.Count(log.String(), pair); n != 1 {
		t.Errorf("the failure was told %d times:\n%s", n, &log)
	}
	write(t, pair, good)
	clk.Advance(time.Minute)
	if serial(t, ca) == first {
		t.Error("not tried again")
	}
}

func TestNames(t *testing.T) {
	dir, clk := t.TempDir(), newClock()
	ca := open(t, dir, clk, "kms.example.com")
	authority, first := read(t, ca.CAFile()), serial(t, ca)
	accepted := func(ca *localca.CA, hosts ...string) {
		t.Helper()
		for _, host := range hosts {
			if err := trusts(t, ca, host, clk.Now()); err != nil {
				t.Error(err)
			}
		}
	}
	accepted(ca, "kms.example.com", "localhost", "127.0.0.1", "::1")
	if name, err := os.Hostname(); err == nil {
		accepted(ca, name)
	}

	ca = open(t, dir, clk, "KMS.example.org", "192.0.2.1", "fe80::1%eth0")
	accepted(ca, "kms.example.org", "192.0.2.1", "fe80::1", "localhost")
	if serial(t, ca) == first || trusts(t, ca, "kms.example.com", clk.Now()) == nil {
		t.Error("the certificate is still for the former name")
	}
	if !bytes.Equal(read(t, ca.CAFile()), authority) {
		t.Error("another name made another CA")
	}

	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range []string{"", "0.0.0.0", "::"} {
		ca := open(t, t.TempDir(), clk, all)
		for _, a := range addrs {
			if p := netip.MustParsePrefix(a.String()); !p.Addr().IsLinkLocalUnicast() {
				accepted(ca, p.Addr().String())
			}
		}
	}

	for _, host := range []string{"kms example", "鍵守.example", "-x", "a..b", "*"} {
		if _, err := localca.Open(t.TempDir(), []string{host}, clk, quiet()); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", host)) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// Whatever a crash, a restored backup or an operator leaves of the files, the
// next start makes them fit again.
func TestMissingAndForeignFiles(t *testing.T) {
	clk := newClock()
	other := t.TempDir()
	open(t, other, clk)
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string)
		newCA  bool
	}{
		{"ca.pem gone", func(t *testing.T, dir string) { remove(t, dir, "ca.pem") }, false},
		{"ca.pem of another", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "ca.pem"), read(t, filepath.Join(other, "ca.pem")))
		}, false},
		{"server pair gone", func(t *testing.T, dir string) { remove(t, dir, "tls/server.pem") }, false},
		{"CA pair gone", func(t *testing.T, dir string) { remove(t, dir, "tls/ca.pem") }, true},
		{"CA pair of another", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "tls/ca.pem"), read(t, filepath.Join(other, "tls/ca.pem")))
		}, true},
		{"cut off while writing", func(t *testing.T, dir string) {
			remove(t, dir, "tls/server.pem")
			write(t, filepath.Join(dir, "tls/server.pem.new"), []byte("-----BEGIN"))
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			before := read(t, open(t, dir, clk).CAFile())
			test.change(t, dir)
			ca := open(t, dir, clk)
			if err := trusts(t, ca, "localhost", clk.Now()); err != nil {
				t.Error(err)
			}
			if test.newCA == bytes.Equal(read(t, ca.CAFile()), before) {
				t.Errorf("new CA: want %t", test.newCA)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "tls", "*.new")); left != nil {
				t.Errorf("left over: %v", left)
			}
			if serial(t, open(t, dir, clk)) != serial(t, ca) {
				t.Error("the next start changes it again")
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFiles(t *testing.T) {
	clk := newClock()
	for _, name := range []string{"tls/ca.pem", "tls/server.pem"} {
		for what, damage := range map[string]func(good []byte) []byte{
			"empty":         func([]byte) []byte { return nil },
			"cut":           func(good []byte) []byte { return good[:len(good)/2] },
			"key only":      func(good []byte) []byte { return good[:bytes.Index(good, []byte("-----BEGIN CERT"))] },
			"no PEM":        func([]byte) []byte { return []byte("hello") },
			"other key":     func(good []byte) []byte { return append(otherKey(t), good...) },
			"not a CA's":    nil,
			"in the future": nil,
		} {
			dir := t.TempDir()
			open(t, dir, clk)
			file := filepath.Join(dir, name)
			at := clk.Now()
			switch {
			case damage != nil:
				write(t, file, damage(read(t, file)))
			case name == "tls/server.pem":
				continue // is simply replaced
			case what == "not a CA's":
				write(t, file, read(t, filepath.Join(dir, "tls/server.pem")))
			default:
				at = at.Add(-2 * time.Hour)
			}
			now := read(t, file)
			_, err := localca.Open(dir, nil, clock.NewManual(at), quiet())
			if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "delete the file") {
				t.Errorf("%s %s: error %v does not say which file to delete", name, what, err)
				continue
			}
			if !bytes.Equal(read(t, file), now) {
				t.Errorf("%s %s: the file was changed", name, what)
			}
			remove(t, dir, name)
			open(t, dir, clock.NewManual(at)) // the advice works
		}
	}
}

// otherKey is the key of a CA that is thrown away, in PEM.
func otherKey(t *testing.T) []byte {
	dir := t.TempDir()
	open(t, dir, newClock())
	block, _ := pem.Decode(read(t, filepath.Join(dir, "tls/ca.pem")))
	return pem.EncodeToMemory(block)
}

// Clients that are not Go's trust ca.pem as well.
func TestForeignClients(t *testing.T) {
	ca := open(t, t.TempDir(), newClock())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "kept") }),
		TLSConfig: localca.ServerTLS(ca.GetCertificate),
	}
	go server.ServeTLS(listener, "", "")
	defer server.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())

	const script = `
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[1])
context.verify_flags |= ssl.VERIFY_X509_STRICT
print(urllib.request.urlopen(sys.argv[2], context=context).read().decode(), end="")`
	for _, host := range []string{"127.0.0.1", "localhost"} {
		url := "https://" + net.JoinHostPort(host, port)
		for _, client := range [][]string{
			{"curl", "--noproxy", "*", "--silent", "--show-error", "--cacert", ca.CAFile(), url},
			{"python3", "-c", script, ca.CAFile(), url},
		} {
			t.Run(client[0]+" "+host, func(t *testing.T) {
				if _, err := exec.LookPath(client[0]); err != nil {
					t.Skipf("no %s here", client[0])
				}
				cmd := exec.CommandContext(t.Context(), client[0], client[1:]...)
				cmd.Env = append(os.Environ(), "no_proxy=*")
				out, err := cmd.CombinedOutput()
				if err != nil || string(out) != "kept" {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
	}
}
