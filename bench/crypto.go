//go:build linux

package main

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/mlkem"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"filippo.io/mldsa"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	secp256k1ecdsa "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/emmansun/gmsm/sm2"
	"golang.org/x/sys/unix"
)

// object is a request's or an answer's JSON.
type object map[string]any

// cryptography are the operations that algorithms are measured in.
var cryptography = map[string]struct {
	usage  string // of the key
	member string // of the request, for the algorithm
	// further are the request's other members, but for KeyId.
	further func(c *client, keyID, algorithm string) (object, error)
}{
	"Encrypt":            {"ENCRYPT_DECRYPT", "EncryptionAlgorithm", random("Plaintext")},
	"Decrypt":            {"ENCRYPT_DECRYPT", "EncryptionAlgorithm", encrypted},
	"Sign":               {"SIGN_VERIFY", "SigningAlgorithm", random("Message")},
	"Verify":             {"SIGN_VERIFY", "SigningAlgorithm", signed},
	"GenerateMac":        {"GENERATE_VERIFY_MAC", "MacAlgorithm", random("Message")},
	"DeriveSharedSecret": {"KEY_AGREEMENT", "KeyAgreementAlgorithm", peer},
	"Encapsulate":        {"ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithm", none},
	"Decapsulate":        {"ENCAPSULATE_DECAPSULATE", "EncapsulationAlgorithm", encapsulated},
}

// algorithm is an algorithm of the API and the primitive in Go that it stands on.
type algorithm struct {
	operation, spec, name string
	// bare makes a key and returns what the operation does with one, on 32 bytes.
	bare func() (func(message []byte) error, error)
}

// connections is how many calls are under way while algorithms are measured: enough for
// the records of calls to share their syncs.
const connections = 16

// algorithms are what is measured. The first is the one whose call shows the fixed cost.
var algorithms = []algorithm{
	{"Encrypt", "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT", bareGCM},
	{"GenerateMac", "HMAC_256", "HMAC_SHA_256", bareHMAC},
	{"Sign", "RSA_2048", "RSASSA_PSS_SHA_256", bareRSA(2048, signPSS)},
	{"Sign", "RSA_3072", "RSASSA_PKCS1_V1_5_SHA_256", bareRSA(3072, signPKCS1)},
	{"Sign", "RSA_4096", "RSASSA_PSS_SHA_256", bareRSA(4096, signPSS)},
	{"Verify", "RSA_2048", "RSASSA_PSS_SHA_256", bareRSA(2048, verifyPSS)},
	{"Decrypt", "RSA_2048", "RSAES_OAEP_SHA_256", bareRSA(2048, decryptOAEP)},
	{"Sign", "ECC_NIST_P256", "ECDSA_SHA_256", bareECDSA(elliptic.P256(), false)},
	{"Verify", "ECC_NIST_P256", "ECDSA_SHA_256", bareECDSA(elliptic.P256(), true)},
	{"Sign", "ECC_NIST_P384", "ECDSA_SHA_384", bareECDSA(elliptic.P384(), false)},
	{"Sign", "ECC_NIST_P521", "ECDSA_SHA_512", bareECDSA(elliptic.P521(), false)},
	{"Sign", "ECC_SECG_P256K1", "ECDSA_SHA_256", bareSecp256k1},
	{"Sign", "ECC_NIST_EDWARDS25519", "ED25519_SHA_512", bareEd25519},
	{"Sign", "SM2", "SM2DSA", bareSM2},
	{"DeriveSharedSecret", "ECC_NIST_P256", "ECDH", bareECDH},
	{"Sign", "ML_DSA_44", "ML_DSA_SHAKE_256", bareMLDSA(mldsa.MLDSA44())},
	{"Sign", "ML_DSA_65", "ML_DSA_SHAKE_256", bareMLDSA(mldsa.MLDSA65())},
	{"Sign", "ML_DSA_87", "ML_DSA_SHAKE_256", bareMLDSA(mldsa.MLDSA87())},
	{"Encapsulate", "ML_KEM_768", "ML_KEM", bareMLKEM(false)},
	{"Decapsulate", "ML_KEM_768", "ML_KEM", bareMLKEM(true)},
}

// What requests have.

func none(*client, string, string) (object, error) { return object{}, nil }

// random is one member with 32 random bytes.
func random(member string) func(*client, string, string) (object, error) {
	return func(*client, string, string) (object, error) { return object{member: randomBytes()}, nil }
}

func randomBytes() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

func signed(c *client, keyID, algorithm string) (object, error) {
	message := randomBytes()
	var out struct{ Signature []byte }
	err := c.call("Sign", object{"KeyId": keyID, "Message": message, "SigningAlgorithm": algorithm}, &out)
	return object{"Message": message, "Signature": out.Signature}, err
}

