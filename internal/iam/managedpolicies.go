package iam

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// Quotas of AWS on managed policies.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	maxPolicies    = 1500
	maxVersions    = 5
	maxManagedSize = 6144 // characters, without white space
)

// managedPolicy finds a managed policy that the caller's account can use and asks
// for authorization of the call on it.
func (s *Service) managedPolicy(ctx context.Context, call *api.Call, arn string, v values) (*managed, error) {
	var m *managed
	found := s.Store.View(ctx, func(r store.Reader) (err error) {
		m, err = findManaged(r, call.Caller.Account, arn)
		return err
	})
	if found == nil {
		v.tags = m.Tags
	}
	if err := s.allow(ctx, call, arn, &v); err != nil {
		return nil, err
	}
	return m, noPolicy(found, arn)
}

func noPolicy(err error, arn string) error { return notFound(err, "Policy %s was not found.", arn) }

func noVersion(arn, version string) error {
	return notFound(store.ErrNotFound, "Policy %s version %s does not exist or is not attachable.", arn, version)
}

// changePolicy makes a change to a managed policy of the caller's account. fn works
// on a fresh copy.
func (s *Service) changePolicy(ctx context.Context, call *api.Call, arn string, v values, fn func(m *managed, tx store.Tx) error) error {
	m, err := s.managedPolicy(ctx, call, arn, v)
	if err != nil {
		return err
	}
	if m.account == awsAccount {
		return awserr.New(awserr.AccessDenied, "Policies of AWS, such as %s, cannot be changed.", arn)
	}
	return s.Trail.Change(ctx, call, func(tx store.Tx) error {
		fresh, err := findManaged(tx, call.Caller.Account, arn)
		if err != nil {
			return noPolicy(err, arn)
		}
		return fn(fresh, tx)
	})
}

// checkManaged refuses what cannot be the document of a managed policy.
func checkManaged(text string) error {
	if _, err := parse(policy.Identity, text); err != nil {
		return err
	}
	if n := size(text); n > maxManagedSize {
		return awserr.New(awserr.LimitExceeded, "Cannot exceed quota for PolicySize: %d. The policy has %d characters.", maxManagedSize, n)
	}
	return nil
}

// users calls fn for the users, groups and roles of an account that a managed
// policy is attached to or, with boundaryIndex, is the boundary of.
func (m *managed) users(r store.Reader, account, index string, fn func(*entity) error) error {
	for _, k := range entityKinds {
		if err := k.each(r, index, policyValue(account, m.arn()), fn); err != nil {
			return err
		}
	}
	return nil
}

// sdk is the policy as the API has it, with its use in an account.
func (m *managed) sdk(r store.Reader, account string) (*types.Policy, error) {
	var attached, bounds int32
	count := func(n *int32) func(*entity) error {
		return func(*entity) error {
			*n++
			return nil
		}
	}
	if err := m.users(r, account, policyIndex, count(&attached)); err != nil {
		return nil, err
	}
	if err := m.users(r, account, boundaryIndex, count(&bounds)); err != nil {
		return nil, err
	}
	out := &types.Policy{Arn: aws.String(m.arn()), PolicyId: &m.id, PolicyName: &m.Name, Path: &m.Path, CreateDate: &m.Created, UpdateDate: &m.Updated,
		DefaultVersionId: aws.String(versionID(m.Default)), IsAttachable: true, AttachmentCount: &attached, PermissionsBoundaryUsageCount: &bounds, Tags: sdkTags(m.Tags)}
	if m.Description != "" {
		out.Description = &m.Description
	}
	return out, nil
}

func (m *managed) sdkVersion(v version) types.PolicyVersion {
	return types.PolicyVersion{VersionId: aws.String(v.id()), IsDefaultVersion: v.Number == m.Default, CreateDate: aws.Time(v.Created)}
}

