package organizations

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/cache"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// Directory answers what an account has from the organization, from memory for
// accounts in use. It is safe for concurrent use.
type Directory struct {
	store     store.Store
	members   *cache.Cache[string, *authz.Membership] // by account id
	documents *cache.Cache[string, *policy.Document]  // by policy id
}

// How many accounts and policies stay ready in memory.
const (
	cachedMembers   = 1 << 14
	cachedDocuments = 1 << 10
)

// NewDirectory makes a Directory over what the store holds.
func NewDirectory(st store.Store) *Directory {
	d := &Directory{
		store:     st,
		members:   cache.New[string, *authz.Membership](cachedMembers),
		documents: cache.New[string, *policy.Document](cachedDocuments),
	}
	st.Subscribe(d.forget)
	return d
}

// forget drops what changed from memory. The store calls it before it
// acknowledges the change. Documents go first: a membership that is kept after
// this was made of documents that were kept after this.
func (d *Directory) forget(changes []store.Change) {
	shared := false
	for _, c := range changes {
		switch c.Place.Kind {
		case policyStore:
			d.documents.Drop(c.Place.ID)
			shared = true
		case orgKind, unitStore:
			shared = true
		}
	}
	if shared {
		d.members.DropFunc(func(string, *authz.Membership) bool { return true })
		return
	}
	for _, c := range changes {
		if c.Place.Kind == accountStore {
			d.members.Drop(c.Place.ID)
		}
	}
}

var noMembership authz.Membership

// Membership is the authz.Directory's.
func (d *Directory) Membership(ctx context.Context, account string) (*authz.Membership, error) {
	if m, ok := d.members.Get(account); ok {
		return m, nil
	}
	account = strings.Clone(account) // it may share memory with the request
	mark, documents := d.members.Mark(), d.documents.Mark()
	var m *authz.Membership
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		m, err = d.load(r, account, documents)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.members.Put(account, m, mark)
	return m, nil
}

// load reads the membership of an account. One that the organization has not has
// none; anything else that is missing is an error, so that no policy is passed
// over.
func (d *Directory) load(r store.Reader, account string, mark uint64) (*authz.Membership, error) {
	rec, err := r.Get(store.Place{Kind: accountStore, ID: account})
	if errors.Is(err, store.ErrNotFound) {
		return &noMembership, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := openTree(r)
	if err != nil {
		return nil, err
	}
	e, err := decodeElement(rec)
	if err != nil {
		return nil, err
	}
	line, err := t.line(e)
	if err != nil {
		return nil, err
	}
	m := &authz.Membership{OrgID: t.ID, Path: t.path(line[1:]), Suspended: !e.Closed.IsZero()}
	if !t.Control || account == t.Management {
		return m, nil
	}
	for _, e := range slices.Backward(line) {
		var level []*policy.Document
		for _, id := range e.Policies {
			doc, err := d.document(t, id, mark)
			if err != nil {
				return nil, err
			}
			level = append(level, doc)
		}
		m.Control = append(m.Control, level)
	}
	return m, nil
}

// document is a policy, compiled.
func (d *Directory) document(t *tree, id string, mark uint64) (*policy.Document, error) {
	if doc, ok := d.documents.Get(id); ok {
		return doc, nil
	}
	p, err := t.policy(id)
	if err != nil {
		return nil, fmt.Errorf("an attached policy %s: %v", id, err)
	}
	doc, err := policy.Parse(policy.Identity, t.arn(id), p.Content)
	if err == nil {
		d.documents.Put(id, doc, mark)
	}
	return doc, err
}
