package translog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"filippo.io/mldsa"
	"filippo.io/torchwood"
	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The types of signatures of notes, the first byte of their keys.
// https://c2sp.org/signed-note#signature-types
const (
	typeEd25519     = 0x01
	typeCosignature = 0x04 // https://c2sp.org/tlog-cosignature
	typeOther       = 0xff // with a name that follows
)

// mldsaName names the type of our signatures with ML-DSA, which C2SP has none for, and
// is the context that they are made with (FIPS 204, section 5.2).
const mldsaName = "kagimori.org/checkpoint-ml-dsa-44"

// Signer signs checkpoints with Ed25519 and with ML-DSA-44 (FIPS 204), so that they hold
// when either of them falls.
type Signer struct {
	origin  string
	signers []note.Signer
	keys    string
}

// secrets is a Signer at rest.
type secrets struct {
	Origin  string `json:"origin"`
	Ed25519 []byte `json:"ed25519"` // the seeds
	MLDSA   []byte `json:"mldsa"`
}

// NewSigner makes the keys of a new log, whose name (origin) is random. The result is
// secret; LoadSigner takes it.
func NewSigner() ([]byte, error) {
	second, err := mldsa.GenerateKey(mldsa.MLDSA44())
	if err != nil {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	return json.Marshal(secrets{"kagimori/" + uuid.NewString(), seed, second.Bytes()})
}

// LoadSigner is the Signer of what NewSigner made.
func LoadSigner(secret []byte) (*Signer, error) {
	var s secrets
	if err := json.Unmarshal(secret, &s); err != nil || len(s.Ed25519) != ed25519.SeedSize {
		return nil, errors.New("translog: the keys are not in the form of this version")
	}
	first := ed25519.NewKeyFromSeed(s.Ed25519)
	second, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), s.MLDSA)
	if err != nil {
		return nil, err
	}
	signer := &Signer{origin: s.Origin, keys: "# The keys of the transparency log of a Kagimori.\n"}
	add := func(key []byte, sign func(text []byte) ([]byte, error)) {
		signer.signers = append(signer.signers, noteSigner{s.Origin, keyHash(s.Origin, key), sign})
		signer.keys += fmt.Sprintf("%s+%08x+%s\n", s.Origin, keyHash(s.Origin, key), base64.StdEncoding.EncodeToString(key))
	}
	add(slices.Concat([]byte{typeEd25519}, first.Public().(ed25519.PublicKey)), func(text []byte) ([]byte, error) {
		return ed25519.Sign(first, text), nil
	})
	add(slices.Concat([]byte{typeOther}, []byte(mldsaName), second.PublicKey().Bytes()), func(text []byte) ([]byte, error) {
		return second.Sign(nil, text, &mldsa.Options{Context: mldsaName})
	})
	return signer, nil
}

// Keys are the public keys, as ParseKeys reads them.
func (s *Signer) Keys() string { return s.keys }

// sign is a checkpoint with both signatures.
func (s *Signer) sign(tree tlog.Tree) ([]byte, error) {
	return note.Sign(&note.Note{Text: torchwood.Checkpoint{Origin: s.origin, Tree: tree}.String()}, s.signers...)
}

// noteSigner implements note.Signer.
type noteSigner struct {
	name string
	hash uint32
	sign func(text []byte) ([]byte, error)
}

func (s noteSigner) Name() string                     { return s.name }
func (s noteSigner) KeyHash() uint32                  { return s.hash }
func (s noteSigner) Sign(text []byte) ([]byte, error) { return s.sign(text) }

// keyHash is the hash by which a signature names its key.
func keyHash(name string, key []byte) uint32 {
	sum := sha256.Sum256([]byte(name + "\n" + string(key)))
	return binary.BigEndian.Uint32(sum[:])
}

// Keys are those that a checkpoint has to be signed with: the log's, and those of
// witnesses, if any.
type Keys struct {
	origin         string
	log, witnesses []note.Verifier
}