// CreatePolicy makes a managed policy.
func (s *Service) CreatePolicy(ctx context.Context, call *api.Call, in *sdk.CreatePolicyInput) (*sdk.CreatePolicyOutput, error) {
	account := call.Caller.Account
	arn := arnOf(account, "policy", path(in.Path), *in.PolicyName)
	if err := s.allowNew(ctx, call, "TagPolicy", arn, &values{given: in.Tags}); err != nil {
		return nil, err
	}
	if err := checkManaged(*in.PolicyDocument); err != nil {
		return nil, err
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	id := newID(policyPrefix)
	var out sdk.CreatePolicyOutput
	return &out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		if _, err := findManagedName(tx, account, *in.PolicyName); err == nil {
			return awserr.New(awserr.EntityAlreadyExists, "A policy called %s already exists. Duplicate names are not allowed.", *in.PolicyName)
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n, err := tx.Count(policyKind, account, "")
		if err != nil {
			return err
		}
		if n >= maxPolicies {
			return quota("PoliciesPerAccount", maxPolicies)
		}
		m := &managed{account: account, id: id, managedRecord: managedRecord{Name: *in.PolicyName, Path: path(in.Path),
			Description: aws.ToString(in.Description), Created: call.Time, Tags: tags, Default: 1}}
		if _, err := m.addVersion(tx, *in.PolicyDocument, call.Time); err != nil {
			return err
		}
		if err := m.write(tx); err != nil {
			return err
		}
		out.Policy, err = m.sdk(tx, account)
		call.Trail.Response = &out
		return err
	})
}

// GetPolicy tells of a managed policy.
func (s *Service) GetPolicy(ctx context.Context, call *api.Call, in *sdk.GetPolicyInput) (*sdk.GetPolicyOutput, error) {
	m, err := s.managedPolicy(ctx, call, *in.PolicyArn, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.GetPolicyOutput)
	return out, s.Store.View(ctx, func(r store.Reader) (err error) {
		out.Policy, err = m.sdk(r, call.Caller.Account)
		return err
	})
}

