package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/attestation/attestationtest"
	"github.com/kagimori/kagimori/internal/clock"
)

// TestFirstStart checks what is printed and made, in a folder whose name needs
// quoting in a shell, and that the second start finds it all again.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "Anna's data $HOME")
	began := clock.System().Now()
	s := serve(t, dir, setup{})
	t.Logf("the first start took %s", clock.System().Now().Sub(began))

	credentials, err := os.ReadFile(filepath.Join(dir, "credentials"))
	check(t, err)
	secret := s.variable("AWS_SECRET_ACCESS_KEY")
	if strings.Contains(s.out.String(), secret) {
		t.Error("the secret key is printed though no terminal is there")
	}
	for name, pattern := range map[string]string{
		"AWS_ENDPOINT_URL":      `^http://127\.0\.0\.1:\d+$`,
		"AWS_ACCESS_KEY_ID":     `^AKIA[A-Z2-7]{16}$`,
		"AWS_SECRET_ACCESS_KEY": `^[A-Za-z0-9+/]{40}$`,
		"AWS_REGION":            `^us-east-1$`,
		"AWS_DEFAULT_REGION":    `^us-east-1$`,
	} {
		if !regexp.MustCompile(pattern).MatchString(s.variable(name)) {
			t.Errorf("%s is %q in the shell", name, s.variable(name))
		}
	}
	if !strings.Contains(string(credentials), "aws_secret_access_key = "+secret+"\n") {
		t.Error("the credentials file has another secret key")
	}
	for _, what := range []string{dir, "fsync", "recovery.txt"} {
		if !strings.Contains(s.out.String(), what) {
			t.Errorf("nothing is printed of %s:\n%s", what, s.out)
		}
	}
	modes(t, dir)

	made, err := s.client(nil).CreateKey(t.Context(), &kms.CreateKeyInput{})
	check(t, err)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, body := get(t, s.endpoint+path); status != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, status, body)
		} else if path == "/metrics" && !strings.Contains(body, `kagimori_calls_total{operation="CreateKey",result="Success",service="kms"} 1`) {
			t.Errorf("the CreateKey is not counted:\n%s", body)
		}
	}
	before := files(t, dir)
	s.stop(t)

	s = serve(t, dir, setup{})
	if now := files(t, dir); !maps.Equal(now, before) {
		t.Error("the second start changed the files")
	}
	_, err = s.client(nil).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: made.KeyMetadata.KeyId})
	check(t, err)
	s.stop(t)
}

// modes checks that only the owner can read what is in a data folder.
// The server may be at work: a file that it renames meanwhile is not looked at.
func modes(t *testing.T, dir string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	}))
}

// TestAttestationRoots has an answer that only an enclave on a trusted host can read.
func TestAttestationRoots(t *testing.T) {
	t.Parallel()
	now := clock.System().Now()
	host := attestationtest.NewRoot(now)
	enclave, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	check(t, os.WriteFile(roots, host.PEM(), 0o600))
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{args: []string{"--attestation-roots", roots}})
	answer, err := s.client(nil).GenerateRandom(t.Context(), &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32),
		Recipient: &types.RecipientInfo{AttestationDocument: host.Enclave(now, &enclave.PublicKey).Encode()}})
	check(t, err)
	if secret := attestationtest.Open(t, enclave, answer.CiphertextForRecipient); len(secret) != 32 || answer.Plaintext != nil {
		t.Errorf("%d random bytes for the enclave, %d for others", len(secret), len(answer.Plaintext))
	}
	s.stop(t)
}

func TestOneProcessPerFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, dir, setup{})
	refuse(t, "in use by another kagimori process.*--data", "serve", "--data", dir, "--listen", "127.0.0.1:0")
	_, err := s.client(nil).ListKeys(t.Context(), &kms.ListKeysInput{})
	check(t, err)
	s.kill()
	serve(t, dir, setup{}).stop(t) // the lock of a killed process is free
}

func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	refuse(t, `(?s)not loopback.*--tls-auto.*--insecure-http`, "serve", "--data", dir, "--listen", "0.0.0.0:0")
	refuse(t, `--listen`, "serve", "--data", dir, "--lisen", "127.0.0.1:0")
	refuse(t, `serve`, "sevre")
	file := filepath.Join(t.TempDir(), "kagimori.toml")
	check(t, os.WriteFile(file, []byte("listem = \"127.0.0.1:0\"\n"), 0o600))
	refuse(t, `listen`, "serve", "--data", dir, "--config", file)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer taken.Close()
	refuse(t, `cannot listen.*--listen`, "serve", "--data", dir, "--listen", taken.Addr().String())
	if _, err := os.Stat(dir); err == nil {
		t.Error("a data folder was made for a server that cannot run")
	}
}

