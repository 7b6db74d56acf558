package iam

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/store"
)

// GetAccountSummary counts what the account has, beside the quotas.
func (s *Service) GetAccountSummary(ctx context.Context, call *api.Call, _ *sdk.GetAccountSummaryInput) (*sdk.GetAccountSummaryOutput, error) {
	account := call.Caller.Account
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	sum := map[string]int32{
		"UsersQuota": int32(userKind.perAccount), "GroupsQuota": int32(groupKind.perAccount), "RolesQuota": int32(roleKind.perAccount),
		"UserPolicySizeQuota": int32(userKind.inline), "GroupPolicySizeQuota": int32(groupKind.inline), "RolePolicySizeQuota": int32(roleKind.inline),
		"AssumeRolePolicySizeQuota": maxTrust, "PolicySizeQuota": maxManagedSize, "PoliciesQuota": maxPolicies, "VersionsPerPolicyQuota": maxVersions,
		"AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"AccessKeysPerUserQuota": maxAccessKeysPerUser, "GroupsPerUserQuota": maxGroupsPerUser,
		"AccountPasswordPresent": 0, "AccountSigningCertificatesPresent": 0,
	}
	return &sdk.GetAccountSummaryOutput{SummaryMap: sum}, s.Store.View(ctx, func(r store.Reader) error {
		for name, kind := range map[string]string{"Users": userKind.store, "Groups": groupKind.store, "Roles": roleKind.store,
			"Policies": policyKind, "MFADevices": mfaKind, "Providers": oidcKind} {
			n, err := r.Count(kind, account, "")
			if err != nil {
				return err
			}
			sum[name] = int32(n)
		}
		a, err := readAccount(r, account)
		if err != nil {
			return err
		}
		keys, err := a.rootKeys(r)
		if err != nil {
			return err
		}
		sum["AccountAccessKeysPresent"] = int32(len(keys))
		own, err := mfaOf(r, account)
		sum["AccountMFAEnabled"] = int32(min(len(own), 1))
		if err != nil {
			return err
		}
		return r.Scan(mfaKind, account, "", "", 0, func(rec store.Record) error {
			d, err := decodeMFA(rec)
			if err == nil && d.Owner != "" {
				sum["MFADevicesInUse"]++
			}
			return err
		})
	})
}

