package organizations

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// maxTags is the most tags that anything can have.
const maxTags = 50

// newTags reads the tags of a request, ordered by key.
func newTags(given []types.Tag) ([]api.Tag, error) {
	var out []api.Tag
	for _, t := range given {
		out = append(out, api.Tag{Key: aws.ToString(t.Key), Value: aws.ToString(t.Value)})
	}
	for i, t := range sortTags(out) {
		if i > 0 && t.Key == out[i-1].Key {
			return nil, invalid("DUPLICATE_TAG_KEY", "Tag keys must be unique among the tags attached to the same entity.")
		}
	}
	if len(out) > maxTags {
		return nil, tooManyTags()
	}
	return out, checkTagKeys(tagKeys(out))
}

func sortTags(tags []api.Tag) []api.Tag {
	slices.SortFunc(tags, func(a, b api.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

func without(tags []api.Tag, keys []string) []api.Tag {
	return slices.DeleteFunc(tags, func(t api.Tag) bool { return slices.Contains(keys, t.Key) })
}

func tooManyTags() error {
	return violation("MAX_TAG_LIMIT_EXCEEDED", "You have exceeded the number of tags allowed on this resource.")
}

func checkTagKeys(keys []string) error {
	for _, k := range keys {
		if len(k) >= 4 && strings.EqualFold(k[:4], "aws:") {
			return invalid("INVALID_SYSTEM_TAGS_PARAMETER", "You specified a tag key that is a system tag. You can't add, edit, or delete system tag keys because they're reserved for AWS use.")
		}
	}
	return nil
}

func tagKeys(tags []api.Tag) []string {
	var keys []string
	for _, t := range tags {
		keys = append(keys, t.Key)
	}
	return keys
}

// tagged is anything that can have tags, as far as those go.
type tagged struct {
	tags  *[]api.Tag
	write func() error
}

// tagged finds what has that id, or store.ErrNotFound.
func (t *tree) tagged(id string) (tagged, error) {
	switch {
	case id == fullAccess.id:
		return tagged{new([]api.Tag), func() error {
			return invalid("TARGET_NOT_SUPPORTED", "You can't perform the specified operation on that target entity.")
		}}, nil
	case isPolicy(id):
		rec, err := t.r.Get(policyPlace(id))
		if err != nil {
			return tagged{}, err
		}
		p, err := decodePolicy(rec)
		return tagged{&p.Tags, func() error { return t.writePolicy(p) }}, err
	}
	rec, err := t.r.Get(elementPlace(id))
	if err != nil {
		return tagged{}, err
	}
	e, err := decodeElement(rec)
	return tagged{&e.Tags, func() error { return t.writeElement(e) }}, err
}

// tagsOf are the tags of what has that id; none if there is no such thing.
func (t *tree) tagsOf(id string) ([]api.Tag, error) {
	found, err := t.tagged(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return *found.tags, err
}

// changeTags is the common part of TagResource and UntagResource.
func (s *Service) changeTags(ctx context.Context, call *api.Call, id string, v values, edit func([]api.Tag) []api.Tag) error {
	return s.change(ctx, call, request{ids: []string{id}, values: v}, func(t *tree) error {
		found, err := t.tagged(id)
		if err != nil {
			return orFail(err, awserr.TargetNotFound)
		}
		*found.tags = edit(*found.tags)
		if len(*found.tags) > maxTags {
			return tooManyTags()
		}
		return found.write()
	})
}

// TagResource adds tags to an account, a policy, an organizational unit or the
// root, or changes their values.
func (s *Service) TagResource(ctx context.Context, call *api.Call, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	add, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	v := values{request: add, keys: tagKeys(add)}
	return &sdk.TagResourceOutput{}, s.changeTags(ctx, call, *in.ResourceId, v, func(have []api.Tag) []api.Tag {
		return sortTags(append(without(have, v.keys), add...))
	})
}

// UntagResource removes tags; keys without such a tag are no error.
func (s *Service) UntagResource(ctx context.Context, call *api.Call, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	if err := checkTagKeys(in.TagKeys); err != nil {
		return nil, err
	}
	return &sdk.UntagResourceOutput{}, s.changeTags(ctx, call, *in.ResourceId, values{keys: in.TagKeys}, func(have []api.Tag) []api.Tag {
		return without(have, in.TagKeys)
	})
}

// ListTagsForResource lists tags by key, all on one page.
func (s *Service) ListTagsForResource(ctx context.Context, call *api.Call, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	pg, err := newPage[types.Tag](aws.Int32(maxTags), in.NextToken)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, call, on(*in.ResourceId), func(t *tree) error {
		found, err := t.tagged(*in.ResourceId)
		if err != nil {
			return orFail(err, awserr.TargetNotFound)
		}
		for _, tag := range *found.tags {
			if tag.Key <= pg.after {
				continue
			}
			if err := pg.add(tag.Key, types.Tag{Key: aws.String(tag.Key), Value: aws.String(tag.Value)}); err != nil {
				return err
			}
		}
		return nil
	})
	return &sdk.ListTagsForResourceOutput{Tags: pg.items, NextToken: pg.next()}, ended(err)
}