func encrypted(c *client, keyID, algorithm string) (object, error) {
	var out struct{ CiphertextBlob []byte }
	err := c.call("Encrypt", object{"KeyId": keyID, "Plaintext": randomBytes(), "EncryptionAlgorithm": algorithm}, &out)
	return object{"CiphertextBlob": out.CiphertextBlob}, err
}

func encapsulated(c *client, keyID, algorithm string) (object, error) {
	var out struct{ SharedSecretCiphertextBlob []byte }
	err := c.call("Encapsulate", object{"KeyId": keyID, "EncapsulationAlgorithm": algorithm}, &out)
	return object{"SharedSecretCiphertextBlob": out.SharedSecretCiphertextBlob}, err
}

func peer(*client, string, string) (object, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.PublicKey())
	return object{"PublicKey": public}, err
}

// Bare primitives: what a Go program would write that had the key itself.

func bareGCM() (func([]byte) error, error) {
	block, err := aes.NewCipher(randomBytes())
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	return func(message []byte) error { gcm.Seal(nil, nil, message, nil); return nil }, err
}

func bareHMAC() (func([]byte) error, error) {
	key := randomBytes()
	return func(message []byte) error {
		h := hmac.New(sha256.New, key)
		h.Write(message)
		h.Sum(nil)
		return nil
	}, nil
}

func bareRSA(bits int, use func(*rsa.PrivateKey) (func([]byte) error, error)) func() (func([]byte) error, error) {
	return func() (func([]byte) error, error) {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, err
		}
		return use(key)
	}
}

var pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

func signPSS(key *rsa.PrivateKey) (func([]byte) error, error) {
	return func(message []byte) error {
		digest := sha256.Sum256(message)
		_, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], pss)
		return err
	}, nil
}

func signPKCS1(key *rsa.PrivateKey) (func([]byte) error, error) {
	return func(message []byte) error {
		digest := sha256.Sum256(message)
		_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		return err
	}, nil
}

func verifyPSS(key *rsa.PrivateKey) (func([]byte) error, error) {
	digest := sha256.Sum256(nil)
	signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], pss)
	return func([]byte) error {
		digest := sha256.Sum256(nil)
		return rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, digest[:], signature, pss)
	}, err
}

func decryptOAEP(key *rsa.PrivateKey) (func([]byte) error, error) {
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, randomBytes(), nil)
	return func([]byte) error {
		_, err := rsa.DecryptOAEP(sha256.New(), nil, key, ciphertext, nil)
		return err
	}, err
}

func bareECDSA(curve elliptic.Curve, verify bool) func() (func([]byte) error, error) {
	return func() (func([]byte) error, error) {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		hash := func(message []byte) []byte {
			switch curve {
			case elliptic.P256():
				digest := sha256.Sum256(message)
				return digest[:]
			case elliptic.P384():
				digest := sha512.Sum384(message)
				return digest[:]
			}
			digest := sha512.Sum512(message)
			return digest[:]
		}
		if !verify {
			return func(message []byte) error {
				_, err := ecdsa.SignASN1(rand.Reader, key, hash(message))
				return err
			}, nil
		}
		signature, err := ecdsa.SignASN1(rand.Reader, key, hash(nil))
		return func([]byte) error {
			if !ecdsa.VerifyASN1(&key.PublicKey, hash(nil), signature) {
				return rsa.ErrVerification
			}
			return nil
		}, err
	}
}

func bareSecp256k1() (func([]byte) error, error) {
	key, err := secp256k1.GeneratePrivateKey()
	return func(message []byte) error {
		digest := sha256.Sum256(message)
		secp256k1ecdsa.Sign(key, digest[:]).Serialize()
		return nil
	}, err
}

func bareEd25519() (func([]byte) error, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return func(message []byte) error { ed25519.Sign(key, message); return nil }, err
}

func bareSM2() (func([]byte) error, error) {
	key, err := sm2.GenerateKey(rand.Reader)
	return func(message []byte) error {
		_, err := sm2.SignASN1(rand.Reader, key, message, sm2.NewSM2SignerOption(true, nil))
		return err
	}, err
}

func bareECDH() (func([]byte) error, error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	sent, err := peer(nil, "", "")
	return func([]byte) error {
		other, err := x509.ParsePKIXPublicKey(sent["PublicKey"].([]byte))
		if err != nil {
			return err
		}
		public, err := other.(*ecdsa.PublicKey).ECDH()
		if err != nil {
			return err
		}
		_, err = key.ECDH(public)
		return err
	}, err
}

func bareMLDSA(parameters mldsa.Parameters) func() (func([]byte) error, error) {
	return func() (func([]byte) error, error) {
		key, err := mldsa.GenerateKey(parameters)
		return func(message []byte) error {
			_, err := key.Sign(nil, message, nil)
			return err
		}, err
	}
}