// GetAccountAuthorizationDetails lists all users, groups, roles and managed policies
// with their policies.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, call *api.Call, in *sdk.GetAccountAuthorizationDetailsInput) (*sdk.GetAccountAuthorizationDetailsOutput, error) {
	account := call.Caller.Account
	if err := s.allow(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	pg, err := newPage(in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	wanted := func(t types.EntityType) bool { return len(in.Filter) == 0 || slices.Contains(in.Filter, t) }
	out := &sdk.GetAccountAuthorizationDetailsOutput{UserDetailList: []types.UserDetail{}, GroupDetailList: []types.GroupDetail{},
		RoleDetailList: []types.RoleDetail{}, Policies: []types.ManagedPolicyDetail{}}
	err = s.Store.View(ctx, func(r store.Reader) error {
		// One kind after the other, whose number goes before the name in the marker.
		entities := func(number string, filter types.EntityType, k *entityKind, add func(*entity) error) error {
			if !wanted(filter) {
				return nil
			}
			return k.list(r, account, "", func(e *entity) error {
				if !pg.take(number + fold(e.Name)) {
					return nil
				}
				return add(e)
			})
		}
		policies := func(number string, filter types.EntityType, all []*managed) error {
			if !wanted(filter) {
				return nil
			}
			for _, m := range all {
				if !pg.take(number + fold(m.Name)) {
					continue
				}
				d, err := m.detail(r, account)
				if err != nil {
					return err
				}
				out.Policies = append(out.Policies, d)
			}
			return nil
		}
		if err := entities("1", types.EntityTypeUser, userKind, func(e *entity) error {
			groups, err := e.groupNames(r)
			out.UserDetailList = append(out.UserDetailList, types.UserDetail{Arn: aws.String(e.arn()), UserId: &e.id, UserName: &e.Name, Path: &e.Path, CreateDate: &e.Created,
				UserPolicyList: e.inlineDetails(), AttachedManagedPolicies: e.attachedDetails(), GroupList: groups, PermissionsBoundary: e.sdkBoundary(), Tags: sdkTags(e.Tags)})
			return err
		}); err != nil {
			return err
		}
		if err := entities("2", types.EntityTypeGroup, groupKind, func(e *entity) error {
			out.GroupDetailList = append(out.GroupDetailList, types.GroupDetail{Arn: aws.String(e.arn()), GroupId: &e.id, GroupName: &e.Name, Path: &e.Path, CreateDate: &e.Created,
				GroupPolicyList: e.inlineDetails(), AttachedManagedPolicies: e.attachedDetails()})
			return nil
		}); err != nil {
			return err
		}
		if err := entities("3", types.EntityTypeRole, roleKind, func(e *entity) error {
			role, err := e.sdkRole(r)
			if err != nil {
				return err
			}
			out.RoleDetailList = append(out.RoleDetailList, types.RoleDetail{Arn: role.Arn, RoleId: role.RoleId, RoleName: role.RoleName, Path: role.Path, CreateDate: role.CreateDate,
				AssumeRolePolicyDocument: role.AssumeRolePolicyDocument, InstanceProfileList: []types.InstanceProfile{}, RoleLastUsed: &types.RoleLastUsed{},
				RolePolicyList: e.inlineDetails(), AttachedManagedPolicies: e.attachedDetails(), PermissionsBoundary: role.PermissionsBoundary, Tags: role.Tags})
			return nil
		}); err != nil {
			return err
		}
		var own []*managed
		err := listByName(r, policyKind, account, "", func(rec store.Record) error {
			m, err := decodeManaged(rec)
			own = append(own, m)
			return err
		})
		if err != nil {
			return err
		}
		if err := policies("4", types.EntityTypeLocalManagedPolicy, own); err != nil {
			return err
		}
		return policies("5", types.EntityTypeAWSManagedPolicy, awsOrdered)
	})
	out.IsTruncated, out.Marker = pg.next()
	return out, err
}

func (e *entity) inlineDetails() []types.PolicyDetail {
	out := []types.PolicyDetail{}
	for _, p := range e.Inline {
		out = append(out, types.PolicyDetail{PolicyName: aws.String(p.Name), PolicyDocument: encode(p.Text)})
	}
	return out
}

func (e *entity) attachedDetails() []types.AttachedPolicy {
	out := []types.AttachedPolicy{}
	for _, arn := range e.Attached {
		out = append(out, types.AttachedPolicy{PolicyArn: aws.String(arn), PolicyName: aws.String(policyName(arn))})
	}
	return out
}

// groupNames are the names of the groups that a user is in.
func (e *entity) groupNames(r store.Reader) ([]string, error) {
	all, err := withGroups(r, e)
	names := []string{}
	for _, g := range all {
		if g != e {
			names = append(names, g.Name)
		}
	}
	slices.Sort(names)
	return names, err
}

// detail is a managed policy with all versions and their documents.
func (m *managed) detail(r store.Reader, account string) (d types.ManagedPolicyDetail, err error) {
	p, err := m.sdk(r, account)
	if err != nil {
		return d, err
	}
	d = types.ManagedPolicyDetail{Arn: p.Arn, PolicyId: p.PolicyId, PolicyName: p.PolicyName, Path: p.Path, CreateDate: p.CreateDate, UpdateDate: p.UpdateDate,
		DefaultVersionId: p.DefaultVersionId, Description: p.Description, IsAttachable: true, AttachmentCount: p.AttachmentCount, PermissionsBoundaryUsageCount: p.PermissionsBoundaryUsageCount}
	for _, v := range slices.Backward(m.Versions) {
		text, err := m.text(r, v.Number)
		if err != nil {
			return d, err
		}
		shown := m.sdkVersion(v)
		shown.Document = encode(text)
		d.PolicyVersionList = append(d.PolicyVersionList, shown)
	}
	return d, nil
}
