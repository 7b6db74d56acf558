package organizations

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/store"
)

// Kinds of store records.
const (
	orgKind      = "org"         // orgRecord, the one of orgPlace
	unitStore    = "org-unit"    // elementRecord: the root and organizational units, by id
	accountStore = "org-account" // elementRecord: accounts, by id
	policyStore  = "org-policy"  // policyRecord, by id
	requestStore = "org-request" // requestRecord: requests to create an account, by id
)

// Indexes.
const (
	parentIndex = "parent" // of units and accounts: id of the parent
	policyIndex = "policy" // of units and accounts: id of an attached policy
	nameIndex   = "name"   // of units: PARENT/NAME; of policies: TYPE/NAME
	emailIndex  = "email"  // of accounts, folded
)

var orgPlace = store.Place{Kind: orgKind, ID: "organization"}

// orgRecord is the organization as the store keeps it.
type orgRecord struct {
	ID         string `json:"id"`         // o-…
	Root       string `json:"root"`       // r-…
	Management string `json:"management"` // account id
	// Control tells that service control policies are enabled in the root.
	Control bool `json:"control,omitempty"`

	revision uint64
}

// kind is one row of the table of what the tree is made of.
type kind struct {
	prefix string // of ids
	store  string
	arn    string // the word in ARNs
	word   string // that of types.TargetType, ParentType and ChildType
}

var (
	rootKind    = &kind{"r-", unitStore, "root", "ROOT"}
	unitKind    = &kind{"ou-", unitStore, "ou", "ORGANIZATIONAL_UNIT"}
	accountKind = &kind{"", accountStore, "account", "ACCOUNT"}
)

// kindOf is the kind of what has that id.
func kindOf(id string) *kind {
	for _, k := range []*kind{rootKind, unitKind} {
		if strings.HasPrefix(id, k.prefix) {
			return k
		}
	}
	return accountKind
}

// element is the root, an organizational unit or an account at one moment.
type element struct {
	elementRecord
	kind     *kind
	id       string
	revision uint64
}

// elementRecord is an element as the store keeps it.
type elementRecord struct {
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"` // id; the root has none
	// Policies are the ids of the attached policies, oldest attachment first. There
	// are none while their type is disabled.
	Policies []string  `json:"policies,omitempty"`
	Tags     []api.Tag `json:"tags,omitempty"` // by key

	// Of accounts.
	Email  string    `json:"email,omitempty"`
	Joined time.Time `json:"joined,omitzero"`
	Closed time.Time `json:"closed,omitzero"`
}

func elementPlace(id string) store.Place { return store.Place{Kind: kindOf(id).store, ID: id} }

func decodeElement(rec store.Record) (*element, error) {
	e := &element{kind: kindOf(rec.ID), id: rec.ID, revision: rec.Revision}
	return e, decode(rec, &e.elementRecord)
}

func decode(rec store.Record, into any) error {
	if err := json.Unmarshal(rec.Value, into); err != nil {
		return fmt.Errorf("the record of %s: %w", rec.ID, err)
	}
	return nil
}

// tree is the organization in one state of the store. tx and now are for changes.
type tree struct {
	orgRecord
	r   store.Reader
	tx  store.Tx
	now time.Time
}

// openTree reads the organization, which Ensure has made.
func openTree(r store.Reader) (*tree, error) {
	rec, err := r.Get(orgPlace)
	if err != nil {
		return nil, fmt.Errorf("the organization: %v", err) // never "not found"
	}
	t := &tree{r: r}
	t.revision = rec.Revision
	return t, decode(rec, &t.orgRecord)
}

func (t *tree) put(p store.Place, rec any, revision uint64, index ...store.IndexEntry) (uint64, error) {
	value, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	return t.tx.Put(p, value, revision, index...)
}

// write stores the organization in place of the revision that was read.
func (t *tree) write() (err error) {
	t.revision, err = t.put(orgPlace, &t.orgRecord, t.revision)
	return err
}

// writeElement stores an element in place of the revision that was read.
func (t *tree) writeElement(e *element) (err error) {
	var index []store.IndexEntry
	if e.Parent != "" {
		index = append(index, store.IndexEntry{Name: parentIndex, Value: e.Parent})
	}
	if e.kind == unitKind {
		index = append(index, store.IndexEntry{Name: nameIndex, Value: e.Parent + "/" + e.Name})
	}
	if e.Email != "" {
		index = append(index, store.IndexEntry{Name: emailIndex, Value: strings.ToLower(e.Email)})
	}
	for _, id := range e.Policies {
		index = append(index, store.IndexEntry{Name: policyIndex, Value: id})
	}
	e.revision, err = t.put(elementPlace(e.id), &e.elementRecord, e.revision, index...)
	return err
}

