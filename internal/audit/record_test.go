package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/awserr"
)

// newCall is a call with every member set.
func newCall() *api.Call {
	call := &api.Call{
		Service: "kms", Operation: "Encrypt", Region: "eu-central-1",
		Caller:    api.Principal{Type: api.Root, ID: "111122223333", Account: "111122223333", ARN: "arn:aws:iam::111122223333:root", AccessKeyID: "AKIA"},
		RequestID: "request", EventID: "event", Time: time.Date(2026, 1, 1, 9, 0, 0, 999, time.FixedZone("JST", 9*3600)),
		SourceIP: "::1", UserAgent: "agent", Host: "host", ReadOnly: true,
		TLS:   &api.TLS{Version: "TLSv1.3", CipherSuite: "TLS_AES_128_GCM_SHA256", KeyExchange: "X25519MLKEM768"},
		Input: &kms.EncryptInput{KeyId: aws.String("alias/a"), Plaintext: []byte("secret")},
	}
	call.Trail.Resources = []api.Resource{{Account: "111122223333", Type: "AWS::KMS::Key", ARN: "arn"}}
	call.Trail.Add("keyMaterialId", "m")
	return call
}

// parse reads a record as strictly as JSON can be read.
func parse(t *testing.T, b []byte) (rec map[string]any) {
	t.Helper()
	if !jsontext.Value(b).IsValid(jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false)) {
		t.Fatalf("the record is not valid JSON: %q", b)
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestWholeRecord(t *testing.T) {
	const want = `{"eventVersion":"1.11","userIdentity":{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"AKIA"},` +
		`"eventTime":"2026-01-01T00:00:00Z","eventSource":"kms.amazonaws.com","eventName":"Encrypt","awsRegion":"eu-central-1","sourceIPAddress":"::1","userAgent":"agent",` +
		`"requestParameters":{"keyId":"alias/a"},"responseElements":null,"additionalEventData":{"keyMaterialId":"m"},"requestID":"request","eventID":"event","readOnly":true,` +
		`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management",` +
		`"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"host","keyExchange":"X25519MLKEM768"}}`
	if got := string(AppendCall([]byte("before"), newCall(), nil)); got != "before"+want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if recs := CallRecords(newCall(), nil); len(recs) != 1 || recs[0].EventID != "event" || string(recs[0].JSON) != want {
		t.Errorf("CallRecords gives %s", recs)
	}
}

func TestErrors(t *testing.T) {
	inner := awserr.Internal(errors.New("the cause, which is not for callers"))
	for _, c := range []struct {
		err           error
		code, message any
	}{
		{awserr.New(awserr.Disabled, "arn is disabled."), "DisabledException", "arn is disabled."},
		{awserr.New(awserr.AccessDenied, "User: …"), "AccessDenied", "User: …"}, // without Exception
		{awserr.New(awserr.InvalidCiphertext, ""), "InvalidCiphertextException", nil},
		{fmt.Errorf("on the way: %w", awserr.New(awserr.NotFound, "none")), "NotFoundException", "none"},
		{errors.New("something with a path /var"), "KMSInternalException", inner.Message},
		{inner, "KMSInternalException", inner.Message},
	} {
		call := newCall()
		call.Trail.Response = struct{ KeyId *string }{aws.String("set before it failed")}
		rec := parse(t, AppendCall(nil, call, c.err))
		if rec["errorCode"] != c.code || rec["errorMessage"] != c.message || rec["responseElements"] != nil {
			t.Errorf("%v: %v %v %v", c.err, rec["errorCode"], rec["errorMessage"], rec["responseElements"])
		}
	}
}

// TestLimits has members that are longer than CloudTrail keeps them.
func TestLimits(t *testing.T) {
	long := strings.Repeat("鍵", 1000) // 3,000 bytes
	call := newCall()
	call.UserAgent, call.Host, call.Caller.AccessKeyID = long, long, long
	rec := parse(t, AppendCall(nil, call, awserr.New(awserr.Validation, "%s", long)))
	cut := strings.Repeat("鍵", maxText/3)
	identity, details := rec["userIdentity"].(map[string]any), rec["tlsDetails"].(map[string]any)
	for name, got := range map[string]any{"userAgent": rec["userAgent"], "errorMessage": rec["errorMessage"],
		"accessKeyId": identity["accessKeyId"], "clientProvidedHostHeader": details["clientProvidedHostHeader"]} {
		if got != cut {
			t.Errorf("%s is %.100v…, want %d characters", name, got, maxText/3)
		}
	}

	for _, size := range []int{maxParameters - 100, maxParameters + 1, 1 << 20} {
		call := newCall()
		call.Input = &kms.PutKeyPolicyInput{Policy: aws.String(strings.Repeat("x", size))}
		call.Trail.Response = &kms.CreateKeyOutput{KeyMetadata: &types.KeyMetadata{Description: aws.String(strings.Repeat("x", size))}}
		rec := parse(t, AppendCall(nil, call, nil))
		for _, name := range []string{"requestParameters", "responseElements"} {
			if kept := rec[name] != nil; kept != (size < maxParameters) {
				t.Errorf("%s of %d bytes: kept %v", name, size, kept)
			}
		}
		if rec["eventID"] != "event" || rec["eventCategory"] != "Management" {
			t.Error("the members after it are lost")
		}
	}
}

// TestNothingToShow: what is absent is null or left out, as CloudTrail has it.
func TestNothingToShow(t *testing.T) {
	call := &api.Call{Service: "kms", Caller: api.Principal{Type: api.Unknown}}
	rec := parse(t, AppendCall(nil, call, nil))
	for name, want := range map[string]any{"requestParameters": nil, "responseElements": nil, "readOnly": false} {
		if got, ok := rec[name]; !ok || got != want {
			t.Errorf("%s is %v, %v, want %v", name, got, ok, want)
		}
	}
	for _, name := range []string{"errorCode", "errorMessage", "additionalEventData", "tlsDetails", "serviceEventDetails"} {
		if got, ok := rec[name]; ok {
			t.Errorf("%s is %v, want it left out", name, got)
		}
	}
	if identity := rec["userIdentity"].(map[string]any); len(identity) != 1 || identity["type"] != "Unknown" {
		t.Errorf("userIdentity is %v", identity)
	}
	if resources := rec["resources"].([]any); len(resources) != 0 {
		t.Errorf("resources are %v", resources)
	}
}

func TestServiceEvent(t *testing.T) {
	ev := &ServiceEvent{Source: "kms.amazonaws.com", Name: "RotateKey", ID: "event", Time: time.Unix(0, 0), Account: "111122223333", Region: "eu-central-1",
		Details: []api.Pair{{Name: "rotationType", Value: "AUTOMATIC"}}, Resource: &api.Resource{Account: "111122223333", Type: "AWS::KMS::Key", ARN: "arn"}}
	const want = `{"eventVersion":"1.11","userIdentity":{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"1970-01-01T00:00:00Z","eventSource":"kms.amazonaws.com",` +
		`"eventName":"RotateKey","awsRegion":"eu-central-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal","requestParameters":null,"responseElements":null,"eventID":"event","readOnly":false,` +
		`"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn"}],"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management",` +
		`"serviceEventDetails":{"rotationType":"AUTOMATIC"}}`
	if rec := EventRecord(ev); rec.EventID != "event" || string(rec.JSON) != want {
		t.Errorf("got\n%s\nwant\n%s", rec.JSON, want)
	}
	bare := parse(t, AppendServiceEvent(nil, &ServiceEvent{Name: "StartServer", Response: []api.Pair{{Name: "keyId", Value: "arn"}}}))
	if _, ok := bare["serviceEventDetails"]; ok || fmt.Sprint(bare["responseElements"]) != "map[keyId:arn]" || len(bare["resources"].([]any)) != 0 {
		t.Errorf("an event without details: %v", bare)
	}
}

// FuzzRecord puts what comes from outside into a record: it is always valid JSON,
// of a bounded size, and says what it has to.
func FuzzRecord(f *testing.F) {
	f.Add("aws-cli/2.0", "host:4599", "Encrypt", "AKIA", "message", "alias/a", "purpose", "test", uint16(1))
	f.Add("\xff\xfe\x80", "\x00\"\\</script>", "TrentService.\u2028…", "\xed\xa0\x80", "100%", "\"", "", "\x7f", uint16(3000))
	f.Add(strings.Repeat("é", 700), strings.Repeat("\x80", 2000), "鍵", strings.Repeat("a", 1023)+"é", "", "\\u0000", "k\x00", "\r\n\t\b\f", uint16(65535))
	f.Fuzz(func(t *testing.T, agent, host, operation, keyID, message, target, contextKey, contextValue string, times uint16) {
		repeat := func(s string) string { return strings.Repeat(s, 2*int(times)/max(1, len(s))) } // up to 128 KiB
		call := newCall()
		call.UserAgent, call.Host, call.Operation, call.Caller.AccessKeyID = agent, host, operation, keyID
		call.Input = &kms.EncryptInput{KeyId: aws.String(target), EncryptionContext: map[string]string{contextKey: repeat(contextValue), contextKey + "2": contextValue}}
		call.Trail.Response = struct{ KeyId *string }{aws.String(repeat(target))}
		for _, err := range []error{nil, awserr.New(awserr.NotFound, "%s", repeat(message))} {
			b := AppendCall(nil, call, err)
			rec := parse(t, b)
			if rec["eventID"] != "event" || rec["requestID"] != "request" || rec["eventCategory"] != "Management" {
				t.Errorf("the record lost members: %s", b)
			}
			// What is not bounded here is bounded by the pipeline.
			if bound := 2*maxParameters + 6*(len(operation)+5*maxText) + 4096; len(b) > bound {
				t.Errorf("the record has %d bytes", len(b))
			}
			if utf8.ValidString(agent) && len(agent) <= maxText && rec["userAgent"] != agent {
				t.Errorf("userAgent is %q, want %q", rec["userAgent"], agent)
			}
		}
	})
}

// TestIdentities has the userIdentity of every kind of caller.
func TestIdentities(t *testing.T) {
	const (
		account = "111122223333"
		arn     = "arn:aws:iam::" + account
	)
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	role := api.Principal{Type: api.AssumedRole, ID: "AROAX:tour", ARN: "arn:aws:sts::" + account + ":assumed-role/app/tour", Account: account, AccessKeyID: "ASIAX",
		Session: &api.Session{Issued: issued, RoleARN: arn + ":role/team/app", RoleID: "AROAX", RoleName: "app", Name: "tour", SourceIdentity: "alice"}}
	web := role
	webSession := *role.Session
	webSession.Federated, webSession.MFA = arn+":oidc-provider/issuer", issued
	web.Session = &webSession
	const (
		session = `"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAX","arn":"arn:aws:iam::111122223333:role/team/app","accountId":"111122223333","userName":"app"},`
		start   = `{"type":"AssumedRole","principalId":"AROAX:tour","arn":"arn:aws:sts::111122223333:assumed-role/app/tour","accountId":"111122223333","accessKeyId":"ASIAX",` + session
	)
	for _, c := range []struct {
		name   string
		caller api.Principal
		want   string
	}{
		{"user", api.Principal{Type: api.IAMUser, ID: "AIDAX", ARN: arn + ":user/a/alice", Account: account, AccessKeyID: "AKIAX", UserName: "alice"},
			`{"type":"IAMUser","principalId":"AIDAX","arn":"arn:aws:iam::111122223333:user/a/alice","accountId":"111122223333","accessKeyId":"AKIAX","userName":"alice"}`},
		{"user with MFA", api.Principal{Type: api.IAMUser, ID: "AIDAX", ARN: arn + ":user/alice", Account: account, AccessKeyID: "ASIAX", UserName: "alice", Session: &api.Session{Issued: issued, MFA: issued}},
			`{"type":"IAMUser","principalId":"AIDAX","arn":"arn:aws:iam::111122223333:user/alice","accountId":"111122223333","accessKeyId":"ASIAX","userName":"alice","sessionContext":{"attributes":{"creationDate":"2026-01-01T00:00:00Z","mfaAuthenticated":"true"}}}`},
		{"role session", role, start + `"attributes":{"creationDate":"2026-01-01T00:00:00Z","mfaAuthenticated":"false"},"sourceIdentity":"alice"}}`},
		{"web identity session", web, start + `"webIdFederationData":{"federatedProvider":"arn:aws:iam::111122223333:oidc-provider/issuer","attributes":{}},"attributes":{"creationDate":"2026-01-01T00:00:00Z","mfaAuthenticated":"true"},"sourceIdentity":"alice"}}`},
		{"web identity", api.Principal{Type: api.WebIdentityUser, ID: "issuer:aud:sub", UserName: "sub", Account: account, Session: &api.Session{Federated: arn + ":oidc-provider/issuer"}},
			`{"type":"WebIdentityUser","principalId":"issuer:aud:sub","userName":"sub","identityProvider":"arn:aws:iam::111122223333:oidc-provider/issuer"}`},
		{"service", api.Principal{Type: api.AWSService, ID: "ec2.amazonaws.com", ARN: "x"}, `{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`},
	} {
		call := newCall()
		call.Caller = c.caller
		if rec := string(AppendCall(nil, call, nil)); !strings.Contains(rec, `"userIdentity":`+c.want+`,"eventTime"`) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, rec, c.want)
		}
	}
}

