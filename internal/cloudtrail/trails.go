package cloudtrail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/buckets"
	"github.com/kagimori/kagimori/internal/store"
)

// Limits of trails.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html
const (
	maxTrails    = 5 // whose home is a Region
	maxSelectors = 5
	maxTags      = 50
	maxPrefix    = 200
)

// reachTimeout is how long a bucket may take to show itself.
const reachTimeout = 10 * time.Second

// Kinds of store records. A trail's place is its account, home Region and name.
const (
	trailKind = "trail"
	stateKind = "trail-state" // how far a trail has come
)

// trailRecord is a trail as the store keeps it.
type trailRecord struct {
	Bucket       string                        `json:"bucket"`
	Prefix       string                        `json:"prefix,omitempty"`
	AllRegions   bool                          `json:"allRegions,omitempty"`
	Global       bool                          `json:"global,omitempty"` // events of services that are the same in all Regions
	Validation   bool                          `json:"validation,omitempty"`
	Organization bool                          `json:"organization,omitempty"`
	Logging      bool                          `json:"logging,omitempty"`
	Started      time.Time                     `json:"started,omitzero"`
	Stopped      time.Time                     `json:"stopped,omitzero"`
	Selectors    []types.EventSelector         `json:"selectors,omitempty"`
	Advanced     []types.AdvancedEventSelector `json:"advanced,omitempty"`
	Tags         []api.Tag                     `json:"tags,omitempty"`
}

// trail is a trail with its place.
type trail struct {
	trailRecord
	place    store.Place
	revision uint64
}

func (t *trail) arn() string { return trailARN(t.place.Account, t.place.Region, t.place.ID) }

func trailARN(account, region, name string) string {
	return fmt.Sprintf("arn:aws:cloudtrail:%s:%s:trail/%s", region, account, name)
}

func decodeTrail(rec store.Record) (*trail, error) {
	t := &trail{place: rec.Place, revision: rec.Revision}
	if err := json.Unmarshal(rec.Value, &t.trailRecord); err != nil {
		return nil, fmt.Errorf("%s: %w", rec.Place, err)
	}
	return t, nil
}

// put writes a record in JSON.
func put(tx store.Tx, p store.Place, v any, revision uint64, index ...store.IndexEntry) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = tx.Put(p, b, revision, index...)
	}
	return err
}

func (t *trail) put(tx store.Tx) error {
	return put(tx, t.place, &t.trailRecord, t.revision, allTrailsEntry)
}

// allTrailsEntry is the index entry that all trails have.
var allTrailsEntry = store.IndexEntry{Name: "all", Value: "all"}

// getTrail is the trail at a place.
func getTrail(r store.Reader, p store.Place) (*trail, error) {
	rec, err := r.Get(p)
	if errors.Is(err, store.ErrNotFound) {
		return nil, awserr.New(awserr.TrailNotFound, "Unknown trail: %s for the user: %s", trailARN(p.Account, p.Region, p.ID), p.Account)
	}
	if err != nil {
		return nil, err
	}
	return decodeTrail(rec)
}

// allTrails are the trails of all accounts and Regions.
func allTrails(r store.Reader) (all []*trail, err error) {
	err = r.Lookup(store.Query{Kind: trailKind, Index: allTrailsEntry.Name, From: allTrailsEntry.Value, To: allTrailsEntry.Value}, func(rec store.Record) error {
		t, err := decodeTrail(rec)
		all = append(all, t)
		return err
	})
	return all, err
}

