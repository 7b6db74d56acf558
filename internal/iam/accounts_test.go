package iam_test

import (
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/kagimoritest"
)

// policyOf gives a user an inline policy of some statements.
func policyOf(t *testing.T, srv *kagimoritest.Server, user, statements string) {
	t.Helper()
	apitest.Must[*sdk.PutUserPolicyOutput](t)(srv.Root().IAM().PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: &user, PolicyName: aws.String("p"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)}))
}

// device is a virtual MFA device with its seed.
type device struct {
	serial *string
	seed   []byte
	srv    *kagimoritest.Server
}

func newDevice(t *testing.T, srv *kagimoritest.Server, c *sdk.Client, name string) device {
	t.Helper()
	made := apitest.Must[*sdk.CreateVirtualMFADeviceOutput](t)(c.CreateVirtualMFADevice(ctx, &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: &name})).VirtualMFADevice
	seed := apitest.Must[[]byte](t)(base32.StdEncoding.DecodeString(string(made.Base32StringSeed)))
	return device{made.SerialNumber, seed, srv}
}

// codes are the present code of a device whose clock is off, and the next one.
func (d device) codes(off time.Duration) (first, second *string) {
	at := d.srv.Now().Add(off)
	return aws.String(iam.TOTP(d.seed, at)), aws.String(iam.TOTP(d.seed, at.Add(30*time.Second)))
}

// The policy by which AWS has users manage their own MFA devices.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_examples_aws_my-sec-creds-self-manage-mfa-only.html
func TestOwnMFA(t *testing.T) {
	srv := kagimoritest.Start(t)
	user, _ := newUser(t, srv, "worker")
	newUser(t, srv, "other")
	policyOf(t, srv, "worker", `
		{"Effect":"Allow","Action":"iam:ListVirtualMFADevices","Resource":"*"},
		{"Effect":"Allow","Action":"iam:CreateVirtualMFADevice","Resource":"arn:aws:iam::*:mfa/*"},
		{"Effect":"Allow","Action":["iam:DeactivateMFADevice","iam:EnableMFADevice","iam:GetMFADevice","iam:ListMFADevices","iam:ResyncMFADevice"],"Resource":"arn:aws:iam::*:user/${aws:username}"}`)
	c, root := user.IAM(), srv.Root().IAM()
	name, other := aws.String("worker"), aws.String("other")
	dev := newDevice(t, srv, c, "worker-phone")
	first, second := dev.codes(0)
	apitest.Must[*sdk.EnableMFADeviceOutput](t)(c.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: name, SerialNumber: dev.serial, AuthenticationCode1: first, AuthenticationCode2: second}))
	got := apitest.Must[*sdk.GetMFADeviceOutput](t)(c.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: dev.serial, UserName: name}))
	if aws.ToString(got.UserName) != "worker" || !got.EnableDate.Equal(srv.Now().Truncate(time.Second)) {
		t.Errorf("the device is of %v, since %v", aws.ToString(got.UserName), got.EnableDate)
	}
	_, err := c.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: dev.serial})
	apitest.OK(t, err)
	if mine := apitest.Must[*sdk.ListMFADevicesOutput](t)(c.ListMFADevices(ctx, &sdk.ListMFADevicesInput{})).MFADevices; len(mine) != 1 || *mine[0].SerialNumber != *dev.serial {
		t.Errorf("devices %v", mine)
	}

	// Those of others are out of reach.
	theirs := newDevice(t, srv, root, "other-phone")
	first, second = theirs.codes(0)
	_, err = c.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: other, SerialNumber: theirs.serial, AuthenticationCode1: first, AuthenticationCode2: second})
	apitest.WantError(t, err, "AccessDenied")
	apitest.Must[*sdk.EnableMFADeviceOutput](t)(root.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: other, SerialNumber: theirs.serial, AuthenticationCode1: first, AuthenticationCode2: second}))
	for _, of := range []*string{nil, name, other} {
		_, err = c.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: theirs.serial, UserName: of})
		apitest.WantError(t, err, "AccessDenied")
	}
	_, err = c.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: name, SerialNumber: theirs.serial})
	apitest.WantError(t, err, "NoSuchEntity")
	_, err = root.GetMFADevice(ctx, &sdk.GetMFADeviceInput{SerialNumber: theirs.serial, UserName: name})
	apitest.WantError(t, err, "NoSuchEntity")

	// A clock that went wrong is set right by two codes, of which none was used.
	srv.Advance(time.Hour)
	resync := func(first, second *string) error {
		_, err := c.ResyncMFADevice(ctx, &sdk.ResyncMFADeviceInput{UserName: name, SerialNumber: dev.serial, AuthenticationCode1: first, AuthenticationCode2: second})
		return err
	}
	apitest.WantError(t, resync(dev.codes(30*time.Minute)), "InvalidAuthenticationCode")
	first, second = dev.codes(5 * time.Minute)
	apitest.WantError(t, resync(second, first), "InvalidAuthenticationCode")
	apitest.OK(t, resync(first, second))
	apitest.WantError(t, resync(first, second), "InvalidAuthenticationCode")

	// A role has no devices of its own.
	apitest.Must[*sdk.CreateRoleOutput](t)(root.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(strings.Replace(trustRoot, ":root", ":user/worker", 1))}))
	apitest.Must[*sdk.AttachRolePolicyOutput](t)(root.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String(iam.AdministratorAccess)}))
	_, err = user.AssumeRole("arn:aws:iam::"+account+":role/r", "session").IAM().ListMFADevices(ctx, &sdk.ListMFADevicesInput{})
	apitest.WantError(t, err, "ValidationError", "Must specify userName when calling with non-User credentials")
}

