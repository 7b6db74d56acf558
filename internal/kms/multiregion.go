package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/secmem"
	"github.com/kagimori/kagimori/internal/store"
)

// multiRegion is what related multi-Region keys know of each other. All of them have
// the same one.
// https://docs.aws.amazon.com/kms/latest/developerguide/multi-region-keys-overview.html
type multiRegion struct {
	Primary string   `json:"primary"` // Region of the primary key
	Regions []string `json:"regions"` // of all, the primary's too
}

// newMultiRegionID is a key id of its own form: that of related keys is the same.
func newMultiRegionID() string { return "mrk-" + strings.ReplaceAll(newUUID(), "-", "") }

func (k *key) isPrimary() bool { return k.MultiRegion != nil && k.MultiRegion.Primary == k.region }
func (k *key) isReplica() bool { return k.MultiRegion != nil && k.MultiRegion.Primary != k.region }

// multiRegionType is the MultiRegionKeyType of the API, empty for single-Region keys.
func (k *key) multiRegionType() types.MultiRegionKeyType {
	switch {
	case k.isPrimary():
		return types.MultiRegionKeyTypePrimary
	case k.isReplica():
		return types.MultiRegionKeyTypeReplica
	}
	return ""
}

// replicas are the Regions of the key's replicas.
func (m *multiRegion) replicas() []string {
	return slices.DeleteFunc(slices.Clone(m.Regions), func(region string) bool { return region == m.Primary })
}

func (k *key) describeRegions() *types.MultiRegionConfiguration {
	if k.MultiRegion == nil {
		return nil
	}
	at := func(region string) types.MultiRegionKey {
		return types.MultiRegionKey{Arn: aws.String(keyARN(k.account, region, k.ID)), Region: aws.String(region)}
	}
	primary := at(k.MultiRegion.Primary)
	out := &types.MultiRegionConfiguration{MultiRegionKeyType: k.multiRegionType(), PrimaryKey: &primary, ReplicaKeys: []types.MultiRegionKey{}}
	for _, region := range k.MultiRegion.replicas() {
		out.ReplicaKeys = append(out.ReplicaKeys, at(region))
	}
	return out
}

// onlyPrimary refuses what can be done with a primary key only.
func (k *key) onlyPrimary() error {
	if !k.isPrimary() {
		return awserr.New(awserr.UnsupportedOperation, "%s is not a multi-region primary key.", k.arn)
	}
	return nil
}

// notReplica refuses what replicas receive from their primary key.
func (k *key) notReplica() error {
	if k.isReplica() {
		return k.onlyPrimary()
	}
	return nil
}

// related reads the related keys in other Regions.
func (k *key) related(r store.Reader) (out []*key, err error) {
	if k.MultiRegion == nil {
		return nil, nil
	}
	for _, region := range k.MultiRegion.Regions {
		if region == k.region {
			continue
		}
		other, err := readKey(r, k.account, region, k.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, other)
	}
	return out, nil
}

// share gives the replicas of a primary key what it shares with them, in the
// transaction that changes the primary: no call ever sees one without the other.
func (k *key) share(tx store.Tx) error {
	replicas, err := k.related(tx)
	if err != nil {
		return err
	}
	for _, r := range replicas {
		before, err := json.Marshal(&r.keyRecord)
		if err != nil {
			return err
		}
		if err := r.follow(tx, k); err != nil {
			return err
		}
		if after, err := json.Marshal(&r.keyRecord); err != nil || bytes.Equal(before, after) {
			if err != nil {
				return err
			}
			continue
		}
		if err := r.save(tx); err != nil {
			return err
		}
		k.synced = append(k.synced, r)
	}
	return nil
}

// syncs are the events of what write gave to replicas of the key, as part of a request.
func (k *key) syncs(requestID string, now time.Time) (events []*audit.ServiceEvent) {
	for _, r := range k.synced {
		events = append(events, &audit.ServiceEvent{Source: eventSource, Name: "SynchronizeMultiRegionKey", ID: newUUID(), RequestID: requestID, Time: now,
			Account: r.account, Region: r.region, Resource: k.resource(), Response: []api.Pair{{Name: "keyId", Value: r.arn}}})
	}
	return events
}

// recordIn adds the record that a call has in another Region, where it is another
// operation, or the same with another input.
func recordIn(call *api.Call, region, operation string, in, response any, resources ...api.Resource) {
	part := *call
	part.EventID, part.Region, part.Operation, part.Input = newUUID(), region, operation, in
	part.CalledVia = append(slices.Clone(call.CalledVia), eventSource)
	part.Trail = api.Trail{Response: response, Resources: resources}
	call.Trail.Events = append(call.Trail.Events, audit.CallRecords(&part, nil)...)
}

// follow makes a replica equal to the primary key in what they share. Imported
// material is the exception: it must be imported into each of them.
func (r *key) follow(tx store.Tx, primary *key) error {
	r.MultiRegion, r.Rotation = primary.MultiRegion, primary.Rotation
	for i := len(primary.Materials); i < len(r.Materials); { // pending material was deleted
		if err := r.drop(tx, i); err != nil {
			return err
		}
		r.Materials = slices.Delete(r.Materials, i, i+1)
	}
	for i, m := range primary.Materials {
		if i < len(r.Materials) {
			mine := &r.Materials[i]
			mine.Created, mine.Type, mine.Pending = m.Created, m.Type, m.Pending
			continue
		}
		m.ValidTo, m.Gone = time.Time{}, primary.Origin == types.OriginTypeExternal
		if !m.Gone {
			rec, err := tx.Get(materialPlace(primary.account, primary.region, primary.ID, m.ID))
			if err != nil {
				return err
			}
			_, err = tx.Put(materialPlace(r.account, r.region, r.ID, m.ID), rec.Value, 0)
			secmem.Zero(rec.Value)
			if err != nil {
				return err
			}
		}
		r.Materials = append(r.Materials, m)
	}
	return nil
}

