package cloudtrail

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/store"
)

// standard is what a trail has that was given no selectors: all that there is.
var standard = []types.EventSelector{{ReadWriteType: types.ReadWriteTypeAll, IncludeManagementEvents: aws.Bool(true),
	DataResources: []types.DataResource{}, ExcludeManagementEventSources: []string{}}}

// excludable are the sources that a selector can leave out.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_EventSelector.html
var excludable = []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}

// GetEventSelectors tells which events a trail delivers.
func (s *Service) GetEventSelectors(ctx context.Context, call *api.Call, in *sdk.GetEventSelectorsInput) (*sdk.GetEventSelectorsOutput, error) {
	t, err := s.read(ctx, call, in.TrailName)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetEventSelectorsOutput{TrailARN: aws.String(t.arn()), EventSelectors: t.Selectors, AdvancedEventSelectors: t.Advanced}
	if t.Selectors == nil && t.Advanced == nil {
		out.EventSelectors = standard
	}
	return out, nil
}

// PutEventSelectors sets which events a trail delivers.
func (s *Service) PutEventSelectors(ctx context.Context, call *api.Call, in *sdk.PutEventSelectorsInput) (*sdk.PutEventSelectorsOutput, error) {
	if err := checkSelectors(in); err != nil {
		return nil, err
	}
	out := &sdk.PutEventSelectorsOutput{EventSelectors: in.EventSelectors, AdvancedEventSelectors: in.AdvancedEventSelectors}
	return out, s.change(ctx, call, in.TrailName, func(tx store.Tx, t *trail) error {
		t.Selectors, t.Advanced = in.EventSelectors, in.AdvancedEventSelectors
		out.TrailARN = aws.String(t.arn())
		call.Trail.Response = out
		return t.put(tx)
	})
}

func checkSelectors(in *sdk.PutEventSelectorsInput) error {
	invalid := func(format string, args ...any) error {
		return awserr.New(awserr.InvalidEventSelectors, format, args...)
	}
	if (len(in.EventSelectors) > 0) == (len(in.AdvancedEventSelectors) > 0) {
		return invalid("Give either EventSelectors or AdvancedEventSelectors.")
	}
	if len(in.EventSelectors) > maxSelectors {
		return invalid("A trail can have %d event selectors.", maxSelectors)
	}
	for i := range in.EventSelectors {
		e := &in.EventSelectors[i]
		if e.ReadWriteType == "" {
			e.ReadWriteType = types.ReadWriteTypeAll
		}
		if e.IncludeManagementEvents == nil {
			e.IncludeManagementEvents = aws.Bool(true)
		}
		for _, source := range e.ExcludeManagementEventSources {
			if !slices.Contains(excludable, source) {
				return invalid("ExcludeManagementEventSources can have %s, not %s.", strings.Join(excludable, " and "), source)
			}
		}
	}
	for _, a := range in.AdvancedEventSelectors {
		category := false
		for _, f := range a.FieldSelectors {
			if _, ok := fields[*f.Field]; !ok {
				return invalid("%s is not a field of management events.", *f.Field)
			}
			if len(f.Equals)+len(f.NotEquals)+len(f.StartsWith)+len(f.NotStartsWith)+len(f.EndsWith)+len(f.NotEndsWith) == 0 {
				return invalid("The field selector of %s has no operator with values.", *f.Field)
			}
			category = category || *f.Field == "eventCategory" && len(f.Equals) == 1
		}
		if !category {
			return invalid("An advanced event selector has eventCategory Equals one value.")
		}
	}
	return nil
}

// fields are the members of an event that advanced selectors can ask for.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_AdvancedFieldSelector.html
var fields = map[string]func(e *eventindex.Event, record []byte) string{
	"eventCategory": func(*eventindex.Event, []byte) string { return "Management" },
	"readOnly":      func(e *eventindex.Event, _ []byte) string { return strconv.FormatBool(e.ReadOnly) },
	"eventSource":   func(e *eventindex.Event, _ []byte) string { return e.Source },
	"eventName":     func(e *eventindex.Event, _ []byte) string { return e.Name },
	"eventType":     func(_ *eventindex.Event, b []byte) string { return more(b).EventType },
	"userIdentity.arn": func(_ *eventindex.Event, b []byte) string {
		return more(b).UserIdentity.ARN
	},
	"sessionCredentialFromConsole": func(_ *eventindex.Event, b []byte) string { return more(b).Console },
}

// members are what an Event does not have.
type members struct {
	EventType    string
	Console      string `json:"sessionCredentialFromConsole"`
	UserIdentity struct{ ARN string }
}

func more(record []byte) (m members) {
	_ = json.Unmarshal(record, &m) // the record is ours
	return m
}

// selects tells whether a trail delivers an event.
func (t *trail) selects(e *eventindex.Event, record []byte) bool {
	if !t.concerns(e) {
		return false
	}
	if t.Advanced != nil {
		return slices.ContainsFunc(t.Advanced, func(a types.AdvancedEventSelector) bool {
			return !slices.ContainsFunc(a.FieldSelectors, func(f types.AdvancedFieldSelector) bool { return !holds(f, e, record) })
		})
	}
	selectors := t.Selectors
	if selectors == nil {
		selectors = standard
	}
	return slices.ContainsFunc(selectors, func(s types.EventSelector) bool {
		return *s.IncludeManagementEvents && !slices.Contains(s.ExcludeManagementEventSources, e.Source) &&
			(s.ReadWriteType == types.ReadWriteTypeAll || (s.ReadWriteType == types.ReadWriteTypeReadOnly) == e.ReadOnly)
	})
}

// concerns tells whether an event is of the accounts and Regions of a trail.
func (t *trail) concerns(e *eventindex.Event) bool {
	if e.Account == "" || e.Account != t.place.Account && !t.Organization {
		return false
	}
	global := t.Global && e.Region == api.GlobalRegion && slices.Contains(globalSources, e.Source)
	return t.AllRegions || e.Region == t.place.Region || global
}

// globalSources are the services whose events are those of api.GlobalRegion.
var globalSources = []string{"iam.amazonaws.com", "sts.amazonaws.com", "organizations.amazonaws.com"}

// holds tells whether an event has what a field selector asks for: one of the values of
// each operator, and none of those of the negated ones.
func holds(f types.AdvancedFieldSelector, e *eventindex.Event, record []byte) bool {
	value := fields[*f.Field](e, record)
	for _, op := range []struct {
		values []string
		match  func(s, value string) bool
		not    bool
	}{
		{f.Equals, func(s, value string) bool { return s == value }, false},
		{f.StartsWith, strings.HasPrefix, false},
		{f.EndsWith, strings.HasSuffix, false},
		{f.NotEquals, func(s, value string) bool { return s == value }, true},
		{f.NotStartsWith, strings.HasPrefix, true},
		{f.NotEndsWith, strings.HasSuffix, true},
	} {
		found := slices.ContainsFunc(op.values, func(v string) bool { return op.match(value, v) })
		if len(op.values) > 0 && found == op.not {
			return false
		}
	}
	return true
}
