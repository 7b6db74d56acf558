package kms

import (
	"context"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/quota"
	"github.com/kagimori/kagimori/internal/store"
)

// usableKey is a key that a call was allowed to use in the state it is in. Only
// use makes one, and only it leads to key material and to changes of the key.
type usableKey struct {
	*key
	svc    *Service
	call   *api.Call
	req    authz.Request // that allowed it
	values values
}

// forms says which identifiers an operation takes for its key.
type forms int

const (
	keyOnly    forms = iota // key id or key ARN
	keyOrAlias              // those and alias name or alias ARN
)

// ask is what a call wants of a key.
type ask struct {
	action string // without "kms:"; not always the operation's name
	named  string // as in authz.Request
	alias  string // the alias name that the caller gave for the key, if it did
	other  *key   // of ReEncrypt, the other one of its two keys
}

// use finds the key that value names, asks for authorization of the call's own
// action on it, and checks its state.
func (s *Service) use(ctx context.Context, call *api.Call, value string, accept forms) (*usableKey, error) {
	return s.useFor(ctx, call, ask{action: call.Operation}, value, accept)
}

// useFor is use for an action that has not the operation's name.
func (s *Service) useFor(ctx context.Context, call *api.Call, a ask, value string, accept forms) (*usableKey, error) {
	k, alias, err := s.resolve(ctx, call, a.action, value, accept)
	if err != nil {
		return nil, err
	}
	a.alias = alias
	return s.admit(ctx, call, k, a)
}

// crossAccount are the operations that can use a key of another account.
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html
var crossAccount = map[string]bool{
	"CreateGrant": true, "Decapsulate": true, "Decrypt": true, "DeriveSharedSecret": true, "DescribeKey": true, "Encapsulate": true, "Encrypt": true,
	"GenerateDataKey": true, "GenerateDataKeyPair": true, "GenerateDataKeyPairWithoutPlaintext": true, "GenerateDataKeyWithoutPlaintext": true,
	"GenerateMac": true, "GetKeyRotationStatus": true, "GetPublicKey": true, "ListGrants": true, "ReEncrypt": true, "RetireGrant": true,
	"RevokeGrant": true, "Sign": true, "Verify": true, "VerifyMac": true,
}

// admit asks for authorization of an action on a key and checks the key state and
// usage.
func (s *Service) admit(ctx context.Context, call *api.Call, k *key, a ask) (*usableKey, error) {
	u := &usableKey{key: k, svc: s, call: call}
	u.values = values{ctx: ctx, svc: s, call: call, key: k, action: a.action, alias: a.alias, other: a.other}
	err := u.authorize(a)
	if err == nil && k.revision == 0 {
		if k, err = s.storeManaged(ctx, k, a.alias); err != nil {
			return nil, err
		}
		return s.admit(ctx, call, k, a)
	}
	// The record of a denial must not tell what the denial keeps to itself: that
	// another account has such a key.
	if err == nil || k.account == call.Caller.Account {
		call.Trail.Resources = append(call.Trail.Resources, resource(k.account, k.arn))
	}
	if err != nil {
		return nil, err
	}
	// Not before: whoever may not use the key must not learn of what spec it is.
	if s.Rates != nil && byKey[call.Operation] {
		if err := s.take(call, quota.OfSpec(string(k.Spec))); err != nil {
			return nil, err
		}
	}
	if err := k.checkState(call.Operation, call.Time); err != nil {
		return nil, err
	}
	return u, k.checkUsage(call.Operation)
}

func (u *usableKey) authorize(a ask) error {
	if u.account != u.call.Caller.Account && !crossAccount[u.call.Operation] {
		return authz.NotVisible(u.call.Caller, "kms:"+a.action, a.named)
	}
	u.req = u.request("kms:" + a.action)
	u.req.Named = a.named
	return u.values.check(&u.req)
}

// request is the question whether the call may do something to the key.
func (u *usableKey) request(action string) authz.Request {
	return authz.Request{Action: action, Resource: u.arn, Account: u.account, Type: keyType, Policy: u.document(), Grants: &u.values, Values: &u.values}
}

// allow asks for authorization of an action on something of the caller's account
// that the call does not use as a key: an alias, or "*".
func (s *Service) allow(ctx context.Context, call *api.Call, action, resourceARN string) error {
	v := values{ctx: ctx, svc: s, call: call, action: action}
	return v.check(&authz.Request{Action: "kms:" + action, Resource: resourceARN, Account: call.Caller.Account, Values: &v})
}

// undeclaredInvalidArn are the operations on keys whose model has no
// InvalidArnException; a malformed ARN is a NotFoundException there.
var undeclaredInvalidArn = map[string]bool{
	"CreateAlias": true, "UpdateAlias": true,
	"Encrypt": true, "Decrypt": true, "ReEncrypt": true, "GenerateDataKey": true, "GenerateDataKeyWithoutPlaintext": true,
}

// resolve finds the key that a KeyId parameter names, and the alias if it names
// one. action is what the caller wants to do with it, for the denial. An AWS managed
// key that is not stored yet has the revision 0.
func (s *Service) resolve(ctx context.Context, call *api.Call, action, value string, accept forms) (k *key, alias string, err error) {
	ref, err := parseKeyRef(value, call.Caller.Account, call.Region)
	if awserr.Is(err, awserr.InvalidArn) && undeclaredInvalidArn[call.Operation] {
		err = awserr.New(awserr.NotFound, "%s", awserr.From(err).Message)
	}
	if err != nil {
		return nil, "", err
	}
	if ref.alias != "" {
		if accept != keyOrAlias {
			return nil, "", awserr.New(awserr.NotFound, "Invalid keyId '%s'", value)
		}
		if ref.id, err = s.aliasTarget(ctx, ref); isNotFound(err) {
			if k := newManagedKey(call, ref); k != nil {
				return k, ref.alias, nil
			}
		}
		if err != nil {
			return nil, "", s.invisible(call, action, ref, err, "Alias "+aliasARN(ref.account, ref.region, ref.alias)+" is not found.")
		}
	}
	k, err = s.loadKey(ctx, ref.account, ref.region, ref.id)
	if err != nil {
		return nil, "", s.invisible(call, action, ref, err, "Key '"+keyARN(ref.account, ref.region, ref.id)+"' does not exist")
	}
	return k, ref.alias, nil
}