func TestMFAOfRoot(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	for i := range 2 {
		dev := newDevice(t, srv, c, fmt.Sprint("root-", i))
		first, second := dev.codes(0)
		apitest.Must[*sdk.EnableMFADeviceOutput](t)(c.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: aws.String("root"), SerialNumber: dev.serial, AuthenticationCode1: first, AuthenticationCode2: second}))
	}
	var serials []string
	pages := 0
	for p := sdk.NewListMFADevicesPaginator(c, &sdk.ListMFADevicesInput{MaxItems: aws.Int32(1)}); p.HasMorePages(); pages++ {
		for _, d := range apitest.Must[*sdk.ListMFADevicesOutput](t)(p.NextPage(ctx)).MFADevices {
			serials = append(serials, *d.SerialNumber)
		}
	}
	if want := []string{"arn:aws:iam::" + account + ":mfa/root-0", "arn:aws:iam::" + account + ":mfa/root-1"}; !slices.Equal(serials, want) || pages != 2 {
		t.Errorf("%v in %d pages, want %v", serials, pages, want)
	}
	if sum := apitest.Must[*sdk.GetAccountSummaryOutput](t)(c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})).SummaryMap; sum["AccountMFAEnabled"] != 1 || sum["MFADevicesInUse"] != 2 {
		t.Errorf("summary %v", sum)
	}
	all := apitest.Must[*sdk.ListVirtualMFADevicesOutput](t)(c.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{})).VirtualMFADevices
	if len(all) != 2 || *all[0].User.Arn != iam.RootARN(account) {
		t.Errorf("devices %v", all)
	}
}

// Who may make something may not thereby tag it.
func TestTagsAtCreation(t *testing.T) {
	srv := kagimoritest.Start(t)
	user, _ := newUser(t, srv, "worker")
	tags := []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}
	for _, c := range []struct {
		create, tag string
		call        func(name string, tags []types.Tag) error
	}{
		{"CreateVirtualMFADevice", "TagMFADevice", func(name string, tags []types.Tag) error {
			_, err := user.IAM().CreateVirtualMFADevice(ctx, &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: &name, Tags: tags})
			return err
		}},
		{"CreateOpenIDConnectProvider", "TagOpenIDConnectProvider", func(name string, tags []types.Tag) error {
			_, err := user.IAM().CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: aws.String("https://" + name + ".example"), Tags: tags})
			return err
		}},
		{"CreatePolicy", "TagPolicy", func(name string, tags []types.Tag) error {
			_, err := user.IAM().CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(allowList), Tags: tags})
			return err
		}},
		{"CreateUser", "TagUser", func(name string, tags []types.Tag) error {
			_, err := user.IAM().CreateUser(ctx, &sdk.CreateUserInput{UserName: &name, Tags: tags})
			return err
		}},
	} {
		policyOf(t, srv, "worker", `{"Effect":"Allow","Action":"iam:`+c.create+`","Resource":"*"}`)
		apitest.OK(t, c.call("a", nil))
		apitest.WantError(t, c.call("b", tags), "AccessDenied")
		policyOf(t, srv, "worker", `{"Effect":"Allow","Action":["iam:`+c.create+`","iam:`+c.tag+`"],"Resource":"*"}`)
		apitest.OK(t, c.call("b", tags))
	}
}