func bareMLKEM(decapsulate bool) func() (func([]byte) error, error) {
	return func() (func([]byte) error, error) {
		key, err := mlkem.GenerateKey768()
		if err != nil {
			return nil, err
		}
		public := key.EncapsulationKey()
		if !decapsulate {
			return func([]byte) error { public.Encapsulate(); return nil }, nil
		}
		_, ciphertext := public.Encapsulate()
		return func([]byte) error {
			_, err := key.Decapsulate(ciphertext)
			return err
		}, nil
	}
}

// prepare makes a key and variety many requests; size is that of the largest of some
// answers.
func (a *algorithm) prepare(c *client) (inputs []object, size int, err error) {
	op := cryptography[a.operation]
	var created struct{ KeyMetadata struct{ KeyId string } }
	if err := c.call("CreateKey", object{"KeySpec": a.spec, "KeyUsage": op.usage}, &created); err != nil {
		return nil, 0, err
	}
	keyID := created.KeyMetadata.KeyId
	for range variety {
		in, err := op.further(c, keyID, a.name)
		if err != nil {
			return nil, 0, err
		}
		in["KeyId"], in[op.member] = keyID, a.name
		inputs = append(inputs, in)
	}
	for i := range samples {
		var answer json.RawMessage
		if err := c.call(a.operation, inputs[i], &answer); err != nil {
			return nil, 0, err
		}
		size = max(size, len(answer))
	}
	return inputs, size, nil
}

// measureBare is the CPU time in µs that one bare operation takes on a CPU.
func measureBare(cpu *unix.CPUSet, duration time.Duration, bare func([]byte) error) (float64, error) {
	var was unix.CPUSet
	if err := unix.SchedGetaffinity(0, &was); err != nil {
		return 0, err
	}
	if err := pin(cpu); err != nil {
		return 0, err
	}
	defer pin(&was)
	message := randomBytes()
	began, n := threadTime(), 0
	for end := stopwatch() + duration; stopwatch() < end; n++ {
		if err := bare(message); err != nil {
			return 0, err
		}
	}
	return micros(threadTime()-began) / float64(n), nil
}

// threadTime is the CPU time that this thread has used.
func threadTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// measureAlgorithms measures each algorithm through the API and bare, in turn, and prints
// how many times what every call takes and the bare primitive together a call takes.
func measureAlgorithms(ctx context.Context, cfg config, server *process, c *client, cpu int, out io.Writer) error {
	total := time.Duration(len(algorithms)*cfg.rounds) * (cfg.warm + 2*cfg.duration)
	fmt.Fprintf(out, "measuring rounds: %d of %v with %d connections, about %v in all\n\n", cfg.rounds, cfg.duration, connections, total.Round(time.Second))
	fmt.Fprintf(out, "%-19s %-22s %-26s %9s %9s %7s\n", "operation", "key spec", "algorithm", "call µs", "bare µs", "ratio")
	var fixed float64
	for i := range algorithms {
		a := &algorithms[i]
		call, bare, err := a.measure(ctx, cfg, server, c, cpu)
		if err != nil {
			return fmt.Errorf("%s, %s: %w\n%s", a.operation, a.spec, err, server.lastWords())
		}
		ratio := ""
		if i == 0 {
			fixed = call - bare
		} else {
			ratio = fmt.Sprintf("%.2f", call/(fixed+bare))
		}
		fmt.Fprintf(out, "%-19s %-22s %-26s %9.1f %9.1f %7s\n", a.operation, a.spec, a.name, call, bare, ratio)
	}
	fmt.Fprintf(out, "\nCPU time, medians over the rounds. Every call takes %.1f µs besides the cryptography (from the first row);\n"+
		"ratio is call over that and the bare primitive together.\n", fixed)
	return nil
}

// measure is the CPU time in µs of a call and of the bare primitive.
func (a *algorithm) measure(ctx context.Context, cfg config, server *process, c *client, cpu int) (call, bare float64, err error) {
	inputs, size, err := a.prepare(c)
	if err != nil {
		return 0, 0, err
	}
	primitive, err := a.bare()
	if err != nil {
		return 0, 0, err
	}
	var calls, bares []float64
	for range cfg.rounds {
		requests, err := c.signAll(a.operation, func(i int) any { return inputs[i] })
		if err != nil {
			return 0, 0, err
		}
		// Signatures in DER differ by a few bytes, answers in base64 by four times that.
		l := load{conns: connections, requests: requests, size: size + 4, fewer: 12, warm: cfg.warm, duration: cfg.duration}
		figures, err := measure(ctx, l, server)
		if err != nil {
			return 0, 0, err
		}
		once, err := measureBare(oneCPU(cpu), cfg.duration, primitive)
		if err != nil {
			return 0, 0, err
		}
		calls, bares = append(calls, figures.CPUMicros), append(bares, once)
	}
	return median(calls), median(bares), nil
}
