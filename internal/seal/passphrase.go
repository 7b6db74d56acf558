package seal

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kagimori/kagimori/internal/secmem"
)

const (
	kindPassphrase = "passphrase"

	// PBKDF2-HMAC-SHA512 is the costlier one to attackers of the two PBKDF2s in
	// use, and the cheaper one in Go: 0.2 s for these iterations, which are OWASP's
	// https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
	kdf               = "PBKDF2-HMAC-SHA512"
	defaultIterations = 210_000
	saltSize          = 32 // bytes

	// What is read from a document: SP 800-132 asks for 1,000 at least; the most
	// is to spin for a few seconds, not forever.
	minIterations = 1_000
	maxIterations = 5_000_000

	// minPassphrase is what SP 800-63B-4, section 3.1.1.2, asks of a password that
	// is the only factor.
	minPassphrase = 15   // characters
	maxPassphrase = 1024 // bytes
)

// The forms of a passphrase: one from NewPassphrase, whose typing errors can be
// told and forgiven, and one of the operator's own.
const (
	formRecovery = "recovery"
	formOwn      = "own"
)

// passphrase is the Provider of a passphrase.
type passphrase struct {
	text       *string // a pointer keeps it from fmt, see hidden
	iterations int     // for new slots
}

// Passphrase is a passphrase that an operator has typed, either one from
// NewPassphrase or their own, without the white space around it. A slot is made
// only for an own one of at least 15 characters. Its UTF-8 is used as it is, so
// characters that keyboards compose in different ways are better avoided.
func Passphrase(text string) Provider {
	text = strings.TrimSpace(text)
	return passphrase{&text, defaultIterations}
}

// ReadPassphraseFile is the passphrase in a file that only its owner can read, or
// in a pipe: the one line that is not empty and does not start with #.
func ReadPassphraseFile(path string) (string, error) {
	text, err := readSecretFile("passphrase file", path, true)
	if err != nil {
		return "", err
	}
	defer secmem.Zero(text)
	var lines []string
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			lines = append(lines, string(line))
		}
	}
	if len(lines) != 1 {
		return "", fmt.Errorf("the passphrase file %s must have one line with the passphrase, besides empty lines and those that start with #; it has %d", path, len(lines))
	}
	return lines[0], nil
}

func (p passphrase) Kind() string { return kindPassphrase }

// Format prints nothing of the passphrase, whatever the verb.
func (p passphrase) Format(f fmt.State, _ rune) { fmt.Fprint(f, "seal.Passphrase(redacted)") }

func (p passphrase) NewParams(context.Context) (map[string]string, error) {
	form := formRecovery
	if _, err := parseRecovery(*p.text); err != nil {
		// Somebody who mistypes a recovery passphrase does not want the typo as a
		// passphrase of their own.
		if looksLikeRecovery(*p.text) {
			return nil, err
		}
		if err := checkOwn(*p.text); err != nil {
			return nil, err
		}
		form = formOwn
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return map[string]string{
		"form":       form,
		"kdf":        kdf,
		"iterations": strconv.Itoa(p.iterations),
		"salt":       base64.StdEncoding.EncodeToString(salt),
	}, nil
}

// checkOwn refuses weak passphrases, and such as cannot be typed again.
func checkOwn(text string) error {
	switch n := utf8.RuneCountInString(text); {
	case n < minPassphrase:
		return &failure{ErrWeak, fmt.Sprintf("the passphrase has %d characters, it must have at least %d", n, minPassphrase)}
	case len(text) > maxPassphrase:
		return &failure{ErrWeak, fmt.Sprintf("the passphrase has %d bytes, it must have at most %d", len(text), maxPassphrase)}
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return &failure{ErrWeak, "the passphrase must be text in UTF-8 without control characters"}
	}
	return nil
}

func (p passphrase) Wrap(_ context.Context, params map[string]string, key, binding []byte) ([]byte, error) {
	kek, err := p.kek(params)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(kek)
	return wrapKey(kek, labelSlot, key, binding), nil
}

func (p passphrase) Unwrap(_ context.Context, params map[string]string, wrapped, binding []byte) ([]byte, error) {
	kek, err := p.kek(params)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(kek)
	key, err := unwrapKey(kek, labelSlot, wrapped, binding)
	if err == nil {
		return key, nil
	}
	if params["form"] == formRecovery {
		return nil, &failure{ErrWrongSecret, "this recovery passphrase was typed without a mistake, but it is of another store, or has been replaced"}
	}
	return nil, &failure{ErrWrongSecret, "this passphrase is wrong"}
}

// kek is the key that the passphrase gives with those parameters. The caller
// zeroes it.
func (p passphrase) kek(params map[string]string) ([]byte, error) {
	text := *p.text
	if params["form"] == formRecovery {
		var err error
		if text, err = parseRecovery(text); err != nil {
			return nil, err
		}
	}
	iterations, salt, err := kdfParams(params)
	if err != nil {
		return nil, err
	}
	return pbkdf2.Key(sha512.New, text, salt, iterations, keySize)
}

func checkPassphrase(params map[string]string) error {
	if form := params["form"]; len(params) != 4 || form != formRecovery && form != formOwn {
		return errors.New("passphrase parameters")
	}
	_, _, err := kdfParams(params)
	return err
}

func kdfParams(params map[string]string) (iterations int, salt []byte, err error) {
	if params["kdf"] != kdf {
		return 0, nil, fmt.Errorf("key derivation %q", params["kdf"])
	}
	iterations, err = strconv.Atoi(params["iterations"])
	if err != nil || iterations < minIterations || iterations > maxIterations {
		return 0, nil, fmt.Errorf("%q iterations", params["iterations"])
	}
	salt, err = base64.StdEncoding.Strict().DecodeString(params["salt"])
	if err != nil || len(salt) != saltSize {
		return 0, nil, errors.New("salt")
	}
	return iterations, salt, nil
}

func describePassphrase(params map[string]string) string {
	if params["form"] == formRecovery {
		return "the recovery passphrase"
	}
	return "the passphrase"
}