func TestOIDCProviders(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	create := func(url string, thumbprints ...string) (*string, error) {
		out, err := c.CreateOpenIDConnectProvider(ctx, &sdk.CreateOpenIDConnectProviderInput{Url: &url, ClientIDList: []string{"one"}, ThumbprintList: thumbprints})
		if err != nil {
			return nil, err
		}
		return out.OpenIDConnectProviderArn, nil
	}
	arn := apitest.Must[*string](t)(create("https://idp.example/tenant/7", strings.Repeat("aB", 20)))
	if *arn != "arn:aws:iam::"+account+":oidc-provider/idp.example/tenant/7" {
		t.Errorf("the provider is %s", *arn)
	}
	_, err := create("https://idp.example/tenant/7")
	apitest.WantError(t, err, "EntityAlreadyExists", "Provider with url https://idp.example/tenant/7 already exists.")
	for _, url := range []string{"http://idp.example", "https://", "https://idp.example?tenant=7", "https://me@idp.example", "https://idp.example/#a", "idp.example"} {
		_, err := create(url)
		apitest.WantError(t, err, "InvalidInput")
	}
	_, err = create("https://other.example", strings.Repeat("xy", 20))
	apitest.WantError(t, err, "InvalidInput")
	_, err = create("https://other.example", slices.Repeat([]string{strings.Repeat("00", 20)}, 6)...)
	apitest.WantError(t, err, "LimitExceeded")

	get := func() *sdk.GetOpenIDConnectProviderOutput {
		return apitest.Must[*sdk.GetOpenIDConnectProviderOutput](t)(c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn}))
	}
	for range 2 { // as on AWS, a second time changes nothing
		apitest.Must[*sdk.AddClientIDToOpenIDConnectProviderOutput](t)(c.AddClientIDToOpenIDConnectProvider(ctx, &sdk.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("two")}))
	}
	if p := get(); *p.Url != "idp.example/tenant/7" || !slices.Equal(p.ClientIDList, []string{"one", "two"}) || len(p.ThumbprintList) != 1 {
		t.Errorf("the provider is %s %v %v", *p.Url, p.ClientIDList, p.ThumbprintList)
	}
	for range 2 {
		apitest.Must[*sdk.RemoveClientIDFromOpenIDConnectProviderOutput](t)(c.RemoveClientIDFromOpenIDConnectProvider(ctx, &sdk.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, ClientID: aws.String("one")}))
	}
	apitest.Must[*sdk.UpdateOpenIDConnectProviderThumbprintOutput](t)(c.UpdateOpenIDConnectProviderThumbprint(ctx, &sdk.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: arn, ThumbprintList: []string{strings.Repeat("0", 40), strings.Repeat("f", 40)}}))
	apitest.Must[*sdk.TagOpenIDConnectProviderOutput](t)(c.TagOpenIDConnectProvider(ctx, &sdk.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}}))
	apitest.Must[*sdk.UntagOpenIDConnectProviderOutput](t)(c.UntagOpenIDConnectProvider(ctx, &sdk.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn, TagKeys: []string{"a"}}))
	if p := get(); !slices.Equal(p.ClientIDList, []string{"two"}) || len(p.ThumbprintList) != 2 || len(p.Tags) != 1 || *p.Tags[0].Key != "b" {
		t.Errorf("the provider is %v %v %v", p.ClientIDList, p.ThumbprintList, p.Tags)
	}
	if list := apitest.Must[*sdk.ListOpenIDConnectProvidersOutput](t)(c.ListOpenIDConnectProviders(ctx, &sdk.ListOpenIDConnectProvidersInput{})).OpenIDConnectProviderList; len(list) != 1 || *list[0].Arn != *arn {
		t.Errorf("providers %v", list)
	}
	for range 2 {
		_, err := c.DeleteOpenIDConnectProvider(ctx, &sdk.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
		apitest.OK(t, err)
	}
	_, err = c.GetOpenIDConnectProvider(ctx, &sdk.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: arn})
	apitest.WantError(t, err, "NoSuchEntity", "OpenIDConnect Provider not found for arn "+*arn)
}

