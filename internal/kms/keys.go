package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/keymaterial"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

// Kinds of store records and the indexes over them.
const (
	keyKind      = "key"      // keyRecord, by key id
	materialKind = "material" // raw key material, by KEYID/MATERIALID
	idIndex      = "id"       // key: by key id, wherever it is
	dueIndex     = "due"      // key: by the time (epoch seconds, 20 digits) of its next event
)

// keyPlace finds a key in memory. Key ids are unique in a Region across accounts.
type keyPlace struct{ region, id string }

// key is a key at one moment. It is never changed: a change of the stored key
// makes a new one.
type key struct {
	keyRecord
	account  string
	region   string
	arn      string
	revision uint64

	compile  sync.Once // guards compiled
	compiled *policy.Document

	mu    sync.RWMutex
	ready map[string]*keymaterial.Symmetric // materials in use, by material id
}

// keyRecord is a key as the store keeps it.
type keyRecord struct {
	ID           string             `json:"id"`
	Created      time.Time          `json:"created"`
	Description  string             `json:"description,omitempty"`
	Spec         types.KeySpec      `json:"spec"`
	Usage        types.KeyUsageType `json:"usage"`
	Origin       types.OriginType   `json:"origin"`
	State        types.KeyState     `json:"state"`
	DeletionDate time.Time          `json:"deletionDate,omitzero"`
	keyPolicy
	Tags      []api.Tag        `json:"tags,omitempty"` // by key
	Materials []materialRecord `json:"materials"`      // oldest first, the last one is current
	Rotation  rotation         `json:"rotation,omitzero"`
}

// materialRecord tells of one key material; the bytes are in a record of their own.
type materialRecord struct {
	ID      string             `json:"id"`
	Created time.Time          `json:"created"`
	Type    types.RotationType `json:"type,omitempty"` // how it came to be; empty for the first
}

// current is the id of the material that encrypts.
func (r *keyRecord) current() string { return r.Materials[len(r.Materials)-1].ID }

// due is when the key next needs the background job: its deletion or its
// rotation. The zero time means never.
func (r *keyRecord) due() time.Time {
	switch r.State {
	case types.KeyStatePendingDeletion:
		return r.DeletionDate
	case types.KeyStateEnabled:
		return r.Rotation.Next
	}
	return time.Time{}
}

func readKey(r store.Reader, account, region, id string) (*key, error) {
	rec, err := r.Get(store.Place{Kind: keyKind, Account: account, Region: region, ID: id})
	if err != nil {
		return nil, err
	}
	return decodeKey(rec)
}

func decodeKey(rec store.Record) (*key, error) {
	k := &key{account: rec.Account, region: rec.Region, arn: keyARN(rec.Account, rec.Region, rec.ID), revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, &k.keyRecord); err != nil {
		return nil, fmt.Errorf("key %s in the store: %w", k.arn, err)
	}
	return k, nil
}

// write stores the key in place of the revision that was read.
func (k *key) write(tx store.Tx) error {
	value, err := json.Marshal(&k.keyRecord)
	if err != nil {
		return err
	}
	index := []store.IndexEntry{{Name: idIndex, Value: k.ID}}
	if due := k.due(); !due.IsZero() {
		index = append(index, store.IndexEntry{Name: dueIndex, Value: dueValue(due)})
	}
	k.revision, err = tx.Put(k.place(), value, k.revision, index...)
	return err
}

// place is where the key is stored.
func (k *key) place() store.Place {
	return store.Place{Kind: keyKind, Account: k.account, Region: k.region, ID: k.ID}
}

func dueValue(t time.Time) string { return fmt.Sprintf("%020d", t.Unix()) }

func materialPlace(account, region, keyID, id string) store.Place {
	return store.Place{Kind: materialKind, Account: account, Region: region, ID: keyID + "/" + id}
}

