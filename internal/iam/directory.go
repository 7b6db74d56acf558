package iam

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/cache"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/sigv4"
	"github.com/kagimori/kagimori/internal/store"
)

// Directory answers who principals are and what their policies allow, from memory
// for those in use. It is safe for concurrent use.
type Directory struct {
	store      store.Store
	keys       *cache.Cache[string, accessKey]        // by access key id
	principals *cache.Cache[string, *principal]       // by unique id
	documents  *cache.Cache[string, *policy.Document] // by place of the text, which never changes
	guesses    guesses
}

// accessKey is an active access key in memory. user is the unique id of its user,
// empty for the root's.
type accessKey struct{ secret, account, user string }

// principal is a user or role in memory, with what its account gives it. It is
// never changed.
type principal struct {
	identity authz.Identity
	exists   bool
	account  string
	name     string
	arn      string
	// depends are the unique ids of the groups and managed policies that went in.
	depends []string
}

// How many access keys, principals and documents stay ready in memory.
const (
	cachedAccessKeys = 1 << 14
	cachedPrincipals = 1 << 14
	cachedDocuments  = 1 << 12
)

// NewDirectory makes a Directory over what the store holds.
func NewDirectory(st store.Store) *Directory {
	d := &Directory{
		store:      st,
		keys:       cache.New[string, accessKey](cachedAccessKeys),
		principals: cache.New[string, *principal](cachedPrincipals),
		documents:  cache.New[string, *policy.Document](cachedDocuments),
	}
	st.Subscribe(d.forget)
	return d
}

// forget drops what changed from memory. The store calls it before it
// acknowledges the change, so what a call acknowledged, the next call sees.
func (d *Directory) forget(changes []store.Change) {
	var shared []string // unique ids of what several principals depend on
	for _, c := range changes {
		switch c.Place.Kind {
		case accessKeyKind:
			d.keys.Drop(c.Place.ID)
		case userKind.store, roleKind.store:
			d.principals.Drop(c.Place.ID)
		case groupKind.store, policyKind:
			shared = append(shared, c.Place.ID)
		}
	}
	if len(shared) > 0 {
		d.principals.DropFunc(func(_ string, p *principal) bool {
			return slices.ContainsFunc(p.depends, func(id string) bool { return slices.Contains(shared, id) })
		})
	}
}

// Lookup is the sigv4.Lookup of access keys without a session token. Inactive ones are unknown.
func (d *Directory) Lookup(accessKeyID string) (sigv4.Credential, error) {
	ctx := context.Background()
	k, err := d.accessKey(ctx, accessKeyID)
	if err != nil {
		return sigv4.Credential{}, err
	}
	c := sigv4.Credential{SecretKey: k.secret, Principal: api.Principal{Account: k.account, AccessKeyID: accessKeyID}}
	who := &c.Principal
	if k.user == "" {
		who.Type, who.ID, who.ARN = api.Root, k.account, RootARN(k.account)
		return c, nil
	}
	u, err := d.principal(ctx, k.account, k.user)
	if err != nil {
		return sigv4.Credential{}, err
	}
	if !u.exists {
		return sigv4.Credential{}, sigv4.ErrUnknownKey
	}
	who.Type, who.ID, who.ARN, who.UserName = api.IAMUser, k.user, u.arn, u.name
	return c, nil
}

func (d *Directory) accessKey(ctx context.Context, id string) (accessKey, error) {
	k, ok := d.keys.Get(id)
	if ok {
		return k, nil
	}
	if id == "" || len(id) > 128 {
		return k, sigv4.ErrUnknownKey
	}
	id = strings.Clone(id) // it shares memory with the request
	mark := d.keys.Mark()
	var rec *accessKeyRecord
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		rec, err = readAccessKey(r, id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && rec.Inactive {
		return k, sigv4.ErrUnknownKey
	}
	if err != nil {
		return k, err
	}
	k = accessKey{secret: rec.Secret, account: rec.Account, user: rec.UserID}
	d.keys.Put(id, k, mark)
	return k, nil
}

// AccessKeyAccount is the account of a long-term access key, active or not, or
// store.ErrNotFound.
func (d *Directory) AccessKeyAccount(ctx context.Context, id string) (account string, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		rec, err := readAccessKey(r, id)
		if err == nil {
			account = rec.Account
		}
		return err
	})
	return account, err
}

