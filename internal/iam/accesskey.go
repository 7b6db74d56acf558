package iam

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/store"
)

// accessKeyRecord is a long-term access key as the store keeps it.
type accessKeyRecord struct {
	Account  string            `json:"account"`
	Type     api.PrincipalType `json:"type"` // Root or IAMUser
	UserID   string            `json:"user,omitempty"`
	Secret   string            `json:"secret"`
	Inactive bool              `json:"inactive,omitempty"`
	Created  time.Time         `json:"created"`

	id       string
	revision uint64
}

func accessKeyPlace(id string) store.Place { return store.Place{Kind: accessKeyKind, ID: id} }

func readAccessKey(r store.Reader, id string) (*accessKeyRecord, error) {
	raw, err := r.Get(accessKeyPlace(id))
	if err != nil {
		return nil, err
	}
	return decodeAccessKey(raw)
}

func readAccessKeys(r store.Reader, ids []string) ([]*accessKeyRecord, error) {
	keys := make([]*accessKeyRecord, len(ids))
	for i, id := range ids {
		var err error
		if keys[i], err = readAccessKey(r, id); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

func decodeAccessKey(raw store.Record) (*accessKeyRecord, error) {
	rec := &accessKeyRecord{id: raw.ID, revision: raw.Revision}
	if json.Unmarshal(raw.Value, rec) != nil { // whose error could show the secret
		return nil, fmt.Errorf("the record of access key %s is not one that this version can read", raw.ID)
	}
	return rec, nil
}

func (k *accessKeyRecord) write(tx store.Tx) (err error) {
	k.revision, err = put(tx, accessKeyPlace(k.id), k, k.revision)
	return err
}