// TestForwardedCall has a service call for a user: the record names the service
// as the source, and has no TLS.
func TestForwardedCall(t *testing.T) {
	call := newCall()
	call.Via, call.CalledVia = "ec2.eu-central-1.amazonaws.com", []string{"ec2.amazonaws.com"}
	rec := parse(t, AppendCall(nil, call, nil))
	if rec["sourceIPAddress"] != "ec2.amazonaws.com" || rec["userAgent"] != "ec2.amazonaws.com" || rec["tlsDetails"] != nil ||
		rec["userIdentity"].(map[string]any)["invokedBy"] != "ec2.amazonaws.com" {
		t.Errorf("%v", rec)
	}
}

// TestOtherAccount has the records of a call with another account's key: each
// account has its own, and the owner learns no more of the caller than AWS tells.
func TestOtherAccount(t *testing.T) {
	const owner = "444455556666"
	call := newCall()
	call.Trail.Resources = []api.Resource{{Account: owner, Type: "AWS::KMS::Key", ARN: "arn"}}
	recs := CallRecords(call, nil)
	if len(recs) != 2 {
		t.Fatalf("%d records", len(recs))
	}
	mine, theirs := parse(t, recs[0].JSON), parse(t, recs[1].JSON)
	if mine["recipientAccountId"] != "111122223333" || theirs["recipientAccountId"] != owner {
		t.Errorf("recipients %v, %v", mine["recipientAccountId"], theirs["recipientAccountId"])
	}
	if mine["sharedEventID"] == nil || mine["sharedEventID"] != theirs["sharedEventID"] || mine["eventID"] == theirs["eventID"] || theirs["eventID"] != recs[1].EventID {
		t.Errorf("ids: %v %v, %v %v", mine["sharedEventID"], mine["eventID"], theirs["sharedEventID"], theirs["eventID"])
	}
	if got := fmt.Sprint(theirs["userIdentity"]); got != "map[accountId:111122223333 principalId:111122223333 type:AWSAccount]" {
		t.Errorf("the owner sees the caller as %s", got)
	}
	if mine["userIdentity"].(map[string]any)["arn"] == nil || theirs["requestID"] != "request" {
		t.Errorf("%s\n%s", recs[0].JSON, recs[1].JSON)
	}
}

