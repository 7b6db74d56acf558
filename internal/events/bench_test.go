package events

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/kagimori/kagimori/internal/api"
	"github.com/kagimori/kagimori/internal/audit"
	"github.com/kagimori/kagimori/internal/clock"
	"github.com/kagimori/kagimori/internal/events/pattern"
	"github.com/kagimori/kagimori/internal/journal"
	"time"
)

// BenchmarkLook is what a record costs that is held against a rule and does not match: one
// of another account, one that only reads, and one that is looked at whole.
func BenchmarkLook(b *testing.B) {
	record := audit.AppendCall(nil, &api.Call{Service: "kms", Operation: "Encrypt", Region: "eu-central-1", ReadOnly: true, RequestID: "12345678-1234-1234-1234-123456789012",
		EventID: "12345678-1234-1234-1234-123456789012", Time: time.Unix(1, 0), SourceIP: "127.0.0.1", UserAgent: "aws-sdk-go-v2/1.48.0 ua/2.1 os/linux lang/go",
		Caller: api.Principal{Type: api.Root, ID: "111122223333", Account: "111122223333", ARN: "arn:aws:iam::111122223333:root", AccessKeyID: "AKIAIOSFODNN7EXAMPLE"},
		Trail:  api.Trail{Resources: []api.Resource{{Account: "111122223333", Type: "AWS::KMS::Key", ARN: "arn:aws:kms:eu-central-1:111122223333:key/12345678-1234-1234-1234-123456789012"}}}}, nil)
	p, err := pattern.Parse(`{"source":["aws.kms"],"detail":{"eventName":["DisableKey"]}}`)
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]struct {
		account string
		state   types.RuleState
	}{
		"other account": {"444455556666", types.RuleStateEnabled},
		"reads only":    {"111122223333", types.RuleStateEnabled},
		"whole":         {"111122223333", types.RuleStateEnabledWithAllCloudtrailManagementEvents},
	} {
		b.Run(name, func(b *testing.B) {
			s := &Service{Config: Config{Clock: clock.System()}}
			rules := &ruleSet{rules: map[bus][]*compiled{{c.account, "eu-central-1"}: {{&rule{ruleRecord: ruleRecord{State: c.state}}, p}}}, detects: map[bus]bool{}}
			batch := newBatch(s)
			b.ReportAllocs()
			for b.Loop() {
				if s.look(batch, rules, nil, journal.Entry{Seq: 1, Record: record}); len(batch.deliveries) > 0 {
					b.Fatal(batch.deliveries)
				}
			}
		})
	}
}
