package iam

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// entityKind is one row of the table of what can have policies.
type entityKind struct {
	store      string // kind of store records, by unique id
	word       string // in ARNs and messages
	title      string // the word with a capital
	prefix     string // of unique ids
	longest    int    // name, in characters
	perAccount int    // quota
	inline     int    // characters of all inline policies, without white space
}

// The quotas are the defaults of AWS.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
var (
	userKind  = &entityKind{"iam-user", "user", "User", userPrefix, 64, 5000, 2048}
	groupKind = &entityKind{"iam-group", "group", "Group", groupPrefix, 128, 300, 5120}
	roleKind  = &entityKind{"iam-role", "role", "Role", rolePrefix, 64, 1000, 10240}

	entityKinds = []*entityKind{userKind, groupKind, roleKind}
)

// Indexes over entities and managed policies.
const (
	nameIndex     = "name"     // ACCOUNT/NAME, folded
	idIndex       = "id"       // unique id
	policyIndex   = "policy"   // ACCOUNT ARN of an attached policy
	boundaryIndex = "boundary" // ACCOUNT ARN of the permissions boundary
	groupIndex    = "group"    // unique id of a group of a user
)

// entity is a user, group or role at one moment.
type entity struct {
	entityRecord
	kind     *entityKind
	account  string
	id       string
	revision uint64
}

// entityRecord is a user, group or role as the store keeps it.
type entityRecord struct {
	Name     string    `json:"name"` // as given
	Path     string    `json:"path"`
	Created  time.Time `json:"created"`
	Inline   []inline  `json:"inline,omitempty"`   // by name
	Attached []string  `json:"attached,omitempty"` // ARNs of managed policies, in the order of attachment
	Boundary string    `json:"boundary,omitempty"` // ARN of the permissions boundary
	Tags     []api.Tag `json:"tags,omitempty"`     // by key

	// Of users.
	Groups     []string       `json:"groups,omitempty"`     // unique ids
	AccessKeys []string       `json:"accessKeys,omitempty"` // ids, oldest first
	Login      *loginPassword `json:"login,omitempty"`

	// Of roles.
	Description string `json:"description,omitempty"`
	Trust       string `json:"trust,omitempty"` // as given
	// TrustIDs are the unique ids of the principals of Trust when it was saved.
	TrustIDs   map[string]string `json:"trustIds,omitempty"`
	MaxSession int32             `json:"maxSession,omitempty"` // seconds
	// Service is the service that a service-linked role belongs to.
	Service string `json:"service,omitempty"`
}

// inline is a policy that stands at its user, group or role only.
type inline struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func (e *entity) arn() string { return arnOf(e.account, e.kind.word, e.Path, e.Name) }

func (e *entity) place() store.Place {
	return store.Place{Kind: e.kind.store, Account: e.account, ID: e.id}
}

// write stores the entity in place of the revision that was read.
func (e *entity) write(tx store.Tx) (err error) {
	index := []store.IndexEntry{{Name: nameIndex, Value: nameValue(e.account, e.Name)}, {Name: idIndex, Value: e.id}}
	for _, arn := range e.Attached {
		index = append(index, store.IndexEntry{Name: policyIndex, Value: policyValue(e.account, arn)})
	}
	if e.Boundary != "" {
		index = append(index, store.IndexEntry{Name: boundaryIndex, Value: policyValue(e.account, e.Boundary)})
	}
	for _, id := range e.Groups {
		index = append(index, store.IndexEntry{Name: groupIndex, Value: id})
	}
	e.revision, err = put(tx, e.place(), &e.entityRecord, e.revision, index...)
	return err
}

// policyValue is an index value: the policies of AWS are attached in every account.
func policyValue(account, arn string) string { return account + " " + arn }

func nameValue(account, name string) string { return account + "/" + fold(name) }

// put stores a record as JSON.
func put(tx store.Tx, p store.Place, rec any, revision uint64, index ...store.IndexEntry) (uint64, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	if len(value) > store.MaxValue {
		return 0, awserr.New(awserr.LimitExceeded, "The policies with their white space are too large to be kept together.")
	}
	return tx.Put(p, value, revision, index...)
}

