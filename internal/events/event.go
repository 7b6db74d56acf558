package events

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/events/pattern"
)

// event is an event of a bus.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
type event struct {
	text  []byte // JSON
	value any    // the same, as pattern.Decode gives it

	id, kind string // its id and detail-type
	ingested time.Time
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

// newEvent makes an event of its envelope, whose version, and id if it is derived from
// another one's, it sets.
func newEvent(e envelope, ingested time.Time) (*event, error) {
	e.Version = "0"
	if e.Resources == nil {
		e.Resources = []string{}
	}
	return parseEvent(encode(e), ingested)
}

// parseEvent reads an event.
func parseEvent(text []byte, ingested time.Time) (*event, error) {
	v, err := pattern.Decode(text)
	if err != nil {
		return nil, err
	}
	e := &event{text: text, value: v, ingested: ingested}
	object, _ := v.(map[string]any)
	e.id, _ = object["id"].(string)
	e.kind, _ = object["detail-type"].(string)
	return e, nil
}

// member is a text within the event.
func (e *event) member(path ...string) string {
	v := e.value
	for _, name := range path {
		object, _ := v.(map[string]any)
		v = object[name]
	}
	s, _ := v.(string)
	return s
}

// resources are the ARNs of what the event is about: those of its envelope, and those of
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

// record is what is read of an audit record to make events of it.
type record struct {
	EventID            string
	EventName          string
	EventSource        string
	EventTime          string
	EventType          string
	ErrorCode          string
	AWSRegion          string
	RecipientAccountID string `json:"recipientAccountId"`
	UserIdentity       struct {
		Type, PrincipalID, ARN, AccountID, InvokedBy string
		SessionContext                               struct{ SessionIssuer struct{ ARN string } }
	}
	Resources           []struct{ Type, ARN string }
	ServiceEventDetails map[string]string
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
func (r *record) envelopes(text []byte) []envelope {
	// Were these events, a target that fails would go on for ever.
	if r.EventName == FailedDelivery && r.EventSource == Principal {
		return nil
	}
	source := r.EventSource
	if name, ok := strings.CutSuffix(source, ".amazonaws.com"); ok {
		source = "aws." + name
	}
	kind := "AWS API Call via CloudTrail"
	if r.EventType != "AwsApiCall" {
		kind = "AWS Service Event via CloudTrail"
	}
	base := envelope{Type: kind, Source: source, Account: r.RecipientAccountID, Time: r.EventTime, Region: r.AWSRegion, Detail: text}
	list := []envelope{base}
	if of := detailTypes[r.EventName]; of != "" && r.EventType != "AwsApiCall" && len(r.Resources) > 0 {
		base.Type, base.Source = of, "aws.kms"
		base.Resources = []string{r.Resources[0].ARN}
		members := map[string]string{"key-id": r.Resources[0].ARN[strings.LastIndexByte(r.Resources[0].ARN, '/')+1:]}
		for _, d := range details {
			if v := r.ServiceEventDetails[d[0]]; v != "" {
				members[d[1]] = v
			}
		}
		base.Detail = encode(members)
		list = append(list, base)
	}
	for i := range list {
		list[i].ID = derived(r.EventID, list[i].Type)
	}
	return list
}

// derived is the id of an event that follows from a record: the same each time.
func derived(eventID, kind string) string {
	space, _ := uuid.Parse(eventID)
	return uuid.NewSHA1(space, []byte(kind)).String()
}
