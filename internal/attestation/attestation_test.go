package attestation_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/kagimori/kagimori/internal/attestation"
	. "github.com/kagimori/kagimori/internal/attestation/attestationtest"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	return must(rsa.GenerateKey(rand.Reader, 2048))
}

// TestVerify verifies documents as enclaves and instances present them.
func TestVerify(t *testing.T) {
	root, key := NewRoot(now), newKey(t)
	v := must(attestation.NewVerifier(append(NewRoot(now).PEM(), root.PEM()...)))
	tagged := func(d []byte) []byte { return append([]byte{0xd2}, d...) }
	tests := map[string]struct {
		document []byte
		at       time.Time
		module   string
		has      map[string]string
		hasNot   []string
	}{
		"an enclave": {root.Enclave(now, &key.PublicKey).Encode(), now, "i-0123456789abcdef0-enc0123456789abcdef",
			map[string]string{"ImageSha384": "a0", "imagesha384": "a0", "PCR0": "a0", "pcr15": "af"}, []string{"PCR16", "PCR00", "PCR", "NitroTPMPCR0", ""}},
		"a NitroTPM": {root.Enclave(now, &key.PublicKey).NitroTPM().Encode(), now, "i-0123456789abcdef0-tpm0000000000000000",
			map[string]string{"NitroTPMPCR4": "c4", "nitrotpmpcr23": "d7"}, []string{"PCR4", "ImageSha384", "NitroTPMPCR24"}},
		"a message with its tag":      {document: tagged(root.Enclave(now, &key.PublicKey).Encode()), at: now},
		"the oldest that is fresh":    {document: root.Enclave(now.Add(-attestation.MaxAge), &key.PublicKey).Encode(), at: now},
		"one of a clock that is fast": {document: root.Enclave(now.Add(attestation.MaxSkew), &key.PublicKey).Encode(), at: now},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d, err := v.Verify(test.document, test.at)
			if err != nil {
				t.Fatal(err)
			}
			if test.module != "" && d.ModuleID != test.module {
				t.Errorf("ModuleID is %q", d.ModuleID)
			}
			for name, want := range test.has {
				if got, ok := d.Measurement(name); !ok || hex.EncodeToString(got) != strings.Repeat(want, 48) {
					t.Errorf("%s is %x", name, got)
				}
			}
			for _, name := range test.hasNot {
				if got, ok := d.Measurement(name); ok {
					t.Errorf("%s is %x", name, got)
				}
			}
		})
	}
}

