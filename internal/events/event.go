package events

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/eventindex"
	"github.com/kagimori/kagimori/internal/events/pattern"
)

// event is an event of a bus.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
type event struct {
	id       string
	ingested time.Time
	value    any    // as pattern.Match takes it
	text     []byte // JSON; nil until it is asked for
	envelope *envelope
}

// envelope is the JSON of an event.
type envelope struct {
	Version   string          `json:"version"`
	ID        string          `json:"id"`
	Type      string          `json:"detail-type"`
	Source    string          `json:"source"`
	Account   string          `json:"account"`
	Time      string          `json:"time"`
	Region    string          `json:"region"`
	Resources []string        `json:"resources"`
	Detail    json.RawMessage `json:"detail"`
}

// newEvent makes an event of its envelope.
func newEvent(e envelope, ingested time.Time) *event {
	e.Version = "0"
	if e.Resources == nil {
		e.Resources = []string{}
	}
	resources := make([]any, len(e.Resources))
	for i, r := range e.Resources {
		resources[i] = r
	}
	return &event{id: e.ID, ingested: ingested, envelope: &e, value: map[string]any{"version": e.Version, "id": e.ID, "detail-type": e.Type, "source": e.Source,
		"account": e.Account, "time": e.Time, "region": e.Region, "resources": resources, "detail": e.Detail}}
}

// json is the event in JSON.
func (e *event) json() []byte {
	if e.text == nil {
		e.text = encode(e.envelope)
	}
	return e.text
}

// parseEvent reads an event that json gave.
func parseEvent(text []byte, ingested time.Time) (*event, error) {
	v, err := pattern.Decode(text)
	if err != nil {
		return nil, err
	}
	e := &event{text: text, value: v, ingested: ingested}
	e.id = e.member("id")
	return e, nil
}

// member is a text within an event that was parsed.
func (e *event) member(path ...string) string {
	v := e.value
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	s, _ := v.(string)
	return s
}

// resources are the ARNs of what an event that was parsed is about: those of its envelope, and those of
// the record that it may be of.
func (e *event) resources() (arns []string) {
	add := func(v any) {
		if s, ok := v.(string); ok && !slices.Contains(arns, s) {
			arns = append(arns, s)
		}
	}
	list := func(v any) []any { items, _ := v.([]any); return items }
	for _, v := range list(jsonPath{"resources"}.find(e.value)) {
		add(v)
	}
	for _, v := range list(jsonPath{"detail", "resources"}.find(e.value)) {
		add(jsonPath{"ARN"}.find(v))
	}
	return arns
}

// FailedDelivery is the name of the record of an event that could not be delivered.
const FailedDelivery = "EventDeliveryFailed"

// detailTypes are those of the events that EventBridge has from KMS itself, by the names of
// the service events. https://docs.aws.amazon.com/kms/latest/developerguide/kms-events.html
var detailTypes = map[string]string{
	"RotateKey":                   "KMS CMK Rotation",
	"DeleteKey":                   "KMS CMK Deletion",
	"DeleteExpiredKeyMaterial":    "KMS Imported Key Material Expiration",
	"ImportedKeyMaterialExpiring": "KMS Imported Key Material Expiring", // ours
}

// details are their members, in the order of AWS's page, by those of the service events.
var details = [][2]string{
	{"keyOrigin", "key-origin"}, {"rotationType", "rotation-type"}, {"previousKeyMaterialId", "previous-key-material-id"},
	{"currentKeyMaterialId", "current-key-material-id"}, {"keyMaterialId", "key-material-id"}, {"expires", "expires"},
}

// envelopes are the events that a record is.
func envelopes(head *eventindex.Event, text []byte) []envelope {
	// Were these events, a target that fails would go on for ever.
	if head.Name == FailedDelivery && head.Source == Principal {
		return nil
	}
	source := head.Source
	if name, ok := strings.CutSuffix(source, ".amazonaws.com"); ok {
		source = "aws." + name
	}
	const call = "AwsApiCall"
	kind := "AWS API Call via CloudTrail"
	if head.Kind != call {
		kind = "AWS Service Event via CloudTrail"
	}
	base := envelope{ID: derived(head.ID, kind), Type: kind, Source: source, Account: head.Account, Time: stamp(head.Time), Region: head.Region, Detail: text}
	list := []envelope{base}
	if of := detailTypes[head.Name]; of != "" && head.Kind != call && len(head.Resources) > 0 {
		arn := head.Resources[0].ARN
		var r struct{ ServiceEventDetails map[string]string }
		members := map[string]string{"key-id": arn[strings.LastIndexByte(arn, '/')+1:]}
		if json.Unmarshal(text, &r) == nil {
			for _, d := range details {
				if v := r.ServiceEventDetails[d[0]]; v != "" {
					members[d[1]] = v
				}
			}
		}
		base.ID, base.Type, base.Source, base.Resources, base.Detail = derived(head.ID, of), of, "aws.kms", []string{arn}, encode(members)
		list = append(list, base)
	}
	return list
}

// stamp is a time as events have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// derived is the id of an event that follows from a record: the same each time.
func derived(eventID, kind string) string {
	space, _ := uuid.Parse(eventID)
	return uuid.NewSHA1(space, []byte(kind)).String()
}