// ParseKeys reads keys, a line each, in the form of https://c2sp.org/signed-note: those of
// a log, and the cosignature keys of witnesses. Lines that begin with # are left out.
func ParseKeys(text string) (*Keys, error) {
	k := new(Keys)
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, witness, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if witness {
			k.witnesses = append(k.witnesses, v)
			continue
		}
		if k.origin != "" && k.origin != v.Name() {
			return nil, fmt.Errorf("line %d: a key of another log, %s", i+1, v.Name())
		}
		k.origin = v.Name()
		k.log = append(k.log, v)
	}
	if k.origin == "" {
		return nil, errors.New("there is no key of a log")
	}
	return k, nil
}

func parseKey(line string) (_ note.Verifier, witness bool, err error) {
	name, rest, _ := strings.Cut(line, "+")
	hash, encoded, _ := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	named, parseErr := strconv.ParseUint(hash, 16, 32)
	if err != nil || parseErr != nil || len(hash) != 8 || len(key) < 1 || name == "" || uint32(named) != keyHash(name, key) {
		return nil, false, errors.New("not a key: it has the form NAME+HASH+KEY")
	}
	v := verifier{name: name, hash: uint32(named)}
	switch kind, key := key[0], key[1:]; {
	case kind == typeEd25519 && len(key) == ed25519.PublicKeySize:
		v.verify = func(text, sig []byte) bool { return ed25519.Verify(key, text, sig) }
	case kind == typeCosignature && len(key) == ed25519.PublicKeySize:
		v.verify = func(text, sig []byte) bool {
			if len(sig) != 8+ed25519.SignatureSize {
				return false
			}
			signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), text)
			return ed25519.Verify(key, []byte(signed), sig[8:])
		}
		return v, true, nil
	case kind == typeOther && bytes.HasPrefix(key, []byte(mldsaName)):
		public, err := mldsa.NewPublicKey(mldsa.MLDSA44(), key[len(mldsaName):])
		if err != nil {
			return nil, false, errors.New("not a key of ML-DSA-44")
		}
		v.verify = func(text, sig []byte) bool {
			return mldsa.Verify(public, text, sig, &mldsa.Options{Context: mldsaName}) == nil
		}
	default:
		return nil, false, fmt.Errorf("a key of a type that is not known here, %#x", kind)
	}
	return v, false, nil
}

// verifier implements note.Verifier.
type verifier struct {
	name   string
	hash   uint32
	verify func(text, sig []byte) bool
}

func (v verifier) Name() string                 { return v.name }
func (v verifier) KeyHash() uint32              { return v.hash }
func (v verifier) Verify(text, sig []byte) bool { return v.verify(text, sig) }

// Log are the log's keys alone. The log's own last checkpoint has no signatures of witnesses.
func (k *Keys) Log() *Keys { return &Keys{origin: k.origin, log: k.log} }

// Open verifies a checkpoint: every one of the keys must have signed it.
func (k *Keys) Open(signed []byte) (torchwood.Checkpoint, error) {
	verifiers := slices.Concat(k.log, k.witnesses)
	n, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return torchwood.Checkpoint{}, fmt.Errorf("the checkpoint is not signed as it must be: %w", err)
	}
	for _, v := range verifiers {
		signs := func(s note.Signature) bool { return s.Name == v.Name() && s.Hash == v.KeyHash() }
		if !slices.ContainsFunc(n.Sigs, signs) {
			return torchwood.Checkpoint{}, fmt.Errorf("the checkpoint has no signature of the key %s+%08x", v.Name(), v.KeyHash())
		}
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		return torchwood.Checkpoint{}, err
	}
	if c.Origin != k.origin {
		return torchwood.Checkpoint{}, fmt.Errorf("the checkpoint is of the log %s, not of %s", c.Origin, k.origin)
	}
	return c, nil
}
