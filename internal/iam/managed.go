package iam

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/store"
)

// managed is a managed policy at one moment: of an account, or of AWS.
type managed struct {
	managedRecord
	account  string // aws for those of AWS
	id       string
	revision uint64
	document string // of a policy of AWS, its text
}

// managedRecord is a customer managed policy as the store keeps it, by unique id.
// The texts of its versions are in records of their own, which never change.
type managedRecord struct {
	Name        string    `json:"name"`
	Path        string    `json:"path"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Updated     time.Time `json:"updated"`
	Default     int       `json:"default"`
	Versions    []version `json:"versions"` // oldest first
	Last        int       `json:"last"`     // number of the last version made; numbers are never used again
	Tags        []api.Tag `json:"tags,omitempty"`
}

type version struct {
	Number  int       `json:"n"`
	Created time.Time `json:"created"`
}

func (v version) id() string { return versionID(v.Number) }

func versionID(n int) string { return "v" + strconv.Itoa(n) }

func (m *managed) arn() string { return arnOf(m.account, "policy", m.Path, m.Name) }

func (m *managed) place() store.Place {
	return store.Place{Kind: policyKind, Account: m.account, ID: m.id}
}

func (m *managed) textPlace(n int) store.Place {
	return store.Place{Kind: policyTextKind, Account: m.account, ID: m.id + "/" + versionID(n)}
}

func (m *managed) write(tx store.Tx) (err error) {
	m.revision, err = put(tx, m.place(), &m.managedRecord, m.revision, store.IndexEntry{Name: nameIndex, Value: nameValue(m.account, m.Name)})
	return err
}

// text is the document of a version.
func (m *managed) text(r store.Reader, n int) (string, error) {
	if m.account == awsAccount {
		return m.document, nil
	}
	rec, err := r.Get(m.textPlace(n))
	return string(rec.Value), err
}

// addVersion stores a document as a new version.
func (m *managed) addVersion(tx store.Tx, text string, now time.Time) (version, error) {
	m.Last++
	v := version{m.Last, now}
	m.Versions = append(m.Versions, v)
	m.Updated = now
	_, err := tx.Put(m.textPlace(v.Number), []byte(text), 0)
	return v, err
}

// removeVersion deletes the i-th version.
func (m *managed) removeVersion(tx store.Tx, i int) error {
	rec, err := tx.Get(m.textPlace(m.Versions[i].Number))
	if err != nil {
		return err
	}
	m.Versions = slices.Delete(m.Versions, i, i+1)
	return tx.Delete(rec.Place, rec.Revision)
}

// version finds a version by its id, such as v2; -1 if there is none.
func (m *managed) version(id string) int {
	return slices.IndexFunc(m.Versions, func(v version) bool { return v.id() == id })
}

func decodeManaged(rec store.Record) (*managed, error) {
	m := &managed{account: rec.Account, id: rec.ID, revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, &m.managedRecord); err != nil {
		return nil, fmt.Errorf("the record of policy %s: %w", rec.ID, err)
	}
	return m, nil
}

// findManaged is the managed policy of an ARN that an account can use: its own or
// one of AWS. There is store.ErrNotFound for all others.
func findManaged(r store.Reader, account, text string) (*managed, error) {
	a, ok := parseARN(text)
	switch {
	case !ok || a.resource != "policy":
		return nil, store.ErrNotFound
	case a.account == awsAccount:
		m := awsManaged[text]
		if m == nil {
			return nil, store.ErrNotFound
		}
		return m, nil
	case a.account != account:
		return nil, store.ErrNotFound
	}
	m, err := findManagedName(r, account, a.name)
	if err == nil && m.arn() != text {
		return nil, store.ErrNotFound
	}
	return m, err
}

func findManagedName(r store.Reader, account, name string) (found *managed, err error) {
	value := nameValue(account, name)
	err = r.Lookup(store.Query{Kind: policyKind, Index: nameIndex, From: value, To: value}, func(rec store.Record) (err error) {
		found, err = decodeManaged(rec)
		return err
	})
	if err == nil && found == nil {
		err = store.ErrNotFound
	}
	return found, err
}

// policyName is the name in the ARN of a policy.
func policyName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
