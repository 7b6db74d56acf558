package lint_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kagimori/kagimori/internal/policy"
	"github.com/kagimori/kagimori/internal/policy/lint"
)

func rules(t *testing.T, kind policy.Kind, text string) []string {
	t.Helper()
	doc, err := policy.Parse(kind, "policy", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var names []string
	for _, f := range lint.Check(doc) {
		if f.Reason == "" || f.Fix == "" || strings.Contains(f.Reason, "%!") || f.Statement > 0 && f.Line == 0 {
			t.Errorf("an empty finding: %+v", f)
		}
		names = append(names, f.Rule)
	}
	return names
}

const delegation = `{"Sid":"root","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`

// TestStatements has every rule with a statement that breaks it, and one beside it
// that does not. Key policies have the default statement besides.
func TestStatements(t *testing.T) {
	const (
		role = `"Principal":{"AWS":"arn:aws:iam::111122223333:role/app"}`
		mfa  = `,"Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":"300"}}`
	)
	found := map[string]bool{}
	for _, c := range []struct {
		kind      policy.Kind
		statement string
		want      string // rules, separated by spaces
	}{
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":["kms:Encrypt","kms:GenerateDataKey*"],"Resource":"*"}`, ""},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Resource":"*"}`, "no-effect"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt"}`, "no-effect"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt","Resource":"arn:aws:kms:eu-central-1:111122223333:alias/a"}`, "no-effect"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"s3:GetObject","Resource":"*"}`, "no-effect"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/a"}}}`, "no-effect"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":["kms:Encrypt","kms:Encrpyt"],"Resource":"*"}`, "unknown-action"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:ListKeys","Resource":"*"}`, "not-a-key-action"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:*","Resource":"*"` + mfa + `}`, "everything"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":["kms:DisableKey","kms:Sign"],"Resource":"*"}`, "administration-and-use"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*"}`, "encrypt-and-decrypt"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:app":"a"}}}`, ""},
		{policy.Key, `{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`, "wildcard-principal"},
		{policy.Key, `{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalOrgID":"o-1"}}}`, "wildcard-principal"},
		{policy.Key, `{"Effect":"Allow","Principal":"*","Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}}`, ""},
		{policy.Key, `{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`, ""},
		{policy.Key, `{"Effect":"Allow","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:Encrypt","Resource":"*"}`, "not-principal"},
		{policy.Key, `{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111122223333:user/a"},"Action":"kms:Encrypt","Resource":"*"}`, "not-principal"},
		{policy.Key, `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/a","111122223333"]},"Action":"kms:Encrypt","Resource":"*"}`, ""},
		{policy.Key, `{"Effect":"Allow",` + role + `,"NotAction":"kms:Decrypt","Resource":"*"}`, "not-action"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:ScheduleKeyDeletion","Resource":"*"}`, "no-mfa"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:ScheduleKeyDeletion","Resource":"*"` + mfa + `}`, ""},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}}`, "if-exists-in-allow"},
		{policy.Key, `{"Effect":"Deny",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}}`, ""},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":"a"}}}`, "for-all-values"},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":"a"},"Null":{"kms:EncryptionContextKeys":"false"}}}`, ""},
		{policy.Key, `{"Effect":"Allow",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAllValues:StringEquals":{"kms:ViaService":"a"}}}`, "for-all-values"},
		{policy.Key, `{"Effect":"Deny",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"ForAllValues:StringNotEquals":{"kms:EncryptionContextKeys":"a"}}}`, "for-all-values"},
		{policy.Key, `{"Effect":"Deny",` + role + `,"Action":"kms:CreateGrant","Resource":"*","Condition":{"StringEquals":{"kms:GrantOperations":"Decrypt"}}}`, "set-operator"},
		{policy.Key, `{"Effect":"Deny",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"kms:ViaSevice":"a"}}}`, "unknown-condition-key"},
		{policy.Key, `{"Effect":"Deny",` + role + `,"Action":"kms:Encrypt","Resource":"*","Condition":{"StringLike":{"aws:PrincipalOrgID":"o-*"}}}`, "wildcard-in-value"},
		{policy.Identity, `{"Effect":"Allow","Action":"kms:Decrypt","Resource":"arn:aws:kms:eu-central-1:111122223333:alias/a"}`, "alias-resource"},
		{policy.Identity, `{"Effect":"Allow","Action":"kms:CreateAlias","Resource":"arn:aws:kms:eu-central-1:111122223333:alias/a"}`, ""},
		{policy.Identity, `{"Effect":"Allow","Action":"*","Resource":"*"}`, "everything no-mfa"},
		{policy.Identity, `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`, ""},
		{policy.Identity, `{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*"}`, ""},
		{policy.Trust, `{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:*"}`, ""},
	} {
		statements := c.statement
		if c.kind == policy.Key {
			statements = delegation + "," + statements
		}
		if got := strings.Join(rules(t, c.kind, `{"Version":"2012-10-17","Statement":[`+statements+`]}`), " "); got != c.want {
			t.Errorf("%s\nfound %q, want %q", c.statement, got, c.want)
		}
		for _, name := range strings.Fields(c.want) {
			found[name] = true
		}
	}
	for _, name := range lint.Rules() {
		if !found[name] {
			t.Errorf("no statement breaks the rule %s", name)
		}
	}
}

func TestDocuments(t *testing.T) {
	if got := rules(t, policy.Key, `{"Version":"2012-10-17","Statement":`+delegation+`}`); got != nil {
		t.Errorf("the default key policy: %v", got)
	}
	if got := rules(t, policy.Key, `{"Statement":[]}`); !slices.Equal(got, []string{"lockout"}) {
		t.Errorf("an empty key policy: %v", got)
	}
	denied := `{"Effect":"Deny","Principal":"*","Action":["kms:ScheduleKeyDeletion","kms:PutKeyPolicy"],"Resource":"*","Condition":{"NumericGreaterThanIfExists":{"aws:MultiFactorAuthAge":"300"}}}`
	allowed := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/admin"},"Action":"kms:PutKeyPolicy","Resource":"*"}`
	if got := rules(t, policy.Key, `{"Version":"2012-10-17","Statement":[`+allowed+`,`+denied+`]}`); got != nil {
		t.Errorf("MFA by a Deny: %v", got)
	}
}

// TestFacts compares the table of actions with the facts, where they are at hand.
func TestFacts(t *testing.T) {
	text, err := os.ReadFile("../../../../shared/kms-facts/operations.csv")
	if err != nil {
		t.Skip("the facts are not at hand")
	}
	for _, line := range strings.Split(string(text), "\n")[1:] {
		name, _, _ := strings.Cut(line, ",")
		if name == "" || name == "ReEncrypt" {
			continue
		}
		// An unknown action is found.
		if got := rules(t, policy.Identity, `{"Statement":{"Effect":"Deny","Action":"kms:`+name+`","Resource":"*"}}`); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