// TestRefusals changes one thing in a good document each.
func TestRefusals(t *testing.T) {
	root, key := NewRoot(now), newKey(t)
	v := must(attestation.NewVerifier(root.PEM()))
	field := func(name string, value any) func(*Document) {
		return func(d *Document) { d.Fields[name] = value }
	}
	without := func(name string) func(*Document) {
		return func(d *Document) { delete(d.Fields, name) }
	}
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	elliptic256 := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	pcrs := func(index, size int) map[int][]byte { return map[int][]byte{index: make([]byte, size)} }
	many := map[int][]byte{}
	for i := range 33 {
		many[i] = make([]byte, 48)
	}
	for name, test := range map[string]struct {
		want   string
		change func(*Document)
	}{
		"no module":                  {"has no module_id.", field("module_id", "")},
		"another digest":             {"has a digest that is not SHA384.", field("digest", "SHA256")},
		"no timestamp":               {"has no timestamp", without("timestamp")},
		"a negative timestamp":       {"is not the CBOR map", field("timestamp", -1)},
		"a huge timestamp":           {"has no timestamp, or one that is out of range.", field("timestamp", uint64(1)<<63)},
		"stale":                      {"is not fresh: it was made at 2026-11-26T11:54:59Z, more than 5 minutes ago.", field("timestamp", now.Add(-5*time.Minute-time.Second).UnixMilli())},
		"from the future":            {"was made in the future, at 2026-11-26T12:01:01Z, when it is 2026-11-26T12:00:00Z here.", field("timestamp", now.Add(61*time.Second).UnixMilli())},
		"no measurements":            {"must have either pcrs or nitrotpm_pcrs.", without("pcrs")},
		"both kinds of measurements": {"must have either pcrs or nitrotpm_pcrs.", field("nitrotpm_pcrs", pcrs(0, 48))},
		"a high register":            {"has a PCR above 31.", field("pcrs", pcrs(32, 48))},
		"too many registers":         {"is not the CBOR map", field("pcrs", many)},
		"a short register":           {"has a PCR that is not of 32, 48 or 64 bytes.", field("pcrs", pcrs(0, 47))},
		"a register in text":         {"is not the CBOR map", field("pcrs", map[int]string{0: strings.Repeat("a", 48)})},
		"no bundle":                  {"must have 1 to 8 certificates", field("cabundle", [][]byte{})},
		"a long bundle":              {"must have 1 to 8 certificates", field("cabundle", make([][]byte, 9))},
		"no certificate":             {"has a certificate that is not of 1 to 1024 bytes.", without("certificate")},
		"no X.509 certificate":       {"is not an X.509 certificate.", field("certificate", []byte("x"))},
		"no X.509 in the bundle":     {"in its cabundle that is not an X.509 certificate.", field("cabundle", [][]byte{[]byte("x")})},
		"a long nonce":               {"longer than 1024 bytes.", field("nonce", make([]byte, 1025))},
		"an unknown field":           {"is not the CBOR map", field("extra", 1)},
		"a field in another case":    {"is not the CBOR map", field("Nonce", []byte{1})},
		"no public key":              {"has no public key. Request it with one.", field("public_key", nil)},
		"no SPKI":                    {"is not a SubjectPublicKeyInfo in DER.", field("public_key", x509.MarshalPKCS1PublicKey(&key.PublicKey))},
		"an elliptic public key":     {"has a public key that is not an RSA key.", field("public_key", must(x509.MarshalPKIXPublicKey(elliptic256.Public())))},
		"a weak public key":          {"is not of 2048 to 4096 bits.", field("public_key", must(x509.MarshalPKIXPublicKey(weak.Public())))},
		"signed with ES256":          {"is not signed with ES384", func(d *Document) { d.Protected = []byte{0xa1, 0x01, 0x26} }},
		"a critical header":          {"is not signed with ES384, or has other protected headers.", func(d *Document) { d.Protected = must(cbor.Marshal(map[int]any{1: -35, 2: []int{1}})) }},
		"an unprotected header":      {"has unprotected headers.", func(d *Document) { d.Unprotected = map[int]int{1: -35} }},
		"a payload of 16 KiB":        {"has no payload, or one longer than 16384 bytes.", field("user_data", make([]byte, 16384))},
	} {
		t.Run(name, func(t *testing.T) {
			d := root.Enclave(now, &key.PublicKey)
			test.change(d)
			wantInvalid(t, v, d.Encode(), test.want)
		})
	}
	t.Run("bytes", func(t *testing.T) {
		good := root.Enclave(now, &key.PublicKey).Encode()
		wantInvalid(t, v, nil, "is not a COSE_Sign1 message.")
		wantInvalid(t, v, append(bytes.Clone(good), 0), "is not a COSE_Sign1 message.")
		for i := 0; i < len(good); i += 17 {
			bad := bytes.Clone(good)
			bad[i] ^= 1
			if _, err := v.Verify(bad, now); !errors.Is(err, attestation.ErrInvalid) {
				t.Fatalf("with byte %d changed: %v", i, err)
			}
		}
	})
}

func wantInvalid(t *testing.T, v *attestation.Verifier, document []byte, want string) {
	t.Helper()
	d, err := v.Verify(document, now)
	if d != nil || !errors.Is(err, attestation.ErrInvalid) || !strings.HasPrefix(err.Error(), "The attestation document ") || !strings.Contains(err.Error(), want) {
		t.Errorf("Verify gives %v, %v, where the error is to have %q", d, err, want)
	}
}

