package events_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

var ctx = context.Background()

const region = "eu-central-1"

// receiver is a webhook that keeps what it gets.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	status int // what it answers
	hang   chan struct{}
}

type received struct {
	body   string
	header http.Header
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{status: 200}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		r.mu.Lock()
		r.got = append(r.got, received{string(body), q.Header})
		status, hang := r.status, r.hang
		r.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-q.Context().Done():
			}
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// take is what it got since the last time.
func (r *receiver) take() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	return got
}

// targetsFile is a file of targets, with a webhook of that URL by the name of hook.
func targetsFile(t testing.TB, url string, commands string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "targets.json")
	text := fmt.Sprintf(`{"webhooks":{"hook":{"url":%q,"headers":{"Authorization":"Bearer canary"}}},"commands":{%s}}`, url, commands)
	apitest.OK(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// until moves the clock until done says so.
func until(t testing.TB, srv *kagimoritest.Server, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		srv.Advance(100 * time.Millisecond)
		if time.Now().After(end) {
			t.Fatal("it never comes to it that ", what)
		}
	}
}

// rule makes a rule with a target.
func rule(t testing.TB, c *eventbridge.Client, name, pattern string, targets ...types.Target) {
	t.Helper()
	apitest.Must[*eventbridge.PutRuleOutput](t)(c.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern}))
	apitest.Must[*eventbridge.PutTargetsOutput](t)(c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: targets}))
}

func hook(id string) types.Target {
	return types.Target{Id: &id, Arn: aws.String("arn:aws:kagimori:::webhook/hook")}
}

func newKey(t testing.TB, c *kms.Client) string {
	t.Helper()
	return *apitest.Must[*kms.CreateKeyOutput](t)(c.CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata.KeyId
}

// TestWebhook has calls, service events and events of users arrive at a webhook, signed.
func TestWebhook(t *testing.T) {
	hooked := newReceiver(t)
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, hooked.URL, "")))
	c, k := srv.Root().EventBridge(region), srv.KMS(region)
	before := newKey(t, k)
	rule(t, c, "calls", `{"source":["aws.kms"],"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventName":["DisableKey","DescribeKey","CreateKey"]}}`, hook("1"))
	apitest.Must[*kms.DisableKeyOutput](t)(k.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &before}))
	apitest.Must[*kms.DescribeKeyOutput](t)(k.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &before})) // reads only
	apitest.Must[*kms.EnableKeyOutput](t)(k.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &before}))
	apitest.Must[*kms.DisableKeyOutput](t)(srv.KMS("us-west-2").DisableKey(ctx, &kms.DisableKeyInput{KeyId: aws.String(newKey(t, srv.KMS("us-west-2")))}))
	var got []received
	until(t, srv, "the webhook is called", func() bool { got = hooked.take(); return len(got) > 0 })
	var e struct {
		Version, ID, Source, Account, Time, Region string
		DetailType                                 string `json:"detail-type"`
		Resources                                  []string
		Detail                                     map[string]any
	}
	apitest.OK(t, json.Unmarshal([]byte(got[0].body), &e))
	if len(got) != 1 || e.Version != "0" || e.Source != "aws.kms" || e.DetailType != "AWS API Call via CloudTrail" || e.Account != srv.Account || e.Region != region ||
		e.Resources == nil || e.Detail["eventName"] != "DisableKey" || e.Detail["requestParameters"].(map[string]any)["keyId"] != before {
		t.Errorf("%d calls; the event is %s", len(got), got[0].body)
	}
	if h := got[0].header; h.Get("Webhook-Id") != e.ID || h.Get("Authorization") != "Bearer canary" || h.Get("Content-Type") != "application/json" {
		t.Errorf("the headers are %v", h)
	}
	// As a receiver does, with the key that the operator gave it.
	public, err := os.ReadFile(filepath.Join(srv.Dir, "webhook.pub"))
	apitest.OK(t, err)
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.TrimPrefix(string(public), "whpk_")))
	apitest.OK(t, err)
	signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(got[0].header.Get("Webhook-Signature"), "v1a,"))
	apitest.OK(t, err)
	if !ed25519.Verify(key, []byte(e.ID+"."+got[0].header.Get("Webhook-Timestamp")+"."+got[0].body), signature) {
		t.Error("the signature does not verify")
	}

	// A rule that wants all gets what only reads.
	name, pattern := "reads", `{"detail":{"eventName":["Decrypt","Encrypt"]}}`
	apitest.Must[*eventbridge.PutRuleOutput](t)(c.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern, State: types.RuleStateEnabledWithAllCloudtrailManagementEvents}))
	apitest.Must[*eventbridge.PutTargetsOutput](t)(c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []types.Target{hook("1")}}))
	apitest.Must[*kms.EncryptOutput](t)(k.Encrypt(ctx, &kms.EncryptInput{KeyId: &before, Plaintext: []byte("x")}))
	until(t, srv, "an Encrypt arrives", func() bool { got = hooked.take(); return len(got) > 0 })
	if !strings.Contains(got[0].body, `"eventName":"Encrypt"`) {
		t.Errorf("the event is %s", got[0].body)
	}

	// A rotation is an event of KMS.
	rule(t, c, "rotation", `{"detail-type":["KMS CMK Rotation"]}`, hook("1"))
	apitest.Must[*kms.RotateKeyOnDemandOutput](t)(k.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &before}))
	until(t, srv, "a rotation arrives", func() bool { got = hooked.take(); return len(got) > 0 })
	apitest.OK(t, json.Unmarshal([]byte(got[0].body), &e))
	if want := "arn:aws:kms:" + region + ":" + srv.Account + ":key/" + before; !slices.Equal(e.Resources, []string{want}) || e.Detail["key-id"] != before || e.Detail["rotation-type"] != "ON_DEMAND" || e.Detail["current-key-material-id"] == nil {
		t.Errorf("the event is %s", got[0].body)
	}

	// And so is what users put, with an input that the target makes of it.
	transformed := hook("1")
	transformed.InputTransformer = &types.InputTransformer{InputPathsMap: map[string]string{"who": "$.detail.who", "n": "$.detail.list[1]"},
		InputTemplate: aws.String(`{"text":"<who> of <aws.events.rule-name>","n":<n>,"none":<who>}`)}
	rule(t, c, "own", `{"source":["app"],"detail":{"list":[{"numeric":[">",1]}]}}`, transformed)
	out := apitest.Must[*eventbridge.PutEventsOutput](t)(c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []types.PutEventsRequestEntry{
		{Source: aws.String("app"), DetailType: aws.String("x"), Detail: aws.String(`{"who":"a \"b\"","list":[1,2]}`)},
		{Source: aws.String("aws.kms"), DetailType: aws.String("x"), Detail: aws.String(`{}`)},
		{Source: aws.String("app"), DetailType: aws.String("x"), Detail: aws.String(`[]`)},
	}}))
	if out.FailedEntryCount != 2 || out.Entries[0].EventId == nil || *out.Entries[1].ErrorCode != "NotAuthorizedForSourceException" || *out.Entries[2].ErrorCode != "MalformedDetail" {
		t.Errorf("PutEvents answers %+v", out)
	}
	until(t, srv, "an event arrives", func() bool { got = hooked.take(); return len(got) > 0 })
	if want := `{"text":"a \"b\" of own","n":2,"none":"a \"b\""}`; got[0].body != want {
		t.Errorf("the input is %s, want %s", got[0].body, want)
	}
}

