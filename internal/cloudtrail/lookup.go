package cloudtrail

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/eventindex"
)

const (
	// history is how far back events are looked up, if no start is given.
	history = 90 * 24 * time.Hour
	// mostEvents is the largest MaxResults, and what stands for one that was left out.
	mostEvents = 50
)

// LookupEvents finds events of the caller's account and Region, newest first: those that
// were recorded last. Every record that was durable when the call came is found.
// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
func (s *Service) LookupEvents(ctx context.Context, call *api.Call, in *sdk.LookupEventsInput) (*sdk.LookupEventsOutput, error) {
	if err := s.authorize(ctx, call, "*"); err != nil {
		return nil, err
	}
	q, err := query(call, in)
	if err != nil {
		return nil, err
	}
	out := &sdk.LookupEventsOutput{Events: []types.Event{}}
	if in.EventCategory == types.EventCategoryInsight { // there are none
		return out, nil
	}
	limit := int(aws.ToInt32(in.MaxResults))
	if limit == 0 {
		limit = mostEvents
	}
	last := uint64(0)
	err = s.Index.Find(ctx, q, func(e eventindex.Found) bool {
		if len(out.Events) == limit { // there is more
			out.NextToken = api.Marker(strconv.FormatUint(last, 10))
			return false
		}
		out.Events, last = append(out.Events, event(e)), e.Seq
		return true
	})
	return out, err
}

// query reads what a request looks for.
func query(call *api.Call, in *sdk.LookupEventsInput) (*eventindex.Query, error) {
	q := &eventindex.Query{Account: call.Caller.Account, Region: call.Region, From: call.Time.Add(-history), To: call.Time}
	if in.StartTime != nil {
		q.From = *in.StartTime
	}
	if in.EndTime != nil {
		q.To = *in.EndTime
	}
	if q.From.After(q.To) {
		return nil, awserr.New(awserr.InvalidTimeRange, "The start time %s is after the end time %s.", q.From.UTC().Format(time.RFC3339), q.To.UTC().Format(time.RFC3339))
	}
	if len(in.LookupAttributes) > 1 {
		return nil, awserr.New(awserr.InvalidLookupAttributes, "You can only use one lookup attribute at a time.")
	}
	for _, a := range in.LookupAttributes {
		q.Attribute, q.Value = eventindex.Attribute(a.AttributeKey), *a.AttributeValue
	}
	if in.NextToken != nil {
		var err error
		if q.Before, err = position(*in.NextToken); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// event is an event as answers show it.
func event(e eventindex.Found) types.Event {
	out := types.Event{
		EventId: aws.String(e.ID), EventName: aws.String(e.Name), ReadOnly: aws.String(strconv.FormatBool(e.ReadOnly)),
		EventTime: aws.Time(e.Time), EventSource: aws.String(e.Source), Resources: []types.Resource{},
		CloudTrailEvent: aws.String(string(e.Record)),
	}
	if e.Username != "" {
		out.Username = aws.String(e.Username)
	}
	if e.AccessKeyID != "" {
		out.AccessKeyId = aws.String(e.AccessKeyID)
	}
	for _, r := range e.Resources {
		out.Resources = append(out.Resources, types.Resource{ResourceType: aws.String(r.Type), ResourceName: aws.String(r.ARN)})
	}
	return out
}

// position is the number of a record in a NextToken.
func position(token string) (uint64, error) {
	digits, _ := api.ParseMarker(token)
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || seq == 0 {
		return 0, awserr.New(awserr.InvalidNextToken, "The NextToken is not valid. Use the NextToken of the previous answer unchanged.")
	}
	return seq, nil
}
