package e2e

import (
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
