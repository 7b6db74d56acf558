package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestIdentities is IAM, STS, Organizations and grants, as boto3 and the SDK for
// JavaScript see them.
func TestIdentities(t *testing.T) {
	for _, c := range []client{
		{"boto3", "python", "python", "testdata/identities.py"},
		{"javascript", "node", "node", "testdata/identities.mjs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			skipWithout(t, c.needs)
			t.Parallel()
			s := serve(t, filepath.Join(t.TempDir(), "data"), setup{})
			defer s.stop(t)
			visit(t, s, t.TempDir(), c)
		})
	}
}

// TestAsymmetric has Python's cryptography and OpenSSL verify what the service signs,
// encrypt what it decrypts, and read what it gives.
func TestAsymmetric(t *testing.T) {
	skipWithout(t, "python")
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("skipped: there is no openssl")
	}
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{})
	defer s.stop(t)
	visit(t, s, t.TempDir(), client{"cryptography", "python", "python", "testdata/asymmetric.py"})
}

// TestImports has boto3 import what Python's cryptography made and wrapped, also into
// the Regions of a multi-Region key.
func TestImports(t *testing.T) {
	skipWithout(t, "python")
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{})
	defer s.stop(t)
	visit(t, s, t.TempDir(), client{"imports", "python", "python", "testdata/imports.py"})
}

// TestJOSE has Node's crypto and jose verify JWTs that the service signs.
func TestJOSE(t *testing.T) {
	skipWithout(t, "node")
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{})
	defer s.stop(t)
	visit(t, s, t.TempDir(), client{"jose", "node", "node", "testdata/jose.mjs"})
}