func TestServiceLinkedRoleIsTaken(t *testing.T) {
	c := kagimoritest.Start(t).Root().IAM()
	for service, name := range map[string]string{"cks.kms.amazonaws.com": "AWSServiceRoleForKeyManagementServiceCustomKeyStores", "organizations.amazonaws.com": "AWSServiceRoleForOrganizations"} {
		in := &sdk.CreateServiceLinkedRoleInput{AWSServiceName: &service}
		role := apitest.Must[*sdk.CreateServiceLinkedRoleOutput](t)(c.CreateServiceLinkedRole(ctx, in)).Role
		if *role.Arn != "arn:aws:iam::"+account+":role/aws-service-role/"+service+"/"+name {
			t.Errorf("the role is %s", *role.Arn)
		}
		_, err := c.CreateServiceLinkedRole(ctx, in)
		apitest.WantError(t, err, "InvalidInput", "Service role name "+name+" has been taken in this account, please try a different suffix.")
	}
	_, err := c.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("s3.amazonaws.com")})
	apitest.WantError(t, err, "InvalidInput")
}

func TestPasswordPolicyIsTold(t *testing.T) {
	srv := kagimoritest.Start(t)
	newUser(t, srv, "Worker-1234")
	for password, want := range map[string]string{
		"weakweakweak": "Password should have three of uppercase letters, lowercase letters, numbers and the characters ! @ # $ % ^ & * ( ) _ + - = [ ] { } | '",
		"worker-1234":  "Password should not be the user name",
		"aB3":          "Password should have a minimum length of 8 and at most 128 characters",
	} {
		_, err := srv.Root().IAM().CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: aws.String("Worker-1234"), Password: &password})
		apitest.WantError(t, err, "PasswordPolicyViolation", want)
	}
}

// member makes an account in the organization and is its administrator.
func member(t *testing.T, srv *kagimoritest.Server, name string) (kagimoritest.Caller, string) {
	t.Helper()
	made := apitest.Must[*organizations.CreateAccountOutput](t)(srv.Root().Organizations().CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: &name, Email: aws.String(name + "@example.com")}))
	id := *made.CreateAccountStatus.AccountId
	admin, _ := newUser(t, srv, "admin-of-"+name)
	policyOf(t, srv, "admin-of-"+name, `{"Effect":"Allow","Action":"*","Resource":"*"}`)
	return admin.AssumeRole("arn:aws:iam::"+id+":role/OrganizationAccountAccessRole", "setup"), id
}

func TestAliasAcrossAccounts(t *testing.T) {
	srv := kagimoritest.Start(t)
	other, _ := member(t, srv, "other")
	alias := func(c kagimoritest.Caller) error {
		_, err := c.IAM().CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: aws.String("acme")})
		return err
	}
	apitest.OK(t, alias(srv.Root()))
	apitest.WantError(t, alias(other), "EntityAlreadyExists", "The account alias acme already exists.")
	_, err := other.IAM().DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String("acme")})
	apitest.WantError(t, err, "NoSuchEntity")
	apitest.Must[*sdk.DeleteAccountAliasOutput](t)(srv.Root().IAM().DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String("acme")}))
	apitest.OK(t, alias(other))
}

// spanOf is a matched statement as "source type line:column-line:column".
func spanOf(s types.Statement) string {
	return fmt.Sprintf("%s %s %d:%d-%d:%d", *s.SourcePolicyId, s.SourcePolicyType, s.StartPosition.Line, s.StartPosition.Column, s.EndPosition.Line, s.EndPosition.Column)
}

func matched(r types.EvaluationResult) []string {
	out := []string{}
	for _, s := range r.MatchedStatements {
		out = append(out, spanOf(s))
	}
	return out
}