// TestDeadLetter has a webhook that fails: it is tried again, later and later, and what could
// not be delivered is recorded, kept, and delivered when its target is put again.
func TestDeadLetter(t *testing.T) {
	hooked := newReceiver(t)
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, hooked.URL, "")))
	c, k := srv.Root().EventBridge(region), srv.KMS(region)
	target := hook("1")
	target.RetryPolicy = &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(2)}
	rule(t, c, "r", `{"detail":{"eventName":["DisableKey"]}}`, target)
	key := newKey(t, k)
	hooked.answer(503)
	apitest.Must[*kms.DisableKeyOutput](t)(k.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key}))
	failed := func() (all []map[string]any) {
		for _, rec := range srv.Records() {
			if rec["eventName"] == "EventDeliveryFailed" {
				all = append(all, rec)
			}
		}
		return all
	}
	until(t, srv, "it is given up", func() bool { return len(failed()) == 1 })
	if got := hooked.take(); len(got) != 3 || got[0].header.Get("Webhook-Id") != got[2].header.Get("Webhook-Id") {
		t.Errorf("%d attempts", len(got))
	}
	details := failed()[0]["serviceEventDetails"].(map[string]any)
	if details["rule"] != "r" || details["attempts"] != "3" || !strings.Contains(details["reason"].(string), "503") || failed()[0]["recipientAccountId"] != srv.Account {
		t.Errorf("the record is %v", failed()[0])
	}
	srv.Restart()
	hooked.answer(200)
	apitest.Must[*eventbridge.PutTargetsOutput](t)(srv.Root().EventBridge(region).PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{target}}))
	until(t, srv, "it is delivered after all", func() bool { return len(hooked.take()) == 1 })

	// What will not get better is not tried again.
	hooked.answer(404)
	apitest.Must[*kms.DisableKeyOutput](t)(srv.KMS(region).DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key}))
	until(t, srv, "it is given up", func() bool { return len(failed()) == 2 })
	if got := hooked.take(); len(got) != 1 {
		t.Errorf("%d attempts", len(got))
	}
	// An address is the operator's alone.
	hooked.Close()
	apitest.Must[*kms.DisableKeyOutput](t)(srv.KMS(region).DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key}))
	until(t, srv, "it is given up", func() bool { return len(failed()) == 3 })
	if reason := failed()[2]["serviceEventDetails"].(map[string]any)["reason"]; reason != "the webhook cannot be reached, or does not answer in time" {
		t.Errorf("the reason is %v", reason)
	}
}

