// Package audit writes down every call as one CloudTrail-shaped JSON record and
// joins the records to what they tell of: a change and its record become
// durable together or not at all.
//
// It owns the shape of a record and the outbox. It knows nothing of keys, and
// leaves bytes on disk to the journal.
package audit

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/attestation"
	"github.com/kagimori/kagimori/internal/awserr"
	"github.com/kagimori/kagimori/internal/wire"
)

// Limits of a record's members, in bytes.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
const (
	maxText       = 1 << 10
	maxParameters = 100 << 10
)

// AppendCall appends the record of a call that ended with err (nil for success),
// as it goes to the caller's account.
func AppendCall(b []byte, call *api.Call, err error) []byte {
	return appendCall(b, call, err, call.EventID, call.Caller.Account)
}

// appendCall appends the record of a call for one account.
func appendCall(b []byte, call *api.Call, err error, eventID, recipient string) []byte {
	b = append(b, `{"eventVersion":"1.11","userIdentity":`...)
	b = appendIdentity(b, call, recipient)
	ip, agent := call.SourceIP, call.UserAgent
	if by := invokedBy(call); by != "" {
		ip, agent = by, by
	}
	b = appendHead(b, call.Time, call.Service+".amazonaws.com", call.Operation, call.Region, ip, agent)
	if err != nil {
		e := awserr.From(err)
		b = appendMember(b, "errorCode", loggedCode(e.Code))
		if e.Message != "" {
			b = appendMember(b, "errorMessage", truncate(e.Message))
		}
	}
	b = append(b, `,"requestParameters":`...)
	b = appendElements(b, call.Input)
	b = append(b, `,"responseElements":`...)
	if err == nil {
		b = appendElements(b, call.Trail.Response)
	} else {
		b = append(b, "null"...)
	}
	b = appendAdditional(b, call)
	b = appendMember(b, "requestID", call.RequestID)
	resources := call.Trail.Resources
	for _, d := range call.Trail.Derivations {
		// A denied resource of another account is known to that account alone.
		if d.Account == recipient && d.Account != call.Caller.Account {
			resources = []api.Resource{d.Resource}
		}
	}
	b = appendTail(b, eventID, call.ReadOnly, resources, "AwsApiCall", recipient)
	if call.Trail.SharedEventID != "" {
		b = appendMember(b, "sharedEventID", call.Trail.SharedEventID)
	}
	b = appendDerivations(b, call, recipient)
	if call.TLS != nil && call.Via == "" {
		b = append(b, `,"tlsDetails":{"tlsVersion":`...)
		b = appendString(b, call.TLS.Version)
		b = appendMember(b, "cipherSuite", call.TLS.CipherSuite)
		b = appendMember(b, "clientProvidedHostHeader", truncate(call.Host))
		if call.TLS.KeyExchange != "" {
			b = appendMember(b, "keyExchange", call.TLS.KeyExchange)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendAdditional writes additionalEventData, if there is any.
func appendAdditional(b []byte, call *api.Call) []byte {
	if len(call.Trail.Additional) == 0 && call.Recipient == nil {
		return b
	}
	b = append(b, `,"additionalEventData":{`...)
	b = appendPairs(b, call.Trail.Additional)
	if call.Recipient != nil {
		if len(call.Trail.Additional) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"recipient":`...)
		b = appendObject(b, recipient(call.Recipient))
	}
	return append(b, '}')
}

// recorded are the measurements of an attestation document that are recorded, by their
// names in records and in conditions.
// https://docs.aws.amazon.com/kms/latest/developerguide/ct-attestation.html
var recorded = []struct{ name, measurement string }{
	{"EnclaveImageDigest", "ImageSha384"},
	{"EnclavePCR1", "PCR1"}, {"EnclavePCR2", "PCR2"}, {"EnclavePCR3", "PCR3"}, {"EnclavePCR4", "PCR4"}, {"EnclavePCR8", "PCR8"},
	{"NitroTPMPCR4", "NitroTPMPCR4"}, {"NitroTPMPCR7", "NitroTPMPCR7"}, {"NitroTPMPCR8", "NitroTPMPCR8"},
	{"NitroTPMPCR9", "NitroTPMPCR9"}, {"NitroTPMPCR16", "NitroTPMPCR16"}, {"NitroTPMPCR23", "NitroTPMPCR23"},
}

// recipient is what a record says of the environment for which the answer was. CloudTrail
// has measurements in base64; conditions have them in hexadecimal.
func recipient(d *attestation.Document) []api.Pair {
	pairs := []api.Pair{{Name: "attestationDocumentModuleId", Value: d.ModuleID}}
	for _, r := range recorded {
		if pcr, ok := d.Measurement(r.measurement); ok {
			pairs = append(pairs, api.Pair{Name: "attestationDocument" + r.name, Value: base64.StdEncoding.EncodeToString(pcr)})
		}
	}
	return pairs
}

// appendDerivations writes how a denial came about, as far as the account may
// see it. CloudTrail has no such member.
func appendDerivations(b []byte, call *api.Call, account string) []byte {
	first := true
	for _, d := range call.Trail.Derivations {
		if d.Account != account {
			continue
		}
		if first {
			b = append(b, `,"authorization":[`...)
		} else {
			b = append(b, ',')
		}
		b, first = append(b, d.JSON...), false
	}
	if !first {
		b = append(b, ']')
	}
	return b
}

// CallRecords are the records of a call as bytes of their own: that of the
// caller's account, and one for each other account whose resources it used, or
// was denied.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
func CallRecords(call *api.Call, err error) []api.Record {
	others := OtherAccounts(call)
	for i := range call.Trail.Resources {
		// A denial is shared by no id: the caller's account must not see that
		// there is something of which the owner has a record.
		if call.Trail.Resources[i].Account != call.Caller.Account {
			call.Trail.SharedEventID = uuid.NewString()
		}
	}
	recs := []api.Record{{EventID: call.EventID, JSON: AppendCall(make([]byte, 0, 1024), call, err)}}
	for _, account := range others {
		id := uuid.NewString()
		recs = append(recs, api.Record{EventID: id, JSON: appendCall(make([]byte, 0, 1024), call, err, id, account)})
	}
	return recs
}

// OtherAccounts are those besides the caller's to which records of a call go; nil
// for most calls.
func OtherAccounts(call *api.Call) (accounts []string) {
	add := func(account string) {
		if account != call.Caller.Account && !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
		}
	}
	for i := range call.Trail.Resources {
		add(call.Trail.Resources[i].Account)
	}
	for i := range call.Trail.Derivations {
		add(call.Trail.Derivations[i].Account)
	}
	return accounts
}

// ServiceEvent is something the service did by itself, such as a rotation on
// schedule: eventType AwsServiceEvent.
type ServiceEvent struct {
	Source   string // kms.amazonaws.com
	Name     string // RotateKey
	ID       string // UUID
	Time     time.Time
	Account  string
	Region   string
	Details  []api.Pair // serviceEventDetails, left out when empty
	Response []api.Pair // responseElements, null when empty
	Resource *api.Resource
	// RequestID is set for what AWS records as a call of its own: SynchronizeMultiRegionKey.
	RequestID string
}

// AppendServiceEvent appends the record of a service event.
func AppendServiceEvent(b []byte, ev *ServiceEvent) []byte {
	const internal = "AWS Internal"
	b = append(b, `{"eventVersion":"1.11","userIdentity":{"accountId":`...)
	b = appendString(b, ev.Account)
	b = append(b, `,"invokedBy":"AWS Internal"}`...)
	b = appendHead(b, ev.Time, ev.Source, ev.Name, ev.Region, internal, internal)
	b = append(b, `,"requestParameters":null,"responseElements":`...)
	if len(ev.Response) > 0 {
		b = appendObject(b, ev.Response)
	} else {
		b = append(b, "null"...)
	}
	var resources []api.Resource
	if ev.Resource != nil {
		resources = []api.Resource{*ev.Resource}
	}
	kind := "AwsServiceEvent"
	if ev.RequestID != "" {
		kind = "AwsApiCall"
		b = appendMember(b, "requestID", ev.RequestID)
	}
	b = appendTail(b, ev.ID, false, resources, kind, ev.Account)
	if len(ev.Details) > 0 {
		b = append(b, `,"serviceEventDetails":`...)
		b = appendObject(b, ev.Details)
	}
	return append(b, '}')
}

func appendHead(b []byte, t time.Time, source, name, region, ip, agent string) []byte {
	b = append(b, `,"eventTime":"`...)
	b = t.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	b = append(b, '"')
	b = appendMember(b, "eventSource", source)
	b = appendMember(b, "eventName", name)
	b = appendMember(b, "awsRegion", region)
	b = appendMember(b, "sourceIPAddress", ip)
	return appendMember(b, "userAgent", truncate(agent))
}

func appendTail(b []byte, id string, readOnly bool, resources []api.Resource, eventType, account string) []byte {
	b = appendMember(b, "eventID", id)
	b = append(b, `,"readOnly":`...)
	b = strconv.AppendBool(b, readOnly)
	b = append(b, `,"resources":[`...)
	for i, r := range resources {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"accountId":`...)
		b = appendString(b, r.Account)
		b = appendMember(b, "type", r.Type)
		b = appendMember(b, "ARN", r.ARN)
		b = append(b, '}')
	}
	b = append(b, ']')
	b = appendMember(b, "eventType", eventType)
	b = append(b, `,"managementEvent":true`...)
	b = appendMember(b, "recipientAccountId", account)
	return appendMember(b, "eventCategory", "Management")
}

// appendIdentity writes who called. Another account than the caller's learns the
// account and the unique id only.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html
func appendIdentity(b []byte, call *api.Call, recipient string) []byte {
	p := &call.Caller
	kind, by := string(p.Type), invokedBy(call)
	members := [...]api.Pair{{Name: "principalId", Value: p.ID}, {Name: "arn", Value: p.ARN},
		{Name: "accountId", Value: p.Account}, {Name: "accessKeyId", Value: truncate(p.AccessKeyID)}, {Name: "userName", Value: p.UserName}}
	session := p.Session
	switch {
	case p.Type == api.AWSService:
		members = [len(members)]api.Pair{}
		by = p.ID
	case p.Type == api.WebIdentityUser:
		members = [len(members)]api.Pair{members[0], {Name: "userName", Value: p.UserName}, {Name: "identityProvider", Value: session.Federated}}
		session = nil
	case recipient != p.Account:
		kind, session = "AWSAccount", nil
		members = [len(members)]api.Pair{members[0], members[2]}
	}
	b = append(b, `{"type":`...)
	b = appendString(b, kind)
	for _, m := range members {
		if m.Value != "" {
			b = appendMember(b, m.Name, m.Value)
		}
	}
	if session != nil {
		b = appendSession(b, p)
	}
	if by != "" {
		b = appendMember(b, "invokedBy", by)
	}
	return append(b, '}')
}

// appendSession writes the sessionContext of temporary credentials.
func appendSession(b []byte, p *api.Principal) []byte {
	s := p.Session
	b = append(b, `,"sessionContext":{`...)
	if s.RoleARN != "" {
		b = append(b, `"sessionIssuer":{"type":"Role"`...)
		b = appendMember(b, "principalId", s.RoleID)
		b = appendMember(b, "arn", s.RoleARN)
		b = appendMember(b, "accountId", p.Account)
		b = appendMember(b, "userName", s.RoleName)
		b = append(b, `},`...)
	}
	if s.Federated != "" {
		b = append(b, `"webIdFederationData":{"federatedProvider":`...)
		b = appendString(b, s.Federated)
		b = append(b, `,"attributes":{}},`...)
	}
	b = append(b, `"attributes":{"creationDate":"`...)
	b = s.Issued.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	b = append(b, `","mfaAuthenticated":"`...)
	b = strconv.AppendBool(b, !s.MFA.IsZero())
	b = append(b, `"}`...)
	if s.SourceIdentity != "" {
		b = appendMember(b, "sourceIdentity", s.SourceIdentity)
	}
	return append(b, '}')
}

// invokedBy is the service that calls for the caller, without its Region, or "".
func invokedBy(call *api.Call) string {
	if n := len(call.CalledVia); n > 0 {
		return call.CalledVia[n-1]
	}
	return ""
}

// appendElements writes requestParameters or responseElements; a value over the
// limit is left out, as CloudTrail does.
func appendElements(b []byte, v any) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	before := len(b)
	b = wire.AppendParameters(b, v)
	if len(b)-before > maxParameters {
		b = append(b[:before], "null"...)
	}
	return b
}

func appendObject(b []byte, pairs []api.Pair) []byte {
	return append(appendPairs(append(b, '{'), pairs), '}')
}

// appendPairs writes members without the braces.
func appendPairs(b []byte, pairs []api.Pair) []byte {
	for i, p := range pairs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.Name)
		b = append(b, ':')
		b = appendString(b, p.Value)
	}
	return b
}

func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			// Invalid UTF-8, which only headers can bring, becomes U+FFFD.
			b, _ = jsontext.AppendQuote(b, s)
			return b
		}
	}
	// Nearly all there is: nothing to escape.
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// loggedCode is the errorCode of a record: CloudTrail writes the denial without
// "Exception".
func loggedCode(code string) string {
	if code == awserr.AccessDenied {
		return "AccessDenied"
	}
	return code
}

// truncate cuts s to CloudTrail's limit without cutting a character in two.
func truncate(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.ToValidUTF8(s[:cut], "\uFFFD")
}