// The examples of AWS's command line reference, with the positions it shows.
// https://docs.aws.amazon.com/cli/latest/reference/iam/simulate-custom-policy.html
func TestSimulationNamesStatements(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	dated := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2018-08-16T12:00:00Z"}}}}`
	for when, want := range map[string][]string{"2019-04-25T11:00:00Z": {"PolicyInputList.1 IAM Policy 1:38-1:167"}, "2014-04-25T11:00:00Z": {}} {
		r := apitest.Must[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{dated}, ActionNames: []string{"dynamodb:CreateBackup"},
			ContextEntries: []types.ContextEntry{{ContextKeyName: aws.String("aws:CurrentTime"), ContextKeyType: "date", ContextKeyValues: []string{when}}}})).EvaluationResults[0]
		if got := matched(r); !slices.Equal(got, want) || len(r.MissingContextValues) != 0 || *r.EvalResourceName != "*" || r.ResourceSpecificResults != nil {
			t.Errorf("at %s: %v missing %v, want %v", when, got, r.MissingContextValues, want)
		}
	}

	newUser(t, srv, "alejandro")
	user := aws.String("alejandro")
	apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("Grant"), PolicyDocument: aws.String(`{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "kms:ListKeys",
            "Resource": "*",
            "Sid": "A"
        }
    ]
}`)}))
	apitest.Must[*sdk.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: user, PolicyArn: aws.String("arn:aws:iam::" + account + ":policy/Grant")}))
	policyOf(t, srv, "alejandro", `{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"},{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/a"}`)
	apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
	apitest.Must[*sdk.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("g"), UserName: user}))
	apitest.Must[*sdk.PutGroupPolicyOutput](t)(c.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("q"), PolicyDocument: aws.String(`{"Statement":[{"Effect":"Allow","Action":"kms:ListAliases","Resource":"*"}]}`)}))
	key := "arn:aws:kms:eu-central-1:" + account + ":key/"
	for _, s := range []struct {
		action, resource string
		decision         types.PolicyEvaluationDecisionType
		want             []string
	}{
		{"kms:ListKeys", "*", "allowed", []string{"Grant IAM Policy 3:19-9:10"}},
		{"kms:ListAliases", "*", "allowed", []string{"group_g_q IAM Policy 1:15-1:75"}},
		{"kms:Decrypt", key + "a", "allowed", []string{"user_alejandro_p IAM Policy 1:93-1:164"}},
		{"kms:Encrypt", key + "a", "explicitDeny", []string{"user_alejandro_p IAM Policy 1:38-1:93"}},
		{"kms:Decrypt", key + "b", "implicitDeny", []string{}},
	} {
		r := apitest.Must[*sdk.SimulatePrincipalPolicyOutput](t)(c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::" + account + ":user/alejandro"),
			ActionNames: []string{s.action}, ResourceArns: []string{s.resource}})).EvaluationResults[0]
		if got := matched(r); r.EvalDecision != s.decision || !slices.Equal(got, s.want) {
			t.Errorf("%s on %s: %s by %q, want %s by %q", s.action, s.resource, r.EvalDecision, got, s.decision, s.want)
		}
	}
}