// TestChains are chains of certificates that must not be trusted.
func TestChains(t *testing.T) {
	root, key := NewRoot(now), newKey(t)
	v := must(attestation.NewVerifier(root.PEM()))
	zone := root.Issue(Template(now))
	leaf := func(change func(*x509.Certificate)) *Authority {
		c := LeafTemplate(now)
		change(c)
		return zone.Issue(c)
	}
	authority := func(change func(*x509.Certificate)) *Authority {
		c := Template(now)
		change(c)
		return root.Issue(c)
	}
	good := zone.Issue(LeafTemplate(now))
	ofLeaf := authority(func(*x509.Certificate) {})
	stale := authority(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Millisecond) })
	noAuthority := authority(func(c *x509.Certificate) { c.IsCA = false })
	noSigner := authority(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	short := authority(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	below := short.Issue(Template(now))
	other := NewRoot(now)
	for name, test := range map[string]struct {
		want  string
		chain []*Authority
	}{
		"good":                          {"", []*Authority{good, zone, root}},
		"another root":                  {"does not end in a root trusted here.", []*Authority{good, zone, other}},
		"all under another root":        {"does not end in a root trusted here.", []*Authority{other.Issue(LeafTemplate(now)), other}},
		"signed by another root's zone": {"do not form a valid chain.", []*Authority{other.Issue(Template(now)).Issue(LeafTemplate(now)), zone, root}},
		"without the root":              {"does not end in a root trusted here.", []*Authority{good, zone}},
		"without the zone":              {"do not form a valid chain.", []*Authority{good, root}},
		"in another order":              {"do not form a valid chain.", []*Authority{good, root, zone}},
		"one too many":                  {"do not form a valid chain.", []*Authority{good, zone, root, root, root}},
		"signed by the root itself":     {"is signed by a certificate that is not for signing documents.", []*Authority{root, root}},
		"signed by an authority":        {"is signed by a certificate that is not for signing documents.", []*Authority{zone, root}},
		"a leaf for other things":       {"is signed by a certificate that is not for signing documents.", []*Authority{leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), zone, root}},
		"a leaf that expired":           {"expired at 2026-11-26T11:59:59Z.", []*Authority{leaf(func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Second) }), zone, root}},
		"a leaf of tomorrow":            {"is valid only from 2026-11-27T12:00:00Z on.", []*Authority{leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(24 * time.Hour) }), zone, root}},
		"a leaf with SHA-256":           {"is not of ECDSA with P-384 and SHA-384.", []*Authority{leaf(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA256 }), zone, root}},
		"a zone that expired":           {"expired at", []*Authority{stale.Issue(LeafTemplate(now)), stale, root}},
		"a zone that is no authority":   {"is not for signing certificates.", []*Authority{noAuthority.Issue(LeafTemplate(now)), noAuthority, root}},
		"a zone that may not sign":      {"is not for signing certificates.", []*Authority{noSigner.Issue(LeafTemplate(now)), noSigner, root}},
		"another zone's name":           {"do not form a valid chain.", []*Authority{good, ofLeaf, root}},
		"a path that is too long":       {"do not form a valid chain.", []*Authority{below.Issue(LeafTemplate(now)), below, short, root}},
	} {
		t.Run(name, func(t *testing.T) {
			document := Sign(now, &key.PublicKey, test.chain...).Encode()
			if test.want != "" {
				wantInvalid(t, v, document, test.want)
			} else if _, err := v.Verify(document, now); err != nil {
				t.Error(err)
			}
		})
	}
}

// aws is a document of a Nitro Enclave in AWS, in debug mode and without a public key.
// Source: the tests of https://github.com/IABTechLab/uid2-core, TestAttestation.java.
//
//go:embed testdata/aws-2021-04-26.cose
var aws []byte

// awsDocument is a verifier that trusts the root of AWS, with the time when the document
// was made and its payload.
func awsDocument(t testing.TB) (v *attestation.Verifier, made time.Time, payload []byte) {
	t.Helper()
	var message []cbor.RawMessage
	var fields struct {
		Timestamp int64    `cbor:"timestamp"`
		CABundle  [][]byte `cbor:"cabundle"`
	}
	err := cbor.Unmarshal(aws, &message)
	if err == nil {
		err = errors.Join(cbor.Unmarshal(message[2], &payload), cbor.Unmarshal(payload, &fields))
	}
	if err != nil {
		t.Fatal(err)
	}
	// https://docs.aws.amazon.com/enclaves/latest/user/verify-root.html
	if got := sha256.Sum256(fields.CABundle[0]); hex.EncodeToString(got[:]) != "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b" {
		t.Fatalf("the fingerprint of the root is %x", got)
	}
	v = must(attestation.NewVerifier(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fields.CABundle[0]})))
	return v, time.UnixMilli(fields.Timestamp), payload
}