// invisible turns "not found" into what the caller may know: in the own account
// that it is not there, elsewhere only that it cannot be used.
func (s *Service) invisible(call *api.Call, action string, ref keyRef, err error, message string) error {
	if !isNotFound(err) {
		return err
	}
	if ref.account != call.Caller.Account {
		return authz.NotVisible(call.Caller, "kms:"+action, "")
	}
	return awserr.New(awserr.NotFound, "%s", message)
}

// loadKey reads a key of an account, from memory if it was used lately.
func (s *Service) loadKey(ctx context.Context, account, region, id string) (*key, error) {
	k, err := s.findKey(ctx, region, id, func(r store.Reader) (*key, error) { return readKey(r, account, region, id) })
	if err == nil && k.account != account {
		return nil, store.ErrNotFound
	}
	return k, err
}

// loadKeyOf reads the key of that id in the Region, whichever account it is in:
// a ciphertext names its key without the account.
func (s *Service) loadKeyOf(ctx context.Context, region, id string) (*key, error) {
	return s.findKey(ctx, region, id, func(r store.Reader) (k *key, err error) {
		err = r.Lookup(store.Query{Kind: keyKind, Index: idIndex, From: id, To: id}, func(rec store.Record) (err error) {
			if rec.Region == region {
				k, err = decodeKey(rec)
			}
			return err
		})
		if err == nil && k == nil {
			err = store.ErrNotFound
		}
		return k, err
	})
}

func (s *Service) findKey(ctx context.Context, region, id string, read func(store.Reader) (*key, error)) (*key, error) {
	place := keyPlace{region, id}
	if k, ok := s.keys.Get(place); ok {
		return k, nil
	}
	mark := s.keys.Mark()
	var k *key
	err := s.Store.View(ctx, func(r store.Reader) (err error) {
		k, err = read(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.keys.Put(place, k, mark)
	return k, nil
}

// symmetric is one of the key's materials, ready to encrypt and decrypt.
func (u *usableKey) symmetric(ctx context.Context, id string) (*keymaterial.Symmetric, error) {
	return loaded(ctx, u.key, u.svc.Store, id, func(raw []byte) (*keymaterial.Symmetric, error) { return keymaterial.NewSymmetric(u.ID, id, raw) })
}

// pair is the key pair of an asymmetric key.
func (u *usableKey) pair(ctx context.Context) (*keymaterial.KeyPair, error) {
	return loaded(ctx, u.key, u.svc.Store, u.current(), func(raw []byte) (*keymaterial.KeyPair, error) { return keymaterial.NewKeyPair(u.spec(), raw) })
}

// publicKey is that of the pair. Of imported material it outlives the private key.
func (u *usableKey) publicKey(ctx context.Context) ([]byte, error) {
	i := u.currentIndex()
	switch {
	case i < 0:
		return nil, awserr.New(awserr.KMSInvalidState, "%s is pending import.", u.arn)
	case u.Materials[i].PublicKey != nil:
		return u.Materials[i].PublicKey, nil
	}
	pair, err := u.pair(ctx)
	if err != nil {
		return nil, err
	}
	return pair.PublicKey(), nil
}

// hmac is the material of an HMAC key.
func (u *usableKey) hmac(ctx context.Context) (*keymaterial.HMAC, error) {
	return loaded(ctx, u.key, u.svc.Store, u.current(), func(raw []byte) (*keymaterial.HMAC, error) { return keymaterial.NewHMAC(u.spec(), raw) })
}

// change makes a change to the key and stores it together with the audit record.
// fn works on a fresh copy of the key, whose state is checked again, because
// another call may have come in between.
func (u *usableKey) change(ctx context.Context, fn func(k *key, tx store.Tx) error) error {
	return u.svc.Trail.Change(ctx, u.call, func(tx store.Tx) error {
		fresh, err := u.fresh(tx)
		if err != nil {
			return err
		}
		if err := fn(fresh, tx); err != nil {
			return err
		}
		err = fresh.write(tx)
		for _, event := range fresh.syncs(u.call.RequestID, u.call.Time) {
			u.call.Trail.Events = append(u.call.Trail.Events, audit.EventRecord(event))
		}
		return err
	})
}

// fresh is the key as a transaction finds it, in a state that fits the operation.
func (u *usableKey) fresh(tx store.Tx) (*key, error) {
	k, err := readKey(tx, u.account, u.region, u.ID)
	if isNotFound(err) {
		return nil, awserr.New(awserr.NotFound, "Key '%s' does not exist", u.arn)
	}
	if err == nil {
		err = k.checkState(u.call.Operation, u.call.Time)
	}
	return k, err
}

// keyType is what audit records call a key or alias.
const keyType = "AWS::KMS::Key"

// resource is the key as an audit record names it.
func (k *key) resource() *api.Resource {
	r := resource(k.account, k.arn)
	return &r
}

func resource(account, arn string) api.Resource {
	return api.Resource{Account: account, Type: keyType, ARN: arn}
}