// add makes a new element, with the policy that all begin with.
func (t *tree) add(id string, rec elementRecord) (*element, error) {
	e := &element{elementRecord: rec, kind: kindOf(id), id: id}
	if t.Control {
		e.Policies = []string{fullAccess.id}
	}
	return e, t.writeElement(e)
}

// find is the element of an id if it is of one of the kinds; else an error of the
// code.
func (t *tree) find(id, code string, kinds ...*kind) (*element, error) {
	if !slices.Contains(kinds, kindOf(id)) {
		return nil, fail(code)
	}
	rec, err := t.r.Get(elementPlace(id))
	if err != nil {
		return nil, orFail(err, code)
	}
	return decodeElement(rec)
}

// each calls fn for the elements of a kind of records under an index value, in the
// order of their ids, from the one after the id after on.
func (t *tree) each(kind, index, value, after string, fn func(*element) error) error {
	q := store.Query{Kind: kind, Index: index, From: value, To: value}
	if after != "" {
		q.After = store.Place{Kind: kind, ID: after}
	}
	return t.r.Lookup(q, func(rec store.Record) error {
		e, err := decodeElement(rec)
		if err != nil {
			return err
		}
		return fn(e)
	})
}

// any tells whether there is a record under an index value.
func (t *tree) any(kind, index, value string) (found bool, err error) {
	err = t.r.Lookup(store.Query{Kind: kind, Index: index, From: value, To: value, Limit: 1}, func(store.Record) error {
		found = true
		return nil
	})
	return found, err
}

func (t *tree) isMember(account string) (bool, error) {
	_, err := t.r.Get(store.Place{Kind: accountStore, ID: account})
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// line is an element and all above it, the root last.
func (t *tree) line(e *element) ([]*element, error) {
	all := []*element{e}
	for e.Parent != "" {
		rec, err := t.r.Get(elementPlace(e.Parent))
		if err != nil {
			return nil, fmt.Errorf("the parent %s of %s: %v", e.Parent, e.id, err) // never "not found"
		}
		if e, err = decodeElement(rec); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// path is o-…/r-…/ou-…/ with the elements of a line.
func (t *tree) path(line []*element) string {
	var b strings.Builder
	b.WriteString(t.ID + "/")
	for _, e := range slices.Backward(line) {
		b.WriteString(e.id + "/")
	}
	return b.String()
}

// pathOf is the path of an element, itself included.
func (t *tree) pathOf(e *element) (string, error) {
	line, err := t.line(e)
	return t.path(line), err
}

// arn is the ARN of an account, a policy, an organizational unit or the root,
// whether or not there is one.
func (t *tree) arn(id string) string {
	if id == fullAccess.id {
		return arnOf("aws", "policy", policyARNType, id)
	}
	if isPolicy(id) {
		return arnOf(t.Management, "policy", t.ID+"/"+policyARNType, id)
	}
	return arnOf(t.Management, kindOf(id).arn, t.ID, id)
}

func arnOf(account, word, within, id string) string {
	return "arn:" + api.Partition + ":organizations::" + account + ":" + word + "/" + within + "/" + id
}

// newID is a random id: the prefix and n of the characters a to z and 2 to 7.
func newID(prefix string, n int) string { return prefix + strings.ToLower(rand.Text()[:n]) }

// checkName refuses names that cannot be kept.
func checkName(name *string) error {
	if name != nil && strings.IndexByte(*name, 0) >= 0 {
		return invalid("INVALID_PATTERN", "You provided a value that does not match the required pattern.")
	}
	return nil
}

// The management account has no name and no e-mail address of its own.
const (
	managementName  = "Management account"
	managementEmail = "management@kagimori.invalid"
)

// Ensure makes the organization of the first account unless there is one.
// https://docs.aws.amazon.com/organizations/latest/APIReference/API_CreateOrganization.html
func Ensure(ctx context.Context, st store.Store, now time.Time) error {
	err := st.View(ctx, func(r store.Reader) error {
		_, err := r.Get(orgPlace)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	management, err := iam.Account(ctx, st)
	if err != nil {
		return err
	}
	return st.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Get(orgPlace); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		t := &tree{r: tx, tx: tx, now: now, orgRecord: orgRecord{
			ID: newID("o-", 10), Root: newID(rootKind.prefix, 4), Management: management,
		}}
		if err := t.write(); err != nil {
			return err
		}
		if _, err := t.add(t.Root, elementRecord{Name: "Root"}); err != nil {
			return err
		}
		_, err := t.add(management, elementRecord{Name: managementName, Email: managementEmail, Parent: t.Root, Joined: now})
		return err
	})
}
