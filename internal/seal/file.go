package seal

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/kagimori/kagimori/internal/durable"
	"github.com/kagimori/kagimori/internal/secmem"
)

const (
	kindFile = "file"

	keyFileType   = "KAGIMORI KEY FILE" // of the PEM block
	keyFileIDSize = 8                   // bytes
	maxSecretFile = 16 << 10            // bytes
	maxPath       = 4096                // bytes
)

// keyFileText stands before the PEM block, which readers skip.
const keyFileText = `This is a Kagimori key file. Whoever has it can open the store it belongs to.
Without it, or another slot, nobody can. Keep a copy apart from the store and
its backups, where nobody else can read it.

`

// NewKeyFile makes a key file with a new random key, readable by its owner only,
// and returns when it is durable. It never replaces a file: for one that exists
// the error is fs.ErrExist. A key file that no slot was made for yet, left by an
// interrupted start, is as good as a new one.
func NewKeyFile(path string) (err error) {
	key := randomKey()
	defer secmem.Zero(key)
	text := append([]byte(keyFileText), pem.EncodeToMemory(&pem.Block{
		Type:    keyFileType,
		Headers: map[string]string{"Id": publicID(key, labelKeyFileID, keyFileIDSize)},
		Bytes:   key,
	})...)
	defer secmem.Zero(text)

	err = durable.Create(path, text, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return &failure{fs.ErrExist, fmt.Sprintf("the key file %s exists already and is not replaced; give another name", path)}
	}
	if err != nil {
		return fmt.Errorf("the key file %s cannot be made: %w", path, err)
	}
	return nil
}

// keyFile is the Provider of a key file. It holds no secret; the file is read
// when it is needed.
type keyFile struct{ dir, path string }

// KeyFile is the secret in the key file at path. A slot made for it records the
// path, relative to dataDir where it lies in it, so that the data folder can be
// moved.
func KeyFile(dataDir, path string) Provider { return keyFile{dataDir, path} }

// KeyFiles are the key files that the slots of this document were made for, at
// the places where they were then, each once.
func (r *Root) KeyFiles(dataDir string) []Provider {
	var providers []Provider
	for _, s := range r.doc.Slots {
		if s.Kind == kindFile {
			path := filepath.FromSlash(s.Params["path"])
			if !filepath.IsAbs(path) {
				path = filepath.Join(dataDir, path)
			}
			if p := KeyFile(dataDir, path); !slices.Contains(providers, p) {
				providers = append(providers, p)
			}
		}
	}
	return providers
}

func (k keyFile) Kind() string { return kindFile }

func (k keyFile) NewParams(context.Context) (map[string]string, error) {
	key, err := k.read()
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(key)
	path, err := k.recorded()
	if err != nil {
		return nil, err
	}
	params := map[string]string{"id": publicID(key, labelKeyFileID, keyFileIDSize), "path": path}
	return params, checkFile(params)
}

// recorded is the path as a slot records it, with slashes.
func (k keyFile) recorded() (string, error) {
	path, err := filepath.Abs(k.path)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(k.dir)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
		path = rel
	}
	return filepath.ToSlash(path), nil
}

func (k keyFile) Wrap(_ context.Context, _ map[string]string, key, binding []byte) ([]byte, error) {
	secret, err := k.read()
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(secret)
	return wrapKey(secret, labelSlot, key, binding), nil
}

func (k keyFile) Unwrap(_ context.Context, params map[string]string, wrapped, binding []byte) ([]byte, error) {
	secret, err := k.read()
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(secret)
	if id := publicID(secret, labelKeyFileID, keyFileIDSize); id != params["id"] {
		return nil, &failure{ErrWrongSecret, fmt.Sprintf("the key file %s (id %s) is not the one of this slot, which was made for %s", k.path, id, describeFile(params))}
	}
	key, err := unwrapKey(secret, labelSlot, wrapped, binding)
	if err != nil {
		return nil, &failure{ErrDamaged, fmt.Sprintf("the slot of %s is damaged, it does not open with its own key file: open the store with another slot, or restore it from a backup", describeFile(params))}
	}
	return key, nil
}

// read is the key in the file. The caller zeroes it.
func (k keyFile) read() ([]byte, error) {
	text, err := readSecretFile("key file", k.path, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &failure{fs.ErrNotExist, fmt.Sprintf("the key file %s does not exist: put it back from your copy, or give its place with --root-key-file FILE", k.path)}
	}
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(text)

	block, rest := pem.Decode(text)
	bad := func(what string) error {
		if block != nil {
			secmem.Zero(block.Bytes)
		}
		return &failure{ErrDamaged, fmt.Sprintf("the key file %s %s: put it back from your copy", k.path, what)}
	}
	switch {
	case block == nil && len(text) == 0:
		return nil, bad("is empty")
	case block == nil && bytes.Contains(text, []byte("-----BEGIN "+keyFileType)):
		return nil, bad("is truncated or damaged")
	case block == nil || block.Type != keyFileType:
		return nil, bad("is not a Kagimori key file")
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, bad("has something behind the key")
	case len(block.Bytes) != keySize || block.Headers["Id"] != publicID(block.Bytes, labelKeyFileID, keyFileIDSize):
		return nil, bad("is damaged, the key in it is not the one that its id names")
	}
	return block.Bytes, nil
}

// checkFile keeps what could move a terminal's cursor out of messages.
func checkFile(params map[string]string) error {
	path := params["path"]
	if len(params) != 2 || !isHex(params["id"], keyFileIDSize) {
		return errors.New("key file parameters")
	}
	if path == "" || len(path) > maxPath || !isPrintable(path) {
		return fmt.Errorf("the path of a key file must be printable and up to %d bytes", maxPath)
	}
	return nil
}

func describeFile(params map[string]string) string {
	return fmt.Sprintf("the key file %s (id %s)", params["path"], params["id"])
}

// readSecretFile reads a small file that only its owner may be able to read. A
// pipe is as good, if allowed: it is there for us alone. A path from a document
// must not be one, for it may never end.
func readSecretFile(what, path string, pipe bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("the %s %s cannot be read: %w", what, path, withoutPath(err))
	}
	mode := info.Mode()
	switch {
	case mode.IsRegular():
		if mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
			return nil, &failure{ErrPermissions, fmt.Sprintf("the %s %s can be read by others (mode %04o), run: chmod 600 %s", what, path, mode.Perm(), shellQuote(path))}
		}
	case pipe && mode&fs.ModeNamedPipe != 0:
	default:
		return nil, fmt.Errorf("the %s %s is not a file", what, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the %s %s cannot be read: %w", what, path, withoutPath(err))
	}
	defer f.Close()
	b := make([]byte, maxSecretFile+1) // once, so that no copies are left by growing
	n, err := io.ReadFull(f, b)
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		return b[:n], nil
	case nil:
		secmem.Zero(b)
		return nil, fmt.Errorf("the %s %s is longer than %d bytes: it is another file", what, path, maxSecretFile)
	}
	secmem.Zero(b)
	return nil, fmt.Errorf("the %s %s cannot be read: %w", what, path, withoutPath(err))
}

// withoutPath keeps an error from naming the path once more.
func withoutPath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// shellQuote is s as one word of a POSIX shell.
func shellQuote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@%", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