func (k *entityKind) decode(rec store.Record) (*entity, error) {
	e := &entity{kind: k, account: rec.Account, id: rec.ID, revision: rec.Revision}
	if json.Unmarshal(rec.Value, &e.entityRecord) != nil {
		return nil, fmt.Errorf("the record of %s %s is not one that this version can read", k.word, rec.ID)
	}
	return e, nil
}

// read is the entity of that unique id, or store.ErrNotFound.
func (k *entityKind) read(r store.Reader, account, id string) (*entity, error) {
	rec, err := r.Get(store.Place{Kind: k.store, Account: account, ID: id})
	if err != nil {
		return nil, err
	}
	return k.decode(rec)
}

// find is the entity of that name in an account, or store.ErrNotFound.
func (k *entityKind) find(r store.Reader, account, name string) (*entity, error) {
	return k.lookUp(r, nameIndex, nameValue(account, name))
}

// byID is the entity of that unique id in any account, or store.ErrNotFound.
func (k *entityKind) byID(r store.Reader, id string) (*entity, error) {
	return k.lookUp(r, idIndex, id)
}

func (k *entityKind) lookUp(r store.Reader, index, value string) (found *entity, err error) {
	err = k.each(r, index, value, func(e *entity) error {
		found = e
		return nil
	})
	if err == nil && found == nil {
		err = store.ErrNotFound
	}
	return found, err
}

// each calls fn for the entities under one index value.
func (k *entityKind) each(r store.Reader, index, value string, fn func(*entity) error) error {
	return r.Lookup(store.Query{Kind: k.store, Index: index, From: value, To: value}, func(rec store.Record) error {
		e, err := k.decode(rec)
		if err != nil {
			return err
		}
		return fn(e)
	})
}

// count is the number of entities under one index value.
func (k *entityKind) count(r store.Reader, index, value string) (n int, err error) {
	err = r.Lookup(store.Query{Kind: k.store, Index: index, From: value, To: value}, func(store.Record) error {
		n++
		return nil
	})
	return n, err
}

// list calls fn for the entities of an account in the order of their names, from
// the one after the name after on.
func (k *entityKind) list(r store.Reader, account, after string, fn func(*entity) error) error {
	return listByName(r, k.store, account, after, func(rec store.Record) error {
		e, err := k.decode(rec)
		if err != nil {
			return err
		}
		return fn(e)
	})
}

// listByName calls fn for the records of a kind in the order of their names.
func listByName(r store.Reader, kind, account, after string, fn func(store.Record) error) error {
	q := store.Query{Kind: kind, Index: nameIndex, From: nameValue(account, after), To: account + "/" + store.LastIndexValue}
	err := r.Lookup(q, fn)
	if errors.Is(err, errPageFull) {
		return nil
	}
	return err
}

// findARN is the user, group or role of an ARN in exactly its form, or of a role
// session the role; store.ErrNotFound if there is none.
func findARN(r store.Reader, text string) (*entity, error) {
	a, ok := parseARN(text)
	if !ok || !isAccount(a.account) {
		return nil, store.ErrNotFound
	}
	for _, k := range entityKinds {
		switch {
		case a.resource == k.word:
			e, err := k.find(r, a.account, a.name)
			if err == nil && e.arn() != text {
				err = store.ErrNotFound
			}
			return e, err
		case a.resource == "assumed-role" && k == roleKind:
			e, err := k.find(r, a.account, a.name)
			if err == nil && e.Name != a.name {
				err = store.ErrNotFound
			}
			return e, err
		}
	}
	return nil, store.ErrNotFound
}

// inlineName is what explanations call an inline policy.
func (e *entity) inlineName(p inline) string {
	return "policy " + p.Name + " of " + e.kind.word + " " + e.Name
}

// parseInline compiles the inline policies.
func (e *entity) parseInline() ([]*policy.Document, error) {
	docs := make([]*policy.Document, len(e.Inline))
	for i, p := range e.Inline {
		doc, err := policy.Parse(policy.Identity, e.inlineName(p), p.Text)
		if err != nil {
			return nil, fmt.Errorf("the inline policy %s of %s: %w", p.Name, e.arn(), err)
		}
		docs[i] = doc
	}
	return docs, nil
}
