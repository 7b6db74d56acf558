package sts

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// How long sessions last.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const (
	defaultSession     = time.Hour
	maxChained         = time.Hour // of a role session that comes from another
	defaultUserSession = 12 * time.Hour
	maxRootSession     = time.Hour
	maxSessionTags     = 50
	maxSessionPolicies = 10 // managed ones
)

// roleType is what audit records call a role.
const roleType = "AWS::IAM::Role"

// values are the condition keys of STS for one request.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-sts
type values struct {
	role           *iam.Role
	externalID     string
	session        string
	sourceIdentity string
	seconds        int64
	tags           []types.Tag
	transitive     []string
}

// Value implements policy.Context.
func (v *values) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "sts:externalid":
		return policy.OptionalText(v.externalID)
	case "sts:rolesessionname":
		return policy.OptionalText(v.session)
	case "sts:sourceidentity":
		return policy.OptionalText(v.sourceIdentity)
	case "sts:durationseconds":
		return policy.Number(v.seconds)
	case "sts:transitivetagkeys":
		if len(v.transitive) > 0 {
			return policy.Texts(v.transitive)
		}
	case "aws:requesttag":
		for _, t := range v.tags {
			if strings.EqualFold(*t.Key, k.Parameter) {
				return policy.Text(*t.Value)
			}
		}
	case "aws:tagkeys":
		if len(v.tags) > 0 {
			keys := make([]string, len(v.tags))
			for i, t := range v.tags {
				keys[i] = *t.Key
			}
			return policy.Texts(keys)
		}
	case "aws:resourcetag", "iam:resourcetag":
		return authz.TagValue(v.role.Tags, k.Parameter)
	}
	return policy.Absent
}

// nobody is the trust policy of a role that is not there: the denial is the same.
var nobody = policy.Document{Name: "trust policy", Kind: policy.Trust}

// role finds a role by ARN. One that is not there trusts nobody.
func (s *Service) role(ctx context.Context, arn string) (*iam.Role, error) {
	account, ok := iam.RoleAccount(arn)
	if !ok {
		return nil, awserr.New(awserr.Validation, "%s is invalid", arn)
	}
	role, err := s.Directory.Role(ctx, arn)
	if errors.Is(err, store.ErrNotFound) {
		return &iam.Role{Account: account, ARN: arn, Trust: &nobody}, nil
	}
	return role, err
}

// trusts asks whether the caller may do what an action says with a role.
func (s *Service) trusts(ctx context.Context, call *api.Call, action string, v *values) error {
	req := authz.Request{Action: "sts:" + action, Resource: v.role.ARN, Account: v.role.Account, Type: roleType, Policy: v.role.Trust, Values: v}
	err := authz.Check(ctx, s.Authorize, call, &req)
	if awserr.Is(err, awserr.AccessDenied) && v.role.Account != call.Caller.Account {
		// Across accounts STS gives no reason.
		who := call.Caller.ARN
		if call.Caller.Type == api.WebIdentityUser {
			return awserr.New(awserr.AccessDenied, "Not authorized to perform sts:%s", action)
		}
		return awserr.New(awserr.AccessDenied, "User: %s is not authorized to perform: sts:%s on resource: %s", who, action, v.role.ARN)
	}
	return err
}

