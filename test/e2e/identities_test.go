package e2e

import (
	"path/filepath"
	"testing"
)

// TestIdentities is IAM, STS, Organizations and grants, as boto3 sees them.
func TestIdentities(t *testing.T) {
	skipWithout(t, "python")
	s := serve(t, filepath.Join(t.TempDir(), "data"), setup{})
	defer s.stop(t)
	visit(t, s, t.TempDir(), client{"boto3", "python", "python", "testdata/identities.py"})
}
