package events_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/events"
	"github.com/kagimori/kagimori/kagimoritest"
)

const anyPattern = `{"source":["app"]}`

// TestRules makes, shows, changes and removes rules and their targets.
func TestRules(t *testing.T) {
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, "http://localhost:1/", "")))
	c := srv.Root().EventBridge(region)
	arn := "arn:aws:events:" + region + ":" + srv.Account + ":rule/"
	bus := "arn:aws:events:" + region + ":" + srv.Account + ":event-bus/default"
	made := apitest.Must[*eventbridge.PutRuleOutput](t)(c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("b"), EventPattern: aws.String(anyPattern), Description: aws.String("d"),
		EventBusName: &bus, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("x")}}}))
	if *made.RuleArn != arn+"b" {
		t.Errorf("the ARN is %s", *made.RuleArn)
	}
	r := apitest.Must[*eventbridge.DescribeRuleOutput](t)(c.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("b")}))
	if *r.Arn != arn+"b" || *r.EventPattern != anyPattern || r.State != types.RuleStateEnabled || *r.Description != "d" || *r.EventBusName != "default" || *r.CreatedBy != srv.Account {
		t.Errorf("the rule is %+v", r)
	}
	for _, name := range []string{"a", "c1", "c2", "c3"} {
		rule(t, c, name, anyPattern, hook("1"))
	}
	list := func(in eventbridge.ListRulesInput) (names []string) {
		for {
			out := apitest.Must[*eventbridge.ListRulesOutput](t)(c.ListRules(ctx, &in))
			for _, r := range out.Rules {
				names = append(names, *r.Name)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return names
			}
		}
	}
	if got := list(eventbridge.ListRulesInput{}); !slices.Equal(got, []string{"a", "b", "c1", "c2", "c3"}) {
		t.Errorf("the rules are %v", got)
	}
	if got := list(eventbridge.ListRulesInput{NamePrefix: aws.String("c"), Limit: aws.Int32(2)}); !slices.Equal(got, []string{"c1", "c2", "c3"}) {
		t.Errorf("the rules are %v", got)
	}
	if got := apitest.Must[*eventbridge.ListRuleNamesByTargetOutput](t)(c.ListRuleNamesByTarget(ctx, &eventbridge.ListRuleNamesByTargetInput{TargetArn: hook("x").Arn})).RuleNames; !slices.Equal(got, []string{"a", "c1", "c2", "c3"}) {
		t.Errorf("rules with the target are %v", got)
	}
	if other := apitest.Must[*eventbridge.ListRulesOutput](t)(srv.Root().EventBridge("us-west-2").ListRules(ctx, &eventbridge.ListRulesInput{})); len(other.Rules) != 0 {
		t.Errorf("another Region has %v", other.Rules)
	}

	apitest.Must[*eventbridge.DisableRuleOutput](t)(c.DisableRule(ctx, &eventbridge.DisableRuleInput{Name: aws.String("b")}))
	if r := apitest.Must[*eventbridge.DescribeRuleOutput](t)(c.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("b")})); r.State != types.RuleStateDisabled {
		t.Errorf("it is %s", r.State)
	}
	apitest.Must[*eventbridge.EnableRuleOutput](t)(c.EnableRule(ctx, &eventbridge.EnableRuleInput{Name: aws.String("b")}))

	for i, id := range []string{"1", "2", "3", "2"} {
		target := hook(id)
		target.Input = aws.String(fmt.Sprint(i))
		apitest.Must[*eventbridge.PutTargetsOutput](t)(c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("b"), Targets: []types.Target{target}}))
	}
	var inputs []string
	in := eventbridge.ListTargetsByRuleInput{Rule: aws.String("b"), Limit: aws.Int32(2)}
	for {
		out := apitest.Must[*eventbridge.ListTargetsByRuleOutput](t)(c.ListTargetsByRule(ctx, &in))
		for _, x := range out.Targets {
			inputs = append(inputs, *x.Id+*x.Input)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if !slices.Equal(inputs, []string{"10", "23", "32"}) {
		t.Errorf("the targets are %v", inputs)
	}
	_, err := c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("b")})
	apitest.WantError(t, err, "ValidationException", "Rule can't be deleted since it has targets.")
	removed := apitest.Must[*eventbridge.RemoveTargetsOutput](t)(c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: aws.String("b"), Ids: []string{"1", "2", "3", "4"}}))
	if removed.FailedEntryCount != 1 || *removed.FailedEntries[0].TargetId != "4" {
		t.Errorf("RemoveTargets answers %+v", removed)
	}
	apitest.Must[*eventbridge.DeleteRuleOutput](t)(c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("b")}))
	apitest.Must[*eventbridge.DeleteRuleOutput](t)(c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: aws.String("b")})) // as on AWS
	_, err = c.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: aws.String("b")})
	apitest.WantError(t, err, "ResourceNotFoundException", "Rule b does not exist on EventBus default.")

	a := arn + "a"
	apitest.Must[*eventbridge.TagResourceOutput](t)(c.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: &a, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}, {Key: aws.String("l"), Value: aws.String("")}}}))
	apitest.Must[*eventbridge.UntagResourceOutput](t)(c.UntagResource(ctx, &eventbridge.UntagResourceInput{ResourceARN: &a, TagKeys: []string{"l", "m"}}))
	if tags := apitest.Must[*eventbridge.ListTagsForResourceOutput](t)(c.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: &a})).Tags; len(tags) != 1 || *tags[0].Key != "k" || *tags[0].Value != "v" {
		t.Errorf("the tags are %v", tags)
	}

	put := func(in eventbridge.PutRuleInput) error { _, err := c.PutRule(ctx, &in); return err }
	apitest.WantError(t, put(eventbridge.PutRuleInput{Name: aws.String("x")}), "ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified.")
	apitest.WantError(t, put(eventbridge.PutRuleInput{Name: aws.String("x"), ScheduleExpression: aws.String("rate(1 day)")}), "ValidationException")
	apitest.WantError(t, put(eventbridge.PutRuleInput{Name: aws.String("x"), EventPattern: aws.String(`{"a":"b"}`)}), "InvalidEventPatternException", "Event pattern is not valid. Reason: a: it must be an object or an array.")
	apitest.WantError(t, put(eventbridge.PutRuleInput{Name: aws.String("x"), EventPattern: aws.String(anyPattern), EventBusName: aws.String("other")}), "ResourceNotFoundException")
	apitest.WantError(t, put(eventbridge.PutRuleInput{Name: aws.String("no spaces"), EventPattern: aws.String(anyPattern)}), "ValidationException")
	apitest.WantError(t, put(eventbridge.PutRuleInput{Name: aws.String("x"), EventPattern: aws.String(anyPattern), RoleArn: aws.String("arn:aws:iam::444455556666:role/r")}), "ValidationException")
	targets := func(t types.Target) error {
		t.Id = aws.String("9")
		_, err := c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("a"), Targets: []types.Target{t}})
		return err
	}
	for want, bad := range map[string]types.Target{
		"is not of a kind":             {Arn: aws.String("arn:aws:lambda:us-east-1:111122223333:function:f")},
		"There is no webhook other":    {Arn: aws.String("arn:aws:kagimori:::webhook/other")},
		"There is no command x":        {Arn: aws.String("arn:aws:kagimori:::command/x")},
		"There is no response explode": {Arn: aws.String("arn:aws:kagimori:::response/explode")},
		"needs a RoleArn":              {Arn: aws.String("arn:aws:kagimori:::response/disable-key")},
		"SqsParameters is not":         {Arn: hook("").Arn, SqsParameters: &types.SqsParameters{}},
		"DeadLetterConfig is not":      {Arn: hook("").Arn, DeadLetterConfig: &types.DeadLetterConfig{Arn: aws.String("arn:aws:sqs:x:y:z")}},
		"InputPathsMap has no x":       {Arn: hook("").Arn, InputTransformer: &types.InputTransformer{InputTemplate: aws.String("<x>")}},
		"less than or equal to 185":    {Arn: hook("").Arn, RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: aws.Int32(186)}},
	} {
		if err := targets(bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("none"), Targets: []types.Target{hook("1")}})
	apitest.WantError(t, err, "ResourceNotFoundException")
	_, err = c.TestEventPattern(ctx, &eventbridge.TestEventPatternInput{EventPattern: aws.String(anyPattern), Event: aws.String(`{"source":"app"}`)})
	apitest.WantError(t, err, "ValidationException")
}