func TestGivenCredentials(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	given := map[string]string{
		"KAGIMORI_ACCOUNT_ID":             "111122223333",
		"KAGIMORI_ROOT_ACCESS_KEY_ID":     "AKIAIOSFODNN7EXAMPLE",
		"KAGIMORI_ROOT_SECRET_ACCESS_KEY": `it's;$(a)"secret&key\`,
	}
	with := func(name, value string) setup {
		var how setup
		for k, v := range given {
			if k == name {
				v = value
			}
			how.env = append(how.env, k+"="+v)
		}
		return how
	}
	s := serve(t, dir, with("", ""))
	if s.variable("AWS_ACCESS_KEY_ID") != given["KAGIMORI_ROOT_ACCESS_KEY_ID"] || s.variable("AWS_SECRET_ACCESS_KEY") != given["KAGIMORI_ROOT_SECRET_ACCESS_KEY"] {
		t.Errorf("the pasted credentials are not those given: %q", s.pasted)
	}
	made, err := s.client(nil).CreateKey(t.Context(), &kms.CreateKeyInput{})
	check(t, err)
	if got := aws.ToString(made.KeyMetadata.AWSAccountId); got != "111122223333" {
		t.Errorf("the key is in account %s", got)
	}
	s.stop(t)
	serve(t, dir, with("", "")).stop(t) // the same again is no mistake
	serve(t, dir, setup{}).stop(t)      // nor are none

	before, written := files(t, dir), len(records(t, dir, 1))
	for name, value := range map[string]string{
		"KAGIMORI_ACCOUNT_ID":             "999999999999",
		"KAGIMORI_ROOT_ACCESS_KEY_ID":     "AKIAOTHEROTHEROTHER0",
		"KAGIMORI_ROOT_SECRET_ACCESS_KEY": "another-secret-key",
	} {
		s := launch(t, dir, with(name, value))
		if s.status(t) <= 0 || !strings.Contains(s.errout.String(), name) || !strings.Contains(s.errout.String(), "--data") {
			t.Errorf("with another %s: exit status %d\n%s", name, s.status(t), s)
		}
		for _, secret := range []string{"another-secret-key", given["KAGIMORI_ROOT_SECRET_ACCESS_KEY"]} {
			if strings.Contains(s.String(), secret) {
				t.Errorf("with another %s the message shows a secret:\n%s", name, s)
			}
		}
	}
	if now := files(t, dir); !maps.Equal(now, before) || len(records(t, dir, 1)) != written {
		t.Error("a refused start changed the data folder")
	}
	s = serve(t, dir, setup{})
	_, err = s.client(nil).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: made.KeyMetadata.KeyId})
	check(t, err)
	s.stop(t)
}

// TestTLS looks at the connection itself; that the clients get along with it is
// part of TestTour.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	how := setup{args: []string{"--tls-auto"}}
	s := serve(t, dir, how)
	ca, pool := s.authority(t)
	address := strings.TrimPrefix(s.endpoint, "https://")
	connect := func(c *tls.Config) (tls.ConnectionState, error) {
		conn, err := tls.Dial("tcp", address, c)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.ConnectionState(), nil
	}
	state, err := connect(&tls.Config{RootCAs: pool})
	check(t, err)
	if state.Version != tls.VersionTLS13 || state.CurveID != tls.X25519MLKEM768 {
		t.Errorf("connected with %s and %s", tls.VersionName(state.Version), state.CurveID)
	}
	state, err = connect(&tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS12})
	check(t, err)
	if state.Version != tls.VersionTLS12 {
		t.Errorf("connected with %s", tls.VersionName(state.Version))
	}
	for name, c := range map[string]*tls.Config{
		"TLS 1.1":                 {RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"a client without ca.pem": {RootCAs: x509.NewCertPool()},
		"another host name":       {RootCAs: pool, ServerName: "kms.example.org"},
	} {
		if _, err := connect(c); err == nil {
			t.Errorf("%s can connect", name)
		}
	}

	client := s.client(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}})
	_, err = client.ListKeys(t.Context(), &kms.ListKeysInput{})
	check(t, err)
	s.stop(t)
	all := records(t, dir, 1)
	var rec struct {
		TLSDetails struct{ TLSVersion, KeyExchange string }
	}
	check(t, json.Unmarshal(all[len(all)-2].Record, &rec)) // the last one is StopServer
	if rec.TLSDetails.TLSVersion != "TLSv1.3" || rec.TLSDetails.KeyExchange != "X25519MLKEM768" {
		t.Errorf("the audit record says %+v", rec.TLSDetails)
	}

	s = serve(t, dir, how)
	if again, _ := s.authority(t); string(again) != string(ca) {
		t.Error("after a restart the CA is another one")
	}
	address = strings.TrimPrefix(s.endpoint, "https://")
	_, err = connect(&tls.Config{RootCAs: pool})
	check(t, err)
	s.stop(t)
}

// TestDrain stops a server under load. Calls that it has begun to read are
// answered; each answer's record is there.
func TestDrain(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			s := serve(t, dir, setup{build: checked})
			observed := newObserver()
			client := s.client(observed)
			made, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{})
			check(t, err)
			key := *made.KeyMetadata.KeyId

			var load sync.WaitGroup
			for range 8 {
				load.Go(func() {
					for answered := true; answered; {
						var err error
						_, answered, err = do(t.Context(), client.Encrypt, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}, "")
						if answered && err != nil {
							t.Errorf("a call under load: %v", err)
							return
						}
					}
				})
			}
			var begun []*halfCall
			for range 16 {
				begun = append(begun, beginCall(t, s, key))
			}
			s.signal(signal)
			for t.Context().Err() == nil { // until it takes no more connections
				conn, err := net.Dial("tcp", strings.TrimPrefix(s.endpoint, "http://"))
				if err != nil {
					break
				}
				conn.Close()
			}
			ids := observed.take()
			for _, c := range begun {
				ids = append(ids, c.finish(t))
			}
			if status := s.status(t); status != 0 {
				t.Errorf("exit status %d after %s\n%s", status, signal, s)
			}
			s.healthy(t)
			load.Wait()
			ids = append(ids, observed.take()...)

			recorded := map[string]bool{}
			for _, e := range records(t, dir, 1) {
				var rec struct{ RequestID string }
				check(t, json.Unmarshal(e.Record, &rec))
				recorded[rec.RequestID] = true
			}
			for _, id := range ids {
				if !recorded[id] {
					t.Errorf("answer %s has no audit record", id)
				}
			}
		})
	}
}

// halfCall is a call whose body the server waits for.
type halfCall struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

// beginCall sends the head of a call, and returns when the server has said that it
// reads on.
func beginCall(t *testing.T, s *server, key string) *halfCall {
	t.Helper()
	body := fmt.Appendf(nil, `{"KeyId":%q,"Plaintext":%q}`, key, base64.StdEncoding.EncodeToString(make([]byte, 4096)))
	req, err := http.NewRequest(http.MethodPost, s.endpoint, strings.NewReader(string(body)))
	check(t, err)
	req.Header.Set("X-Amz-Target", "TrentService.Encrypt")
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: s.variable("AWS_ACCESS_KEY_ID"), SecretAccessKey: s.variable("AWS_SECRET_ACCESS_KEY")}
	check(t, v4.NewSigner().SignHTTP(context.Background(), credentials, req, hex.EncodeToString(sum[:]), "kms", "us-east-1", clock.System().Now()))

	c := &halfCall{body: body}
	c.conn, err = net.Dial("tcp", req.URL.Host)
	check(t, err)
	t.Cleanup(func() { c.conn.Close() })
	var head strings.Builder
	fmt.Fprintf(&head, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n", req.URL.Host, len(body))
	check(t, req.Header.Write(&head))
	_, err = c.conn.Write([]byte(head.String() + "\r\n"))
	check(t, err)
	c.in = bufio.NewReader(c.conn)
	res, err := http.ReadResponse(c.in, nil)
	check(t, err)
	if res.StatusCode != http.StatusContinue {
		t.Fatalf("%s instead of 100 Continue", res.Status)
	}
	return c
}

// finish sends the body and gives the id of the answer, which has to be good.
func (c *halfCall) finish(t *testing.T) string {
	t.Helper()
	_, err := c.conn.Write(c.body)
	check(t, err)
	res, err := http.ReadResponse(c.in, nil)
	check(t, err)
	defer res.Body.Close()
	var out struct{ CiphertextBlob []byte }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusOK || len(out.CiphertextBlob) < 4096 {
		t.Errorf("a call in flight was answered with %s, %d bytes of ciphertext, %v", res.Status, len(out.CiphertextBlob), err)
	}
	return res.Header.Get("X-Amzn-Requestid")
}

func TestCommands(t *testing.T) {
	t.Parallel()
	if out := succeed(t, "version"); !regexp.MustCompile(`^kagimori \S+\ngo1\.\d+`).MatchString(out) {
		t.Errorf("kagimori version: %s", out)
	}
	help := succeed(t, "help")
	for _, command := range []string{"serve", "root", "backup", "restore", "audit", "version", "completion"} {
		if !strings.Contains(help, "\n  "+command+" ") {
			t.Errorf("help does not name %s:\n%s", command, help)
		}
		succeed(t, "help", command)
	}
	settings := succeed(t, "serve", "--print-config", "--listen", "127.0.0.1:4600")
	file := filepath.Join(t.TempDir(), "kagimori.toml")
	check(t, os.WriteFile(file, []byte(settings), 0o600))
	if again := succeed(t, "serve", "--print-config", "--config", file); again != settings || !strings.Contains(again, "127.0.0.1:4600") {
		t.Errorf("the printed settings are not read back:\n%s\n%s", settings, again)
	}
}

// TestCompletion presses the tab key in a real bash.
func TestCompletion(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("skipped: there is no bash")
	}
	script := succeed(t, "completion", "bash")
	for line, want := range map[string]string{
		"kagimori se":                   "serve",
		"kagimori root ver":             "verify",
		"kagimori serve --tls-a":        "--tls-auto",
		"kagimori serve --log-format j": "json",
	} {
		cmd := exec.Command(bash, "-c", script+`
			COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
			_kagimori "$1"
			echo "${COMPREPLY[@]}"`, "bash")
		cmd.Args = append(cmd.Args, strings.Fields(line)...)
		cmd.Env = append(environment(t), "PATH="+filepath.Dir(binary(t, released))+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q completes to %q, %v, want %q", line, got, err, want)
		}
	}
}