// DeletePolicy deletes a managed policy that is not in use.
func (s *Service) DeletePolicy(ctx context.Context, call *api.Call, in *sdk.DeletePolicyInput) (*sdk.DeletePolicyOutput, error) {
	return &sdk.DeletePolicyOutput{}, s.changePolicy(ctx, call, *in.PolicyArn, values{}, func(m *managed, tx store.Tx) error {
		used := awserr.New(awserr.DeleteConflict, "Cannot delete a policy attached to entities.")
		for _, index := range []string{policyIndex, boundaryIndex} {
			if err := m.users(tx, m.account, index, func(*entity) error { return used }); err != nil {
				return err
			}
		}
		if len(m.Versions) > 1 {
			return awserr.New(awserr.DeleteConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		if err := m.removeVersion(tx, 0); err != nil {
			return err
		}
		return tx.Delete(m.place(), m.revision)
	})
}

// ListPolicies lists managed policies: those of AWS, of the account, or both.
func (s *Service) ListPolicies(ctx context.Context, call *api.Call, in *sdk.ListPoliciesInput) (*sdk.ListPoliciesOutput, error) {
	account := call.Caller.Account
	if err := s.allow(ctx, call, arnOf(account, "policy", path(in.PathPrefix), ""), &values{}); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	index := policyIndex
	if in.PolicyUsageFilter == types.PolicyUsageTypePermissionsBoundary {
		index = boundaryIndex
	}
	out := &sdk.ListPoliciesOutput{Policies: []types.Policy{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		var all []*managed
		if in.Scope != types.PolicyScopeTypeLocal {
			all = append(all, awsOrdered...)
		}
		if in.Scope != types.PolicyScopeTypeAws {
			err := listByName(r, policyKind, account, "", func(rec store.Record) error {
				m, err := decodeManaged(rec)
				all = append(all, m)
				return err
			})
			if err != nil {
				return err
			}
		}
		slices.SortFunc(all, func(a, b *managed) int { return cmp.Compare(a.arn(), b.arn()) })
		for _, m := range all {
			if !strings.HasPrefix(m.Path, path(in.PathPrefix)) {
				continue
			}
			if in.OnlyAttached || in.PolicyUsageFilter != "" {
				used := errors.New("used")
				switch err := m.users(r, account, index, func(*entity) error { return used }); err {
				case nil:
					continue
				case used:
				default:
					return err
				}
			}
			if !pg.take(m.arn()) {
				continue
			}
			p, err := m.sdk(r, account)
			if err != nil {
				return err
			}
			p.Description, p.Tags = nil, nil // as AWS, to keep lists short
			out.Policies = append(out.Policies, *p)
		}
		return nil
	})
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

// CreatePolicyVersion adds a version to a managed policy, up to five.
func (s *Service) CreatePolicyVersion(ctx context.Context, call *api.Call, in *sdk.CreatePolicyVersionInput) (*sdk.CreatePolicyVersionOutput, error) {
	var out sdk.CreatePolicyVersionOutput
	return &out, s.changePolicy(ctx, call, *in.PolicyArn, values{}, func(m *managed, tx store.Tx) error {
		if err := checkManaged(*in.PolicyDocument); err != nil {
			return err
		}
		if len(m.Versions) >= maxVersions {
			return awserr.New(awserr.LimitExceeded, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		v, err := m.addVersion(tx, *in.PolicyDocument, call.Time)
		if err != nil {
			return err
		}
		if in.SetAsDefault {
			m.Default = v.Number
		}
		shown := m.sdkVersion(v)
		out.PolicyVersion = &shown
		call.Trail.Response = &out
		return m.write(tx)
	})
}

// GetPolicyVersion is a version of a managed policy with its document.
func (s *Service) GetPolicyVersion(ctx context.Context, call *api.Call, in *sdk.GetPolicyVersionInput) (*sdk.GetPolicyVersionOutput, error) {
	m, err := s.managedPolicy(ctx, call, *in.PolicyArn, values{})
	if err != nil {
		return nil, err
	}
	i := m.version(*in.VersionId)
	if i < 0 {
		return nil, noVersion(*in.PolicyArn, *in.VersionId)
	}
	shown := m.sdkVersion(m.Versions[i])
	return &sdk.GetPolicyVersionOutput{PolicyVersion: &shown}, s.Store.View(ctx, func(r store.Reader) error {
		text, err := m.text(r, m.Versions[i].Number)
		shown.Document = encode(text)
		return noPolicy(err, *in.PolicyArn)
	})
}

// DeletePolicyVersion deletes a version that is not the default one.
func (s *Service) DeletePolicyVersion(ctx context.Context, call *api.Call, in *sdk.DeletePolicyVersionInput) (*sdk.DeletePolicyVersionOutput, error) {
	return &sdk.DeletePolicyVersionOutput{}, s.changePolicy(ctx, call, *in.PolicyArn, values{}, func(m *managed, tx store.Tx) error {
		i := m.version(*in.VersionId)
		if i < 0 {
			return noVersion(*in.PolicyArn, *in.VersionId)
		}
		if m.Versions[i].Number == m.Default {
			return awserr.New(awserr.DeleteConflict, "Cannot delete the default version of a policy.")
		}
		if err := m.removeVersion(tx, i); err != nil {
			return err
		}
		return m.write(tx)
	})
}

// SetDefaultPolicyVersion puts another version of a managed policy into force.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, call *api.Call, in *sdk.SetDefaultPolicyVersionInput) (*sdk.SetDefaultPolicyVersionOutput, error) {
	return &sdk.SetDefaultPolicyVersionOutput{}, s.changePolicy(ctx, call, *in.PolicyArn, values{}, func(m *managed, tx store.Tx) error {
		i := m.version(*in.VersionId)
		if i < 0 {
			return noVersion(*in.PolicyArn, *in.VersionId)
		}
		m.Default, m.Updated = m.Versions[i].Number, call.Time
		return m.write(tx)
	})
}

// ListPolicyVersions lists the versions of a managed policy, newest first.
func (s *Service) ListPolicyVersions(ctx context.Context, call *api.Call, in *sdk.ListPolicyVersionsInput) (*sdk.ListPolicyVersionsOutput, error) {
	m, err := s.managedPolicy(ctx, call, *in.PolicyArn, values{})
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListPolicyVersionsOutput{Versions: []types.PolicyVersion{}}
	for i, v := range slices.Backward(m.Versions) {
		if pg.take(string(rune('a' + len(m.Versions) - i))) { // there are five at most
			out.Versions = append(out.Versions, m.sdkVersion(v))
		}
	}
	out.IsTruncated, out.Marker = pg.next()
	return out, nil
}

// ListEntitiesForPolicy lists the users, groups and roles that have a managed
// policy.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, call *api.Call, in *sdk.ListEntitiesForPolicyInput) (*sdk.ListEntitiesForPolicyOutput, error) {
	m, err := s.managedPolicy(ctx, call, *in.PolicyArn, values{})
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	var indexes []string
	if in.PolicyUsageFilter != types.PolicyUsageTypePermissionsBoundary {
		indexes = append(indexes, policyIndex)
	}
	if in.PolicyUsageFilter != types.PolicyUsageTypePermissionsPolicy {
		indexes = append(indexes, boundaryIndex)
	}
	found := map[string]*entity{}
	err = s.Store.View(ctx, func(r store.Reader) error {
		for _, index := range indexes {
			err := m.users(r, call.Caller.Account, index, func(e *entity) error {
				wanted := in.EntityFilter == "" || strings.EqualFold(string(in.EntityFilter), e.kind.word)
				if wanted && strings.HasPrefix(e.Path, path(in.PathPrefix)) {
					found[e.kind.word+" "+fold(e.Name)] = e
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	out := &sdk.ListEntitiesForPolicyOutput{PolicyUsers: []types.PolicyUser{}, PolicyGroups: []types.PolicyGroup{}, PolicyRoles: []types.PolicyRole{}}
	for _, name := range list(pg, keys(found)) {
		switch e := found[name]; e.kind {
		case userKind:
			out.PolicyUsers = append(out.PolicyUsers, types.PolicyUser{UserId: &e.id, UserName: &e.Name})
		case groupKind:
			out.PolicyGroups = append(out.PolicyGroups, types.PolicyGroup{GroupId: &e.id, GroupName: &e.Name})
		case roleKind:
			out.PolicyRoles = append(out.PolicyRoles, types.PolicyRole{RoleId: &e.id, RoleName: &e.Name})
		}
	}
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

// TagPolicy adds tags to a managed policy.
func (s *Service) TagPolicy(ctx context.Context, call *api.Call, in *sdk.TagPolicyInput) (*sdk.TagPolicyOutput, error) {
	return &sdk.TagPolicyOutput{}, s.changePolicy(ctx, call, *in.PolicyArn, values{given: in.Tags}, func(m *managed, tx store.Tx) (err error) {
		if m.Tags, err = mergeTags(m.Tags, in.Tags); err != nil {
			return err
		}
		return m.write(tx)
	})
}

// UntagPolicy removes tags from a managed policy.
func (s *Service) UntagPolicy(ctx context.Context, call *api.Call, in *sdk.UntagPolicyInput) (*sdk.UntagPolicyOutput, error) {
	return &sdk.UntagPolicyOutput{}, s.changePolicy(ctx, call, *in.PolicyArn, values{givenKeys: in.TagKeys}, func(m *managed, tx store.Tx) error {
		m.Tags = removeTags(m.Tags, in.TagKeys)
		return m.write(tx)
	})
}

// ListPolicyTags lists the tags of a managed policy.
func (s *Service) ListPolicyTags(ctx context.Context, call *api.Call, in *sdk.ListPolicyTagsInput) (*sdk.ListPolicyTagsOutput, error) {
	m, err := s.managedPolicy(ctx, call, *in.PolicyArn, values{})
	if err != nil {
		return nil, err
	}
	out := new(sdk.ListPolicyTagsOutput)
	out.Tags, out.IsTruncated, out.Marker, err = listTags(m.Tags, in.Marker, in.MaxItems)
	return out, err
}