func TestSimulateResources(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	statement := func(principal string) string {
		return `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"kms:*","Resource":"*"}]}`
	}
	simulate := func(in sdk.SimulateCustomPolicyInput) []types.EvaluationResult {
		t.Helper()
		return apitest.Must[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &in)).EvaluationResults
	}
	bob := aws.String("arn:aws:iam::" + account + ":user/bob")
	key := "arn:aws:kms:eu-central-1:" + account + ":key/"

	// The policy of the resource, for a caller whom it names, one to whom his account
	// must give it, and one whom it does not mean.
	for principal, want := range map[string]types.PolicyEvaluationDecisionType{*bob: "allowed", iam.RootARN(account): "implicitDeny", *bob + "by": "implicitDeny"} {
		r := simulate(sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowList}, ResourcePolicy: aws.String(statement(principal)), CallerArn: bob, ActionNames: []string{"kms:Encrypt"}, ResourceArns: []string{key + "a"}})[0]
		if r.EvalDecision != want || want == "allowed" && !strings.HasPrefix(matched(r)[0], "ResourcePolicy Resource Policy ") {
			t.Errorf("a policy for %s: %s by %v, want %s", principal, r.EvalDecision, matched(r), want)
		}
	}
	_, err := c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, ResourcePolicy: aws.String(statement("*")), ActionNames: []string{"kms:Encrypt"}})
	apitest.WantError(t, err, "InvalidInput")
	// Another account's key needs both sides.
	stranger := aws.String(iam.RootARN("999988887777"))
	for policy, want := range map[string]types.PolicyEvaluationDecisionType{allowAll: "allowed", allowList: "implicitDeny"} {
		r := simulate(sdk.SimulateCustomPolicyInput{PolicyInputList: []string{policy}, ResourcePolicy: aws.String(statement(*bob)), ResourceOwner: stranger, CallerArn: bob, ActionNames: []string{"kms:Encrypt"}, ResourceArns: []string{key + "a"}})[0]
		if r.EvalDecision != want {
			t.Errorf("of another account with %s: %s, want %s", policy, r.EvalDecision, want)
		}
	}

	// Every action on every resource, with what is missing for each, page by page.
	mixed := `{"Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"` + key + `a"},
		{"Effect":"Allow","Action":"kms:*","Resource":"` + key + `b","Condition":{"StringEquals":{"aws:PrincipalArn":"x","kms:EncryptionContext:App":"y"}}}]}`
	var got []string
	for p := sdk.NewSimulateCustomPolicyPaginator(c, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{mixed}, ActionNames: []string{"kms:Encrypt", "kms:Decrypt"}, ResourceArns: []string{key + "a", key + "b"}, MaxItems: aws.Int32(3)}); p.HasMorePages(); {
		for _, r := range apitest.Must[*sdk.SimulateCustomPolicyOutput](t)(p.NextPage(ctx)).EvaluationResults {
			one := r.ResourceSpecificResults[0]
			got = append(got, fmt.Sprintf("%s %s %s %v", *r.EvalActionName, (*one.EvalResourceName)[len(key):], one.EvalResourceDecision, one.MissingContextValues))
			if *one.EvalResourceName != *r.EvalResourceName || one.EvalResourceDecision != r.EvalDecision || len(one.MatchedStatements) != len(r.MatchedStatements) {
				t.Errorf("%v is not %v", one, r)
			}
		}
	}
	if want := []string{"kms:Encrypt a allowed []", "kms:Encrypt b implicitDeny [aws:PrincipalArn kms:EncryptionContext:App]", "kms:Decrypt a allowed []", "kms:Decrypt b implicitDeny [aws:PrincipalArn kms:EncryptionContext:App]"}; !slices.Equal(got, want) {
		t.Errorf("results\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	keys := apitest.Must[*sdk.GetContextKeysForCustomPolicyOutput](t)(c.GetContextKeysForCustomPolicy(ctx, &sdk.GetContextKeysForCustomPolicyInput{PolicyInputList: []string{mixed, mixed}})).ContextKeyNames
	if want := []string{"aws:PrincipalArn", "kms:EncryptionContext:App"}; !slices.Equal(keys, want) {
		t.Errorf("context keys %v, want %v", keys, want)
	}
}

// A simulation of an entity counts with the organization's policies, as calls do.
func TestSimulateOrganization(t *testing.T) {
	srv := kagimoritest.Start(t)
	admin, id := member(t, srv, "limited")
	c, org := admin.IAM(), srv.Root().Organizations()
	root := apitest.Must[*organizations.ListRootsOutput](t)(org.ListRoots(ctx, &organizations.ListRootsInput{})).Roots[0].Id
	_, err := org.EnablePolicyType(ctx, &organizations.EnablePolicyTypeInput{RootId: root, PolicyType: orgtypes.PolicyTypeServiceControlPolicy})
	if err != nil && !strings.Contains(err.Error(), "PolicyTypeAlreadyEnabled") {
		t.Fatal(err)
	}
	made := apitest.Must[*organizations.CreatePolicyOutput](t)(org.CreatePolicy(ctx, &organizations.CreatePolicyInput{Name: aws.String("no-deletion"), Description: aws.String(""), Type: orgtypes.PolicyTypeServiceControlPolicy,
		Content: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:ScheduleKeyDeletion","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":"eu-central-1"}}}]}`)}))
	apitest.Must[*organizations.AttachPolicyOutput](t)(org.AttachPolicy(ctx, &organizations.AttachPolicyInput{PolicyId: made.Policy.PolicySummary.Id, TargetId: &id}))
	simulate := func(c *sdk.Client, arn string) []types.EvaluationResult {
		return apitest.Must[*sdk.SimulatePrincipalPolicyOutput](t)(c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: &arn, ActionNames: []string{"kms:ScheduleKeyDeletion", "kms:Encrypt"}})).EvaluationResults
	}
	r := simulate(c, "arn:aws:iam::"+id+":role/OrganizationAccountAccessRole")
	if r[0].EvalDecision != "explicitDeny" || r[0].OrganizationsDecisionDetail.AllowedByOrganizations || len(r[0].MatchedStatements) != 0 || len(r[0].MissingContextValues) != 0 {
		t.Errorf("a deletion is %s by %v missing %v", r[0].EvalDecision, matched(r[0]), r[0].MissingContextValues)
	}
	if r[1].EvalDecision != "allowed" || !r[1].OrganizationsDecisionDetail.AllowedByOrganizations || matched(r[1])[0][:20] != "AdministratorAccess " {
		t.Errorf("an encryption is %s by %v", r[1].EvalDecision, matched(r[1]))
	}
	// The management account is exempt.
	for _, r := range simulate(srv.Root().IAM(), "arn:aws:iam::"+account+":user/admin-of-limited") {
		if r.EvalDecision != "allowed" || !r.OrganizationsDecisionDetail.AllowedByOrganizations {
			t.Errorf("%s in the management account is %s", *r.EvalActionName, r.EvalDecision)
		}
	}
}