// TestRulePermissions has what a user may do bounded by its policies, also which targets.
func TestRulePermissions(t *testing.T) {
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, "http://localhost:1/", "")))
	role := responder(t, srv, `["kms:DisableKey"]`)
	i := srv.Root().IAM()
	apitest.Must[*iam.CreateUserOutput](t)(i.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("u")}))
	key := apitest.Must[*iam.CreateAccessKeyOutput](t)(i.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("u")})).AccessKey
	c := srv.As(aws.Credentials{AccessKeyID: *key.AccessKeyId, SecretAccessKey: *key.SecretAccessKey}).EventBridge(region)
	may := func(statements string) {
		t.Helper()
		policy := `{"Version":"2012-10-17","Statement":[` + statements + `]}`
		apitest.Must[*iam.PutUserPolicyOutput](t)(i.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("u"), PolicyName: aws.String("p"), PolicyDocument: &policy}))
	}
	putRule := func() error {
		_, err := c.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(anyPattern)})
		return err
	}
	putTargets := func(target types.Target) error {
		_, err := c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("r"), Targets: []types.Target{target}})
		return err
	}
	apitest.WantError(t, putRule(), "AccessDeniedException", "User: arn:aws:iam::"+srv.Account+":user/u is not authorized to perform: events:PutRule on resource: arn:aws:events:"+region+":"+srv.Account+":rule/r because no identity-based policy allows the events:PutRule action")
	may(`{"Effect":"Allow","Action":"events:*","Resource":"arn:aws:events:*:*:rule/r"},{"Effect":"Deny","Action":"events:PutTargets","Resource":"*","Condition":{"ForAnyValue:ArnLike":{"events:TargetArn":"arn:aws:kagimori:::webhook/*"}}}`)
	apitest.OK(t, putRule())
	apitest.WantError(t, putTargets(hook("1")), "AccessDeniedException")
	respond := types.Target{Id: aws.String("1"), Arn: aws.String("arn:aws:kagimori:::response/disable-key"), RoleArn: &role}
	apitest.WantError(t, putTargets(respond), "AccessDeniedException", "User: arn:aws:iam::"+srv.Account+":user/u is not authorized to perform: iam:PassRole on resource: "+role+" because no identity-based policy allows the iam:PassRole action")
	may(`{"Effect":"Allow","Action":"events:*","Resource":"*"},{"Effect":"Allow","Action":"iam:PassRole","Resource":"` + role + `","Condition":{"StringEquals":{"iam:PassedToService":"events.amazonaws.com"}}}`)
	apitest.OK(t, putTargets(respond))
	apitest.OK(t, putTargets(hook("2")))
}