var (
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,126}[A-Za-z0-9]$`)
	bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	doubled    = regexp.MustCompile(`[._-]{2}`)
	ipForm     = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)
	arnForm    = regexp.MustCompile(`^arn:aws:cloudtrail:([a-z0-9-]+):(\d{12}):trail/(.+)$`)
)

// checkName is for the name of a new trail.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-trail-naming-requirements.html
func checkName(name string) error {
	if !nameForm.MatchString(name) || doubled.MatchString(name) || ipForm.MatchString(name) {
		return awserr.New(awserr.InvalidTrailName, "Trail name must be 3 to 128 letters, digits, periods, underscores and dashes, begin and end with a letter or digit, have no two of the others side by side, and not look like an IP address.")
	}
	return nil
}

// find is the place that a name or ARN of the request means.
func find(call *api.Call, name string) (store.Place, error) {
	p := store.Place{Kind: trailKind, Account: call.Caller.Account, Region: call.Region, ID: name}
	if strings.HasPrefix(name, "arn:") {
		m := arnForm.FindStringSubmatch(name)
		if m == nil {
			return p, awserr.New(awserr.CloudTrailARNInvalid, "The trail ARN %s is not valid. It has the form arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME.", name)
		}
		p.Region, p.Account, p.ID = m[1], m[2], m[3]
	}
	return p, checkName(p.ID)
}

// own is find for operations that are for the account and the home Region of the trail.
func (s *Service) own(ctx context.Context, call *api.Call, name *string) (store.Place, error) {
	p, err := find(call, *name)
	if err != nil {
		return p, err
	}
	if p.Account != call.Caller.Account {
		return p, awserr.New(awserr.TrailNotFound, "Unknown trail: %s for the user: %s", *name, call.Caller.Account)
	}
	if err := s.authorize(ctx, call, trailARN(p.Account, p.Region, p.ID)); err != nil {
		return p, err
	}
	if p.Region != call.Region && !call.ReadOnly {
		return p, awserr.New(awserr.InvalidHomeRegion, "The trail is changed in its home Region, %s.", p.Region)
	}
	return p, nil
}

// read is the trail that a request is about.
func (s *Service) read(ctx context.Context, call *api.Call, name *string) (t *trail, err error) {
	p, err := s.own(ctx, call, name)
	if err != nil {
		return nil, err
	}
	err = s.Store.View(ctx, func(r store.Reader) error {
		t, err = getTrail(r, p)
		return err
	})
	return t, err
}

// change changes the trail that a request is about.
func (s *Service) change(ctx context.Context, call *api.Call, name *string, fn func(store.Tx, *trail) error) error {
	p, err := s.own(ctx, call, name)
	if err != nil {
		return err
	}
	return s.changeAt(ctx, call, p, fn)
}

func (s *Service) changeAt(ctx context.Context, call *api.Call, p store.Place, fn func(store.Tx, *trail) error) error {
	err := s.Trail.Change(ctx, call, func(tx store.Tx) error {
		t, err := getTrail(tx, p)
		if err != nil {
			return err
		}
		return fn(tx, t)
	})
	if err == nil {
		s.wake()
	}
	return err
}

// apply sets what a request gives.
func (s *Service) apply(call *api.Call, t *trail, in *sdk.UpdateTrailInput) error {
	for _, member := range []struct {
		name  string
		value *string
	}{
		{"SnsTopicName", in.SnsTopicName}, {"CloudWatchLogsLogGroupArn", in.CloudWatchLogsLogGroupArn},
		{"CloudWatchLogsRoleArn", in.CloudWatchLogsRoleArn}, {"KmsKeyId", in.KmsKeyId},
	} {
		if aws.ToString(member.value) != "" {
			return awserr.New(awserr.UnsupportedOperation, "%s is not supported here.", member.name)
		}
	}
	set(&t.Bucket, in.S3BucketName)
	set(&t.Prefix, in.S3KeyPrefix)
	set(&t.AllRegions, in.IsMultiRegionTrail)
	set(&t.Global, in.IncludeGlobalServiceEvents)
	set(&t.Validation, in.EnableLogFileValidation)
	set(&t.Organization, in.IsOrganizationTrail)
	switch {
	case !bucketForm.MatchString(t.Bucket) || strings.Contains(t.Bucket, "..") || ipForm.MatchString(t.Bucket):
		return awserr.New(awserr.InvalidS3BucketName, "%s is not the name of a bucket: 3 to 63 lower-case letters, digits, dashes and periods.", t.Bucket)
	case len(t.Prefix) > maxPrefix || strings.HasPrefix(t.Prefix, "/") || strings.Contains("/"+t.Prefix+"/", "/../") || strings.Contains("/"+t.Prefix+"/", "/./"):
		return awserr.New(awserr.InvalidS3Prefix, "S3KeyPrefix can have %d characters, and begins with no slash.", maxPrefix)
	case t.AllRegions && !t.Global:
		return awserr.New(awserr.InvalidParameterCombination, "A trail of all Regions includes global service events: IsMultiRegionTrail is true and IncludeGlobalServiceEvents is false.")
	case t.Organization && call.Caller.Account != s.Management:
		return awserr.New(awserr.NotOrganizationMasterAccount, "Only the organization's management account, %s, can have a trail of the organization.", s.Management)
	}
	return nil
}

// reach checks that there is a bucket. It can take a while.
func (s *Service) reach(ctx context.Context, bucket string) error {
	if s.Buckets == nil {
		return awserr.New(awserr.S3BucketDoesNotExist, "S3 bucket %s does not exist! This server has no buckets: its operator sets where they are with --buckets.", bucket)
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	err := s.Buckets.Check(ctx, bucket)
	if errors.Is(err, buckets.ErrNoBucket) {
		return awserr.New(awserr.S3BucketDoesNotExist, "S3 bucket %s does not exist!", bucket)
	}
	if err != nil {
		s.Log.Warn("a bucket cannot be reached", "bucket", bucket, "error", err)
		return awserr.New(awserr.InsufficientS3BucketPolicy, "Bucket %s cannot be reached: %s.", bucket, buckets.Code(err))
	}
	return nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// CreateTrail makes a trail. It does not log yet.
func (s *Service) CreateTrail(ctx context.Context, call *api.Call, in *sdk.CreateTrailInput) (*sdk.CreateTrailOutput, error) {
	t := &trail{place: store.Place{Kind: trailKind, Account: call.Caller.Account, Region: call.Region, ID: *in.Name}}
	t.Global = true
	if err := s.authorize(ctx, call, t.arn()); err != nil {
		return nil, err
	}
	if err := checkName(t.place.ID); err != nil {
		return nil, err
	}
	if err := s.apply(call, t, &sdk.UpdateTrailInput{
		S3BucketName: in.S3BucketName, S3KeyPrefix: in.S3KeyPrefix, SnsTopicName: in.SnsTopicName,
		CloudWatchLogsLogGroupArn: in.CloudWatchLogsLogGroupArn, CloudWatchLogsRoleArn: in.CloudWatchLogsRoleArn, KmsKeyId: in.KmsKeyId,
		IsMultiRegionTrail: in.IsMultiRegionTrail, IncludeGlobalServiceEvents: in.IncludeGlobalServiceEvents,
		EnableLogFileValidation: in.EnableLogFileValidation, IsOrganizationTrail: in.IsOrganizationTrail,
	}); err != nil {
		return nil, err
	}
	if err := t.tag(in.TagsList); err != nil {
		return nil, err
	}
	if err := s.reach(ctx, t.Bucket); err != nil {
		return nil, err
	}
	out := t.settings()
	call.Trail.Response = out
	return out, s.Trail.Change(ctx, call, func(tx store.Tx) error {
		if _, err := tx.Get(t.place); err == nil {
			return awserr.New(awserr.TrailAlreadyExists, "Trail %s already exists for customer: %s", t.place.ID, t.place.Account)
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if n, err := tx.Count(trailKind, t.place.Account, t.place.Region); err != nil {
			return err
		} else if n >= maxTrails {
			return awserr.New(awserr.MaximumNumberOfTrailsExceeded, "User: %s already has %d trails in %s.", t.place.Account, n, t.place.Region)
		}
		return t.put(tx)
	})
}

// UpdateTrail changes what its request gives. A trail goes on logging.
func (s *Service) UpdateTrail(ctx context.Context, call *api.Call, in *sdk.UpdateTrailInput) (*sdk.UpdateTrailOutput, error) {
	p, err := s.own(ctx, call, in.Name)
	if err != nil {
		return nil, err
	}
	if in.S3BucketName != nil {
		if err := s.reach(ctx, *in.S3BucketName); err != nil {
			return nil, err
		}
	}
	out := &sdk.UpdateTrailOutput{}
	return out, s.changeAt(ctx, call, p, func(tx store.Tx, t *trail) error {
		if err := s.apply(call, t, in); err != nil {
			return err
		}
		*out = sdk.UpdateTrailOutput(*t.settings())
		call.Trail.Response = out
		return t.put(tx)
	})
}

// DeleteTrail removes a trail. What it delivered stays.
func (s *Service) DeleteTrail(ctx context.Context, call *api.Call, in *sdk.DeleteTrailInput) (*sdk.DeleteTrailOutput, error) {
	return &sdk.DeleteTrailOutput{}, s.change(ctx, call, in.Name, func(tx store.Tx, t *trail) error {
		if err := forget(tx, t.place); err != nil {
			return err
		}
		return tx.Delete(t.place, t.revision)
	})
}

// StartLogging has the records delivered from now on.
func (s *Service) StartLogging(ctx context.Context, call *api.Call, in *sdk.StartLoggingInput) (*sdk.StartLoggingOutput, error) {
	return &sdk.StartLoggingOutput{}, s.change(ctx, call, in.Name, func(tx store.Tx, t *trail) error {
		if t.Logging {
			return nil
		}
		t.Logging, t.Started = true, call.Time
		if err := s.begin(tx, t); err != nil {
			return err
		}
		return t.put(tx)
	})
}

// StopLogging has no records delivered but those until now.
func (s *Service) StopLogging(ctx context.Context, call *api.Call, in *sdk.StopLoggingInput) (*sdk.StopLoggingOutput, error) {
	return &sdk.StopLoggingOutput{}, s.change(ctx, call, in.Name, func(tx store.Tx, t *trail) error {
		if !t.Logging {
			return nil
		}
		t.Logging, t.Stopped = false, call.Time
		if err := s.end(tx, t); err != nil {
			return err
		}
		return t.put(tx)
	})
}

// show is a trail as answers have it.
func (t *trail) show() types.Trail {
	x := types.Trail{
		Name: &t.place.ID, S3BucketName: &t.Bucket, TrailARN: aws.String(t.arn()), HomeRegion: &t.place.Region,
		IncludeGlobalServiceEvents: &t.Global, IsMultiRegionTrail: &t.AllRegions, LogFileValidationEnabled: &t.Validation, IsOrganizationTrail: &t.Organization,
		HasCustomEventSelectors: aws.Bool(t.Selectors != nil || t.Advanced != nil), HasInsightSelectors: aws.Bool(false),
	}
	if t.Prefix != "" {
		x.S3KeyPrefix = &t.Prefix
	}
	return x
}

// settings is a trail as the answers to what makes and changes one have it.
func (t *trail) settings() *sdk.CreateTrailOutput {
	x := t.show()
	return &sdk.CreateTrailOutput{Name: x.Name, S3BucketName: x.S3BucketName, S3KeyPrefix: x.S3KeyPrefix, TrailARN: x.TrailARN, IncludeGlobalServiceEvents: x.IncludeGlobalServiceEvents,
		IsMultiRegionTrail: x.IsMultiRegionTrail, LogFileValidationEnabled: x.LogFileValidationEnabled, IsOrganizationTrail: x.IsOrganizationTrail}
}

// visible tells whether a trail is shown to an account in a Region, be it as the shadow of
// one whose home is elsewhere.
func (t *trail) visible(account, region string, shadows bool) bool {
	return (t.place.Account == account || shadows && t.Organization) && (t.place.Region == region || shadows && t.AllRegions)
}

// DescribeTrails shows trails: those that are named, or all of the Region.
func (s *Service) DescribeTrails(ctx context.Context, call *api.Call, in *sdk.DescribeTrailsInput) (*sdk.DescribeTrailsOutput, error) {
	if err := s.authorize(ctx, call, "*"); err != nil {
		return nil, err
	}
	shadows := in.IncludeShadowTrails == nil || *in.IncludeShadowTrails
	var named []store.Place
	for _, name := range in.TrailNameList {
		p, err := find(call, name)
		if err != nil {
			return nil, err
		}
		named = append(named, p)
	}
	out := &sdk.DescribeTrailsOutput{TrailList: []types.Trail{}}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		all, err := allTrails(r)
		for _, t := range all {
			if len(named) == 0 && t.visible(call.Caller.Account, call.Region, shadows) ||
				slices.Contains(named, t.place) && (t.place.Account == call.Caller.Account || t.Organization) {
				out.TrailList = append(out.TrailList, t.show())
			}
		}
		return err
	})
}

// ListTrails names the trails of the account in all Regions.
func (s *Service) ListTrails(ctx context.Context, call *api.Call, in *sdk.ListTrailsInput) (*sdk.ListTrailsOutput, error) {
	if err := s.authorize(ctx, call, "*"); err != nil {
		return nil, err
	}
	out := &sdk.ListTrailsOutput{Trails: []types.TrailInfo{}}
	return out, s.Store.View(ctx, func(r store.Reader) error {
		all, err := allTrails(r)
		for _, t := range all {
			if t.place.Account == call.Caller.Account || t.Organization {
				out.Trails = append(out.Trails, types.TrailInfo{Name: &t.place.ID, TrailARN: aws.String(t.arn()), HomeRegion: &t.place.Region})
			}
		}
		return err
	})
}

// GetTrail shows a trail.
func (s *Service) GetTrail(ctx context.Context, call *api.Call, in *sdk.GetTrailInput) (*sdk.GetTrailOutput, error) {
	t, err := s.read(ctx, call, in.Name)
	if err != nil {
		return nil, err
	}
	x := t.show()
	return &sdk.GetTrailOutput{Trail: &x}, nil
}

// GetTrailStatus tells how deliveries go.
func (s *Service) GetTrailStatus(ctx context.Context, call *api.Call, in *sdk.GetTrailStatusInput) (*sdk.GetTrailStatusOutput, error) {
	t, err := s.read(ctx, call, in.Name)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetTrailStatusOutput{IsLogging: &t.Logging, TimeLoggingStarted: text(t.Started), TimeLoggingStopped: text(t.Stopped)}
	out.StartLoggingTime, out.StopLoggingTime = when(t.Started), when(t.Stopped)
	st, err := s.status(ctx, t.place)
	if err != nil {
		return nil, err
	}
	out.LatestDeliveryTime, out.LatestDigestDeliveryTime = when(st.delivered), when(st.digested)
	out.LatestDeliveryAttemptTime, out.LatestDeliveryAttemptSucceeded = text(st.attempted), text(st.delivered)
	out.LatestNotificationAttemptTime, out.LatestNotificationAttemptSucceeded = aws.String(""), aws.String("")
	if st.err != "" {
		out.LatestDeliveryError = &st.err
	}
	if st.digestErr != "" {
		out.LatestDigestDeliveryError = &st.digestErr
	}
	return out, nil
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// text is a time as the members of GetTrailStatus that are texts have it.
func text(t time.Time) *string {
	if t.IsZero() {
		return aws.String("")
	}
	return aws.String(t.UTC().Format(time.RFC3339))
}

// tag adds tags, or replaces their values.
func (t *trail) tag(given []types.Tag) error {
	tags := slices.Clone(t.Tags)
	for _, g := range given {
		if strings.HasPrefix(strings.ToLower(*g.Key), "aws:") {
			return awserr.New(awserr.InvalidTagParameter, "Tag keys that begin with aws: are AWS's.")
		}
		tags = slices.DeleteFunc(tags, func(have api.Tag) bool { return have.Key == *g.Key })
		tags = append(tags, api.Tag{Key: *g.Key, Value: aws.ToString(g.Value)})
	}
	if len(tags) > maxTags {
		return awserr.New(awserr.TagsLimitExceeded, "A trail can have %d tags.", maxTags)
	}
	slices.SortFunc(tags, func(a, b api.Tag) int { return cmp.Compare(a.Key, b.Key) })
	t.Tags = tags
	return nil
}

// AddTags tags a trail.
func (s *Service) AddTags(ctx context.Context, call *api.Call, in *sdk.AddTagsInput) (*sdk.AddTagsOutput, error) {
	return &sdk.AddTagsOutput{}, s.change(ctx, call, in.ResourceId, func(tx store.Tx, t *trail) error {
		if err := t.tag(in.TagsList); err != nil {
			return err
		}
		return t.put(tx)
	})
}

// RemoveTags takes tags from a trail.
func (s *Service) RemoveTags(ctx context.Context, call *api.Call, in *sdk.RemoveTagsInput) (*sdk.RemoveTagsOutput, error) {
	return &sdk.RemoveTagsOutput{}, s.change(ctx, call, in.ResourceId, func(tx store.Tx, t *trail) error {
		t.Tags = slices.DeleteFunc(t.Tags, func(have api.Tag) bool {
			return slices.ContainsFunc(in.TagsList, func(g types.Tag) bool { return *g.Key == have.Key })
		})
		return t.put(tx)
	})
}

// ListTags lists the tags of trails.
func (s *Service) ListTags(ctx context.Context, call *api.Call, in *sdk.ListTagsInput) (*sdk.ListTagsOutput, error) {
	out := &sdk.ListTagsOutput{ResourceTagList: []types.ResourceTag{}}
	for _, id := range in.ResourceIdList {
		t, err := s.read(ctx, call, &id)
		if err != nil {
			return nil, err
		}
		r := types.ResourceTag{ResourceId: &id, TagsList: []types.Tag{}}
		for _, tag := range t.Tags {
			r.TagsList = append(r.TagsList, types.Tag{Key: aws.String(tag.Key), Value: aws.String(tag.Value)})
		}
		out.ResourceTagList = append(out.ResourceTagList, r)
	}
	if !call.Authorized() { // nothing was named
		return out, s.authorize(ctx, call, "*")
	}
	return out, nil
}