// TestCommand runs a command with the event.
func TestCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRET_OF_THE_SERVER", "canary")
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, "http://localhost:1/", `"save":{"run":["/bin/sh","-c","{ env; cat; } > `+out+`.new && mv `+out+`.new `+out+`"]}`)))
	rule(t, srv.Root().EventBridge(region), "r", `{"detail":{"eventName":["CreateKey"]}}`, types.Target{Id: aws.String("1"), Arn: aws.String("arn:aws:kagimori:::command/save")})
	key := newKey(t, srv.KMS(region))
	var text []byte
	until(t, srv, "the command has run", func() bool { text, _ = os.ReadFile(out); return len(text) > 0 })
	if !strings.Contains(string(text), key) || !strings.Contains(string(text), "KAGIMORI_RULE=arn:aws:events:"+region+":"+srv.Account+":rule/r\n") || strings.Contains(string(text), "canary") {
		t.Errorf("the command got %s", text)
	}
}

// responder makes a role for responses.
func responder(t testing.TB, srv *kagimoritest.Server, actions string) string {
	t.Helper()
	c := srv.Root().IAM()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	out := apitest.Must[*iam.CreateRoleOutput](t)(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("responder"), AssumeRolePolicyDocument: &trust}))
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":` + actions + `,"Resource":"*"}]}`
	apitest.Must[*iam.PutRolePolicyOutput](t)(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("responder"), PolicyName: aws.String("p"), PolicyDocument: &policy}))
	return *out.Role.Arn
}

// TestResponses disables a key, revokes grants and quarantines a principal upon what happens.
func TestResponses(t *testing.T) {
	srv := kagimoritest.Start(t)
	c, k := srv.Root().EventBridge(region), srv.KMS(region)
	role := responder(t, srv, `["kms:DisableKey","kms:ListGrants","kms:RevokeGrant","iam:PutUserPolicy"]`)
	respond := func(name string) types.Target {
		return types.Target{Id: &name, Arn: aws.String("arn:aws:kagimori:::response/" + name), RoleArn: &role}
	}
	key := newKey(t, k)
	rule(t, c, "policies", `{"detail":{"eventName":["PutKeyPolicy"]}}`, respond("disable-key"), respond("quarantine-principal"))
	rule(t, c, "disabled", `{"detail":{"eventName":["DisableKey"]}}`, respond("disable-key"), respond("revoke-grants")) // would go round for ever

	apitest.Must[*iam.CreateUserOutput](t)(srv.Root().IAM().CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("mallory")}))
	admin := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	apitest.Must[*iam.PutUserPolicyOutput](t)(srv.Root().IAM().PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("mallory"), PolicyName: aws.String("all"), PolicyDocument: &admin}))
	access := apitest.Must[*iam.CreateAccessKeyOutput](t)(srv.Root().IAM().CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("mallory")})).AccessKey
	mallory := srv.As(aws.Credentials{AccessKeyID: *access.AccessKeyId, SecretAccessKey: *access.SecretAccessKey}).KMS(region)

	policy := *apitest.Must[*kms.GetKeyPolicyOutput](t)(k.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &key})).Policy
	apitest.Must[*kms.PutKeyPolicyOutput](t)(mallory.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: &policy}))
	state := func() kmstypes.KeyState {
		return apitest.Must[*kms.DescribeKeyOutput](t)(k.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})).KeyMetadata.KeyState
	}
	until(t, srv, "the key is disabled", func() bool { return state() == kmstypes.KeyStateDisabled })
	until(t, srv, "mallory is kept out", func() bool {
		_, err := mallory.ListKeys(ctx, &kms.ListKeysInput{})
		return err != nil && strings.Contains(err.Error(), "explicit deny")
	})
	// Its record says who did it and why.
	count := func(name string) (all []map[string]any) {
		for _, rec := range srv.Records() {
			if rec["eventName"] == name {
				all = append(all, rec)
			}
		}
		return all
	}
	disabled := count("DisableKey")
	identity := disabled[0]["userIdentity"].(map[string]any)
	if len(disabled) != 1 || identity["type"] != "AssumedRole" || identity["invokedBy"] != "events.amazonaws.com" || !strings.Contains(identity["arn"].(string), ":assumed-role/responder/policies@") {
		t.Errorf("%d records: %v", len(disabled), disabled)
	}
	// A person who disables the key again has the grants revoked; the response stops there.
	apitest.Must[*kms.EnableKeyOutput](t)(k.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &key}))
	for range 3 {
		apitest.Must[*kms.CreateGrantOutput](t)(k.CreateGrant(ctx, &kms.CreateGrantInput{KeyId: &key, GranteePrincipal: aws.String("arn:aws:iam::" + srv.Account + ":root"), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt}}))
	}
	apitest.Must[*kms.DisableKeyOutput](t)(k.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key}))
	until(t, srv, "the grants are revoked", func() bool { return len(count("RevokeGrant")) == 3 })
	for range 100 {
		srv.Advance(100 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if n := len(count("DisableKey")); n > 3 {
		t.Errorf("the key was disabled %d times", n)
	}
	if failed := count("EventDeliveryFailed"); len(failed) > 0 {
		t.Errorf("failures: %v", failed)
	}
}
