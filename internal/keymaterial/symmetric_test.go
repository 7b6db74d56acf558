package keymaterial

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	uuidKey = "1234abcd-12ab-34cd-56ef-1234567890ab"
	mrkKey  = "mrk-1234abcd12ab34cd56ef1234567890ab" // the same 16 bytes
)

// newKey is a Symmetric of material that the test knows.
func newKey(t testing.TB, keyID string, material []byte) *Symmetric {
	t.Helper()
	s, err := NewSymmetric(keyID, MaterialID(keyID, material), material)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func encrypt(t testing.TB, s *Symmetric, plaintext []byte, context map[string]string) []byte {
	t.Helper()
	blob, err := s.Encrypt(nil, plaintext, context)
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// open parses and decrypts, as the service does.
func open(s *Symmetric, blob []byte, context map[string]string) ([]byte, error) {
	b, err := ParseBlob(blob)
	if err != nil {
		return nil, err
	}
	return s.Decrypt(nil, b, context)
}

// refused fails the test if s opens the blob or says why it does not.
func refused(t testing.TB, what string, s *Symmetric, blob []byte, context map[string]string) {
	t.Helper()
	if plaintext, err := open(s, blob, context); err != ErrInvalidCiphertext || plaintext != nil {
		t.Errorf("%s: got plaintext %x and error %v, want ErrInvalidCiphertext alone", what, plaintext, err)
	}
}

func TestRoundTrip(t *testing.T) {
	plaintext := make([]byte, MaxPlaintext)
	rand.Read(plaintext)
	many := map[string]string{}
	for i := range 40 { // more than fit on the stack
		many[fmt.Sprint("key ", i)] = strings.Repeat("値", i)
	}
	contexts := []map[string]string{nil, {"purpose": "test"}, {"部署": "経理", "": "", "empty": ""}, many}
	sizes := []int{4080, 4081, 4095, 4096}
	for n := range 130 {
		sizes = append(sizes, n)
	}
	for _, keyID := range []string{uuidKey, mrkKey} {
		material := GenerateSymmetric()
		s := newKey(t, keyID, material)
		for i, n := range sizes {
			context := contexts[i%len(contexts)]
			blob := encrypt(t, s, plaintext[:n], context)
			if len(blob) != n+Overhead {
				t.Fatalf("%d bytes became %d, want %d more", n, len(blob), Overhead)
			}
			// The nonce is random, but given the nonce every byte is determined.
			if want := referenceSeal(keyID, material, blob[50:74], plaintext[:n], context); !bytes.Equal(blob, want) {
				t.Fatalf("blob of %d bytes is\n%x, want\n%x", n, blob, want)
			}
			parsed, err := ParseBlob(blob)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.KeyID() != keyID || parsed.MaterialID() != MaterialID(keyID, material) {
				t.Fatalf("blob names key %s and material %s", parsed.KeyID(), parsed.MaterialID())
			}
			got, err := s.Decrypt(nil, parsed, context)
			if err != nil || !bytes.Equal(got, plaintext[:n]) {
				t.Fatalf("%d bytes come back as %x, %v", n, got, err)
			}
		}
	}
}

func TestCiphertextFitsTheAPI(t *testing.T) {
	const maxCiphertextBlob = 6144 // CiphertextType of the KMS model
	if got := MaxPlaintext + Overhead; got > maxCiphertextBlob {
		t.Errorf("longest ciphertext is %d bytes, KMS takes %d", got, maxCiphertextBlob)
	}
	if Overhead != 90 {
		t.Errorf("overhead is %d bytes; the format says 90", Overhead)
	}
}

func TestAppends(t *testing.T) {
	s := newKey(t, uuidKey, GenerateSymmetric())
	prefix := []byte("before ")
	for _, spare := range []int{0, 1000} {
		blob, err := s.Encrypt(slices.Grow(bytes.Clone(prefix), spare), []byte("secret"), nil)
		if err != nil || !bytes.HasPrefix(blob, prefix) {
			t.Fatalf("Encrypt lost what was there: %q, %v", blob, err)
		}
		parsed, err := ParseBlob(blob[len(prefix):])
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Decrypt(slices.Grow(bytes.Clone(prefix), spare), parsed, nil)
		if err != nil || string(got) != "before secret" {
			t.Fatalf("Decrypt made %q, %v", got, err)
		}
	}
}

func TestNoncesNeverRepeat(t *testing.T) {
	s := newKey(t, uuidKey, GenerateSymmetric())
	seen := map[string]bool{}
	for range 10_000 {
		nonce := encrypt(t, s, nil, nil)[headerSize : headerSize+nonceSize]
		for _, half := range []string{"1" + string(nonce[:12]), "2" + string(nonce[12:])} {
			if seen[half] {
				t.Fatalf("half a nonce came twice: %x", half)
			}
			seen[half] = true
		}
	}
}

func TestEveryBitCounts(t *testing.T) {
	s := newKey(t, uuidKey, GenerateSymmetric())
	context := map[string]string{"a": "b"}
	for _, n := range []int{0, 1, 32, 4096} {
		blob := encrypt(t, s, make([]byte, n), context)
		for i := range len(blob) * 8 {
			blob[i/8] ^= 1 << (i % 8)
			refused(t, fmt.Sprintf("%d bytes, bit %d flipped", n, i), s, blob, context)
			blob[i/8] ^= 1 << (i % 8)
		}
		for cut := range len(blob) {
			refused(t, fmt.Sprintf("%d bytes cut to %d", n, cut), s, blob[:cut], context)
		}
		refused(t, "a byte added", s, append(bytes.Clone(blob), 0), context)
		if _, err := open(s, blob, context); err != nil {
			t.Fatal("the blob itself is refused")
		}
	}
	if _, err := s.Decrypt(nil, Blob{}, nil); err != ErrInvalidCiphertext {
		t.Errorf("the zero Blob gives %v", err)
	}
}

func TestContextMustMatch(t *testing.T) {
	s := newKey(t, uuidKey, GenerateSymmetric())
	type c = map[string]string
	contexts := []c{
		{},
		{"": ""},
		{"ab": "c"}, {"a": "bc"}, {"abc": ""}, {"": "abc"}, {"c": "ab"}, {"b": "ac"},
		{"AB": "c"}, {"ab": "C"}, {"ab": "c "}, {"ab": "c\x00"},
		{"a": "b", "c": "d"}, {"a": "d", "c": "b"}, {"b": "a", "d": "c"}, {"a": "b"}, {"c": "d"},
		{"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"}, // would be the pairs a:b, c:d without the outer length
		{"a": "b", "c": "d", "": ""},
		{"鍵": "守"}, {"守": "鍵"}, {"鍵守": ""},
		{"\u30ac": ""}, {"\u30ab\u3099": ""}, // ガ composed and decomposed
	}
	for i, sealed := range contexts {
		blob := encrypt(t, s, []byte("plain"), sealed)
		for j, given := range contexts {
			if i == j {
				if _, err := open(s, blob, given); err != nil {
					t.Errorf("context %q does not open its own ciphertext", given)
				}
				continue
			}
			refused(t, fmt.Sprintf("sealed with %q, opened with %q", sealed, given), s, blob, given)
		}
	}
	// Absent and empty are the same, both ways.
	for _, pair := range [][2]c{{nil, {}}, {{}, nil}} {
		if _, err := open(s, encrypt(t, s, nil, pair[0]), pair[1]); err != nil {
			t.Errorf("sealed with %#v, not opened with %#v", pair[0], pair[1])
		}
	}
}

func TestOtherKeyOrMaterialRefused(t *testing.T) {
	material := GenerateSymmetric()
	s := newKey(t, uuidKey, material)
	blob := encrypt(t, s, []byte("plain"), nil)
	for name, other := range map[string]*Symmetric{
		"the same material in another key":              newKey(t, "1234abcd-12ab-34cd-56ef-1234567890ac", material),
		"the same material in the multi-Region variant": newKey(t, mrkKey, material),
		"another material of the key":                   newKey(t, uuidKey, GenerateSymmetric()),
		"another material of another key":               newKey(t, mrkKey, GenerateSymmetric()),
	} {
		refused(t, name, other, blob, nil)
		// The header is authenticated: naming the other key does not help.
		renamed := slices.Concat(other.header[:], blob[headerSize:])
		refused(t, name+", header rewritten", other, renamed, nil)
	}
}

// TestCiphertextCommitsToMaterial: what authenticates under a material but names
// another one is refused, so that no blob opens under two materials.
func TestCiphertextCommitsToMaterial(t *testing.T) {
	material, nonce := GenerateSymmetric(), make([]byte, 24)
	s := newKey(t, uuidKey, material)
	foreign := referenceHeader(uuidKey, referenceMaterialID(uuidKey, GenerateSymmetric()))
	for _, authenticated := range [][]byte{foreign, s.header[:]} {
		forged := assemble(foreign, nonce, xaesSeal(material, nonce, []byte("plain"), referenceAdditional(authenticated, nil)))
		refused(t, fmt.Sprintf("header %x, authenticated %x", foreign, authenticated), s, forged, nil)
	}
}

// TestParseBlobRefuses: a foreign ciphertext is refused before anybody looks for
// the key that it seems to name.
func TestParseBlobRefuses(t *testing.T) {
	good := encrypt(t, newKey(t, uuidKey, GenerateSymmetric()), nil, nil)
	for name, change := range map[string]func(b []byte) []byte{
		"empty":           func(b []byte) []byte { return nil },
		"too short":       func(b []byte) []byte { return b[:Overhead-1] },
		"too long":        func(b []byte) []byte { return append(b, make([]byte, MaxPlaintext+1)...) },
		"version 0":       func(b []byte) []byte { b[0] = 0; return b },
		"version 2":       func(b []byte) []byte { b[0] = 2; return b },
		"form 2 (of AWS)": func(b []byte) []byte { b[1] = 2; return b },
	} {
		if blob, err := ParseBlob(change(bytes.Clone(good))); err != ErrInvalidCiphertext {
			t.Errorf("%s: got a blob of %d bytes and error %v", name, len(blob.raw), err)
		}
	}
}

func TestLimits(t *testing.T) {
	s := newKey(t, uuidKey, GenerateSymmetric())
	if _, err := s.Encrypt(nil, make([]byte, MaxPlaintext+1), nil); err != ErrPlaintextTooLong {
		t.Errorf("4097 bytes: %v", err)
	}
	fits := map[string]string{"k": strings.Repeat("v", MaxContext-9)}
	blob := encrypt(t, s, nil, fits)
	if _, err := open(s, blob, fits); err != nil {
		t.Errorf("longest context: %v", err)
	}
	fits["k"] += "v"
	if _, err := s.Encrypt(nil, nil, fits); err != ErrContextTooLong {
		t.Errorf("context too long: %v", err)
	}
	refused(t, "context too long", s, blob, fits)
}

func TestNewSymmetricRefuses(t *testing.T) {
	material := GenerateSymmetric()
	for _, keyID := range []string{
		"",
		"1234ABCD-12ab-34cd-56ef-1234567890ab",
		"1234abcd12ab34cd56ef1234567890ab",
		"{1234abcd-12ab-34cd-56ef-1234567890ab}",
		"1234abcd-12ab-34cd-56ef-1234567890a",
		"1234abcd-12ab-34cd-56ef-1234567890abc",
		"1234abcd-12ab-34cd-56ef-1234567890ag",
		"1234abcd-12ab-34cd-56ef+1234567890ab",
		"1234abc-d12ab-34cd-56ef-1234567890ab",
		"mrk-1234ABCD12ab34cd56ef1234567890ab",
		"MRK-1234abcd12ab34cd56ef1234567890ab",
		"mrk-1234abcd12ab34cd56ef1234567890a",
		"mrk-1234abcd12ab34cd56ef1234567890abc",
		"mrk-1234abcd-12ab-34cd-56ef-12345678",
		"mrk_1234abcd12ab34cd56ef1234567890ab",
		"alias/aws/s3/alias/aws/s3/alias/aws/",
		"１234abcd-12ab-34cd-56ef-1234567890",
	} {
		if _, err := NewSymmetric(keyID, MaterialID(keyID, material), material); err == nil {
			t.Errorf("key id %q is taken", keyID)
		}
	}
	for _, n := range []int{0, 16, 31, 33, 64} {
		wrong := bytes.Repeat([]byte{7}, n)
		if _, err := NewSymmetric(uuidKey, strings.Repeat("0", 64), wrong); err == nil {
			t.Errorf("material of %d bytes is taken", n)
		}
	}
	id := MaterialID(uuidKey, material)
	for _, wrong := range []string{"", strings.ToUpper(id), id[:63], id + "0", MaterialID(mrkKey, material), MaterialID(uuidKey, GenerateSymmetric())} {
		if _, err := NewSymmetric(uuidKey, wrong, material); err == nil {
			t.Errorf("material id %q is taken for %q", wrong, id)
		} else if strings.Contains(err.Error(), hex.EncodeToString(material)) {
			t.Error("the error shows the material")
		}
	}
}

func TestMaterialIsNotKept(t *testing.T) {
	material := GenerateSymmetric()
	kept := bytes.Clone(material)
	s := newKey(t, uuidKey, material)
	clear(material)
	blob := encrypt(t, s, []byte("plain"), nil)
	if !bytes.Equal(blob, referenceSeal(uuidKey, kept, blob[50:74], []byte("plain"), nil)) {
		t.Error("zeroing the caller's material changed the key")
	}
}

func TestPrintsIDsOnly(t *testing.T) {
	material := GenerateSymmetric()
	s := newKey(t, uuidKey, material)
	want := "symmetric material " + MaterialID(uuidKey, material) + " of key " + uuidKey
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if got := fmt.Sprintf(verb, s); got != want {
			t.Errorf("%s prints %s, want %s", verb, got, want)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	s := newKey(t, mrkKey, GenerateSymmetric())
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			plaintext := bytes.Repeat([]byte{byte(g)}, 100*g)
			context := map[string]string{"worker": fmt.Sprint(g)}
			for i := range 200 {
				context["turn"] = strings.Repeat("x", i*g)
				blob, err := s.Encrypt(nil, plaintext, context)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := open(s, blob, context); err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("worker %d got %x, %v", g, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzParseBlob(f *testing.F) {
	for _, keyID := range []string{uuidKey, mrkKey} {
		s := newKey(f, keyID, GenerateSymmetric())
		for _, n := range []int{0, 32, MaxPlaintext} {
			f.Add(encrypt(f, s, make([]byte, n), nil))
		}
	}
	f.Add([]byte{})
	f.Add([]byte{1, 2, 2, 0, 'x'}) // how a ciphertext of AWS starts
	f.Fuzz(func(t *testing.T, b []byte) {
		blob, err := ParseBlob(b)
		if err != nil {
			if err != ErrInvalidCiphertext {
				t.Fatalf("error is %v", err)
			}
			return
		}
		// The header is what the ids stand for, and nothing else.
		id, err := parseKeyID(blob.KeyID())
		if err != nil {
			t.Fatal(err)
		}
		material, err := hex.DecodeString(blob.MaterialID())
		if err != nil || len(material) != 32 {
			t.Fatalf("material id %q", blob.MaterialID())
		}
		if header := slices.Concat([]byte{1}, id[:], material); !bytes.HasPrefix(b, header) {
			t.Fatalf("ids say %x, the blob is %x", header, b)
		}
	})
}

func FuzzDecrypt(f *testing.F) {
	material := bytes.Repeat([]byte{3}, SymmetricSize)
	s := newKey(f, uuidKey, material)
	f.Add(encrypt(f, s, []byte("plain"), nil)[headerSize:], "", "")
	f.Add(encrypt(f, s, make([]byte, 100), map[string]string{"": ""})[headerSize:], "", "")
	f.Add(encrypt(f, s, nil, map[string]string{"鍵": "守"})[headerSize:], "鍵", "守")
	f.Fuzz(func(t *testing.T, rest []byte, k, v string) {
		context := map[string]string{k: v}
		b := slices.Concat(s.header[:], rest) // so that the fuzzer reaches the cipher
		plaintext, err := open(s, b, context)
		if err != nil {
			if err != ErrInvalidCiphertext || plaintext != nil {
				t.Fatalf("got %x, %v", plaintext, err)
			}
			return
		}
		// What opens is what sealing makes.
		if want := referenceSeal(uuidKey, material, b[50:74], plaintext, context); !bytes.Equal(b, want) {
			t.Fatalf("opened %x, which sealing does not make", b)
		}
	})
}

// FuzzContext proves that the canonical form is injective: the context can be
// read back from it. It also compares it with the reference.
func FuzzContext(f *testing.F) {
	f.Add("", "", "a", "b", "ab", "")
	f.Add("ab", "c", "a", "bc", "\x00\x00\x00\x01", "\x00")
	f.Add("鍵", "守", "\U0001f511", "\uff21", "\xff", "\x80")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, k3, v3 string) {
		context := map[string]string{k1: v1, k2: v2, k3: v3}
		form, err := appendContext([]byte{9}, context)
		if err != nil || form[0] != 9 {
			t.Fatalf("form %x, %v", form, err)
		}
		form = form[1:]
		if want := referenceAdditional(nil, context)[len(contextLabel):]; !bytes.Equal(form, want) {
			t.Fatalf("form of %q is %x, want %x", context, form, want)
		}
		if back := readContext(t, form); !maps.Equal(back, context) {
			t.Fatalf("%q reads back as %q", context, back)
		}
	})
}

// readContext reads a canonical form, which has rising keys and no rest.
func readContext(t *testing.T, form []byte) map[string]string {
	context := map[string]string{}
	next := func() string {
		n := int(form[0])<<24 | int(form[1])<<16 | int(form[2])<<8 | int(form[3])
		s := string(form[4 : 4+n])
		form = form[4+n:]
		return s
	}
	for last, first := "", true; len(form) > 0; first = false {
		k := next()
		if !first && k <= last {
			t.Fatalf("key %q comes after %q", k, last)
		}
		context[k], last = next(), k
	}
	return context
}

func benchmark(b *testing.B, size int, context map[string]string, f func(s *Symmetric, plaintext, blob, buf []byte) error) {
	s := newKey(b, uuidKey, GenerateSymmetric())
	plaintext := make([]byte, size)
	blob := encrypt(b, s, plaintext, context)
	buf := make([]byte, 0, len(blob))
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if err := f(s, plaintext, blob, buf); err != nil {
			b.Fatal(err)
		}
	}
}

var benchmarkCases = []struct {
	name    string
	size    int
	context map[string]string
}{
	{"32B", 32, nil},
	{"32B/context", 32, map[string]string{"tenant": "acme", "purpose": "backup", "table": "orders"}},
	{"4KiB", 4096, nil},
}

func BenchmarkEncrypt(b *testing.B) {
	for _, c := range benchmarkCases {
		b.Run(c.name, func(b *testing.B) {
			benchmark(b, c.size, c.context, func(s *Symmetric, plaintext, _, buf []byte) error {
				_, err := s.Encrypt(buf, plaintext, c.context)
				return err
			})
		})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	for _, c := range benchmarkCases {
		b.Run(c.name, func(b *testing.B) {
			benchmark(b, c.size, c.context, func(s *Symmetric, _, blob, buf []byte) error {
				parsed, err := ParseBlob(blob)
				if err != nil {
					return err
				}
				_, err = s.Decrypt(buf, parsed, c.context)
				return err
			})
		})
	}
}

func BenchmarkNewSymmetric(b *testing.B) {
	material := GenerateSymmetric()
	id := MaterialID(uuidKey, material)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewSymmetric(uuidKey, id, material); err != nil {
			b.Fatal(err)
		}
	}
}
