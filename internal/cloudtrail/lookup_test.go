package cloudtrail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/organizations"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

var ctx = context.Background()

const region = "eu-central-1"

// user makes a user with all permissions but those in deny, and calls as it.
func user(t testing.TB, srv *kagimoritest.Server, name, deny string) kagimoritest.Caller {
	t.Helper()
	c := srv.Root().IAM()
	apitest.Must[*iam.CreateUserOutput](t)(c.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"` + deny + `","Resource":"*"}]}`
	apitest.Must[*iam.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("inline"), PolicyDocument: &policy}))
	key := apitest.Must[*iam.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})).AccessKey
	return srv.As(aws.Credentials{AccessKeyID: *key.AccessKeyId, SecretAccessKey: *key.SecretAccessKey})
}

// lookup is what LookupEvents finds, with all pages.
func lookup(t testing.TB, c kagimoritest.Caller, in cloudtrail.LookupEventsInput) (all []types.Event) {
	t.Helper()
	for {
		out := apitest.Must[*cloudtrail.LookupEventsOutput](t)(c.CloudTrail(region).LookupEvents(ctx, &in))
		all = append(all, out.Events...)
		if limit := max(int(aws.ToInt32(in.MaxResults)), 1); out.NextToken != nil && in.MaxResults != nil && len(out.Events) != limit {
			t.Errorf("a page has %d events, and another follows", len(out.Events))
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return all
		}
	}
}

func by(key types.LookupAttributeKey, value string) []types.LookupAttribute {
	return []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}
}

func names(events []types.Event) (list []string) {
	for _, e := range events {
		list = append(list, *e.EventName)
	}
	return list
}

func TestLookupEvents(t *testing.T) {
	srv := kagimoritest.Start(t)
	root := srv.Root()
	alice := user(t, srv, "alice", "cloudtrail:*")
	key := apitest.Must[*kms.CreateKeyOutput](t)(root.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata
	other := apitest.Must[*kms.CreateKeyOutput](t)(root.KMS("us-east-1").CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata
	var times []time.Time
	for i := range 120 {
		srv.Advance(time.Minute)
		times = append(times, srv.Now().Truncate(time.Second))
		apitest.Must[*kms.EncryptOutput](t)(alice.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: key.KeyId, Plaintext: []byte("x"),
			EncryptionContext: map[string]string{"n": fmt.Sprint(i), "eventName": "Decrypt"}}))
	}
	srv.Advance(time.Minute)
	_, err := alice.KMS(region).Decrypt(ctx, &kms.DecryptInput{KeyId: key.KeyId, CiphertextBlob: []byte("nothing")})
	apitest.WantError(t, err, "InvalidCiphertextException")

	encrypts := slices.Repeat([]string{"Encrypt"}, 120)
	all := lookup(t, root, cloudtrail.LookupEventsInput{})
	if got, want := names(all), slices.Concat([]string{"Decrypt"}, encrypts, []string{"CreateKey"}); !slices.Equal(got, want) {
		t.Errorf("all events are %v", got)
	}
	// Each record is as it is in the journal.
	records := map[string]map[string]any{}
	for _, r := range srv.Records() {
		records[r["eventID"].(string)] = r
	}
	for _, e := range all {
		var record map[string]any
		if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &record); err != nil {
			t.Fatal(err)
		}
		if want := records[*e.EventId]; fmt.Sprint(record) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", record, want)
		}
	}
	e := all[1]
	credentials, err := alice.Retrieve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if *e.EventName != "Encrypt" || *e.Username != "alice" || *e.AccessKeyId != credentials.AccessKeyID || *e.ReadOnly != "true" ||
		*e.EventSource != "kms.amazonaws.com" || !e.EventTime.Equal(times[119]) ||
		len(e.Resources) != 1 || *e.Resources[0].ResourceType != "AWS::KMS::Key" || *e.Resources[0].ResourceName != *key.Arn {
		t.Errorf("the last Encrypt is %+v", e)
	}
	if e := all[121]; *e.Username != "root" || *e.ReadOnly != "false" {
		t.Errorf("CreateKey is %+v", e)
	}

	for _, c := range []struct {
		key   types.LookupAttributeKey
		value string
		want  []string
	}{
		{types.LookupAttributeKeyEventId, *e.EventId, []string{"Encrypt"}},
		{types.LookupAttributeKeyEventName, "Encrypt", encrypts},
		{types.LookupAttributeKeyEventName, "encrypt", nil},
		{types.LookupAttributeKeyReadOnly, "false", []string{"CreateKey"}},
		{types.LookupAttributeKeyUsername, "root", []string{"CreateKey"}},
		{types.LookupAttributeKeyUsername, "alice", append([]string{"Decrypt"}, encrypts...)},
		{types.LookupAttributeKeyResourceType, "AWS::KMS::Key", slices.Concat([]string{"Decrypt"}, encrypts, []string{"CreateKey"})},
		{types.LookupAttributeKeyResourceName, *key.Arn, slices.Concat([]string{"Decrypt"}, encrypts, []string{"CreateKey"})},
		{types.LookupAttributeKeyResourceName, *other.Arn, nil},
		{types.LookupAttributeKeyEventSource, "kms.amazonaws.com", slices.Concat([]string{"Decrypt"}, encrypts, []string{"CreateKey"})},
		{types.LookupAttributeKeyAccessKeyId, credentials.AccessKeyID, append([]string{"Decrypt"}, encrypts...)},
	} {
		for _, limit := range []*int32{nil, aws.Int32(50), aws.Int32(7)} {
			got := names(lookup(t, root, cloudtrail.LookupEventsInput{LookupAttributes: by(c.key, c.value), MaxResults: limit, StartTime: aws.Time(times[0].Add(-time.Hour))}))
			if c.key == types.LookupAttributeKeyUsername || c.key == types.LookupAttributeKeyEventSource || c.key == types.LookupAttributeKeyReadOnly {
				// The lookups themselves are recorded, too.
				got = slices.DeleteFunc(got, func(name string) bool { return name == "LookupEvents" })
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s %s: %d events, want %d", c.key, c.value, len(got), len(c.want))
			}
		}
	}
	for _, r := range []struct {
		from, to *time.Time
		want     int
	}{
		{&times[10], &times[20], 11},
		{&times[10], aws.Time(times[20].Add(-time.Second)), 10},
		{&times[100], nil, 20},
		{nil, &times[5], 6},
		{aws.Time(times[5].Add(time.Second)), aws.Time(times[5].Add(2 * time.Second)), 0},
	} {
		got := lookup(t, root, cloudtrail.LookupEventsInput{LookupAttributes: by("EventName", "Encrypt"), StartTime: r.from, EndTime: r.to})
		if len(got) != r.want {
			t.Errorf("from %v to %v: %d events, want %d", r.from, r.to, len(got), r.want)
		}
	}

	// Mistakes.
	find := func(c kagimoritest.Caller, in cloudtrail.LookupEventsInput) error {
		_, err := c.CloudTrail(region).LookupEvents(ctx, &in)
		return err
	}
	apitest.WantError(t, find(alice, cloudtrail.LookupEventsInput{}), "AccessDeniedException")
	apitest.WantError(t, find(root, cloudtrail.LookupEventsInput{StartTime: &times[1], EndTime: &times[0]}), "InvalidTimeRangeException")
	apitest.WantError(t, find(root, cloudtrail.LookupEventsInput{LookupAttributes: append(by("EventName", "x"), by("EventId", "x")...)}), "InvalidLookupAttributesException")
	apitest.WantError(t, find(root, cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}), "ValidationException")
	for _, token := range []string{"x", "MTow", "MToxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Ng"} {
		apitest.WantError(t, find(root, cloudtrail.LookupEventsInput{NextToken: &token}), "InvalidNextTokenException")
	}

	// 90 days later the default is blind for them, and a start of one's own is not.
	srv.Advance(90 * 24 * time.Hour)
	if got := names(lookup(t, root, cloudtrail.LookupEventsInput{LookupAttributes: by("EventName", "Encrypt")})); len(got) != 0 {
		t.Errorf("after 90 days: %d events", len(got))
	}
	if got := lookup(t, root, cloudtrail.LookupEventsInput{LookupAttributes: by("EventName", "Encrypt"), StartTime: &times[0]}); len(got) != 120 {
		t.Errorf("with a start: %d events", len(got))
	}
	if got := lookup(t, root, cloudtrail.LookupEventsInput{EventCategory: types.EventCategoryInsight}); len(got) != 0 {
		t.Errorf("insights: %d events", len(got))
	}

	srv.Restart()
	if got := lookup(t, srv.Root(), cloudtrail.LookupEventsInput{LookupAttributes: by("EventName", "Encrypt"), StartTime: &times[0]}); len(got) != 120 {
		t.Errorf("after a restart: %d events", len(got))
	}
}

// TestAccountsSeeTheUseOfTheirKeys has a vendor use a customer's key.
func TestAccountsSeeTheUseOfTheirKeys(t *testing.T) {
	srv := kagimoritest.Start(t)
	vendor := user(t, srv, "vendor", "ec2:*")
	out := apitest.Must[*organizations.CreateAccountOutput](t)(srv.Root().Organizations().CreateAccount(ctx, &organizations.CreateAccountInput{
		AccountName: aws.String("customer"), Email: aws.String("customer@example.com")}))
	id := *out.CreateAccountStatus.AccountId
	customer := vendor.AssumeRole("arn:aws:iam::"+id+":role/OrganizationAccountAccessRole", "setup")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["` + id + `","` + srv.Account + `"]},"Action":"kms:*","Resource":"*"}]}`
	key := apitest.Must[*kms.CreateKeyOutput](t)(customer.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{Policy: &policy})).KeyMetadata
	apitest.Must[*kms.EncryptOutput](t)(vendor.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: key.Arn, Plaintext: []byte("x")}))

	uses := by("EventName", "Encrypt")
	theirs := lookup(t, customer, cloudtrail.LookupEventsInput{LookupAttributes: uses})
	ours := lookup(t, vendor, cloudtrail.LookupEventsInput{LookupAttributes: uses})
	if len(theirs) != 1 || len(ours) != 1 || *theirs[0].EventId == *ours[0].EventId || theirs[0].Username != nil || *ours[0].Username != "vendor" {
		t.Fatalf("the customer sees %+v, the vendor %+v", theirs, ours)
	}
	shared := func(e types.Event) string {
		var r struct{ SharedEventID, RecipientAccountID string }
		if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &r); err != nil {
			t.Fatal(err)
		}
		return r.SharedEventID
	}
	if shared(theirs[0]) == "" || shared(theirs[0]) != shared(ours[0]) {
		t.Error("the two records have no sharedEventID in common")
	}
	if got := lookup(t, customer, cloudtrail.LookupEventsInput{LookupAttributes: by("EventId", *ours[0].EventId)}); len(got) != 0 {
		t.Error("the customer sees the vendor's record")
	}
}
