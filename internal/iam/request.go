package iam

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/authz"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/store"
)

// values are the condition keys of IAM for one request.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
type values struct {
	tags      []api.Tag // of the resource
	given     []types.Tag
	givenKeys []string
	policy    string // ARN of the managed policy that is attached or detached
	boundary  string // ARN of the permissions boundary, the entity's own or the one that is given
	service   string // that a service-linked role is for
}

// Value implements policy.Context.
func (v *values) Value(k *policy.ConditionKey) policy.Value {
	switch k.Name {
	case "aws:resourcetag", "iam:resourcetag":
		return authz.TagValue(v.tags, k.Parameter)
	case "aws:requesttag":
		for _, t := range v.given {
			if strings.EqualFold(*t.Key, k.Parameter) {
				return policy.Text(*t.Value)
			}
		}
	case "aws:tagkeys":
		keys := slices.Clone(v.givenKeys)
		for _, t := range v.given {
			keys = append(keys, *t.Key)
		}
		if len(keys) > 0 {
			return policy.Texts(keys)
		}
	case "iam:policyarn":
		return policy.OptionalText(v.policy)
	case "iam:permissionsboundary":
		return policy.OptionalText(v.boundary)
	case "iam:awsservicename":
		return policy.OptionalText(v.service)
	}
	return policy.Absent
}

// allow asks for authorization of the call's action on a resource of the caller's
// account.
func (s *Service) allow(ctx context.Context, call *api.Call, resource string, v *values) error {
	return s.allowAction(ctx, call, call.Operation, resource, v)
}

// allowAction is allow for an action that has not the operation's name.
func (s *Service) allowAction(ctx context.Context, call *api.Call, action, resource string, v *values) error {
	if p := &call.Caller; p.Session != nil && p.Session.RoleID == "" && p.Session.MFA.IsZero() {
		// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
		return awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid. IAM takes a session of GetSessionToken only if it began with MFA.")
	}
	req := authz.Request{Action: "iam:" + action, Resource: resource, Account: call.Caller.Account, Values: v}
	return authz.Check(ctx, s.Authorize, call, &req)
}

// allowNew is allow for what the call makes. Tags that are given with it need the
// permission of the action that tags it as well.
func (s *Service) allowNew(ctx context.Context, call *api.Call, tagAction, resource string, v *values) error {
	err := s.allow(ctx, call, resource, v)
	if err == nil && len(v.given) > 0 {
		err = s.allowAction(ctx, call, tagAction, resource, v)
	}
	return err
}

// invalid is a ValidationError.
func invalid(format string, args ...any) error { return awserr.New(awserr.Validation, format, args...) }

// page is one page of a list, in the order of names or other texts.
type page struct {
	max   int
	after string // list what comes after this
	n     int
	last  string
	more  bool
}

const (
	defaultItems = 100
	maxItems     = 1000
)

// newPage reads Marker and MaxItems.
func newPage(marker *string, items *int32) (*page, error) {
	p := &page{max: defaultItems}
	if items != nil {
		p.max = min(int(*items), maxItems)
	}
	if marker != nil {
		var ok bool
		if p.after, ok = api.ParseMarker(*marker); !ok {
			return nil, invalid("Invalid Marker. Use the Marker of the previous answer unchanged.")
		}
	}
	return p, nil
}

// take tells whether the item goes on this page. Once it does not, none does.
func (p *page) take(item string) bool {
	if item <= p.after || p.more {
		return false
	}
	if p.n == p.max {
		p.more = true
		return false
	}
	p.n, p.last = p.n+1, item
	return true
}

// next is IsTruncated and Marker of the answer.
func (p *page) next() (bool, *string) {
	if !p.more {
		return false, nil
	}
	return true, api.Marker(p.last)
}

// list is a page of names that are all at hand, in any order.
func list(p *page, names []string) []string {
	out := []string{}
	for _, name := range slices.Sorted(slices.Values(names)) {
		if p.take(name) {
			out = append(out, name)
		}
	}
	return out
}