// user makes a user who may do that.
func user(t testing.TB, srv *kagimoritest.Server, name, actions string) kagimoritest.Caller {
	t.Helper()
	i := srv.Root().IAM()
	apitest.Must[*iam.CreateUserOutput](t)(i.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + actions + `","Resource":"*"}]}`
	apitest.Must[*iam.PutUserPolicyOutput](t)(i.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: &policy}))
	key := apitest.Must[*iam.CreateAccessKeyOutput](t)(i.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})).AccessKey
	return srv.As(aws.Credentials{AccessKeyID: *key.AccessKeyId, SecretAccessKey: *key.SecretAccessKey})
}

// TestDetections finds bursts of denials, and principals that are new to a key: not those
// that the journal knows from before there was a rule.
func TestDetections(t *testing.T) {
	hooked := newReceiver(t)
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, hooked.URL, "")))
	k := srv.KMS(region)
	key := newKey(t, k)
	encrypted := apitest.Must[*kms.EncryptOutput](t)(k.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")})).CiphertextBlob
	decrypt := func(c kagimoritest.Caller) error {
		_, err := c.KMS(region).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: encrypted})
		return err
	}
	known, fresh, nosy := user(t, srv, "known", "kms:Decrypt"), user(t, srv, "fresh", "kms:Decrypt"), user(t, srv, "nosy", "kms:ListKeys")
	apitest.OK(t, decrypt(known))

	who := hook("1")
	who.InputPath = aws.String("$.detail.principal")
	c := srv.Root().EventBridge(region)
	rule(t, c, "new", `{"detail-type":["KMS Key Used By New Principal"],"detail":{"event-name":["Decrypt"]}}`, who)
	apitest.OK(t, decrypt(known))
	apitest.OK(t, decrypt(fresh))
	apitest.OK(t, decrypt(fresh))
	var got []received
	until(t, srv, "the new principal is found", func() bool { got = hooked.take(); return len(got) > 0 })
	if want := `"arn:aws:iam::` + srv.Account + `:user/fresh"`; len(got) != 1 || got[0].body != want {
		t.Errorf("new are %v", got)
	}
	srv.Restart() // and still it is known
	apitest.OK(t, decrypt(fresh))
	apitest.OK(t, decrypt(known))
	apitest.OK(t, decrypt(srv.Root()))
	until(t, srv, "the new principal is found", func() bool { got = hooked.take(); return len(got) > 0 })
	if want := `"arn:aws:iam::` + srv.Account + `:root"`; len(got) != 1 || got[0].body != want {
		t.Errorf("new are %v", got)
	}

	burst := hook("1")
	burst.InputTransformer = &types.InputTransformer{InputPathsMap: map[string]string{"n": "$.detail.count", "who": "$.detail.principal", "key": "$.resources[0]"}, InputTemplate: aws.String("<n> <who> <key>")}
	rule(t, srv.Root().EventBridge(region), "denials", `{"detail-type":["KMS Denial Burst"],"detail":{"count":[{"numeric":[">=",10]}]}}`, burst)
	for range 9 {
		apitest.WantError(t, decrypt(nosy), "AccessDeniedException")
	}
	srv.Advance(2 * time.Minute)
	for range 25 {
		apitest.WantError(t, decrypt(nosy), "AccessDeniedException")
	}
	until(t, srv, "the burst is found", func() bool { got = hooked.take(); return len(got) > 0 })
	if !strings.HasPrefix(got[0].body, "10 arn:aws:iam::"+srv.Account+":user/nosy ") || len(got) != 1 {
		t.Errorf("the bursts are %v", got)
	}
}