// noIdentity is what roots, services and principals that are no more have.
var noIdentity authz.Identity

// Identity is the authz.Directory's.
func (d *Directory) Identity(ctx context.Context, p *api.Principal) (*authz.Identity, error) {
	id := p.ID
	switch p.Type {
	case api.IAMUser:
	case api.AssumedRole:
		id = p.Session.RoleID
	default:
		return &noIdentity, nil
	}
	found, err := d.principal(ctx, p.Account, id)
	if err != nil {
		return nil, err
	}
	return &found.identity, nil
}

// principal is the user or role of a unique id, from memory if it was used lately.
// That of a principal that is no more is empty.
func (d *Directory) principal(ctx context.Context, account, id string) (*principal, error) {
	if p, ok := d.principals.Get(id); ok {
		return p, nil
	}
	id = strings.Clone(id)
	mark := d.principals.Mark()
	p := new(principal)
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		p, err = d.load(r, account, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.principals.Put(id, p, mark)
	return p, nil
}

// load reads a principal with all that its account gives it.
func (d *Directory) load(r store.Reader, account, id string) (*principal, error) {
	kind := userKind
	if strings.HasPrefix(id, rolePrefix) {
		kind = roleKind
	}
	e, err := kind.read(r, account, id)
	if errors.Is(err, store.ErrNotFound) {
		return new(principal), nil
	}
	if err != nil {
		return nil, err
	}
	return d.compile(r, e)
}

// compile is an entity with all that its account gives it.
func (d *Directory) compile(r store.Reader, e *entity) (*principal, error) {
	p := &principal{exists: true, account: e.account, name: e.Name, arn: e.arn(), identity: authz.Identity{Tags: e.Tags}}
	bearers, err := withGroups(r, e)
	if err != nil {
		return nil, err
	}
	for _, b := range bearers {
		if b != e {
			p.depends = append(p.depends, b.id)
		}
		docs, err := b.parseInline()
		if err != nil {
			return nil, err
		}
		p.identity.Policies = append(p.identity.Policies, docs...)
		for _, arn := range b.Attached {
			doc, err := p.managed(d, r, arn)
			if err != nil {
				return nil, err
			}
			p.identity.Policies = append(p.identity.Policies, doc)
		}
	}
	if e.Boundary != "" {
		p.identity.Boundary, err = p.managed(d, r, e.Boundary)
	}
	return p, err
}

// managed is the compiled managed policy of an ARN that p has.
func (p *principal) managed(d *Directory, r store.Reader, arn string) (*policy.Document, error) {
	m, err := findManaged(r, p.account, arn)
	if err != nil {
		return nil, err
	}
	p.depends = append(p.depends, m.id)
	return d.compiled(r, m)
}

// withGroups is an entity with the groups that it is in.
func withGroups(r store.Reader, e *entity) ([]*entity, error) {
	all := []*entity{e}
	for _, id := range e.Groups {
		g, err := groupKind.read(r, e.account, id)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// compiled is the document of the default version of a managed policy.
func (d *Directory) compiled(r store.Reader, m *managed) (*policy.Document, error) {
	if m.account == awsAccount {
		return awsCompiled[m.arn()], nil
	}
	place := m.textPlace(m.Default).ID
	if doc, ok := d.documents.Get(place); ok {
		return doc, nil
	}
	text, err := m.text(r, m.Default)
	if err != nil {
		return nil, err
	}
	doc, err := policy.Parse(policy.Identity, m.arn(), text)
	if err == nil {
		d.documents.Put(place, doc, d.documents.Mark())
	}
	return doc, err
}

// Exists tells whether a principal is still there: the user or the role of a
// session, or for a root the account.
func (d *Directory) Exists(ctx context.Context, p *api.Principal) (bool, error) {
	switch p.Type {
	case api.IAMUser:
		found, err := d.principal(ctx, p.Account, p.ID)
		return err == nil && found.exists, err
	case api.AssumedRole:
		found, err := d.principal(ctx, p.Account, p.Session.RoleID)
		return err == nil && found.exists, err
	}
	return true, nil
}

// AccountOfKey is the account of a long-term access key, empty for an unknown one.
func (d *Directory) AccountOfKey(ctx context.Context, id string) (account string, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		k, err := readAccessKey(r, id)
		if err == nil {
			account = k.Account
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return account, err
}

// ManagedPolicy is the default version of a managed policy that an account can
// use, its own or one of AWS, compiled and as text; store.ErrNotFound if there is
// none of that ARN.
func (d *Directory) ManagedPolicy(ctx context.Context, account, arn string) (doc *policy.Document, text string, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		m, err := findManaged(r, account, arn)
		if err != nil {
			return err
		}
		if doc, err = d.compiled(r, m); err != nil {
			return err
		}
		text, err = m.text(r, m.Default)
		return err
	})
	return doc, text, err
}

// Resolve finds the unique ids (AIDA…, AROA…) of principals as policies name them:
// the ARN of a user or role, that of a role session (for which the id is the
// role's), or a unique id. For the ARN of an account's root the id is the
// account's. What does not exist is left out. r is the state to look at.
func (d *Directory) Resolve(r store.Reader, names []string) (map[string]string, error) {
	return resolve(r, names)
}

func resolve(r store.Reader, names []string) (map[string]string, error) {
	ids := map[string]string{}
	for _, name := range names {
		if account, ok := rootAccount(name); ok {
			_, err := readAccount(r, account)
			if err == nil {
				ids[name] = account
			} else if !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			continue
		}
		e, err := findPrincipal(r, name)
		switch {
		case err == nil:
			ids[name] = e.id
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return ids, nil
}

// findPrincipal is the user or role that an ARN or a unique id names.
func findPrincipal(r store.Reader, name string) (e *entity, err error) {
	switch {
	case strings.HasPrefix(name, userPrefix):
		return userKind.byID(r, name)
	case strings.HasPrefix(name, rolePrefix):
		return roleKind.byID(r, name)
	}
	e, err = findARN(r, name)
	if err == nil && e.kind == groupKind {
		return nil, store.ErrNotFound
	}
	return e, err
}

// Role is a role, as those who assume it need it.
type Role struct {
	Account, Name, Path, ARN, ID string
	MaxSessionDuration           time.Duration
	Trust                        *policy.Document // the trust policy, bound
	Tags                         []api.Tag
	Created                      time.Time
}

// Role is the role of an ARN, or store.ErrNotFound.
func (d *Directory) Role(ctx context.Context, arn string) (role *Role, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		e, err := findARN(r, arn)
		if err == nil && (e.kind != roleKind || e.arn() != arn) {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		role, err = e.role()
		return err
	})
	return role, err
}

func (e *entity) role() (*Role, error) {
	trust, err := policy.Parse(policy.Trust, "trust policy of "+e.Name, e.Trust)
	if err != nil {
		return nil, err
	}
	return &Role{
		Account: e.account, Name: e.Name, Path: e.Path, ARN: e.arn(), ID: e.id, Created: e.Created, Tags: e.Tags,
		MaxSessionDuration: time.Duration(e.MaxSession) * time.Second, Trust: trust.Bind(e.TrustIDs),
	}, nil
}

// User is a user.
type User struct {
	Account, Name, Path, ARN, ID string
	Tags                         []api.Tag
	Created                      time.Time
}

// User is the user of that name in an account, or store.ErrNotFound.
func (d *Directory) User(ctx context.Context, account, name string) (user *User, err error) {
	err = d.store.View(ctx, func(r store.Reader) error {
		e, err := userKind.find(r, account, name)
		if err == nil {
			user = &User{Account: account, Name: e.Name, Path: e.Path, ARN: e.arn(), ID: e.id, Tags: e.Tags, Created: e.Created}
		}
		return err
	})
	return user, err
}