// maxTags is how many tags an entity can have.
const maxTags = 50

// exact takes tag keys as they are: Costcenter and costcenter are two. Users and roles
// take keys by fold instead.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html#case-sensitivity
func exact(key string) string { return key }

// mergeTags is mergeTagsBy for what is neither a user nor a role.
func mergeTags(have []api.Tag, add []types.Tag) ([]api.Tag, error) {
	return mergeTagsBy(exact, have, add)
}

// mergeTagsBy adds tags to those there are, ordered by key. Keys are the same if same
// makes them equal.
func mergeTagsBy(same func(string) string, have []api.Tag, add []types.Tag) ([]api.Tag, error) {
	out := slices.Clone(have)
	seen := map[string]bool{}
	for _, t := range add {
		if strings.HasPrefix(fold(*t.Key), "aws:") {
			return nil, awserr.New(awserr.InvalidInput, "Tag keys that begin with aws: are reserved.")
		}
		key := same(*t.Key)
		if seen[key] {
			return nil, awserr.New(awserr.InvalidInput, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[key] = true
		out = slices.DeleteFunc(out, func(o api.Tag) bool { return same(o.Key) == key })
		out = append(out, api.Tag{Key: *t.Key, Value: *t.Value})
	}
	if len(out) > maxTags {
		return nil, awserr.New(awserr.LimitExceeded, "The number of tags has reached the maximum limit of %d.", maxTags)
	}
	slices.SortFunc(out, func(a, b api.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out, nil
}

// removeTags is removeTagsBy for what is neither a user nor a role.
func removeTags(have []api.Tag, keys []string) []api.Tag { return removeTagsBy(exact, have, keys) }

// removeTagsBy is the tags without those of some keys.
func removeTagsBy(same func(string) string, have []api.Tag, keys []string) []api.Tag {
	return slices.DeleteFunc(slices.Clone(have), func(t api.Tag) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return same(k) == same(t.Key) })
	})
}

// sdkTags are tags as the API has them.
func sdkTags(tags []api.Tag) []types.Tag {
	var out []types.Tag
	for _, t := range tags {
		out = append(out, types.Tag{Key: aws.String(t.Key), Value: aws.String(t.Value)})
	}
	return out
}

// listTags is a page of tags.
func listTags(tags []api.Tag, marker *string, items *int32) (out []types.Tag, truncated bool, next *string, err error) {
	pg, err := newPage(marker, items)
	if err != nil {
		return nil, false, nil, err
	}
	kept := slices.DeleteFunc(slices.Clone(tags), func(t api.Tag) bool { return !pg.take(t.Key) })
	truncated, next = pg.next()
	return append([]types.Tag{}, sdkTags(kept)...), truncated, next, nil
}

// encode is a policy document as answers have it: with the escapes of RFC 3986.
func encode(document string) *string {
	return aws.String(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}

// size is the length of a document as quotas count it, in characters without
// white space.
func size(document string) (n int) {
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// parse reads a document that a caller gives.
func parse(kind policy.Kind, text string) (*policy.Document, error) {
	doc, err := policy.Parse(kind, "document", text)
	if err != nil {
		return nil, awserr.New(awserr.MalformedPolicyDocument, "Syntax errors in policy: %v.", err)
	}
	return doc, nil
}

// notFound is err, in the words of AWS if there was no such thing.
func notFound(err error, format string, args ...any) error {
	if errors.Is(err, store.ErrNotFound) {
		return awserr.New(awserr.NoSuchEntity, format, args...)
	}
	return err
}

// conflict is DeleteConflict: what must go first.
func conflict(what string) error {
	return awserr.New(awserr.DeleteConflict, "Cannot delete entity, must %s first.", what)
}

// quota is LimitExceeded in the words of AWS.
func quota(name string, limit int) error {
	return awserr.New(awserr.LimitExceeded, "Cannot exceed quota for %s: %d", name, limit)
}

func path(given *string) string {
	if given == nil {
		return "/"
	}
	return *given
}
