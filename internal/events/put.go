package events

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/events/pattern"
	"github.com/kagimori/kagimori/internal/store"
)

const (
	// maxEntries is the largest size of the entries of a PutEvents together, in bytes.
	// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html#eb-putevent-size
	maxEntries = 256 << 10
	// maxDetailType is its longest in characters.
	maxDetailType = 128
)

// PutEvents puts events on the bus. When it answers, what the rules of that moment make of
// them is stored.
func (s *Service) PutEvents(ctx context.Context, call *api.Call, in *sdk.PutEventsInput) (*sdk.PutEventsOutput, error) {
	if err := s.authorize(ctx, call, busARN(call), &values{}); err != nil {
		return nil, err
	}
	if in.EndpointId != nil {
		return nil, invalid("EndpointId is not supported here.")
	}
	size := 0
	for _, e := range in.Entries {
		size += len(aws.ToString(e.Source)) + len(aws.ToString(e.DetailType)) + len(aws.ToString(e.Detail))
		for _, r := range e.Resources {
			size += len(r)
		}
		if e.Time != nil {
			size += 14
		}
	}
	if size > maxEntries {
		return nil, invalid("Total size of the entries in the request is over the limit of %d bytes.", maxEntries)
	}
	rules, err := s.loadOf(ctx, call.Caller.Account, call.Region)
	if err != nil {
		return nil, err
	}
	out := &sdk.PutEventsOutput{Entries: []types.PutEventsResultEntry{}}
	b := newBatch(s)
	for i := range in.Entries {
		var result types.PutEventsResultEntry
		if e, code, message := s.entry(call, &in.Entries[i]); code != "" {
			result.ErrorCode, result.ErrorMessage = &code, &message
			out.FailedEntryCount++
		} else {
			result.EventId = &e.id
			b.match(rules, e, s.Trail.LastSeq()+1, false)
		}
		out.Entries = append(out.Entries, result)
	}
	if len(b.deliveries)+len(b.dropped) == 0 {
		return out, nil
	}
	if err := s.Trail.Change(ctx, call, func(tx store.Tx) error {
		call.Trail.Events = b.failures()
		return b.store(tx)
	}); err != nil {
		return nil, err
	}
	b.stored()
	return out, nil
}

// entry makes an event of an entry, or says what is wrong with it.
func (s *Service) entry(call *api.Call, in *types.PutEventsRequestEntry) (e *event, code, message string) {
	const argument = "InvalidArgument"
	source := aws.ToString(in.Source)
	switch {
	case source == "":
		return nil, argument, "Parameter Source is not valid. Reason: Source is a required argument."
	case aws.ToString(in.DetailType) == "":
		return nil, argument, "Parameter DetailType is not valid. Reason: DetailType is a required argument."
	case aws.ToString(in.Detail) == "":
		return nil, argument, "Parameter Detail is not valid. Reason: Detail is a required argument."
	case len([]rune(*in.DetailType)) > maxDetailType:
		return nil, argument, "Parameter DetailType is not valid. Reason: DetailType has more than 128 characters."
	case strings.HasPrefix(source, "aws.") || source == ownSource:
		return nil, "NotAuthorizedForSourceException", "Not authorized for the source."
	}
	if err := checkBus(call, in.EventBusName); err != nil {
		return nil, awserr.ResourceNotFound, "Event bus " + *in.EventBusName + " does not exist."
	}
	v, err := pattern.Decode([]byte(*in.Detail))
	if _, ok := v.(map[string]any); err != nil || !ok {
		return nil, "MalformedDetail", "Detail is malformed."
	}
	at := call.Time
	if in.Time != nil {
		at = *in.Time
	}
	return newEvent(envelope{ID: uuid.NewString(), Type: *in.DetailType, Source: source, Account: call.Caller.Account, Time: stamp(at),
		Region: call.Region, Resources: in.Resources, Detail: json.RawMessage(*in.Detail)}, call.Time), "", ""
}

// TestEventPattern tells whether an event matches a pattern.
func (s *Service) TestEventPattern(ctx context.Context, call *api.Call, in *sdk.TestEventPatternInput) (*sdk.TestEventPatternOutput, error) {
	if err := s.authorize(ctx, call, "*", &values{}); err != nil {
		return nil, err
	}
	p, err := parsePattern(*in.EventPattern)
	if err != nil {
		return nil, err
	}
	v, err := pattern.Decode([]byte(*in.Event))
	object, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, invalid("Parameter Event is not valid. Reason: it must be a JSON object.")
	}
	// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_TestEventPattern.html
	for _, name := range []string{"id", "account", "source", "time", "region", "resources", "detail-type"} {
		if _, ok := object[name]; !ok {
			return nil, invalid("Parameter Event is not valid. Reason: %s is a required member.", name)
		}
	}
	return &sdk.TestEventPatternOutput{Result: p.Match(v)}, nil
}