// AssumeRole gives temporary credentials of a role to whom its trust policy names.
func (s *Service) AssumeRole(ctx context.Context, call *api.Call, in *sdk.AssumeRoleInput) (*sdk.AssumeRoleOutput, error) {
	caller := &call.Caller
	if caller.Type == api.Root {
		return nil, awserr.New(awserr.AccessDenied, "Roles may not be assumed by root accounts.")
	}
	role, err := s.role(ctx, *in.RoleArn)
	if err != nil {
		return nil, err
	}
	lifetime := roleLifetime(in.DurationSeconds)
	if caller.Type == api.AssumedRole && lifetime > maxChained {
		return nil, awserr.New(awserr.Validation, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	rec := roleRecord(role, *in.RoleSessionName)
	if rec.Tags, rec.TransitiveTags, err = sessionTags(caller.Session, in.Tags, in.TransitiveTagKeys); err != nil {
		return nil, err
	}
	if rec.SourceIdentity, err = sourceIdentity(caller.Session, in.SourceIdentity); err != nil {
		return nil, err
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		if err := s.Directory.CheckMFA(ctx, caller, aws.ToString(in.SerialNumber), aws.ToString(in.TokenCode), call.Time); err != nil {
			return nil, err
		}
		call.MFA = call.Time
	}
	v := &values{role: role, externalID: aws.ToString(in.ExternalId), session: *in.RoleSessionName, sourceIdentity: rec.SourceIdentity,
		seconds: int64(lifetime / time.Second), tags: in.Tags, transitive: in.TransitiveTagKeys}
	// What the caller's session hands on is set like what is given.
	actions := []string{"AssumeRole"}
	if len(rec.Tags) > 0 {
		actions = append(actions, "TagSession")
	}
	if rec.SourceIdentity != "" {
		actions = append(actions, "SetSourceIdentity")
	}
	for _, action := range actions {
		if err := s.trusts(ctx, call, action, v); err != nil {
			return nil, err
		}
	}
	if err := checkLifetime(role, lifetime); err != nil {
		return nil, err
	}
	if rec.Policies, err = s.sessionPolicies(ctx, role.Account, in.Policy, in.PolicyArns); err != nil {
		return nil, err
	}
	out := new(sdk.AssumeRoleOutput)
	if out.PackedPolicySize, err = checkPacked(rec); err != nil {
		return nil, err
	}
	if out.Credentials, err = s.issue(rec, call.Time, lifetime); err != nil {
		return nil, err
	}
	out.AssumedRoleUser = &types.AssumedRoleUser{Arn: &rec.ARN, AssumedRoleId: &rec.ID}
	if rec.SourceIdentity != "" {
		out.SourceIdentity = &rec.SourceIdentity
	}
	call.Trail.Resources = append(call.Trail.Resources, api.Resource{Account: role.Account, Type: roleType, ARN: role.ARN})
	call.Trail.Response = out
	return out, nil
}

// roleRecord is the session of a role, as far as the role says it.
func roleRecord(role *iam.Role, session string) *tokenRecord {
	return &tokenRecord{
		Type: api.AssumedRole, ID: role.ID + ":" + session, Account: role.Account, Name: session,
		ARN:     "arn:" + api.Partition + ":sts::" + role.Account + ":assumed-role/" + role.Name + "/" + session,
		RoleARN: role.ARN, RoleID: role.ID, RoleName: role.Name,
	}
}

// roleLifetime is how long the session of a role is to last.
func roleLifetime(seconds *int32) time.Duration {
	if seconds == nil {
		return defaultSession
	}
	return time.Duration(*seconds) * time.Second
}

// checkLifetime refuses what is longer than a role has it. It is for callers that
// the role trusts: to others it would tell that the role is there.
func checkLifetime(role *iam.Role, lifetime time.Duration) error {
	if lifetime > role.MaxSessionDuration {
		return awserr.New(awserr.Validation, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return nil
}

// sessionTags are the tags of a new session: those that are given, and those that
// the caller's session hands on.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html
func sessionTags(from *api.Session, given []types.Tag, transitive []string) (tags []api.Tag, keys []string, err error) {
	if from != nil {
		keys = slices.Clone(from.TransitiveTags)
		for _, t := range from.Tags {
			if hasKey(keys, t.Key) {
				tags = append(tags, t)
			}
		}
	}
	inherited := len(tags)
	for _, t := range given {
		for i, old := range tags {
			if !strings.EqualFold(old.Key, *t.Key) {
				continue
			}
			if i < inherited {
				return nil, nil, awserr.New(awserr.Validation, "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
			}
			return nil, nil, awserr.New(awserr.Validation, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if len(*t.Key) >= 4 && strings.EqualFold((*t.Key)[:4], "aws:") {
			return nil, nil, awserr.New(awserr.Validation, "Tag keys that begin with aws: are reserved.")
		}
		tags = append(tags, api.Tag{Key: *t.Key, Value: *t.Value})
	}
	if len(tags) > maxSessionTags {
		return nil, nil, awserr.New(awserr.Validation, "A session can have at most %d tags.", maxSessionTags)
	}
	for _, k := range transitive {
		if !slices.ContainsFunc(tags, func(t api.Tag) bool { return strings.EqualFold(t.Key, k) }) {
			return nil, nil, awserr.New(awserr.Validation, "The specified transitive tag key must be included in the requested tags.")
		}
		if !hasKey(keys, k) {
			keys = append(keys, k)
		}
	}
	return tags, keys, nil
}

func hasKey(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
}

// sourceIdentity is that of a new session. Once set, it stays.
func sourceIdentity(from *api.Session, given *string) (string, error) {
	have := ""
	if from != nil {
		have = from.SourceIdentity
	}
	switch {
	case given == nil:
		return have, nil
	case have != "" && have != *given:
		return "", awserr.New(awserr.AccessDenied, "The source identity of the calling session cannot be changed.")
	}
	return *given, nil
}

// sessionPolicies are the session policies that a request gives.
func (s *Service) sessionPolicies(ctx context.Context, account string, inline *string, arns []types.PolicyDescriptorType) (all []sessionPolicy, err error) {
	if len(arns) > maxSessionPolicies {
		return nil, awserr.New(awserr.Validation, "A session can have at most %d managed session policies.", maxSessionPolicies)
	}
	if inline != nil {
		all = append(all, sessionPolicy{Text: *inline})
		if _, err := policy.Parse(policy.Identity, "session policy", *inline); err != nil {
			return nil, awserr.New(awserr.MalformedPolicyDocument, "Syntax errors in policy: %v.", err)
		}
	}
	for _, p := range arns {
		arn := aws.ToString(p.Arn)
		_, text, err := s.Directory.ManagedPolicy(ctx, account, arn)
		if errors.Is(err, store.ErrNotFound) {
			return nil, awserr.New(awserr.Validation, "The policy %s is not one of the role's account.", arn)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, sessionPolicy{arn, text})
	}
	return all, nil
}

// GetSessionToken gives temporary credentials of the calling user or root, who may
// prove a code of an MFA device.
func (s *Service) GetSessionToken(ctx context.Context, call *api.Call, in *sdk.GetSessionTokenInput) (*sdk.GetSessionTokenOutput, error) {
	caller := &call.Caller
	if caller.Session != nil || caller.Type != api.Root && caller.Type != api.IAMUser {
		return nil, awserr.New(awserr.AccessDenied, "Cannot call GetSessionToken with session credentials")
	}
	lifetime := defaultUserSession
	if in.DurationSeconds != nil {
		lifetime = time.Duration(*in.DurationSeconds) * time.Second
	}
	if caller.Type == api.Root {
		lifetime = min(lifetime, maxRootSession)
	}
	rec := &tokenRecord{Type: caller.Type, ID: caller.ID, ARN: caller.ARN, Account: caller.Account, UserName: caller.UserName}
	if in.SerialNumber != nil || in.TokenCode != nil {
		if err := s.Directory.CheckMFA(ctx, caller, aws.ToString(in.SerialNumber), aws.ToString(in.TokenCode), call.Time); err != nil {
			return nil, err
		}
		rec.MFA = call.Time
	}
	authz.Open(call)
	credentials, err := s.issue(rec, call.Time, lifetime)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetSessionTokenOutput{Credentials: credentials}
	call.Trail.Response = out
	return out, nil
}
