package kms

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/store"
)

// mergeTags adds tags to those a key has; same keys get the new values. The
// result is ordered by key.
// https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html
func mergeTags(have []api.Tag, add []types.Tag) ([]api.Tag, error) {
	if len(add) > maxTagsPerKey {
		return nil, awserr.New(awserr.Tag, "Too many tags")
	}
	out := slices.Clone(have)
	given := map[string]bool{}
	for _, t := range add {
		k := *t.TagKey
		if len(k) >= 4 && strings.EqualFold(k[:4], "aws:") {
			return nil, awserr.New(awserr.Tag, "Tags beginning with aws: are reserved")
		}
		if given[k] {
			return nil, awserr.New(awserr.Tag, "Duplicate tag keys")
		}
		given[k] = true
		i, found := findTag(out, k)
		if found {
			out[i].Value = *t.TagValue
		} else {
			out = slices.Insert(out, i, api.Tag{Key: k, Value: *t.TagValue})
		}
	}
	if len(out) > maxTagsPerKey {
		return nil, awserr.New(awserr.Tag, "Too many tags")
	}
	return out, nil
}

func findTag(tags []api.Tag, key string) (int, bool) {
	return slices.BinarySearchFunc(tags, key, func(t api.Tag, k string) int { return strings.Compare(t.Key, k) })
}

// TagResource adds tags to a key or changes their values.
func (s *Service) TagResource(ctx context.Context, call *api.Call, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.TagResourceOutput{}, u.change(ctx, func(k *key, _ store.Tx) (err error) {
		k.Tags, err = mergeTags(k.Tags, in.Tags)
		return err
	})
}

// UntagResource removes tags; keys without such a tag are no error.
func (s *Service) UntagResource(ctx context.Context, call *api.Call, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	call.Trail.Response = keyIDElement{&u.arn}
	return &sdk.UntagResourceOutput{}, u.change(ctx, func(k *key, _ store.Tx) error {
		k.Tags = slices.DeleteFunc(k.Tags, func(t api.Tag) bool { return slices.Contains(in.TagKeys, t.Key) })
		return nil
	})
}

// ListResourceTags lists the tags of a key, by tag key.
func (s *Service) ListResourceTags(ctx context.Context, call *api.Call, in *sdk.ListResourceTagsInput) (*sdk.ListResourceTagsOutput, error) {
	u, err := s.use(ctx, call, *in.KeyId, keyOnly)
	if err != nil {
		return nil, err
	}
	pg, err := newPage(in.Limit, in.Marker, 50, 50)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListResourceTagsOutput{Tags: []types.Tag{}}
	for _, t := range u.Tags {
		if t.Key <= pg.after {
			continue
		}
		if pg.full(len(out.Tags)) {
			break
		}
		out.Tags = append(out.Tags, types.Tag{TagKey: aws.String(t.Key), TagValue: aws.String(t.Value)})
		pg.last = t.Key
	}
	out.NextMarker, out.Truncated = pg.next()
	return out, nil
}
