package keymaterial

import (
	"bytes"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

// vectors is testdata/vectors.json: what docs/formats.md says, as examples for a
// second implementation.
type vectors struct {
	Format string   `json:"format"`
	Seal   []vector `json:"seal"`
	Refuse []vector `json:"refuse"`
}

// vector is one ciphertext. Those to refuse have no nonce, plaintext and
// additional data of their own, but say what is wrong with them.
type vector struct {
	Name       string            `json:"name"`
	Why        string            `json:"why,omitempty"`
	KeyID      string            `json:"key_id"`
	Material   hexBytes          `json:"material"`
	MaterialID hexBytes          `json:"material_id"`
	Context    map[string]string `json:"context"`
	Nonce      hexBytes          `json:"nonce,omitempty"`
	Plaintext  *hexBytes         `json:"plaintext,omitempty"`
	Additional hexBytes          `json:"additional_data,omitempty"`
	Blob       hexBytes          `json:"blob"`
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// fixed is n bytes that look random and are the same in every run.
func fixed(name string, n int) []byte {
	b := make([]byte, n)
	shake := sha3.NewSHAKE128()
	shake.Write([]byte("kagimori test vectors: " + name))
	shake.Read(b)
	return b
}

// makeVectors makes the vectors with the reference, not with the package.
func makeVectors() vectors {
	type c = map[string]string
	v := vectors{Format: contextLabel}

	seal := func(name, keyID string, plaintext []byte, context c) {
		material, nonce := fixed("material of "+keyID, 32), fixed("nonce of "+name, 24)
		id := referenceMaterialID(keyID, material)
		v.Seal = append(v.Seal, vector{
			Name: name, KeyID: keyID, Material: material, MaterialID: id,
			Context: context, Nonce: nonce, Plaintext: (*hexBytes)(&plaintext),
			Additional: referenceAdditional(referenceHeader(keyID, id), context),
			Blob:       referenceSeal(keyID, material, nonce, plaintext, context),
		})
	}
	text := []byte("鍵を守る者")
	seal("no context", uuidKey, text, nil)
	seal("empty context", uuidKey, text, c{})
	seal("one pair", uuidKey, text, c{"purpose": "backup"})
	seal("several pairs", uuidKey, text, c{"b": "2", "a": "1", "ab": "", "B": "4", "": "5"})
	seal("Japanese context", uuidKey, text, c{"部署": "経理", "用途": "月次バックアップ", "region": "東京"})
	seal("keys that UTF-16 would sort the other way", uuidKey, text, c{"\U0001f511": "key", "\uff21": "fullwidth A"})
	seal("zero bytes and line ends in the context", uuidKey, text, c{"a\x00b": "\r\n", "a": "\x00"})
	seal("empty plaintext", uuidKey, []byte{}, c{"purpose": "backup"})
	seal("data key of 32 bytes", uuidKey, fixed("data key", 32), c{"purpose": "backup"})
	seal("longest plaintext", uuidKey, fixed("plaintext", 4096), nil)
	seal("multi-Region key", mrkKey, text, c{"purpose": "backup"})
	seal("multi-Region key, no context", mrkKey, text, nil)

	// The ciphertexts to refuse come from this one. The key and the context are
	// those to open it with.
	material, nonce := fixed("material of "+uuidKey, 32), fixed("nonce of refused", 24)
	id := referenceMaterialID(uuidKey, material)
	header := referenceHeader(uuidKey, id)
	context := c{"ab": "c", "tenant": "acme"}
	good := referenceSeal(uuidKey, material, nonce, text, context)
	refuse := func(name, why string, context c, blob []byte) {
		v.Refuse = append(v.Refuse, vector{
			Name: name, Why: why, KeyID: uuidKey, Material: material, MaterialID: id, Context: context, Blob: blob,
		})
	}
	// sealed is a ciphertext that authenticates with whatever header and additional data.
	sealed := func(header, additional []byte) []byte {
		return assemble(header, nonce, xaesSeal(material, nonce, text, additional))
	}
	reheaded := func(header []byte) []byte { return sealed(header, referenceAdditional(header, context)) }
	changed := func(b []byte, at int, to byte) []byte {
		b = bytes.Clone(b)
		b[at] = to
		return b
	}
	flipped := func(at int) []byte { return changed(good, at, good[at]^1) }
	pair := func(k, v string) []byte { return appendString(appendString(nil, k), v) }

	refuse("empty", "no bytes", context, []byte{})
	refuse("header only", "ends where the nonce should start", context, good[:50])
	refuse("no tag", "one byte shorter than the shortest ciphertext", context, good[:89])
	refuse("cut", "the last byte of the tag is missing", context, good[:len(good)-1])
	refuse("trailing byte", "a byte follows the tag", context, append(bytes.Clone(good), 0))
	refuse("too long", "authenticates, but the plaintext has 4097 bytes", context,
		referenceSeal(uuidKey, material, nonce, make([]byte, 4097), context))
	refuse("version 0", "authenticates, but the version is not 1", context, reheaded(changed(header, 0, 0)))
	refuse("version 2", "authenticates, but the version is not 1", context, reheaded(changed(header, 0, 2)))
	refuse("key id form 2", "authenticates, but the form is neither 0 nor 1", context, reheaded(changed(header, 1, 2)))
	refuse("form flipped", "names the multi-Region key with the same 16 bytes", context, changed(good, 1, 1))
	refuse("key id flipped", "names another key", context, flipped(2))
	refuse("material id flipped", "names another material", context, flipped(49))
	refuse("foreign key id", "authenticates under the material, but names another key", context,
		reheaded(referenceHeader("1234abcd-12ab-34cd-56ef-1234567890ac", id)))
	refuse("foreign material id", "authenticates under the material, but names another one: opening it would give up key commitment", context,
		reheaded(referenceHeader(uuidKey, fixed("foreign material id", 32))))
	refuse("nonce flipped, first half", "another message key", context, flipped(50))
	refuse("nonce flipped, second half", "another AES-GCM nonce", context, flipped(73))
	refuse("ciphertext flipped", "altered", context, flipped(74))
	refuse("tag flipped", "altered", context, flipped(len(good)-1))
	refuse("other material", "sealed with another material, the header rewritten to name this one", context,
		assemble(header, nonce, xaesSeal(fixed("other material", 32), nonce, text, referenceAdditional(header, context))))
	refuse("plain AES-256-GCM", "sealed under the material itself, not under a derived key", context,
		assemble(header, nonce, must(gcm(material)).Seal(nil, nonce[12:], text, referenceAdditional(header, context))))

	refuse("no context given", "sealed with a context", nil, good)
	refuse("context pair missing", "sealed with one pair more", c{"ab": "c"}, good)
	refuse("context pair added", "sealed with one pair less", c{"ab": "c", "tenant": "acme", "x": ""}, good)
	refuse("context value changed", "sealed with another value", c{"ab": "c", "tenant": "acmf"}, good)
	refuse("context value in other case", "contexts are case-sensitive", c{"ab": "c", "tenant": "ACME"}, good)
	refuse("context key in other case", "contexts are case-sensitive", c{"AB": "c", "tenant": "acme"}, good)
	refuse("context key and value swapped", "sealed with the key as key", c{"c": "ab", "tenant": "acme"}, good)
	refuse("context values swapped", "sealed with the values the other way", c{"ab": "acme", "tenant": "c"}, good)
	refuse("context border moved", "the same characters, divided elsewhere", c{"a": "bc", "tenant": "acme"}, good)
	refuse("context composed differently", "Unicode is not normalised: sealed with U+30AC", c{"\u30ab\u3099": "x"},
		sealed(header, referenceAdditional(header, c{"\u30ac": "x"})))

	refuse("context not sealed", "the additional data ends after the header", context, sealed(header, referenceAdditional(header, nil)))
	refuse("header not sealed", "the additional data lacks the header", context, sealed(header, referenceAdditional(nil, context)))
	refuse("no label", "the additional data lacks the label", context,
		sealed(header, referenceAdditional(header, context)[len(contextLabel):]))
	refuse("pairs not sorted", "the pairs are in falling order", context,
		sealed(header, slices.Concat([]byte(contextLabel), header, pair("tenant", "acme"), pair("ab", "c"))))
	refuse("pairs sorted by UTF-16", "the pairs are not in the order of their UTF-8 bytes", c{"\U0001f511": "1", "\uff21": "2"},
		sealed(header, slices.Concat([]byte(contextLabel), header, pair("\U0001f511", "1"), pair("\uff21", "2"))))
	refuse("lengths little endian", "the lengths are not big endian", c{"a": ""},
		sealed(header, slices.Concat([]byte(contextLabel), header, []byte("\x01\x00\x00\x00a\x00\x00\x00\x00"))))
	return v
}

func (v vectors) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestVectors holds the package to testdata/vectors.json and the file to its
// generator. After a change of the generator: go test -run TestVectors -update
func TestVectors(t *testing.T) {
	made := makeVectors().encode()
	if *update {
		if err := os.WriteFile(vectorsFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, made) {
		t.Error("testdata/vectors.json is not what the generator makes; ciphertexts out there must stay readable")
	}
	var v vectors
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Seal {
		s, err := NewSymmetric(c.KeyID, hex.EncodeToString(c.MaterialID), c.Material)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		blob, err := ParseBlob(c.Blob)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if blob.KeyID() != c.KeyID || blob.MaterialID() != hex.EncodeToString(c.MaterialID) {
			t.Errorf("%s: names key %s and material %s", c.Name, blob.KeyID(), blob.MaterialID())
		}
		plaintext, err := s.Decrypt(nil, blob, c.Context)
		if err != nil || !bytes.Equal(plaintext, *c.Plaintext) {
			t.Errorf("%s: opens to %x, %v", c.Name, plaintext, err)
		}
	}
	for _, c := range v.Refuse {
		s, err := NewSymmetric(c.KeyID, hex.EncodeToString(c.MaterialID), c.Material)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		refused(t, c.Name+": "+c.Why, s, c.Blob, c.Context)
	}
}

// TestPythonAgrees lets an implementation in another language, on another
// cryptographic library, check the vectors and ciphertexts made just now.
func TestPythonAgrees(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 to check the vectors with")
	}
	if err := exec.Command(python, "-c", "import cryptography").Run(); err != nil {
		t.Skip("python3 has no module cryptography to check the vectors with (pip install cryptography)")
	}

	fresh := vectors{Format: contextLabel, Refuse: []vector{}}
	context := map[string]string{"部署": "経理", "\U0001f511": "1", "\uff21": "2", "": ""}
	for i, keyID := range []string{uuidKey, mrkKey} {
		material, plaintext := GenerateSymmetric(), hexBytes(bytes.Repeat([]byte("守"), 1+1000*i))
		blob := encrypt(t, newKey(t, keyID, material), plaintext, context)
		fresh.Seal = append(fresh.Seal, vector{
			Name: "fresh", KeyID: keyID, Material: material,
			MaterialID: must(hex.DecodeString(MaterialID(keyID, material))),
			Context:    context, Nonce: blob[50:74], Plaintext: &plaintext, Blob: blob,
			Additional: referenceAdditional(blob[:50], context),
		})
	}
	freshFile := filepath.Join(t.TempDir(), "fresh.json")
	if err := os.WriteFile(freshFile, fresh.encode(), 0o600); err != nil {
		t.Fatal(err)
	}

	out, err := exec.Command(python, "testdata/check_vectors.py", vectorsFile, freshFile).CombinedOutput()
	if err != nil {
		t.Fatalf("check_vectors.py: %v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}
