package kms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	expiryIndex  = "expiry"   // key: by the time, likewise, when the first of its materials expires
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
	ready map[string]any // materials in use (of package keymaterial), by material id

	synced []*key // the replicas that write gave something
}

// keyRecord is a key as the store keeps it.
type keyRecord struct {
	ID           string               `json:"id"`
	Created      time.Time            `json:"created"`
	Description  string               `json:"description,omitempty"`
	Spec         types.KeySpec        `json:"spec"`
	Usage        types.KeyUsageType   `json:"usage"`
	Origin       types.OriginType     `json:"origin"`
	State        types.KeyState       `json:"state"`
	DeletionDate time.Time            `json:"deletionDate,omitzero"`
	Manager      types.KeyManagerType `json:"manager,omitempty"`     // of AWS managed keys
	PendingDays  int32                `json:"pendingDays,omitempty"` // of a primary key that waits for the deletion of its replicas
	MultiRegion  *multiRegion         `json:"multiRegion,omitempty"`
	keyPolicy
	Tags      []api.Tag        `json:"tags,omitempty"` // by key
	Materials []materialRecord `json:"materials"`      // oldest first, the last one is current
	Rotation  rotation         `json:"rotation,omitzero"`
}

// materialRecord tells of one key material; the bytes are in a record of their own.
type materialRecord struct {
	ID      string             `json:"id"`
	Created time.Time          `json:"created"`        // or when a rotation made it current
	Type    types.RotationType `json:"type,omitempty"` // how it came to be; empty for the first

	// Of imported material.
	Description string    `json:"description,omitempty"`
	PublicKey   []byte    `json:"publicKey,omitempty"` // of a key pair, DER
	ValidTo     time.Time `json:"validTo,omitzero"`    // zero: it does not expire
	// Notices are how many notices that it will expire there were, or would have been
	// before it was imported.
	Notices int  `json:"notices,omitempty"`
	Gone    bool `json:"gone,omitempty"`    // deleted or expired; the same can be imported again
	Pending bool `json:"pending,omitempty"` // the last one: to be current after a rotation
}

// currentIndex is the index of the material that encrypts, -1 if there is none.
func (r *keyRecord) currentIndex() int {
	n := len(r.Materials) - 1
	if n >= 0 && r.Materials[n].Pending {
		n--
	}
	return n
}

// current is the id of the material that encrypts, empty if there is none.
func (r *keyRecord) current() string {
	if i := r.currentIndex(); i >= 0 {
		return r.Materials[i].ID
	}
	return ""
}

// complete tells whether the key has all material that it needs.
func (r *keyRecord) complete() bool {
	return r.currentIndex() >= 0 && !slices.ContainsFunc(r.Materials, func(m materialRecord) bool { return m.Gone && !m.Pending })
}

// due is when the key next needs the background job: its deletion, its rotation,
// or the end of imported material and the notices of it. The zero time means never.
func (r *key) due() time.Time {
	var due time.Time
	earliest := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	switch r.State {
	case types.KeyStatePendingDeletion:
		earliest(r.DeletionDate)
	case types.KeyStateEnabled:
		if !r.isReplica() {
			earliest(r.Rotation.Next)
		}
	}
	for i := range r.Materials {
		earliest(r.Materials[i].next())
	}
	return due
}