// awaited tells whether material that is to be current after the next rotation has
// still to be imported into a replica.
func (k *key) awaited(r store.Reader) (bool, error) {
	replicas, err := k.related(r)
	return err == nil && slices.ContainsFunc(replicas, func(r *key) bool { return r.Materials[len(r.Materials)-1].Gone }), err
}

// inRegion makes one part of a call in another Region.
func inRegion(call *api.Call, region string, part func() error) error {
	home := call.Region
	call.Region = region
	defer func() { call.Region = home }()
	return part()
}

// ReplicateKey makes a replica of a primary key in another Region.
func (s *Service) ReplicateKey(ctx context.Context, call *api.Call, in *sdk.ReplicateKeyInput) (*sdk.ReplicateKeyOutput, error) {
	if in.Description == nil {
		in.Description = aws.String("")
	}
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.onlyPrimary(); err != nil {
		return nil, err
	}
	region := *in.ReplicaRegion
	replica := &key{account: u.account, region: region, arn: keyARN(u.account, region, u.ID), keyRecord: keyRecord{
		ID: u.ID, Created: call.Time, Description: *in.Description, Spec: u.Spec, Usage: u.Usage, Origin: u.Origin,
		State: types.KeyStateEnabled, MultiRegion: u.MultiRegion,
	}}
	if u.Origin == types.OriginTypeExternal {
		replica.State = types.KeyStatePendingImport
	}
	text, bypass := aws.ToString(in.Policy), in.BypassPolicyLockoutSafetyCheck
	if in.Policy == nil {
		text, bypass = defaultKeyPolicy(u.account), true
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	err = inRegion(call, region, func() error {
		v := values{ctx: ctx, svc: s, call: call, action: "CreateKey", key: replica}
		if err := v.check(&authz.Request{Action: "kms:CreateKey", Resource: "*", Account: u.account, Values: &v}); err != nil {
			return err
		}
		if len(in.Tags) > 0 {
			if err := s.allow(ctx, call, "TagResource", "*"); err != nil {
				return err
			}
		}
		return s.judge(ctx, call, replica, text, bypass)
	})
	if err != nil {
		return nil, err
	}
	var out sdk.ReplicateKeyOutput
	err = u.change(ctx, func(k *key, tx store.Tx) error {
		if slices.Contains(k.MultiRegion.Regions, region) {
			return awserr.New(awserr.AlreadyExists, "%s already exists.", replica.arn)
		}
		if err := s.roomForKey(tx, k.account, region); err != nil {
			return err
		}
		fresh := &key{keyRecord: replica.keyRecord, account: k.account, region: region, arn: replica.arn}
		fresh.Tags = tags
		if err := fresh.put(tx, s.Principals, text); err != nil {
			return err
		}
		k.MultiRegion = &multiRegion{k.region, append(slices.Clone(k.MultiRegion.Regions), region)}
		if err := fresh.follow(tx, k); err != nil {
			return err
		}
		if err := fresh.save(tx); err != nil {
			return err
		}
		out = sdk.ReplicateKeyOutput{ReplicaKeyMetadata: fresh.metadata(), ReplicaPolicy: &text, ReplicaTags: in.Tags}
		out.ReplicaKeyMetadata.CurrentKeyMaterialId = nil // as on AWS
		call.Trail.Response = &out
		recordIn(call, region, "CreateKey", &sdk.CreateKeyInput{BypassPolicyLockoutSafetyCheck: in.BypassPolicyLockoutSafetyCheck, CustomerMasterKeySpec: types.CustomerMasterKeySpec(u.Spec),
			Description: in.Description, KeySpec: u.Spec, KeyUsage: u.Usage, MultiRegion: aws.Bool(true), Origin: u.Origin, Policy: in.Policy, Tags: in.Tags},
			&sdk.CreateKeyOutput{KeyMetadata: out.ReplicaKeyMetadata}, *fresh.resource())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// UpdatePrimaryRegion makes a replica the primary key, and the primary a replica.
func (s *Service) UpdatePrimaryRegion(ctx context.Context, call *api.Call, in *sdk.UpdatePrimaryRegionInput) (*sdk.UpdatePrimaryRegionOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	if err := u.onlyPrimary(); err != nil {
		return nil, err
	}
	region := *in.PrimaryRegion
	if region == u.region {
		return nil, invalid("The primary key of %s is in %s already.", u.arn, region)
	}
	var replica *usableKey
	err = inRegion(call, region, func() (err error) {
		replica, err = s.use(ctx, call, u.ID, keyOnly)
		return err
	})
	if err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.UpdatePrimaryRegionOutput{}, u.change(ctx, func(k *key, tx store.Tx) error {
		if err := k.onlyPrimary(); err != nil {
			return err
		}
		if _, err := replica.fresh(tx); err != nil {
			return err
		}
		others, err := k.related(tx)
		if err != nil {
			return err
		}
		k.MultiRegion = &multiRegion{region, k.MultiRegion.Regions}
		for _, other := range others {
			other.MultiRegion = k.MultiRegion
			if err := other.save(tx); err != nil {
				return err
			}
			if other.region != region {
				k.synced = append(k.synced, other)
			}
		}
		recordIn(call, region, call.Operation, &sdk.UpdatePrimaryRegionInput{KeyId: &replica.arn, PrimaryRegion: &region}, keyIDElement{&replica.arn})
		return nil
	})
}
