package main

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/kagimori/kagimori/internal/cli"
)

// TestAlarms has a key disabled when its policy is changed, and shows what alarms there are.
func TestAlarms(t *testing.T) {
	srv, run := client(t)
	ctx, c := t.Context(), srv.KMS(region)
	for _, args := range [][]string{{"alarms", "enable", "nonsense", "--respond", "disable-key"}, {"alarms", "enable", "policy-changed"}, {"alarms", "disable", "nonsense"}} {
		if r := run(args...); r.status != cli.StatusUsage {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := run("alarms", "enable", "policy-changed", "--to", "webhook/none"); r.status != cli.StatusFailure || !strings.Contains(r.err, "There is no webhook none for this account") {
		t.Errorf("a webhook that is not there: %+v", r)
	}
	want := "Made the role arn:aws:iam::" + srv.Account + ":role/KagimoriResponder\npolicy-changed is enabled in " + region + "\n"
	if r := run("alarms", "enable", "policy-changed", "--respond", "disable-key"); r.status != cli.StatusOK || r.out != want {
		t.Errorf("%+v", r)
	}
	if r := run("alarms", "enable", "all", "--respond", "revoke-grant"); r.status != cli.StatusOK || strings.Count(r.out, "is enabled") != len(alarms) || strings.Contains(r.out, "Made") {
		t.Errorf("%+v", r)
	}
	if r := run("alarms", "list"); r.status != cli.StatusOK || strings.Count(r.out, "response-revoke-grant") != len(alarms) || !strings.Contains(r.out, "response-disable-key, response-revoke-grant\n") {
		t.Errorf("%+v", r)
	}
	key := newKey(t, srv.Root())
	policy, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &key})
	must(t, err)
	_, err = c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: policy.Policy})
	must(t, err)
	state, failed := kmstypes.KeyState(""), ""
	for end := time.Now().Add(20 * time.Second); state != kmstypes.KeyStateDisabled || !strings.Contains(failed, "revoke-grant"); time.Sleep(5 * time.Millisecond) {
		srv.Advance(100 * time.Millisecond)
		about, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &key})
		must(t, err)
		state, failed = about.KeyMetadata.KeyState, run("alarms", "failed").out // PutKeyPolicy makes no grant
		if time.Now().After(end) {
			t.Fatalf("the key is %s; failed are\n%s", state, failed)
		}
	}
	if !strings.Contains(failed, "the event is about nothing") || !strings.Contains(failed, "kagimori-policy-changed") {
		t.Errorf("failed are\n%s", failed)
	}
	if r := run("alarms", "disable", "all"); r.status != cli.StatusOK || strings.Count(r.out, "is disabled") != len(alarms) {
		t.Errorf("%+v", r)
	}
	if r := run("alarms", "disable", "all"); r.status != cli.StatusOK || r.out != "" {
		t.Errorf("once more: %+v", r)
	}
	if r := run("alarms", "enable", "denials", "--respond", "disable-key", "--regions", "us-west-2,"+region); r.status != cli.StatusOK || r.out != "denials is enabled in us-west-2\ndenials is enabled in "+region+"\n" {
		t.Errorf("in two Regions: %+v", r)
	}
	if r := run("alarms", "list", "--regions", "us-west-2,us-east-1"); r.status != cli.StatusOK || strings.Count(r.out, "response-disable-key") != 1 {
		t.Errorf("lists of two Regions: %+v", r)
	}
}

// TestAlarmPatterns holds the patterns of the alarms against events.
func TestAlarmPatterns(t *testing.T) {
	srv, _ := client(t)
	c := srv.Root().EventBridge(region)
	event := func(source, kind, detail string) string {
		return `{"version":"0","id":"x","account":"111122223333","time":"2026-01-01T00:00:00Z","region":"` + region + `","resources":[],"source":"` + source + `","detail-type":"` + kind + `","detail":` + detail + `}`
	}
	call := func(detail string) string { return event("aws.kms", "AWS API Call via CloudTrail", detail) }
	for name, events := range map[string][2]string{ // what is one, and what is none
		"pending-deletion-used": {call(`{"eventName":"Decrypt","errorCode":"KMSInvalidStateException","errorMessage":"arn:aws:kms:x is pending deletion."}`), call(`{"eventName":"Decrypt","errorCode":"DisabledException","errorMessage":"x is disabled."}`)},
		"policy-changed":        {call(`{"eventName":"PutKeyPolicy"}`), call(`{"eventName":"PutKeyPolicy","errorCode":"AccessDenied"}`)},
		"deletion-scheduled":    {call(`{"eventName":"ScheduleKeyDeletion"}`), call(`{"eventName":"CancelKeyDeletion"}`)},
		"alias-deleted":         {call(`{"eventName":"DeleteAlias"}`), call(`{"eventName":"CreateAlias"}`)},
		"key-disabled":          {call(`{"eventName":"DisableKey"}`), call(`{"eventName":"EnableKey"}`)},
		"material-deleted":      {call(`{"eventName":"DeleteImportedKeyMaterial"}`), call(`{"eventName":"ImportKeyMaterial"}`)},
		"material-expiring":     {event("aws.kms", "KMS Imported Key Material Expiring", `{"key-id":"x"}`), event("aws.kms", "KMS CMK Rotation", `{"key-id":"x"}`)},
		"denials":               {event("kagimori", "KMS Denial Burst", `{"count":10}`), event("app", "KMS Denial Burst", `{"count":10}`)},
		"new-principal":         {event("kagimori", "KMS Key Used By New Principal", `{"event-name":"Decrypt"}`), event("kagimori", "KMS Key Used By New Principal", `{"event-name":"Encrypt"}`)},
	} {
		for i, want := range []bool{true, false} {
			for _, a := range alarms {
				if a.name != name && i == 0 || a.name == name {
					out, err := c.TestEventPattern(t.Context(), &eventbridge.TestEventPatternInput{EventPattern: &a.pattern, Event: &events[i]})
					must(t, err)
					if out.Result != (want && a.name == name) {
						t.Errorf("%s: %v for %s", a.name, out.Result, events[i])
					}
				}
			}
		}
	}
	for _, a := range alarms {
		_, err := c.PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String(alarmPrefix + a.name), EventPattern: &a.pattern, State: types.RuleStateEnabled})
		must(t, err)
	}
}