// addMaterial generates new material, stores it and makes it the current one.
func addMaterial(tx store.Tx, k *key, now time.Time, how types.RotationType) error {
	raw := keymaterial.GenerateSymmetric()
	defer secmem.Zero(raw)
	id := keymaterial.MaterialID(k.ID, raw)
	if _, err := tx.Put(materialPlace(k.account, k.region, k.ID, id), raw, 0); err != nil {
		return err
	}
	k.Materials = append(k.Materials, materialRecord{ID: id, Created: now, Type: how})
	return nil
}

// material is one of the key's materials, ready to use. It is read from the
// store when it is first needed.
func (k *key) material(ctx context.Context, st store.Store, id string) (*keymaterial.Symmetric, error) {
	k.mu.RLock()
	m := k.ready[id]
	k.mu.RUnlock()
	if m != nil {
		return m, nil
	}
	err := st.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(materialPlace(k.account, k.region, k.ID, id))
		if err != nil {
			return err
		}
		defer secmem.Zero(rec.Value)
		m, err = keymaterial.NewSymmetric(k.ID, id, rec.Value)
		return err
	})
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ready == nil {
		k.ready = map[string]*keymaterial.Symmetric{}
	}
	k.ready[id] = m
	return m, nil
}

// CreateKey makes a key in the caller's account and Region.
func (s *Service) CreateKey(ctx context.Context, call *api.Call, in *sdk.CreateKeyInput) (*sdk.CreateKeyOutput, error) {
	if err := fillCreateKey(in); err != nil {
		return nil, err
	}
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		if err := s.allow(ctx, call, "TagResource", "*"); err != nil {
			return nil, err
		}
	}
	if err := supportedKey(in); err != nil {
		return nil, err
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}

	id := newUUID()
	k := &key{
		keyRecord: keyRecord{
			ID: id, Created: call.Time, Description: aws.ToString(in.Description),
			Spec: in.KeySpec, Usage: in.KeyUsage, Origin: in.Origin, State: types.KeyStateEnabled,
			Tags: tags,
		},
		account: call.Caller.Account, region: call.Region, arn: keyARN(call.Caller.Account, call.Region, id),
	}
	text, bypass := aws.ToString(in.Policy), in.BypassPolicyLockoutSafetyCheck
	if in.Policy == nil {
		text, bypass = defaultKeyPolicy(k.account), true
	}
	if err := s.judge(ctx, call, k, text, bypass); err != nil {
		return nil, err
	}
	var out sdk.CreateKeyOutput
	err = s.Trail.Change(ctx, call, func(tx store.Tx) error {
		n, err := tx.Count(keyKind, k.account, k.region)
		if err != nil {
			return err
		}
		if n >= maxKeys {
			return awserr.New(awserr.LimitExceeded, "The account has %d KMS keys in %s, which is the most it can have. Schedule the deletion of keys that are no longer needed.", n, k.region)
		}
		fresh := &key{keyRecord: k.keyRecord, account: k.account, region: k.region, arn: k.arn}
		if err := fresh.put(tx, s.Principals, text); err != nil {
			return err
		}
		if err := addMaterial(tx, fresh, call.Time, ""); err != nil {
			return err
		}
		if err := fresh.write(tx); err != nil {
			return err
		}
		out.KeyMetadata = fresh.metadata()
		call.Trail.Response = &out
		call.Trail.Resources = []api.Resource{*fresh.resource()}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// fillCreateKey puts in the defaults, which the audit record shows too, and
// checks which members go together.
func fillCreateKey(in *sdk.CreateKeyInput) error {
	switch {
	case in.KeySpec == "" && in.CustomerMasterKeySpec != "":
		in.KeySpec = types.KeySpec(in.CustomerMasterKeySpec)
	case in.KeySpec == "":
		in.KeySpec = types.KeySpecSymmetricDefault
	case in.CustomerMasterKeySpec != "" && string(in.CustomerMasterKeySpec) != string(in.KeySpec):
		return invalid("You cannot specify different values for KeySpec and CustomerMasterKeySpec. Please use KeySpec only, CustomerMasterKeySpec is deprecated.")
	}
	in.CustomerMasterKeySpec = types.CustomerMasterKeySpec(in.KeySpec)
	usages := usagesOf(in.KeySpec)
	if in.KeyUsage == "" {
		if in.KeySpec != types.KeySpecSymmetricDefault {
			return invalid("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
		}
		in.KeyUsage = usages[0]
	}
	fits := false
	for _, u := range usages {
		fits = fits || u == in.KeyUsage
	}
	if !fits {
		return invalid("KeyUsage %s is not compatible with KeySpec %s", in.KeyUsage, in.KeySpec)
	}
	if in.Origin == "" {
		in.Origin = types.OriginTypeAwsKms
	}
	if in.Description == nil {
		in.Description = aws.String("")
	}
	return nil
}

// usagesOf lists what a key of a spec can be for.
// https://docs.aws.amazon.com/kms/latest/developerguide/symm-asymm-choose-key-spec.html
func usagesOf(spec types.KeySpec) []types.KeyUsageType {
	s := string(spec)
	switch {
	case s == "SYMMETRIC_DEFAULT":
		return []types.KeyUsageType{types.KeyUsageTypeEncryptDecrypt}
	case strings.HasPrefix(s, "RSA_"):
		return []types.KeyUsageType{types.KeyUsageTypeEncryptDecrypt, types.KeyUsageTypeSignVerify}
	case strings.HasPrefix(s, "HMAC_"):
		return []types.KeyUsageType{types.KeyUsageTypeGenerateVerifyMac}
	case strings.HasPrefix(s, "ECC_NIST_P"):
		return []types.KeyUsageType{types.KeyUsageTypeSignVerify, types.KeyUsageTypeKeyAgreement}
	case s == "SM2":
		return []types.KeyUsageType{types.KeyUsageTypeEncryptDecrypt, types.KeyUsageTypeSignVerify, types.KeyUsageTypeKeyAgreement}
	case strings.HasPrefix(s, "ML_KEM_"):
		return []types.KeyUsageType{types.KeyUsageTypeEncapsulateDecapsulate}
	}
	return []types.KeyUsageType{types.KeyUsageTypeSignVerify} // ECC_SECG_P256K1, ECC_NIST_EDWARDS25519, ML_DSA_*
}

// supportedKey refuses the kinds of key that this version does not make.
func supportedKey(in *sdk.CreateKeyInput) error {
	switch {
	case in.CustomKeyStoreId != nil:
		return awserr.New(awserr.CustomKeyStoreNotFound, "Custom key store %s is not found.", *in.CustomKeyStoreId)
	case in.Origin == types.OriginTypeAwsCloudhsm, in.Origin == types.OriginTypeExternalKeyStore:
		return invalid("Origin %s requires a CustomKeyStoreId.", in.Origin)
	case in.XksKeyId != nil:
		return invalid("XksKeyId is only valid with Origin EXTERNAL_KEY_STORE.")
	case in.KeySpec != types.KeySpecSymmetricDefault:
		return awserr.New(awserr.UnsupportedOperation, "KeySpec %s is not supported by this version of Kagimori. Use SYMMETRIC_DEFAULT.", in.KeySpec)
	case in.Origin != types.OriginTypeAwsKms:
		return awserr.New(awserr.UnsupportedOperation, "Origin %s is not supported by this version of Kagimori. Use AWS_KMS.", in.Origin)
	case aws.ToBool(in.MultiRegion):
		return awserr.New(awserr.UnsupportedOperation, "Multi-Region keys are not supported by this version of Kagimori.")
	}
	return nil
}

// metadata is the KeyMetadata of the API.
func (k *key) metadata() *types.KeyMetadata {
	m := &types.KeyMetadata{
		AWSAccountId: aws.String(k.account), KeyId: aws.String(k.ID), Arn: aws.String(k.arn),
		CreationDate: aws.Time(k.Created), Enabled: k.State == types.KeyStateEnabled, Description: aws.String(k.Description),
		KeyUsage: k.Usage, KeyState: k.State, Origin: k.Origin, KeyManager: types.KeyManagerTypeCustomer,
		CustomerMasterKeySpec: types.CustomerMasterKeySpec(k.Spec), KeySpec: k.Spec,
		EncryptionAlgorithms: []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault},
		MultiRegion:          aws.Bool(false), CurrentKeyMaterialId: aws.String(k.current()),
	}
	if k.State == types.KeyStatePendingDeletion {
		m.DeletionDate = aws.Time(k.DeletionDate)
	}
	return m
}

// DescribeKey tells what a key is and which state it is in.
func (s *Service) DescribeKey(ctx context.Context, call *api.Call, in *sdk.DescribeKeyInput) (*sdk.DescribeKeyOutput, error) {
	if err := s.checkGrantTokens(in.GrantTokens); err != nil {
		return nil, err
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOrAlias)
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeKeyOutput{KeyMetadata: u.metadata()}, nil
}

// ListKeys lists the keys of the caller's account in the Region, by key id.
func (s *Service) ListKeys(ctx context.Context, call *api.Call, in *sdk.ListKeysInput) (*sdk.ListKeysOutput, error) {
	if err := s.allow(ctx, call, call.Operation, "*"); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 100, 1000)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListKeysOutput{Keys: []types.KeyListEntry{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		return r.Scan(keyKind, call.Caller.Account, call.Region, pg.after, pg.limit+1, func(rec store.Record) error {
			if pg.full(len(out.Keys)) {
				return nil
			}
			out.Keys = append(out.Keys, types.KeyListEntry{
				KeyId: aws.String(rec.ID), KeyArn: aws.String(keyARN(rec.Account, rec.Region, rec.ID))})
			pg.last = rec.ID
			return nil
		})
	})
	out.NextMarker, out.Truncated = pg.next()
	return out, err
}

// EnableKey makes a key usable. A key whose rotation came due meanwhile is
// rotated at once.
func (s *Service) EnableKey(ctx context.Context, call *api.Call, in *sdk.EnableKeyInput) (*sdk.EnableKeyOutput, error) {
	err := s.setState(ctx, call, *in.KeyId, types.KeyStateEnabled)
	if err != nil {
		return nil, err
	}
	s.wake()
	return &sdk.EnableKeyOutput{}, nil
}

// DisableKey makes a key unusable until it is enabled again.
func (s *Service) DisableKey(ctx context.Context, call *api.Call, in *sdk.DisableKeyInput) (*sdk.DisableKeyOutput, error) {
	return &sdk.DisableKeyOutput{}, s.setState(ctx, call, *in.KeyId, types.KeyStateDisabled)
}

func (s *Service) setState(ctx context.Context, call *api.Call, keyID string, state types.KeyState) error {
	u, err := s.use(ctx, call, keyID, keyOnly)
	if err != nil {
		return err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return u.change(ctx, func(k *key, _ store.Tx) error {
		k.State = state
		return nil
	})
}

// UpdateKeyDescription replaces the description of a key.
func (s *Service) UpdateKeyDescription(ctx context.Context, call *api.Call, in *sdk.UpdateKeyDescriptionInput) (*sdk.UpdateKeyDescriptionOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	return &sdk.UpdateKeyDescriptionOutput{}, u.change(ctx, func(k *key, _ store.Tx) error {
		k.Description = *in.Description
		return nil
	})
}

// keyIDElement is the responseElements of the operations that answer nothing:
// since 2022 CloudTrail names the key there.
type keyIDElement struct{ KeyId *string }

// invalid is a ValidationException.
func invalid(format string, args ...any) error { return awserr.New(awserr.Validation, format, args...) }

// isNotFound tells whether a store read found nothing.
func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
