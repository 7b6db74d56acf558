package iam

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/store"
)

// accountRecord is an account as the store keeps it.
type accountRecord struct {
	Created time.Time `json:"created"`
	// Member is true for all accounts but the first, the management account of
	// the organization.
	Member bool   `json:"member,omitempty"`
	Alias  string `json:"alias,omitempty"`
	// RootKeys are the ids of the root's access keys. It is nil in records of
	// versions that could not rotate them; then the keys themselves tell.
	RootKeys []string `json:"rootKeys,omitzero"`

	id       string
	revision uint64
}

func accountPlace(id string) store.Place { return store.Place{Kind: accountKind, ID: id} }

func readAccount(r store.Reader, id string) (*accountRecord, error) {
	rec, err := r.Get(accountPlace(id))
	if err != nil {
		return nil, err
	}
	return decodeAccount(rec)
}

func decodeAccount(rec store.Record) (*accountRecord, error) {
	a := &accountRecord{id: rec.ID, revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, a); err != nil {
		return nil, fmt.Errorf("the record of account %s: %w", rec.ID, err)
	}
	return a, nil
}

func (a *accountRecord) write(tx store.Tx) (err error) {
	a.revision, err = put(tx, accountPlace(a.id), a, a.revision)
	return err
}

// rootKeys are the ids of the access keys of the account's root, oldest first.
func (a *accountRecord) rootKeys(r store.Reader) ([]string, error) {
	if a.RootKeys != nil {
		return a.RootKeys, nil
	}
	ids := []string{}
	err := r.Scan(accessKeyKind, "", "", "", 0, func(raw store.Record) error {
		rec, err := decodeAccessKey(raw)
		if err == nil && rec.Type == api.Root && rec.Account == a.id {
			ids = append(ids, raw.ID)
		}
		return err
	})
	return ids, err
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
		c.Account = NewAccountID()
	}
	if c.AccessKeyID == "" {
		c.AccessKeyID = newAccessKeyID()
	}
	if c.SecretKey == "" {
		c.SecretKey = newSecretKey()
	}
	return c
}

func newSecretKey() string { return base64.StdEncoding.EncodeToString(random(30)) }

// Account is the id of the first account, or store.ErrNotFound before there is
// one. The first account is the management account of the organization.
func Account(ctx context.Context, st store.Store) (id string, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		a, err := firstAccount(r)
		if err == nil {
			id = a.id
		}
		return err
	})
	return id, err
}

func firstAccount(r store.Reader) (first *accountRecord, err error) {
	found := errors.New("found")
	err = r.Scan(accountKind, "", "", "", 0, func(rec store.Record) error {
		a, err := decodeAccount(rec)
		if err != nil || a.Member {
			return err
		}
		first = a
		return found
	})
	if first != nil {
		return first, nil
	}
	if err == nil {
		err = store.ErrNotFound
	}
	return nil, err
}

// CreateAccount makes the first account with its root's access key.
func CreateAccount(ctx context.Context, st store.Store, c RootCredentials, now time.Time) error {
	return st.Update(ctx, func(tx store.Tx) error {
		a := &accountRecord{Created: now, RootKeys: []string{c.AccessKeyID}, id: c.Account}
		if err := a.write(tx); err != nil {
			return err
		}
		key := &accessKeyRecord{Account: c.Account, Type: api.Root, Secret: c.SecretKey, Created: now, id: c.AccessKeyID}
		return key.write(tx)
	})
}

// AddAccount makes a further account, whose root has no credentials, as part of a
// transaction of another package. It fails with store.ErrConflict if the id is
// taken.
func AddAccount(tx store.Tx, id string, now time.Time) error {
	a := &accountRecord{Created: now, Member: true, RootKeys: []string{}, id: id}
	return a.write(tx)
}

// CheckRoot compares what was given (empty members were not) with the first
// account and its root's access keys. The error says what differs, never a secret.
func CheckRoot(ctx context.Context, st store.Store, given RootCredentials) error {
	account, keys, err := rootOf(ctx, st)
	if err != nil {
		return err
	}
	if given.Account != "" && given.Account != account {
		return fmt.Errorf("the account is %s, not %s", account, given.Account)
	}
	if given.AccessKeyID == "" && given.SecretKey == "" {
		return nil
	}
	for _, k := range keys {
		if (given.AccessKeyID == "" || k.id == given.AccessKeyID) &&
			(given.SecretKey == "" || subtle.ConstantTimeCompare([]byte(k.Secret), []byte(given.SecretKey)) == 1) {
			return nil
		}
	}
	switch {
	case given.SecretKey == "":
		return fmt.Errorf("there is no access key %s", given.AccessKeyID)
	case given.AccessKeyID == "":
		return errors.New("no access key has that secret access key")
	}
	return fmt.Errorf("there is no access key %s with that secret access key", given.AccessKeyID)
}

// Root is the first account with an active access key of its root: the one whose id
// is preferred if there is such, else the newest. Without one the key is empty.
func Root(ctx context.Context, st store.Store, preferred string) (c RootCredentials, err error) {
	account, keys, err := rootOf(ctx, st)
	c.Account = account
	for _, k := range keys {
		if !k.Inactive && (c.AccessKeyID == "" || c.AccessKeyID != preferred) {
			c.AccessKeyID, c.SecretKey = k.id, k.Secret
		}
	}
	return c, err
}

// rootOf is the first account with its root's access keys.
func rootOf(ctx context.Context, st store.Store) (account string, keys []*accessKeyRecord, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		a, err := firstAccount(r)
		if err != nil {
			return err
		}
		account = a.id
		ids, err := a.rootKeys(r)
		if err != nil {
			return err
		}
		keys, err = readAccessKeys(r, ids)
		return err
	})
	return account, keys, err
}
