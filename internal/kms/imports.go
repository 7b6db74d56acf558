package kms

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	importTokenFor = 24 * time.Hour
	maxValidity    = 365 * day // of imported material that expires

	// importTokenBinding sets import tokens apart from what else is sealed, and
	// numbers their version.
	importTokenBinding = "kagimori import token v1"
)

// importToken is what an import token holds: the private key that opens what is
// wrapped for it. Nothing of it is stored.
type importToken struct {
	Key       string    `json:"key"` // ARN
	Algorithm string    `json:"algorithm"`
	Private   []byte    `json:"private"` // PKCS #8
	ValidTo   time.Time `json:"validTo"`
}

// onlyOrigin refuses keys of another origin.
func (k *key) onlyOrigin(origin types.OriginType) error {
	if k.Origin != origin {
		return awserr.New(awserr.UnsupportedOperation, "%s origin is %s which is not valid for this operation.", k.arn, k.Origin)
	}
	return nil
}

// describe adds what a list of rotations tells of imported material.
func (m *materialRecord) describe(e *types.RotationsListEntry) {
	e.ImportState = types.ImportStateImported
	if m.Gone {
		e.ImportState = types.ImportStatePendingImport
		return
	}
	e.ExpirationModel = types.ExpirationModelTypeKeyMaterialDoesNotExpire
	if !m.ValidTo.IsZero() {
		e.ExpirationModel, e.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, aws.Time(m.ValidTo)
	}
	if m.Description != "" {
		e.KeyMaterialDescription = aws.String(m.Description)
	}
}

// GetParametersForImport gives a public key to wrap material with, and the token that
// goes with it, for 24 hours.
func (s *Service) GetParametersForImport(ctx context.Context, call *api.Call, in *sdk.GetParametersForImportInput) (*sdk.GetParametersForImportOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.onlyOrigin(types.OriginTypeExternal); err != nil {
		return nil, err
	}
	algorithm, wrapping := string(in.WrappingAlgorithm), keymaterial.SpecNamed(string(in.WrappingKeySpec))
	if !slices.Contains(u.spec().Wrapping(), algorithm) || (algorithm == "SM2PKE") != (wrapping.Name == "SM2") {
		return nil, invalid("WrappingAlgorithm %s with WrappingKeySpec %s cannot be used to import the material of a key with KeySpec %s.", algorithm, wrapping.Name, u.Spec)
	}
	private, err := s.pairs.take(wrapping)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(private)
	pair, err := keymaterial.NewKeyPair(wrapping, private)
	if err != nil {
		return nil, err
	}
	token := importToken{u.arn, algorithm, private, call.Time.Add(importTokenFor).Truncate(time.Second)}
	plain, err := json.Marshal(&token)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(plain)
	return &sdk.GetParametersForImportOutput{KeyId: &u.arn, PublicKey: pair.PublicKey(), ParametersValidTo: &token.ValidTo,
		ImportToken: s.Sealer.Seal(nil, plain, []byte(importTokenBinding))}, nil
}

// openImportToken reads a token that is for the key.
func (u *usableKey) openImportToken(sealed []byte) (*importToken, error) {
	plain, err := u.svc.Sealer.Open(nil, sealed, []byte(importTokenBinding))
	var token importToken
	if err == nil {
		defer secmem.Zero(plain)
		err = json.Unmarshal(plain, &token)
	}
	switch {
	case err != nil || token.Key != u.arn:
		return nil, awserr.New(awserr.InvalidImportToken, "The import token is not one that GetParametersForImport gave for this key.")
	case !u.call.Time.Before(token.ValidTo):
		secmem.Zero(token.Private)
		return nil, awserr.New(awserr.ExpiredImportToken, "The import token has expired. Call GetParametersForImport again and wrap the material anew.")
	}
	return &token, nil
}

