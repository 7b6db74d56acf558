// Package iam owns identities: accounts, principals and the credentials that
// prove them.
//
// In this version there is one account with its root; users, roles and sessions
// come with the policy engine. The package knows nothing of keys or requests.
package iam

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/cache"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/store"
)

// Kinds of store records.
const (
	accountKind   = "account"    // accountRecord, by account id
	accessKeyKind = "access-key" // accessKeyRecord, by access key id
)

type accountRecord struct {
	Created time.Time `json:"created"`
}

type accessKeyRecord struct {
	Account string            `json:"account"`
	Type    api.PrincipalType `json:"type"`
	Secret  string            `json:"secret"`
	Created time.Time         `json:"created"`
}

// RootCredentials are the account and the access key of its root.
type RootCredentials struct {
	Account     string // 12 digits
	AccessKeyID string
	SecretKey   string
}

// Complete fills what is empty with random values of the form AWS gives them.
func (c RootCredentials) Complete() RootCredentials {
	if c.Account == "" {
		// 12 digits, the first not 0, so that no tool takes it for a shorter number.
		n, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
		if err != nil {
			panic(err) // crypto/rand does not fail
		}
		c.Account = fmt.Sprint(100_000_000_000 + n.Int64())
	}
	if c.AccessKeyID == "" {
		c.AccessKeyID = "AKIA" + base32.StdEncoding.EncodeToString(random(10))
	}
	if c.SecretKey == "" {
		c.SecretKey = base64.StdEncoding.EncodeToString(random(30))
	}
	return c
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return b
}

// Directory answers who principals are and what their policies allow, from memory
// for those in use. It is safe for concurrent use.
type Directory struct {
	store store.Store
	keys  *cache.Cache[string, sigv4.Credential] // by access key id
}

// cachedAccessKeys is how many access keys stay ready in memory.
const cachedAccessKeys = 1 << 14

// NewDirectory makes a Directory over what the store holds.
func NewDirectory(st store.Store) *Directory {
	s := &Directory{store: st, keys: cache.New[string, sigv4.Credential](cachedAccessKeys)}
	st.Subscribe(func(changes []store.Change) {
		for _, c := range changes {
			if c.Place.Kind == accessKeyKind {
				s.keys.Drop(c.Place.ID)
			}
		}
	})
	return s
}

// Lookup is the sigv4.Lookup of this deployment.
func (s *Directory) Lookup(accessKeyID, sessionToken string) (sigv4.Credential, error) {
	if sessionToken != "" {
		return sigv4.Credential{}, sigv4.ErrUnknownKey
	}
	c, ok := s.keys.Get(accessKeyID)
	if ok {
		return c, nil
	}
	if accessKeyID == "" || len(accessKeyID) > 128 {
		return c, sigv4.ErrUnknownKey
	}
	accessKeyID = strings.Clone(accessKeyID)
	mark := s.keys.Mark()
	rec, err := s.read(context.Background(), accessKeyID)
	if errors.Is(err, store.ErrNotFound) {
		return c, sigv4.ErrUnknownKey
	}
	if err != nil {
		return c, err
	}
	c = sigv4.Credential{SecretKey: rec.Secret, Principal: api.Principal{
		Type: rec.Type, ID: rec.Account, Account: rec.Account, AccessKeyID: accessKeyID,
		ARN: "arn:" + api.Partition + ":iam::" + rec.Account + ":root",
	}}
	s.keys.Put(accessKeyID, c, mark)
	return c, nil
}

// Identity is the authz.Directory's. There are roots alone, which have no policies.
func (s *Directory) Identity(context.Context, *api.Principal) (*authz.Identity, error) {
	return &noPolicies, nil
}

var noPolicies authz.Identity

func (s *Directory) read(ctx context.Context, accessKeyID string) (rec accessKeyRecord, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		rec, err = readAccessKey(r, accessKeyID)
		return err
	})
	return rec, err
}

func readAccessKey(r store.Reader, id string) (rec accessKeyRecord, err error) {
	raw, err := r.Get(store.Place{Kind: accessKeyKind, ID: id})
	if err != nil {
		return rec, err
	}
	if json.Unmarshal(raw.Value, &rec) != nil { // whose error could show the secret
		return accessKeyRecord{}, fmt.Errorf("the record of access key %s is not one that this version can read", id)
	}
	return rec, nil
}

// Account is the id of the first account, or store.ErrNotFound before there is one.
func Account(ctx context.Context, st store.Store) (id string, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		return r.Scan(accountKind, "", "", "", 1, func(rec store.Record) error {
			id = rec.ID
			return nil
		})
	})
	if err == nil && id == "" {
		err = store.ErrNotFound
	}
	return id, err
}

// CreateAccount makes the first account with its root's access key.
func CreateAccount(ctx context.Context, st store.Store, c RootCredentials, now time.Time) error {
	account, err := json.Marshal(accountRecord{Created: now})
	if err != nil {
		return err
	}
	key, err := json.Marshal(accessKeyRecord{Account: c.Account, Type: api.Root, Secret: c.SecretKey, Created: now})
	if err != nil {
		return err
	}
	return st.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Put(store.Place{Kind: accountKind, ID: c.Account}, account, 0); err != nil {
			return err
		}
		_, err := tx.Put(store.Place{Kind: accessKeyKind, ID: c.AccessKeyID}, key, 0)
		return err
	})
}

// CheckRoot compares what was given (empty members were not) with the account
// and access key that exist. The error says what differs, never a secret.
func CheckRoot(ctx context.Context, st store.Store, given RootCredentials) error {
	account, err := Account(ctx, st)
	if err != nil {
		return err
	}
	if given.Account != "" && given.Account != account {
		return fmt.Errorf("the account is %s, not %s", account, given.Account)
	}
	if given.AccessKeyID == "" && given.SecretKey == "" {
		return nil
	}
	return st.View(ctx, func(r store.Reader) error {
		found := false
		err := r.Scan(accessKeyKind, "", "", "", 0, func(raw store.Record) error {
			if given.AccessKeyID != "" && raw.ID != given.AccessKeyID {
				return nil
			}
			rec, err := readAccessKey(r, raw.ID)
			if err != nil {
				return err
			}
			if given.SecretKey == "" || subtle.ConstantTimeCompare([]byte(rec.Secret), []byte(given.SecretKey)) == 1 {
				found = true
			}
			return nil
		})
		switch {
		case err != nil || found:
			return err
		case given.AccessKeyID != "" && given.SecretKey == "":
			return fmt.Errorf("there is no access key %s", given.AccessKeyID)
		case given.AccessKeyID == "":
			return errors.New("no access key has that secret access key")
		}
		return fmt.Errorf("there is no access key %s with that secret access key", given.AccessKeyID)
	})
}

// Root is the first account with its root's access key.
func Root(ctx context.Context, st store.Store) (c RootCredentials, err error) {
	if c.Account, err = Account(ctx, st); err != nil {
		return c, err
	}
	err = st.View(ctx, func(r store.Reader) error {
		return r.Scan(accessKeyKind, "", "", "", 0, func(raw store.Record) error {
			rec, err := readAccessKey(r, raw.ID)
			if err == nil && rec.Account == c.Account {
				c.AccessKeyID, c.SecretKey = raw.ID, rec.Secret
			}
			return err
		})
	})
	return c, err
}