// TestLearning has principals known from before there was a rule: from a journal that takes
// long to search, and from times when there were rules of others only.
func TestLearning(t *testing.T) {
	events.LearnBehind(t)
	hooked := newReceiver(t)
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(targetsFile(t, hooked.URL, "")))
	const other = "us-west-2"
	use := func(c kagimoritest.Caller, region, key string) {
		t.Helper()
		apitest.Must[*kms.EncryptOutput](t)(c.KMS(region).Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}))
	}
	key, there := newKey(t, srv.KMS(region)), newKey(t, srv.KMS(other))
	use(srv.Root(), region, key)
	who := hook("1")
	who.InputPath = aws.String("$.detail.principal")
	const pattern = `{"detail-type":["KMS Key Used By New Principal"]}`
	// found is the first of new users that is found to be new in a Region.
	n := 0
	found := func(region, key string) {
		t.Helper()
		var got []received
		until(t, srv, "a new principal is found", func() bool {
			if n++; n%10 == 1 {
				use(srv.Root(), region, key)
				use(user(t, srv, fmt.Sprintf("%s-%d", region, n), "kms:Encrypt"), region, key)
			}
			got = hooked.take()
			return len(got) > 0
		})
		for _, g := range got {
			if !strings.Contains(g.body, ":user/"+region+"-") {
				t.Errorf("new is %s", g.body)
			}
		}
	}
	rule(t, srv.Root().EventBridge(region), "new", pattern, who)
	found(region, key)
	use(srv.Root(), other, there) // while there is no rule
	srv.Restart()
	rule(t, srv.Root().EventBridge(other), "new", pattern, who)
	found(other, there)
	use(srv.Root(), other, there)
	found(region, key)
}

// TestHangingTarget has a target that hangs: calls go on, and so do other targets; what
// waits is bounded, and waits over a restart.
func TestHangingTarget(t *testing.T) {
	events.SetMaxPending(t, 20)
	hanging, well := newReceiver(t), newReceiver(t)
	hanging.hang = make(chan struct{})
	file := filepath.Join(t.TempDir(), "targets.json")
	apitest.OK(t, os.WriteFile(file, fmt.Appendf(nil, `{"webhooks":{"hook":{"url":%q},"well":{"url":%q}}}`, hanging.URL, well.URL), 0o600))
	srv := kagimoritest.Start(t, kagimoritest.EventTargets(file))
	c, k := srv.Root().EventBridge(region), srv.KMS(region)
	rule(t, c, "r", `{"detail":{"eventName":["CreateAlias"]}}`, hook("1"), types.Target{Id: aws.String("2"), Arn: aws.String("arn:aws:kagimori:::webhook/well")})
	key := newKey(t, k)
	alias := func(n int) {
		apitest.Must[*kms.CreateAliasOutput](t)(k.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(fmt.Sprintf("alias/a%d", n)), TargetKeyId: &key}))
	}
	arrived := 0
	for n := range 30 {
		alias(n)
		until(t, srv, "the other target is told", func() bool { arrived += len(well.take()); return arrived == n+1 })
	}
	until(t, srv, "some are dropped", func() bool {
		dropped := 0
		for _, rec := range srv.Records() {
			if d, _ := rec["serviceEventDetails"].(map[string]any); rec["eventName"] == events.FailedDelivery && strings.HasPrefix(d["reason"].(string), "20 events or ") {
				n, err := strconv.Atoi(d["events"].(string))
				apitest.OK(t, err)
				dropped += n
			}
		}
		return dropped == 10
	})
	srv.Stop()
	hanging.mu.Lock()
	hanging.hang, hanging.got = nil, nil
	hanging.mu.Unlock()
	srv.Open()
	seen := map[string]bool{}
	until(t, srv, "those that waited are delivered", func() bool {
		for _, g := range hanging.take() {
			seen[g.header.Get("Webhook-Id")] = true
		}
		return len(seen) == 20
	})
}