// expiry is when the first of the imported materials expires; zero if none does.
func (r *keyRecord) expiry() (first time.Time) {
	for i := range r.Materials {
		if end := r.Materials[i].end(); !end.IsZero() && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	return first
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

// write stores the key in place of the revision that was read, and what its
// replicas share with it.
func (k *key) write(tx store.Tx) error {
	if k.isPrimary() {
		if err := k.share(tx); err != nil {
			return err
		}
	}
	return k.save(tx)
}

// save stores the key alone.
func (k *key) save(tx store.Tx) error {
	value, err := json.Marshal(&k.keyRecord)
	if err != nil {
		return err
	}
	index := []store.IndexEntry{{Name: idIndex, Value: k.ID}}
	if due := k.due(); !due.IsZero() {
		index = append(index, store.IndexEntry{Name: dueIndex, Value: dueValue(due)})
	}
	if expiry := k.expiry(); !expiry.IsZero() {
		index = append(index, store.IndexEntry{Name: expiryIndex, Value: dueValue(expiry)})
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

// spec is the row of the key's spec in the table of specs.
func (r *keyRecord) spec() *keymaterial.Spec { return keymaterial.SpecNamed(string(r.Spec)) }

// addMaterial stores new material and makes it the current one.
func addMaterial(tx store.Tx, k *key, raw []byte, now time.Time, how types.RotationType) error {
	id := keymaterial.MaterialID(k.ID, raw)
	if _, err := tx.Put(materialPlace(k.account, k.region, k.ID, id), raw, 0); err != nil {
		return err
	}
	k.Materials = append(k.Materials, materialRecord{ID: id, Created: now, Type: how})
	return nil
}

// loaded is one of the key's materials, ready to use. It is read from the store and
// opened when it is first needed.
func loaded[M any](ctx context.Context, k *key, st store.Store, id string, open func(raw []byte) (M, error)) (m M, err error) {
	k.mu.RLock()
	have, ok := k.ready[id].(M)
	k.mu.RUnlock()
	if ok {
		return have, nil
	}
	err = st.View(ctx, func(r store.Reader) error {
		rec, err := r.Get(materialPlace(k.account, k.region, k.ID, id))
		if err != nil {
			return err
		}
		defer secmem.Zero(rec.Value)
		m, err = open(rec.Value)
		return err
	})
	if err != nil {
		return m, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ready == nil {
		k.ready = map[string]any{}
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
	if err := s.checkStoreOf(ctx, call, in); err != nil {
		return nil, err
	}
	if in.Origin == types.OriginTypeExternal && keymaterial.SpecNamed(string(in.KeySpec)).Wrapping() == nil {
		return nil, invalid("KeySpec %s is not compatible with Origin EXTERNAL.", in.KeySpec)
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}

	state := types.KeyStateEnabled
	var raw []byte
	if in.Origin == types.OriginTypeExternal {
		state = types.KeyStatePendingImport
	} else if raw, err = keymaterial.SpecNamed(string(in.KeySpec)).Generate(); err != nil {
		return nil, err
	}
	defer secmem.Zero(raw)
	id := newUUID()
	var regions *multiRegion
	if aws.ToBool(in.MultiRegion) {
		id, regions = newMultiRegionID(), &multiRegion{call.Region, []string{call.Region}}
	}
	k := &key{
		keyRecord: keyRecord{
			ID: id, Created: call.Time, Description: aws.ToString(in.Description),
			Spec: in.KeySpec, Usage: in.KeyUsage, Origin: in.Origin, State: state,
			MultiRegion: regions, Tags: tags,
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
		if err := s.roomForKey(tx, k.account, k.region); err != nil {
			return err
		}
		fresh, err := s.insert(tx, k, text, raw)
		if err != nil {
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

// insert stores a new key like k, with its policy and, unless raw is nil, its first
// material. k stays as it is, since a transaction may be tried again.
func (s *Service) insert(tx store.Tx, k *key, policy string, raw []byte) (*key, error) {
	fresh := &key{keyRecord: k.keyRecord, account: k.account, region: k.region, arn: k.arn}
	if err := fresh.put(tx, s.Principals, policy); err != nil {
		return nil, err
	}
	if raw != nil {
		if err := addMaterial(tx, fresh, raw, k.Created, ""); err != nil {
			return nil, err
		}
	}
	return fresh, fresh.write(tx)
}

// roomForKey refuses one key more than an account can have in a Region.
func (s *Service) roomForKey(tx store.Tx, account, region string) error {
	n, err := tx.Count(keyKind, account, region)
	if err == nil && n >= s.Quotas.Keys {
		var managed int // which do not count
		managed, err = managedCount(tx, account, region)
		n -= managed
	}
	if err == nil && n >= s.Quotas.Keys {
		err = awserr.New(awserr.LimitExceeded, "The account has %d KMS keys in %s, which is the most it can have. Schedule the deletion of keys that are no longer needed.", n, region)
	}
	return err
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
	usages := keymaterial.SpecNamed(string(in.KeySpec)).Usages // the wire knows the same specs
	if in.KeyUsage == "" {
		if in.KeySpec != types.KeySpecSymmetricDefault {
			return invalid("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
		}
		in.KeyUsage = types.KeyUsageTypeEncryptDecrypt
	}
	if !slices.Contains(usages, string(in.KeyUsage)) {
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

// metadata is the KeyMetadata of the API.
func (k *key) metadata() *types.KeyMetadata {
	m := &types.KeyMetadata{
		AWSAccountId: aws.String(k.account), KeyId: aws.String(k.ID), Arn: aws.String(k.arn),
		CreationDate: aws.Time(k.Created), Enabled: k.State == types.KeyStateEnabled, Description: aws.String(k.Description),
		KeyUsage: k.Usage, KeyState: k.State, Origin: k.Origin, KeyManager: k.manager(),
		CustomerMasterKeySpec: types.CustomerMasterKeySpec(k.Spec), KeySpec: k.Spec,
		MultiRegion: aws.Bool(k.MultiRegion != nil), MultiRegionConfiguration: k.describeRegions(),
	}
	m.EncryptionAlgorithms, m.SigningAlgorithms, m.MacAlgorithms, m.KeyAgreementAlgorithms, m.EncapsulationAlgorithms = k.algorithms()
	if id := k.current(); id != "" && k.Spec == types.KeySpecSymmetricDefault {
		m.CurrentKeyMaterialId = &id
	}
	if k.Origin == types.OriginTypeExternal && k.complete() {
		m.ExpirationModel = types.ExpirationModelTypeKeyMaterialDoesNotExpire
		if first := k.expiry(); !first.IsZero() {
			m.ExpirationModel, m.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, &first
		}
	}
	if k.State == types.KeyStatePendingDeletion {
		m.DeletionDate = aws.Time(k.DeletionDate)
	}
	if k.State == types.KeyStatePendingReplicaDeletion {
		m.PendingDeletionWindowInDays = &k.PendingDays
	}
	return m
}

func (r *keyRecord) manager() types.KeyManagerType {
	if r.Manager == "" {
		return types.KeyManagerTypeCustomer
	}
	return r.Manager
}

// algorithms are those of the key's usage.
func (r *keyRecord) algorithms() (encryption []types.EncryptionAlgorithmSpec, signing []types.SigningAlgorithmSpec, mac []types.MacAlgorithmSpec,
	agreement []types.KeyAgreementAlgorithmSpec, encapsulation []types.EncapsulationAlgorithmSpec) {
	s := r.spec()
	switch r.Usage {
	case types.KeyUsageTypeEncryptDecrypt:
		encryption = named[types.EncryptionAlgorithmSpec](s.Encryption)
	case types.KeyUsageTypeSignVerify:
		signing = named[types.SigningAlgorithmSpec](s.Signing)
	case types.KeyUsageTypeGenerateVerifyMac:
		mac = named[types.MacAlgorithmSpec](s.MAC)
	case types.KeyUsageTypeKeyAgreement:
		agreement = named[types.KeyAgreementAlgorithmSpec](s.Agreement)
	case types.KeyUsageTypeEncapsulateDecapsulate:
		encapsulation = named[types.EncapsulationAlgorithmSpec](s.Encapsulation)
	}
	return
}

// named are names as an enum of the API.
func named[E ~string](names []string) []E {
	out := make([]E, len(names))
	for i, n := range names {
		out[i] = E(n)
	}
	return out
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