// lacksKey is what is wrong with the document of AWS, and is looked at last.
const lacksKey = "The attestation document has no public key. Request it with one."

// TestAWSDocument verifies a document of AWS at the time when it was made.
func TestAWSDocument(t *testing.T) {
	v, made, _ := awsDocument(t)
	if _, err := v.Verify(aws, made); err == nil || err.Error() != lacksKey {
		t.Errorf("at %s: %v", made, err)
	}
	for i := 0; i < len(aws); i += 17 {
		bad := bytes.Clone(aws)
		bad[i] ^= 1
		if _, err := v.Verify(bad, made); err == nil || err.Error() == lacksKey {
			t.Fatalf("with byte %d changed: %v", i, err)
		}
	}
}

// TestRoots reads files of root certificates.
func TestRoots(t *testing.T) {
	root := NewRoot(now)
	for name, test := range map[string]struct{ file, want string }{
		"nothing":         {"", "there is no certificate in PEM"},
		"DER":             {string(root.Certificate.Raw), "there is no certificate in PEM"},
		"a key":           {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "there is a PRIVATE KEY"},
		"no certificate":  {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 cannot be parsed"},
		"not a root":      {string(root.PEM()) + string(root.Issue(Template(now)).PEM()), "certificate 2, of CN=zone,O=Test, is not a root certificate"},
		"not of a root":   {string(root.Issue(LeafTemplate(now)).PEM()), "is not a root certificate"},
		"and text around": {"# The root.\n" + string(root.PEM()) + "# It ends here.\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := attestation.NewVerifier([]byte(test.file))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestEncrypt encrypts for keys of all sizes and has OpenSSL open what came out.
func TestEncrypt(t *testing.T) {
	root := NewRoot(now)
	v := must(attestation.NewVerifier(root.PEM()))
	for _, bits := range []int{2048, 3072, 4096} {
		key := must(rsa.GenerateKey(rand.Reader, bits))
		d, err := v.Verify(root.Enclave(now, &key.PublicKey).Encode(), now)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 15, 16, 17, 32, 1024, 4096, 6000} {
			plaintext := make([]byte, size)
			rand.Read(plaintext)
			want := bytes.Clone(plaintext)
			message, err := d.Encrypt(plaintext)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(plaintext, want) {
				t.Fatal("Encrypt changed the plaintext")
			}
			if got := Open(t, key, message); !bytes.Equal(got, plaintext) {
				t.Errorf("RSA %d: %d bytes come out as %x", bits, size, got)
			}
			if got, ok := openssl(t, key, message); ok && !bytes.Equal(got, plaintext) {
				t.Errorf("OpenSSL, RSA %d: %d bytes come out as %x", bits, size, got)
			}
		}
	}
}

// openssl opens a message with the program, if there is one.
func openssl(t *testing.T, key *rsa.PrivateKey, message []byte) (plaintext []byte, ok bool) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Log("there is no openssl here")
		return nil, false
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	der := must(x509.MarshalPKCS8PrivateKey(key))
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-inkey", file)
	cmd.Stdin = bytes.NewReader(message)
	plaintext, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl: %v", err)
	}
	return plaintext, true
}

// FuzzVerify finds no document that passes for one of AWS and says what AWS did not sign.
func FuzzVerify(f *testing.F) {
	v, made, payload := awsDocument(f)
	f.Add(aws)
	f.Add(append([]byte{0xd2}, aws...))
	f.Add(NewRoot(made).Enclave(made, &newKey(f).PublicKey).NitroTPM().Encode())
	f.Fuzz(func(t *testing.T, document []byte) {
		_, err := v.Verify(document, made)
		if !errors.Is(err, attestation.ErrInvalid) {
			t.Errorf("%x gives %v", document, err)
		}
		if err.Error() == lacksKey && !bytes.Contains(document, payload) {
			t.Errorf("%x passes", document)
		}
	})
}