// TestDerivations has each account see how a denial came about as far as its own
// policies go, and only the owner see which resource it was.
func TestDerivations(t *testing.T) {
	const owner = "444455556666"
	call := newCall()
	call.Trail.Resources = nil
	call.Trail.Derivations = []api.Derivation{
		{Account: call.Caller.Account, JSON: []byte(`{"of":"caller"}`)},
		{Account: owner, Resource: api.Resource{Account: owner, Type: "AWS::KMS::Key", ARN: "arn:key"}, JSON: []byte(`{"of":"owner"}`)},
	}
	recs := CallRecords(call, awserr.New(awserr.AccessDenied, "no"))
	mine, theirs := parse(t, recs[0].JSON), parse(t, recs[1].JSON)
	if mine["sharedEventID"] != nil || theirs["sharedEventID"] != nil {
		t.Error("a denial has a sharedEventID")
	}
	if got := fmt.Sprint(mine["authorization"], mine["resources"]); got != "[map[of:caller]] []" {
		t.Errorf("the caller sees %s", got)
	}
	if got := fmt.Sprint(theirs["authorization"], theirs["resources"]); got != "[map[of:owner]] [map[ARN:arn:key accountId:444455556666 type:AWS::KMS::Key]]" {
		t.Errorf("the owner sees %s", got)
	}
}
