package e2e

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTrails delivers to an S3 server that is not ours, and has `aws cloudtrail
// validate-logs` find every change to what was delivered.
func TestTrails(t *testing.T) {
	skipWithout(t, "python")
	skipWithout(t, "go")
	t.Parallel()
	const id, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	root, address := t.TempDir(), freeAddress(t)
	gateway := filepath.Join(tools(t), "go", "versitygw")
	start(t, nil, gateway, environment(t), "--port", address, "--access", id, "--secret", secret, "--quiet", "posix", "--sidecar", t.TempDir(), root)
	for range 1000 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	credentials := filepath.Join(t.TempDir(), "credentials")
	check(t, os.WriteFile(credentials, []byte("[default]\naws_access_key_id = "+id+"\naws_secret_access_key = "+secret+"\n"), 0o600))
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{
		env:  []string{"KAGIMORI_ROOT_ACCESS_KEY_ID=" + id, "KAGIMORI_ROOT_SECRET_ACCESS_KEY=" + secret},
		args: []string{"--buckets", "http://" + address, "--bucket-credentials", credentials},
	})
	defer s.stop(t)
	visit(t, s, t.TempDir(), client{"trails", "python", "python", "testdata/trails.py"}, "http://"+address, root)
}

// freeAddress is one on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}
