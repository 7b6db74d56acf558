package organizations_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	iamsdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

// user makes a user of the caller's account, with a policy, and calls as it.
func (o *org) user(as kagimoritest.Caller, name, policy string) kagimoritest.Caller {
	o.t.Helper()
	c := as.IAM()
	apitest.Must[*iamsdk.CreateUserOutput](o.t)(c.CreateUser(ctx, &iamsdk.CreateUserInput{UserName: &name}))
	apitest.Must[*iamsdk.PutUserPolicyOutput](o.t)(c.PutUserPolicy(ctx, &iamsdk.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: &policy}))
	k := apitest.Must[*iamsdk.CreateAccessKeyOutput](o.t)(c.CreateAccessKey(ctx, &iamsdk.CreateAccessKeyInput{UserName: &name})).AccessKey
	return o.srv.As(aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey})
}

const everything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// TestMemberAccount goes from the management account into a new one, lives there
// under service control policies, and is shut out when it is closed.
func TestMemberAccount(t *testing.T) {
	o := start(t)
	id := o.account("member")
	admin := o.user(o.srv.Root(), "admin", everything)
	inside := admin.AssumeRole("arn:aws:iam::"+id+":role/OrganizationAccountAccessRole", "session")
	user := o.user(inside, "user", everything)
	for name, c := range map[string]kagimoritest.Caller{"session": inside, "user": user} {
		if who := apitest.Must[*sts.GetCallerIdentityOutput](t)(c.STS().GetCallerIdentity(ctx, nil)); *who.Account != id {
			t.Errorf("the %s is in account %s", name, *who.Account)
		}
		if got := apitest.Must[*sdk.DescribeOrganizationOutput](t)(c.Organizations().DescribeOrganization(ctx, nil)).Organization; *got.Id != o.id {
			t.Errorf("the %s sees organization %s", name, *got.Id)
		}
		_, err := c.Organizations().ListAccounts(ctx, nil)
		fails(t, err, "AccessDeniedException", "You don't have permissions to access this resource.")
		_, err = c.Organizations().CreateAccount(ctx, &sdk.CreateAccountInput{AccountName: aws.String("x"), Email: aws.String("x@example.com")})
		fails(t, err, "AccessDeniedException", "You don't have permissions to access this resource.")
	}

	o.enable()
	key := apitest.Must[*kms.CreateKeyOutput](t)(user.KMS("eu-central-1").CreateKey(ctx, &kms.CreateKeyInput{})).KeyMetadata.KeyId
	use := func(c kagimoritest.Caller) error {
		_, err := c.KMS("eu-central-1").GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, NumberOfBytes: aws.Int32(32)})
		return err
	}
	deny := o.policy("deny", denyKMS)
	for name, c := range map[string]kagimoritest.Caller{"session": inside, "user": user} {
		if err := o.attach(deny, o.root); err != nil {
			t.Fatal(err)
		}
		fails(t, use(c), "AccessDeniedException", "with an explicit deny in a service control policy")
		if err := errors.Join(o.detach(deny, o.root), use(c)); err != nil {
			t.Errorf("the %s after the policy was detached: %v", name, err)
		}
	}

	apitest.Must[*sdk.CloseAccountOutput](t)(o.CloseAccount(ctx, &sdk.CloseAccountInput{AccountId: &id}))
	for name, c := range map[string]kagimoritest.Caller{"session": inside, "user": user} {
		var e smithy.APIError
		if _, err := c.STS().GetCallerIdentity(ctx, nil); !errors.As(err, &e) || e.ErrorCode() != "InvalidClientTokenId" {
			t.Errorf("the %s of a closed account: %v", name, err)
		}
	}
	_, err := admin.STS().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + id + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("session")})
	fails(t, err, "AccessDenied")
}

// TestConditions: the condition keys of the API, each with a request that it lets
// through and one that it does not.
func TestConditions(t *testing.T) {
	o := start(t)
	tag := []types.Tag{{Key: aws.String("team"), Value: aws.String("pay")}}
	mine, other := o.account("mine"), o.account("other")
	apitest.Must[*sdk.TagResourceOutput](t)(o.TagResource(ctx, &sdk.TagResourceInput{ResourceId: &mine, Tags: tag}))
	describe := func(c *sdk.Client, id string) error {
		_, err := c.DescribeAccount(ctx, &sdk.DescribeAccountInput{AccountId: &id})
		return err
	}
	unit := func(c *sdk.Client, name string, tags ...types.Tag) error {
		_, err := c.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: &o.root, Name: &name, Tags: tags})
		return err
	}
	list := func(c *sdk.Client, of types.PolicyType) error {
		_, err := c.ListPolicies(ctx, &sdk.ListPoliciesInput{Filter: of})
		return err
	}
	account := func(id string) string {
		return `"arn:aws:organizations::111122223333:account/` + o.id + "/" + id + `"`
	}
	for _, c := range []struct {
		name, statement string
		allowed, denied func(*sdk.Client) error
	}{
		{"resource", `"Action":"*","Resource":` + account(mine),
			func(c *sdk.Client) error { return describe(c, mine) }, func(c *sdk.Client) error { return describe(c, other) }},
		{"all-resources", `"Action":"organizations:MoveAccount","Resource":[` + account(mine) + `,"arn:aws:organizations::111122223333:root/*"]`,
			nil, func(c *sdk.Client) error {
				_, err := c.MoveAccount(ctx, &sdk.MoveAccountInput{AccountId: &mine, SourceParentId: &o.root, DestinationParentId: aws.String("ou-abcd-00000000")})
				return err
			}},
		{"ResourceTag", `"Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"pay"}}`,
			func(c *sdk.Client) error { return describe(c, mine) }, func(c *sdk.Client) error { return describe(c, other) }},
		{"RequestTag", `"Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"pay"}}`,
			func(c *sdk.Client) error { return unit(c, "a", tag...) }, func(c *sdk.Client) error { return unit(c, "b") }},
		{"TagKeys", `"Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":"team"},"Null":{"aws:TagKeys":"false"}}`,
			func(c *sdk.Client) error {
				_, err := c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceId: &other, TagKeys: []string{"team"}})
				return err
			},
			func(c *sdk.Client) error {
				_, err := c.UntagResource(ctx, &sdk.UntagResourceInput{ResourceId: &other, TagKeys: []string{"team", "cost"}})
				return err
			}},
		{"tags-at-creation", `"Action":"organizations:CreateOrganizationalUnit","Resource":"*"`,
			func(c *sdk.Client) error { return unit(c, "c") }, func(c *sdk.Client) error { return unit(c, "d", tag...) }},
		{"PolicyType", `"Action":"*","Resource":"*","Condition":{"StringEquals":{"organizations:PolicyType":"SERVICE_CONTROL_POLICY"}}`,
			func(c *sdk.Client) error { return list(c, scp) }, func(c *sdk.Client) error { return list(c, types.PolicyTypeTagPolicy) }},
	} {
		client := o.user(o.srv.Root(), c.name, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`+c.statement+`}]}`).Organizations()
		if c.allowed != nil {
			if err := c.allowed(client); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		err := c.denied(client)
		fails(t, err, "AccessDeniedException", "because no identity-based policy allows")
		if err != nil && !strings.Contains(err.Error(), "user/"+c.name) {
			t.Errorf("%s: the denial does not name the user: %v", c.name, err)
		}
	}
}
