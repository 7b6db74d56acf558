// Package vectors reads known-answer tests, which the tests of several packages run:
// those of NIST, of Project Wycheproof and of standards, kept as testdata/vectors/*.json.
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// File is a file of vectors.
type File struct {
	Source  []string `json:"source"`  // where its vectors are from
	License string   `json:"license"` // of the sources; empty if they have none
	Groups  []Group  `json:"groups"`
}

// Group are the vectors of one key.
type Group struct {
	Name     string `json:"name"`
	Spec     string `json:"spec"`     // KeySpec
	Usage    string `json:"usage"`    // KeyUsage
	Material Hex    `json:"material"` // PKCS #8 in DER, or the bytes of a symmetric key
	Public   Hex    `json:"public"`   // SubjectPublicKeyInfo in DER
	Tests    []Test `json:"tests"`
}

// Test is one vector: what goes in (a message, a ciphertext, a public key), and what
// comes out (a signature, a MAC, a plaintext, a shared secret).
type Test struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	In        Hex    `json:"in"`
	Digest    Hex    `json:"digest"` // of In, where it is more than its hash
	Out       Hex    `json:"out"`
	Result    Result `json:"result"`
	Exact     bool   `json:"exact"` // to make Out is deterministic
}

// Result is "valid" or "invalid".
type Result string

// Valid tells whether the vector is one to accept.
func (r Result) Valid() bool { return r == "valid" }

// Hex are bytes that are written in hexadecimal.
type Hex []byte

// UnmarshalText reads them.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Load reads a file; what is wrong with it ends the test.
func Load(t testing.TB, path string) File {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f File
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(f.Source) == 0 || len(f.Groups) == 0 {
		t.Fatalf("%s: no source or no vectors", path)
	}
	for _, g := range f.Groups {
		for _, v := range g.Tests {
			if v.Result != "valid" && v.Result != "invalid" {
				t.Fatalf("%s: %s: result %q", path, v.Name, v.Result)
			}
		}
	}
	return f
}

// LoadAll reads the files of a pattern (filepath.Glob), by their paths.
func LoadAll(t testing.TB, pattern string) map[string]File {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no files: %v", pattern, err)
	}
	files := map[string]File{}
	for _, path := range paths {
		files[path] = Load(t, path)
	}
	return files
}
