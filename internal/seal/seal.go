// Package seal guards the root key, under which everything that Kagimori stores
// is sealed.
//
// The root key is in slots, as LUKS does it: it is wrapped independently by each
// of them, so any one slot opens it and losing one does not lose everything. The
// slots, and the store keys wrapped under the root key, are one document, Root,
// which holds no secret in the clear: the caller keeps it in the store's database
// and at the head of backups. Unlocking it gives Keys: a StoreKey that seals
// records, and keys derived for other purposes.
//
// A Root is not changed in place. Every change gives a new one, to be stored in
// one write, and the secrets outside that open the old one open the new one too.
// So a crash before, during or after that write leaves a store that opens.
//
// What is wrapped is bound to the fingerprint of the root key, and to all that
// the document says of it: a document that was tampered with opens with the true
// root key or not at all. That a whole document is replaced by an older one
// cannot be seen here.
//
// Errors are written for the operator, and say what to do next; the Err values
// are for programs. Secrets are never in them, nor in what fmt and
// encoding/json make of the types here. The package knows nothing of records or
// of the database.
package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/kagimori/kagimori/internal/secmem"
)

// keySize is the size in bytes of all keys here: root key, store keys, the keys
// that wrap them, key files, derived keys.
const keySize = 32

var (
	// ErrWrongSecret: a sound key file or passphrase, but not one of this store.
	ErrWrongSecret = errors.New("seal: wrong secret")
	// ErrTypo: a recovery passphrase that was not typed as it was written down.
	ErrTypo = errors.New("seal: mistyped recovery passphrase")
	// ErrWeak: a new passphrase that is not good enough.
	ErrWeak = errors.New("seal: weak passphrase")
	// ErrPermissions: a secret's file that others can read.
	ErrPermissions = errors.New("seal: file permissions")
	// ErrDamaged: a key file, a root document or sealed data that is not as it was
	// written.
	ErrDamaged = errors.New("seal: damaged")
	// ErrNewer: a document that a newer version of Kagimori wrote.
	ErrNewer = errors.New("seal: newer version")
	// ErrOtherRoot: two things that belong to different root keys.
	ErrOtherRoot = errors.New("seal: other root key")
	// ErrSlot: the slots do not allow the change: it is the last, one too many, or
	// there is no such slot.
	ErrSlot = errors.New("seal: slots")
)

// failure is one of the errors above with a message for the operator.
type failure struct {
	reason  error
	message string
}

func (f *failure) Error() string { return f.message }
func (f *failure) Unwrap() error { return f.reason }

// Provider holds one secret of the operator, or the way to a device or service
// that does, and wraps the root key with it. It is safe for concurrent use.
//
// binding is what Wrap authenticates with the key and Unwrap insists on. params
// are public, kept in the slot and part of the binding; they may come from a
// hostile document, but only after the kind's check.
type Provider interface {
	// Kind is a row of the table of kinds.
	Kind() string
	// NewParams makes the parameters of a new slot, checking that the secret can
	// be had and is good enough.
	NewParams(ctx context.Context) (map[string]string, error)
	// Wrap wraps key. params are from NewParams.
	Wrap(ctx context.Context, params map[string]string, key, binding []byte) ([]byte, error)
	// Unwrap is the key that was wrapped. The caller zeroes it. The error for a
	// secret that is not the slot's is ErrWrongSecret.
	Unwrap(ctx context.Context, params map[string]string, wrapped, binding []byte) ([]byte, error)
}

// kind is what has to be known of a kind of slot without its secret.
type kind struct {
	// check refuses parameters that Unwrap could not bear.
	check func(params map[string]string) error
	// describe names the secret: "the key file root.key (id …)".
	describe func(params map[string]string) string
	// flag is how an operator gives the secret.
	flag string
	// identity is the parameter that tells two secrets apart, if there is one.
	identity string
}

var kinds = map[string]kind{
	kindFile:       {checkFile, describeFile, "--root-key-file FILE", "id"},
	kindPassphrase: {checkPassphrase, describePassphrase, "--passphrase-file FILE", ""},
}

// The info strings of HKDF, one for each use of a key, and the first field of
// each binding. None starts with another one's whole text.
const (
	labelFingerprint = "kagimori v1 root fingerprint"
	labelSlot        = "kagimori v1 root slot"
	labelStoreKeys   = "kagimori v1 root store keys"
	labelKeyFileID   = "kagimori v1 key file id"
	labelPurpose     = "kagimori v1 purpose "
)

// derive is HKDF-SHA256 (RFC 5869) of a secret of at least 32 bytes, without salt.
func derive(secret []byte, info string, size int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, info, size)
	if err != nil {
		panic(err) // the secret is long enough and size is small
	}
	return key
}

// publicID names a secret key without giving anything of it away.
func publicID(key []byte, label string, size int) string {
	return hex.EncodeToString(derive(key, label, size))
}

// wrappingOverhead is a nonce of 12 bytes before and a tag of 16 behind.
const wrappingOverhead = 12 + 16

// wrapKey encrypts key with AES-256-GCM, with a random nonce, under a key derived
// from secret for that label.
func wrapKey(secret []byte, label string, key, binding []byte) []byte {
	return wrapping(secret, label).Seal(nil, nil, key, binding)
}

// unwrapKey undoes wrapKey.
func unwrapKey(secret []byte, label string, wrapped, binding []byte) ([]byte, error) {
	return wrapping(secret, label).Open(nil, nil, wrapped, binding)
}

func wrapping(secret []byte, label string) cipher.AEAD {
	kek := derive(secret, label, keySize)
	defer secmem.Zero(kek)
	block, err := aes.NewCipher(kek)
	if err != nil {
		panic(err) // the key is 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // the block is of crypto/aes
	}
	return aead
}

// bind joins fields so that no two lists of fields give the same bytes: each is
// preceded by its length in four bytes, big-endian.
func bind(fields ...string) []byte {
	var b []byte
	for _, f := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}

func randomKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	return key
}