// ImportKeyMaterial gives a key material that was wrapped for it.
func (s *Service) ImportKeyMaterial(ctx context.Context, call *api.Call, in *sdk.ImportKeyMaterialInput) (*sdk.ImportKeyMaterialOutput, error) {
	validTo, err := validity(call, in)
	if err != nil {
		return nil, err
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.onlyOrigin(types.OriginTypeExternal); err != nil {
		return nil, err
	}
	symmetric := u.Spec == types.KeySpecSymmetricDefault
	if !symmetric && (in.ImportType != "" || in.KeyMaterialId != nil || in.KeyMaterialDescription != nil) {
		return nil, invalid("ImportType, KeyMaterialId and KeyMaterialDescription are for symmetric encryption keys only.")
	}
	token, err := u.openImportToken(in.ImportToken)
	if err != nil {
		return nil, err
	}
	defer secmem.Zero(token.Private)
	wrapped, err := keymaterial.Unwrap(token.Algorithm, token.Private, in.EncryptedKeyMaterial)
	if err != nil {
		return nil, awserr.New(awserr.InvalidCiphertext, "")
	}
	defer secmem.Zero(wrapped)
	raw, err := u.spec().Import(wrapped)
	if err != nil {
		return nil, awserr.New(awserr.IncorrectKeyMaterial, "The key material is not that of a key with KeySpec %s.", u.Spec)
	}
	defer secmem.Zero(raw)

	var public []byte
	if u.spec().Asymmetric() {
		pair, err := keymaterial.NewKeyPair(u.spec(), raw)
		if err != nil {
			return nil, err
		}
		public = pair.PublicKey()
	}
	id := keymaterial.MaterialID(u.ID, raw)
	out := &sdk.ImportKeyMaterialOutput{KeyId: &u.arn}
	if symmetric {
		out.KeyMaterialId = &id
	}
	call.Trail.Response = out
	return out, u.change(ctx, func(k *key, tx store.Tx) error {
		i, err := k.placeFor(id, in)
		if err != nil {
			return err
		}
		if i == len(k.Materials) {
			if err := addMaterial(tx, k, raw, call.Time, ""); err != nil {
				return err
			}
			k.Materials[i].Pending = i > 0
		} else if k.Materials[i].Gone {
			if _, err := tx.Put(materialPlace(k.account, k.region, k.ID, id), raw, 0); err != nil {
				return err
			}
		}
		m := &k.Materials[i]
		m.Gone, m.ValidTo, m.PublicKey = false, validTo, public
		m.Notices = m.noticesUntil(u.call.Time)
		if in.KeyMaterialDescription != nil {
			m.Description = *in.KeyMaterialDescription
		}
		if k.State == types.KeyStatePendingImport && k.complete() {
			k.State = types.KeyStateEnabled
		}
		return nil
	})
}

// validity is when the material of a request expires; zero if it does not.
func validity(call *api.Call, in *sdk.ImportKeyMaterialInput) (time.Time, error) {
	if in.ExpirationModel == types.ExpirationModelTypeKeyMaterialDoesNotExpire {
		if in.ValidTo != nil {
			return time.Time{}, invalid("A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE")
		}
		return time.Time{}, nil
	}
	switch {
	case in.ValidTo == nil:
		return time.Time{}, invalid("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")
	case !in.ValidTo.After(call.Time), in.ValidTo.After(call.Time.Add(maxValidity)):
		return time.Time{}, invalid("The validTo date must be in the future, at most 365 days from now.")
	}
	return in.ValidTo.Truncate(time.Second), nil
}

// placeFor is the index at which material of an id is to be: one there is, or a new
// one behind them.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_ImportKeyMaterial.html
func (k *key) placeFor(id string, in *sdk.ImportKeyMaterialInput) (int, error) {
	i := slices.IndexFunc(k.Materials, func(m materialRecord) bool { return m.ID == id })
	incorrect := func(reason string) (int, error) {
		return 0, awserr.New(awserr.IncorrectKeyMaterial, "%s", reason)
	}
	if k.Spec != types.KeySpecSymmetricDefault {
		if i < 0 && len(k.Materials) > 0 {
			return incorrect("Only the key material that was imported before can be imported again.")
		}
		return max(i, 0), nil
	}
	kind := in.ImportType
	if kind == "" {
		kind = types.ImportTypeExistingKeyMaterial
		if len(k.Materials) == 0 {
			kind = types.ImportTypeNewKeyMaterial
		}
	}
	if kind == types.ImportTypeExistingKeyMaterial {
		switch {
		case i < 0:
			return incorrect("The key material is not one that was imported into this key before. Use ImportType NEW_KEY_MATERIAL for another one.")
		case in.KeyMaterialId != nil && *in.KeyMaterialId != id:
			return incorrect("The key material is not the one that KeyMaterialId names.")
		}
		return i, nil
	}
	switch {
	case k.isReplica():
		return incorrect("New key material must be imported into the primary key first.")
	case in.KeyMaterialId != nil:
		return 0, invalid("KeyMaterialId cannot be used with ImportType NEW_KEY_MATERIAL.")
	case i >= 0:
		return incorrect("The key material was imported into this key before. Use ImportType EXISTING_KEY_MATERIAL.")
	}
	if n := len(k.Materials) - 1; n >= 0 && k.Materials[n].Pending {
		return 0, awserr.New(awserr.KMSInvalidState, "New key material (id: %s) cannot be imported into KMS key %s, because another key material (id: %s) is pending rotation.", id, k.ID, k.Materials[n].ID)
	}
	return len(k.Materials), nil
}

// DeleteImportedKeyMaterial makes a key unusable until the same material is imported
// again.
func (s *Service) DeleteImportedKeyMaterial(ctx context.Context, call *api.Call, in *sdk.DeleteImportedKeyMaterialInput) (*sdk.DeleteImportedKeyMaterialOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.onlyOrigin(types.OriginTypeExternal); err != nil {
		return nil, err
	}
	symmetric := u.Spec == types.KeySpecSymmetricDefault
	if !symmetric && in.KeyMaterialId != nil {
		return nil, invalid("KeyMaterialId is for symmetric encryption keys only.")
	}
	out := &sdk.DeleteImportedKeyMaterialOutput{KeyId: &u.arn}
	call.Trail.Response = out
	return out, u.change(ctx, func(k *key, tx store.Tx) error {
		i := k.currentIndex()
		if in.KeyMaterialId != nil {
			if i = slices.IndexFunc(k.Materials, func(m materialRecord) bool { return m.ID == *in.KeyMaterialId }); i < 0 {
				return awserr.New(awserr.NotFound, "Key material %s is not found in %s.", *in.KeyMaterialId, k.arn)
			}
		}
		if i < 0 {
			return nil // nothing has been imported
		}
		if symmetric {
			out.KeyMaterialId = aws.String(k.Materials[i].ID)
		}
		return k.drop(tx, i)
	})
}

// drop deletes the i-th material. One that is pending is forgotten; without another
// one the key waits for it.
func (k *key) drop(tx store.Tx, i int) error {
	m := &k.Materials[i]
	if !m.Gone {
		rec, err := tx.Get(materialPlace(k.account, k.region, k.ID, m.ID))
		if err != nil {
			return err
		}
		if err := tx.Delete(rec.Place, rec.Revision); err != nil {
			return err
		}
	}
	if m.Pending && !k.isReplica() {
		k.Materials = slices.Delete(k.Materials, i, i+1)
		return nil
	}
	m.Gone, m.ValidTo = true, time.Time{}
	if m.Pending {
		return nil
	}
	if k.State != types.KeyStatePendingDeletion {
		k.State = types.KeyStatePendingImport
	}
	return nil
}

// noticeTimes are how long before its end there are notices that a material will expire.
var noticeTimes = [...]time.Duration{30 * day, 7 * day, day}

// noticesUntil is how many notices there are of a material up to a time.
func (m *materialRecord) noticesUntil(now time.Time) (n int) {
	for n < len(noticeTimes) && !m.ValidTo.Add(-noticeTimes[n]).After(now) {
		n++
	}
	return n
}

// next is when a material expires, or when there is the next notice of that; zero if it
// does not.
func (m *materialRecord) next() time.Time {
	if m.Gone || m.ValidTo.IsZero() || m.Notices >= len(noticeTimes) {
		return m.end()
	}
	return m.ValidTo.Add(-noticeTimes[m.Notices])
}

// end is when a material expires, zero if it does not.
func (m *materialRecord) end() time.Time {
	if m.Gone {
		return time.Time{}
	}
	return m.ValidTo
}

// expire deletes the materials whose time is over, and tells the events: that, or that
// their time will be over.
func expire(tx store.Tx, k *key, now time.Time) (events []*audit.ServiceEvent, err error) {
	for i := len(k.Materials) - 1; i >= 0; i-- {
		m := &k.Materials[i]
		if m.end().IsZero() {
			continue
		}
		event := &audit.ServiceEvent{Source: eventSource, Name: "DeleteExpiredKeyMaterial", ID: newUUID(), Time: now, Account: k.account, Region: k.region,
			Resource: k.resource(), Details: []api.Pair{{Name: "keyMaterialId", Value: m.ID}, {Name: "keyId", Value: k.arn}}}
		if m.ValidTo.After(now) {
			given := m.noticesUntil(now)
			if given <= m.Notices {
				continue
			}
			m.Notices = given
			event.Source, event.Name = ownSource, "ImportedKeyMaterialExpiring" // not an event of AWS's
			event.Details = append(event.Details, api.Pair{Name: "expires", Value: m.ValidTo.UTC().Format(time.RFC3339)})
		} else if err := k.drop(tx, i); err != nil {
			return nil, err
		}
		events = append(events, event)
	}
	return events, nil
}

// Expiring is a key with imported material that expires.
type Expiring struct {
	Account, Region, KeyID string
	At                     time.Time // when the first of its materials does
}

// maxExpiring is how many keys Expiring tells.
const maxExpiring = 10_000

// Expiring are the keys whose material expires next.
func (s *Service) Expiring(ctx context.Context) (list []Expiring, err error) {
	return list, s.Store.View(ctx, func(r store.Reader) error {
		return r.Lookup(store.Query{Kind: keyKind, Index: expiryIndex, To: store.LastIndexValue, Limit: maxExpiring}, func(rec store.Record) error {
			k, err := decodeKey(rec)
			if err == nil {
				list = append(list, Expiring{k.account, k.region, k.ID, k.expiry()})
			}
			return err
		})
	})
}

// ownSource is this server in the records of events that AWS KMS does not have.
const ownSource = "kagimori"
