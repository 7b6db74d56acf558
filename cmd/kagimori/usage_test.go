package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"

	"github.com/kagimori/kagimori/internal/cli"
	"github.com/kagimori/kagimori/kagimoritest"
)

func TestUsage(t *testing.T) {
	srv := kagimoritest.Start(t)
	ctx := t.Context()
	alice := newUser(t, srv, "alice", `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	key := newKey(t, srv.Root())
	signing, err := srv.KMS(region).CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	must(t, err)
	for range 3 {
		encrypt(t, srv.Root(), key, nil)
	}
	srv.Advance(24 * time.Hour)
	for range 5 {
		encrypt(t, alice, key, nil)
	}
	_, err = alice.KMS(region).Sign(ctx, &kms.SignInput{KeyId: signing.KeyMetadata.Arn, Message: []byte("x"), SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256})
	must(t, err)
	for range 2 {
		_, err = alice.KMS(region).GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: &key, KeyPairSpec: types.DataKeyPairSpecRsa2048})
		must(t, err)
	}
	if _, err = alice.KMS(region).Decrypt(ctx, &kms.DecryptInput{KeyId: &key, CiphertextBlob: []byte("nothing")}); err == nil { // a failure is no use
		t.Error("nothing was decrypted")
	}
	// Another account's use of the key, which is in the records of both.
	out, err := srv.Root().Organizations().CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: aws.String("member"), Email: aws.String("m@example.com")})
	must(t, err)
	role := "arn:aws:iam::" + *out.CreateAccountStatus.AccountId + ":role/OrganizationAccountAccessRole"
	member := alice.AssumeRole(role, "session")
	_, err = srv.KMS(region).PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, Policy: aws.String(document(
		`{"Effect":"Allow","Principal":{"AWS":["` + srv.Account + `","` + *out.CreateAccountStatus.AccountId + `"]},"Action":"kms:*","Resource":"*"}`))})
	must(t, err)
	encrypt(t, member, key, nil)
	srv.Stop()

	usage := func(args ...string) map[usageRow]bool {
		t.Helper()
		var rows []usageRow
		must(t, json.Unmarshal([]byte(succeed(t, append([]string{"usage", "--json", "--data", srv.Dir}, args...)...)), &rows))
		set := map[usageRow]bool{}
		for i, r := range rows {
			if set[r] = true; i > 0 && r.Calls > rows[i-1].Calls {
				t.Errorf("%v: the rows are not in order: %v", args, rows)
			}
		}
		return set
	}
	user := "arn:aws:iam::" + srv.Account + ":user/alice"
	all := usage()
	for _, want := range []usageRow{
		{way{key, "arn:aws:iam::" + srv.Account + ":root", "Encrypt"}, 3, 0},
		{way{key, user, "Encrypt"}, 5, 0},
		{way{key, user, "GenerateDataKeyPair"}, 2, 0},
		{way{key, role, "Encrypt"}, 1, 0},
		{way{*signing.KeyMetadata.Arn, user, "Sign"}, 1, 0},
	} {
		if !all[want] {
			t.Errorf("%+v is not in %v", want, all)
		}
	}
	for r := range all {
		if r.Operation == "Decrypt" {
			t.Errorf("a failure counts: %+v", r)
		}
	}
	if got := usage("--by", "operation"); !got[usageRow{way{"", "", "Encrypt"}, 9, 0}] {
		t.Errorf("by operation: %v", got)
	}
	if got := usage("--by", "operation", "--since", "2026-01-02"); !got[usageRow{way{"", "", "Encrypt"}, 6, 0}] {
		t.Errorf("of the second day: %v", got)
	}
	if got := usage("--by", "operation", "--until", "2026-01-02T00:00:00Z"); !got[usageRow{way{"", "", "Encrypt"}, 3, 0}] {
		t.Errorf("of the first day: %v", got)
	}
	costs := map[string]string{}
	for r := range usage("--by", "operation", "--cost") {
		costs[r.Operation] = fmt.Sprintf("%.6f", r.Dollars)
	}
	if costs["Sign"] != "0.000015" || costs["GenerateDataKeyPair"] != "0.002400" || costs["Encrypt"] != "0.000027" {
		t.Errorf("the costs are %v", costs)
	}
	table := succeed(t, "usage", "--data", srv.Dir, "--by", "operation,key", "--cost")
	for _, want := range []string{"calls  on AWS   operation", "2      $0.0024  GenerateDataKeyPair", "in all"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in:\n%s", want, table)
		}
	}
	for _, args := range [][]string{{"--by", "color"}, {"--by", ""}, {"--since", "yesterday"}, {"--until", "1"}} {
		if r := run(append([]string{"usage", "--data", srv.Dir}, args...)...); r.status != cli.StatusUsage {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
