package organizations_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/kagimoritest"
)

var ctx = context.Background()

const (
	scp      = types.PolicyTypeServiceControlPolicy
	fullID   = "p-FullAWSAccess"
	denyKMS  = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
	allowKMS = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`
)

// fails checks the code of an error, and what the message or the reason must hold.
func fails(t *testing.T, err error, code string, holds ...string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	said := e.ErrorMessage()
	var reason string
	var violation *types.ConstraintViolationException
	var input *types.InvalidInputException
	if errors.As(err, &violation) {
		reason = string(violation.Reason)
	} else if errors.As(err, &input) {
		reason = string(input.Reason)
	}
	for _, part := range holds {
		if part != reason && !strings.Contains(said, part) {
			t.Errorf("got %s with reason %q and message %q, want %q", code, reason, said, part)
		}
	}
}

// org is a server with the ids of its organization.
type org struct {
	t   *testing.T
	srv *kagimoritest.Server
	*sdk.Client
	id, root string
}

func start(t *testing.T) *org {
	t.Helper()
	srv := kagimoritest.Start(t)
	o := &org{t: t, srv: srv, Client: srv.Root().Organizations()}
	o.id = *apitest.Must[*sdk.DescribeOrganizationOutput](t)(o.DescribeOrganization(ctx, nil)).Organization.Id
	o.root = *apitest.Must[*sdk.ListRootsOutput](t)(o.ListRoots(ctx, nil)).Roots[0].Id
	return o
}

func (o *org) enable() {
	o.t.Helper()
	apitest.Must[*sdk.EnablePolicyTypeOutput](o.t)(o.EnablePolicyType(ctx, &sdk.EnablePolicyTypeInput{RootId: &o.root, PolicyType: scp}))
}

func (o *org) account(name string) string {
	o.t.Helper()
	out := apitest.Must[*sdk.CreateAccountOutput](o.t)(o.CreateAccount(ctx, &sdk.CreateAccountInput{AccountName: &name, Email: aws.String(name + "@example.com")}))
	if out.CreateAccountStatus.State != types.CreateAccountStateSucceeded {
		o.t.Fatalf("CreateAccount: %+v", out.CreateAccountStatus)
	}
	return *out.CreateAccountStatus.AccountId
}

func (o *org) unit(parent, name string) string {
	o.t.Helper()
	return *apitest.Must[*sdk.CreateOrganizationalUnitOutput](o.t)(o.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: &parent, Name: &name})).OrganizationalUnit.Id
}

func (o *org) policy(name, content string) string {
	o.t.Helper()
	return *apitest.Must[*sdk.CreatePolicyOutput](o.t)(o.CreatePolicy(ctx, &sdk.CreatePolicyInput{
		Name: &name, Description: aws.String(""), Type: scp, Content: &content})).Policy.PolicySummary.Id
}

func (o *org) attach(policy, target string) error {
	_, err := o.AttachPolicy(ctx, &sdk.AttachPolicyInput{PolicyId: &policy, TargetId: &target})
	return err
}

func (o *org) detach(policy, target string) error {
	_, err := o.DetachPolicy(ctx, &sdk.DetachPolicyInput{PolicyId: &policy, TargetId: &target})
	return err
}

func (o *org) move(account, from, to string) error {
	_, err := o.MoveAccount(ctx, &sdk.MoveAccountInput{AccountId: &account, SourceParentId: &from, DestinationParentId: &to})
	return err
}

func (o *org) attached(target string) (ids []string) {
	o.t.Helper()
	for _, p := range apitest.Must[*sdk.ListPoliciesForTargetOutput](o.t)(o.ListPoliciesForTarget(ctx, &sdk.ListPoliciesForTargetInput{TargetId: &target, Filter: scp})).Policies {
		ids = append(ids, *p.Id)
	}
	return ids
}

// TestOrganizationIsThere: the organization comes with the first account and stays
// the same.
func TestOrganizationIsThere(t *testing.T) {
	o := start(t)
	got := apitest.Must[*sdk.DescribeOrganizationOutput](t)(o.DescribeOrganization(ctx, nil)).Organization
	if !regexp.MustCompile(`^o-[a-z0-9]{10}$`).MatchString(o.id) || *got.Arn != "arn:aws:organizations::111122223333:organization/"+o.id ||
		got.FeatureSet != types.OrganizationFeatureSetAll || *got.MasterAccountId != o.srv.Account ||
		*got.MasterAccountArn != "arn:aws:organizations::111122223333:account/"+o.id+"/111122223333" {
		t.Errorf("organization %+v", got)
	}
	roots := apitest.Must[*sdk.ListRootsOutput](t)(o.ListRoots(ctx, nil)).Roots
	if len(roots) != 1 || *roots[0].Name != "Root" || len(roots[0].PolicyTypes) != 0 || *roots[0].Arn != "arn:aws:organizations::111122223333:root/"+o.id+"/"+o.root ||
		!regexp.MustCompile(`^r-[a-z0-9]{4}$`).MatchString(o.root) {
		t.Errorf("roots %+v", roots)
	}
	a := apitest.Must[*sdk.DescribeAccountOutput](t)(o.DescribeAccount(ctx, &sdk.DescribeAccountInput{AccountId: &o.srv.Account})).Account
	if a.State != types.AccountStateActive || a.JoinedMethod != types.AccountJoinedMethodInvited || !a.JoinedTimestamp.Equal(o.srv.Now()) {
		t.Errorf("management account %+v", a)
	}
	_, err := o.CreateOrganization(ctx, nil)
	fails(t, err, "AlreadyInOrganizationException")

	o.srv.Restart()
	if again := *apitest.Must[*sdk.DescribeOrganizationOutput](t)(o.DescribeOrganization(ctx, nil)).Organization.Id; again != o.id {
		t.Errorf("after a restart the organization is %s, was %s", again, o.id)
	}
}

func TestAccounts(t *testing.T) {
	o := start(t)
	created := apitest.Must[*sdk.CreateAccountOutput](t)(o.CreateAccount(ctx, &sdk.CreateAccountInput{
		AccountName: aws.String("Payments"), Email: aws.String("pay@example.com"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("pay")}}})).CreateAccountStatus
	if created.State != types.CreateAccountStateSucceeded || *created.AccountName != "Payments" || !created.CompletedTimestamp.Equal(o.srv.Now()) || created.FailureReason != "" {
		t.Fatalf("created %+v", created)
	}
	id := *created.AccountId
	a := apitest.Must[*sdk.DescribeAccountOutput](t)(o.DescribeAccount(ctx, &sdk.DescribeAccountInput{AccountId: &id})).Account
	if *a.Arn != "arn:aws:organizations::111122223333:account/"+o.id+"/"+id || *a.Email != "pay@example.com" || *a.Name != "Payments" ||
		a.Status != types.AccountStatusActive || a.State != types.AccountStateActive || a.JoinedMethod != types.AccountJoinedMethodCreated ||
		!slices.Equal(a.Paths, []string{o.id + "/" + o.root + "/" + id + "/"}) {
		t.Errorf("account %+v", a)
	}

	failed := apitest.Must[*sdk.CreateAccountOutput](t)(o.CreateAccount(ctx, &sdk.CreateAccountInput{AccountName: aws.String("Again"), Email: aws.String("Pay@example.com")})).CreateAccountStatus
	if failed.State != types.CreateAccountStateFailed || failed.FailureReason != types.CreateAccountFailureReasonEmailAlreadyExists || failed.AccountId != nil {
		t.Errorf("an account of a used e-mail address: %+v", failed)
	}
	for _, want := range []*types.CreateAccountStatus{created, failed} {
		got := apitest.Must[*sdk.DescribeCreateAccountStatusOutput](t)(o.DescribeCreateAccountStatus(ctx, &sdk.DescribeCreateAccountStatusInput{CreateAccountRequestId: want.Id})).CreateAccountStatus
		if got.State != want.State || got.FailureReason != want.FailureReason || aws.ToString(got.AccountId) != aws.ToString(want.AccountId) {
			t.Errorf("status %+v, want %+v", got, want)
		}
		list := apitest.Must[*sdk.ListCreateAccountStatusOutput](t)(o.ListCreateAccountStatus(ctx, &sdk.ListCreateAccountStatusInput{States: []types.CreateAccountState{want.State}})).CreateAccountStatuses
		if len(list) != 1 || *list[0].Id != *want.Id {
			t.Errorf("requests that are %s: %+v", want.State, list)
		}
	}
	_, err := o.DescribeCreateAccountStatus(ctx, &sdk.DescribeCreateAccountStatusInput{CreateAccountRequestId: aws.String("car-00000000")})
	fails(t, err, "CreateAccountStatusNotFoundException")
	_, err = o.CreateAccount(ctx, &sdk.CreateAccountInput{AccountName: aws.String("x"), Email: aws.String("x@example.com"), RoleName: aws.String("AWSServiceRoleForX")})
	fails(t, err, "InvalidInputException", "INVALID_ROLE_NAME")
	_, err = o.CreateAccount(ctx, &sdk.CreateAccountInput{AccountName: aws.String("x"), Email: aws.String("nobody")})
	fails(t, err, "InvalidInputException", "INVALID_PATTERN")
	if n := len(apitest.Must[*sdk.ListAccountsOutput](t)(o.ListAccounts(ctx, nil)).Accounts); n != 2 {
		t.Errorf("%d accounts, want the management account and Payments", n)
	}

	apitest.Must[*sdk.CloseAccountOutput](t)(o.CloseAccount(ctx, &sdk.CloseAccountInput{AccountId: &id}))
	a = apitest.Must[*sdk.DescribeAccountOutput](t)(o.DescribeAccount(ctx, &sdk.DescribeAccountInput{AccountId: &id})).Account
	if a.Status != types.AccountStatusSuspended || a.State != types.AccountStateSuspended {
		t.Errorf("closed account %+v", a)
	}
	_, err = o.CloseAccount(ctx, &sdk.CloseAccountInput{AccountId: &id})
	fails(t, err, "AccountAlreadyClosedException")
	_, err = o.CloseAccount(ctx, &sdk.CloseAccountInput{AccountId: &o.srv.Account})
	fails(t, err, "ConstraintViolationException", "CANNOT_CLOSE_MANAGEMENT_ACCOUNT")
	unknown := aws.String("000000000000")
	_, err = o.CloseAccount(ctx, &sdk.CloseAccountInput{AccountId: unknown})
	fails(t, err, "AccountNotFoundException", "You specified an account that doesn't exist.")
	_, err = o.DescribeAccount(ctx, &sdk.DescribeAccountInput{AccountId: unknown})
	fails(t, err, "AccountNotFoundException")
}

func TestUnits(t *testing.T) {
	o := start(t)
	id := o.account("one")
	prod, dev := o.unit(o.root, "prod"), o.unit(o.root, "dev")
	inner := o.unit(prod, "dev") // a name is taken below one parent only

	u := apitest.Must[*sdk.DescribeOrganizationalUnitOutput](t)(o.DescribeOrganizationalUnit(ctx, &sdk.DescribeOrganizationalUnitInput{OrganizationalUnitId: &inner})).OrganizationalUnit
	if *u.Name != "dev" || *u.Arn != "arn:aws:organizations::111122223333:ou/"+o.id+"/"+inner || *u.Path != strings.Join([]string{o.id, o.root, prod, inner, ""}, "/") ||
		!strings.HasPrefix(inner, "ou-"+o.root[2:]+"-") {
		t.Errorf("unit %+v", u)
	}
	_, err := o.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: &o.root, Name: aws.String("dev")})
	fails(t, err, "DuplicateOrganizationalUnitException")
	_, err = o.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: aws.String("ou-abcd-00000000"), Name: aws.String("x")})
	fails(t, err, "ParentNotFoundException")
	_, err = o.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: &o.root, Name: aws.String("a\x00b")})
	fails(t, err, "InvalidInputException", "INVALID_PATTERN")

	_, err = o.UpdateOrganizationalUnit(ctx, &sdk.UpdateOrganizationalUnitInput{OrganizationalUnitId: &dev, Name: aws.String("prod")})
	fails(t, err, "DuplicateOrganizationalUnitException")
	renamed := apitest.Must[*sdk.UpdateOrganizationalUnitOutput](t)(o.UpdateOrganizationalUnit(ctx, &sdk.UpdateOrganizationalUnitInput{OrganizationalUnitId: &dev, Name: aws.String("test")})).OrganizationalUnit
	if *renamed.Name != "test" || *renamed.Id != dev {
		t.Errorf("renamed %+v", renamed)
	}

	fails(t, o.move(id, prod, dev), "SourceParentNotFoundException")
	fails(t, o.move(id, o.root, o.root), "DuplicateAccountException")
	fails(t, o.move(id, o.root, "ou-abcd-00000000"), "DestinationParentNotFoundException")
	fails(t, o.move("000000000000", o.root, prod), "AccountNotFoundException")
	if err := o.move(id, o.root, inner); err != nil {
		t.Fatal(err)
	}
	parents := apitest.Must[*sdk.ListParentsOutput](t)(o.ListParents(ctx, &sdk.ListParentsInput{ChildId: &id})).Parents
	if len(parents) != 1 || *parents[0].Id != inner || parents[0].Type != types.ParentTypeOrganizationalUnit {
		t.Errorf("parents of the account %+v", parents)
	}
	parents = apitest.Must[*sdk.ListParentsOutput](t)(o.ListParents(ctx, &sdk.ListParentsInput{ChildId: &prod})).Parents
	if len(parents) != 1 || *parents[0].Id != o.root || parents[0].Type != types.ParentTypeRoot {
		t.Errorf("parents of the unit %+v", parents)
	}
	_, err = o.ListParents(ctx, &sdk.ListParentsInput{ChildId: aws.String("ou-abcd-00000000")})
	fails(t, err, "ChildNotFoundException")

	children := func(parent string, kind types.ChildType) (ids []string) {
		for _, c := range apitest.Must[*sdk.ListChildrenOutput](t)(o.ListChildren(ctx, &sdk.ListChildrenInput{ParentId: &parent, ChildType: kind})).Children {
			if c.Type != kind {
				t.Errorf("child %+v, want a %s", c, kind)
			}
			ids = append(ids, *c.Id)
		}
		return ids
	}
	units := []string{dev, prod}
	slices.Sort(units)
	if got := children(o.root, types.ChildTypeOrganizationalUnit); !slices.Equal(got, units) {
		t.Errorf("units below the root %v, want %v", got, units)
	}
	if got := children(inner, types.ChildTypeAccount); !slices.Equal(got, []string{id}) {
		t.Errorf("accounts of the unit %v, want %s", got, id)
	}
	if got := apitest.Must[*sdk.ListAccountsForParentOutput](t)(o.ListAccountsForParent(ctx, &sdk.ListAccountsForParentInput{ParentId: &o.root})).Accounts; len(got) != 1 || *got[0].Id != o.srv.Account {
		t.Errorf("accounts of the root %+v, want the management account", got)
	}
	if got := apitest.Must[*sdk.ListOrganizationalUnitsForParentOutput](t)(o.ListOrganizationalUnitsForParent(ctx, &sdk.ListOrganizationalUnitsForParentInput{ParentId: &prod})).OrganizationalUnits; len(got) != 1 || *got[0].Id != inner {
		t.Errorf("units of prod %+v", got)
	}
	_, err = o.ListAccountsForParent(ctx, &sdk.ListAccountsForParentInput{ParentId: aws.String("r-0000")})
	fails(t, err, "ParentNotFoundException")

	remove := func(id string) error {
		_, err := o.DeleteOrganizationalUnit(ctx, &sdk.DeleteOrganizationalUnitInput{OrganizationalUnitId: &id})
		return err
	}
	fails(t, remove(prod), "OrganizationalUnitNotEmptyException")
	fails(t, remove(inner), "OrganizationalUnitNotEmptyException")
	if err := errors.Join(o.move(id, inner, o.root), remove(inner), remove(prod)); err != nil {
		t.Error(err)
	}
	fails(t, remove(prod), "OrganizationalUnitNotFoundException", "You specified an organizational unit that doesn't exist.")

	parent := o.root
	for depth := range 5 {
		parent = o.unit(parent, fmt.Sprint("level ", depth+1))
	}
	_, err = o.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: &parent, Name: aws.String("level 6")})
	fails(t, err, "ConstraintViolationException", "OU_DEPTH_LIMIT_EXCEEDED")
}

func TestPolicies(t *testing.T) {
	o := start(t)
	create := func(name, content string, kind types.PolicyType) error {
		_, err := o.CreatePolicy(ctx, &sdk.CreatePolicyInput{Name: &name, Description: aws.String("d"), Type: kind, Content: &content})
		return err
	}
	id := o.policy("No KMS", denyKMS)
	got := apitest.Must[*sdk.DescribePolicyOutput](t)(o.DescribePolicy(ctx, &sdk.DescribePolicyInput{PolicyId: &id})).Policy
	if *got.Content != denyKMS || *got.PolicySummary.Name != "No KMS" || got.PolicySummary.AwsManaged || got.PolicySummary.Type != scp ||
		*got.PolicySummary.Arn != "arn:aws:organizations::111122223333:policy/"+o.id+"/service_control_policy/"+id {
		t.Errorf("policy %+v %+v", got, got.PolicySummary)
	}
	full := apitest.Must[*sdk.DescribePolicyOutput](t)(o.DescribePolicy(ctx, &sdk.DescribePolicyInput{PolicyId: aws.String(fullID)})).Policy
	if !full.PolicySummary.AwsManaged || *full.PolicySummary.Arn != "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess" || !strings.Contains(*full.Content, `"Action": "*"`) {
		t.Errorf("FullAWSAccess %+v %+v", full, full.PolicySummary)
	}

	fails(t, create("No KMS", denyKMS, scp), "DuplicatePolicyException")
	fails(t, create("FullAWSAccess", denyKMS, scp), "DuplicatePolicyException")
	fails(t, create("tags", "{}", types.PolicyTypeTagPolicy), "PolicyTypeNotAvailableForOrganizationException")
	fails(t, create("bad", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}`, scp),
		"MalformedPolicyDocumentException", "The provided policy document does not meet the requirements of the specified policy type", "line 1", "principal")
	fails(t, create("bad", `{"Statement":`, scp), "MalformedPolicyDocumentException")
	pad := func(n int) string { return denyKMS + strings.Repeat(" ", n-len(denyKMS)) }
	fails(t, create("long", pad(5121), scp), "ConstraintViolationException", "POLICY_CONTENT_LIMIT_EXCEEDED")
	if err := create("just fits", pad(5120), scp); err != nil {
		t.Error(err)
	}

	_, err := o.UpdatePolicy(ctx, &sdk.UpdatePolicyInput{PolicyId: &id, Name: aws.String("just fits")})
	fails(t, err, "DuplicatePolicyException")
	_, err = o.UpdatePolicy(ctx, &sdk.UpdatePolicyInput{PolicyId: &id, Content: aws.String("[]")})
	fails(t, err, "MalformedPolicyDocumentException")
	_, err = o.UpdatePolicy(ctx, &sdk.UpdatePolicyInput{PolicyId: aws.String(fullID), Content: aws.String(denyKMS)})
	fails(t, err, "InvalidInputException", "IMMUTABLE_POLICY")
	up := apitest.Must[*sdk.UpdatePolicyOutput](t)(o.UpdatePolicy(ctx, &sdk.UpdatePolicyInput{PolicyId: &id, Description: aws.String("new"), Content: aws.String(allowKMS)})).Policy
	if *up.Content != allowKMS || *up.PolicySummary.Name != "No KMS" || *up.PolicySummary.Description != "new" {
		t.Errorf("updated %+v", up)
	}

	// Attachments, once the type is enabled.
	account, unit := o.account("one"), o.unit(o.root, "unit")
	fails(t, o.attach(id, account), "PolicyTypeNotEnabledException")
	if ids := o.attached(account); len(ids) != 0 {
		t.Errorf("attached while the type is disabled: %v", ids)
	}
	o.enable()
	_, err = o.EnablePolicyType(ctx, &sdk.EnablePolicyTypeInput{RootId: &o.root, PolicyType: scp})
	fails(t, err, "PolicyTypeAlreadyEnabledException")
	_, err = o.EnablePolicyType(ctx, &sdk.EnablePolicyTypeInput{RootId: &o.root, PolicyType: types.PolicyTypeTagPolicy})
	fails(t, err, "PolicyTypeNotAvailableForOrganizationException")
	_, err = o.EnablePolicyType(ctx, &sdk.EnablePolicyTypeInput{RootId: aws.String("r-0000"), PolicyType: scp})
	fails(t, err, "RootNotFoundException")
	if root := apitest.Must[*sdk.ListRootsOutput](t)(o.ListRoots(ctx, nil)).Roots[0]; len(root.PolicyTypes) != 1 || root.PolicyTypes[0].Type != scp || root.PolicyTypes[0].Status != types.PolicyTypeStatusEnabled {
		t.Errorf("root %+v", root)
	}
	later := o.account("later") // what comes later has it too
	for _, target := range []string{o.root, unit, account, later, o.srv.Account} {
		if ids := o.attached(target); !slices.Equal(ids, []string{fullID}) {
			t.Errorf("attached to %s: %v", target, ids)
		}
	}
	fails(t, o.detach(fullID, account), "ConstraintViolationException", "MIN_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED",
		"You cannot remove the last policy attached to the specified target. You must have at least one attached at all times.")
	fails(t, o.detach(id, account), "PolicyNotAttachedException")
	fails(t, o.attach("p-00000000", account), "PolicyNotFoundException", "You specified a policy that doesn't exist.")
	fails(t, o.attach(id, "000000000000"), "TargetNotFoundException", "You specified a target that doesn't exist.")
	if err := o.attach(id, account); err != nil {
		t.Fatal(err)
	}
	fails(t, o.attach(id, account), "DuplicatePolicyAttachmentException")
	for i := range 3 {
		if err := o.attach(o.policy(fmt.Sprint("more ", i), allowKMS), account); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, o.attach(o.policy("sixth", allowKMS), account), "ConstraintViolationException", "MAX_POLICY_TYPE_ATTACHMENT_LIMIT_EXCEEDED")
	_, err = o.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyId: &id})
	fails(t, err, "PolicyInUseException")
	if err := errors.Join(o.detach(fullID, account), o.detach(id, account)); err != nil { // the other three stay
		t.Fatal(err)
	}
	apitest.Must[*sdk.DeletePolicyOutput](t)(o.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyId: &id}))
	_, err = o.DescribePolicy(ctx, &sdk.DescribePolicyInput{PolicyId: &id})
	fails(t, err, "PolicyNotFoundException")
	_, err = o.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyId: aws.String(fullID)})
	fails(t, err, "InvalidInputException", "IMMUTABLE_POLICY")

	// Disabled and enabled again, everything begins anew.
	apitest.Must[*sdk.DisablePolicyTypeOutput](t)(o.DisablePolicyType(ctx, &sdk.DisablePolicyTypeInput{RootId: &o.root, PolicyType: scp}))
	_, err = o.DisablePolicyType(ctx, &sdk.DisablePolicyTypeInput{RootId: &o.root, PolicyType: scp})
	fails(t, err, "PolicyTypeNotEnabledException")
	o.enable()
	if ids := o.attached(account); !slices.Equal(ids, []string{fullID}) {
		t.Errorf("after disabling and enabling: %v", ids)
	}
}

// TestPages lists more than fits on a page, by pages.
func TestPages(t *testing.T) {
	o := start(t)
	o.enable()
	id := o.policy("one", allowKMS)
	want := map[string][]string{"accounts": {o.srv.Account}, "policies": {id}, "targets": {o.root}}
	if err := o.attach(id, o.root); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		account, unit := o.account(fmt.Sprint("a", i)), o.unit(o.root, fmt.Sprint("u", i))
		want["accounts"] = append(want["accounts"], account)
		want["units"] = append(want["units"], unit)
		want["targets"] = append(want["targets"], account, unit)
		want["policies"] = append(want["policies"], o.policy(fmt.Sprint("p", i), allowKMS))
		if err := errors.Join(o.attach(id, account), o.attach(id, unit)); err != nil {
			t.Fatal(err)
		}
	}
	want["policies"] = append(want["policies"], fullID)
	limit := aws.Int32(2)
	lists := map[string]func(token *string) (ids []string, next *string){
		"accounts": func(token *string) (ids []string, next *string) {
			out := apitest.Must[*sdk.ListAccountsOutput](t)(o.ListAccounts(ctx, &sdk.ListAccountsInput{MaxResults: limit, NextToken: token}))
			for _, a := range out.Accounts {
				ids = append(ids, *a.Id)
			}
			return ids, out.NextToken
		},
		"units": func(token *string) (ids []string, next *string) {
			out := apitest.Must[*sdk.ListOrganizationalUnitsForParentOutput](t)(o.ListOrganizationalUnitsForParent(ctx, &sdk.ListOrganizationalUnitsForParentInput{ParentId: &o.root, MaxResults: limit, NextToken: token}))
			for _, u := range out.OrganizationalUnits {
				ids = append(ids, *u.Id)
			}
			return ids, out.NextToken
		},
		"policies": func(token *string) (ids []string, next *string) {
			out := apitest.Must[*sdk.ListPoliciesOutput](t)(o.ListPolicies(ctx, &sdk.ListPoliciesInput{Filter: scp, MaxResults: limit, NextToken: token}))
			for _, p := range out.Policies {
				ids = append(ids, *p.Id)
			}
			return ids, out.NextToken
		},
		"targets": func(token *string) (ids []string, next *string) {
			out := apitest.Must[*sdk.ListTargetsForPolicyOutput](t)(o.ListTargetsForPolicy(ctx, &sdk.ListTargetsForPolicyInput{PolicyId: &id, MaxResults: limit, NextToken: token}))
			for _, target := range out.Targets {
				ids = append(ids, *target.TargetId)
			}
			return ids, out.NextToken
		},
	}
	for name, list := range lists {
		var got []string
		pages := 0
		for token := (*string)(nil); pages == 0 || token != nil; pages++ {
			var ids []string
			ids, token = list(token)
			if len(ids) == 0 || len(ids) > 2 {
				t.Errorf("%s: a page of %d", name, len(ids))
			}
			got = append(got, ids...)
		}
		slices.Sort(got)
		slices.Sort(want[name])
		if !slices.Equal(got, want[name]) || pages != (len(got)+1)/2 {
			t.Errorf("%s in %d pages: %v, want %v", name, pages, got, want[name])
		}
	}
	_, err := o.ListAccounts(ctx, &sdk.ListAccountsInput{NextToken: aws.String("x")})
	fails(t, err, "InvalidInputException", "INVALID_NEXT_TOKEN")
	_, err = o.ListAccounts(ctx, &sdk.ListAccountsInput{MaxResults: aws.Int32(21)})
	fails(t, err, "InvalidInputException", "MAX_VALUE_EXCEEDED")
}

func TestTags(t *testing.T) {
	o := start(t)
	tag := func(k, v string) types.Tag { return types.Tag{Key: &k, Value: &v} }
	account := apitest.Must[*sdk.CreateAccountOutput](t)(o.CreateAccount(ctx, &sdk.CreateAccountInput{AccountName: aws.String("a"), Email: aws.String("a@example.com"), Tags: []types.Tag{tag("a", "0")}})).CreateAccountStatus.AccountId
	unit := apitest.Must[*sdk.CreateOrganizationalUnitOutput](t)(o.CreateOrganizationalUnit(ctx, &sdk.CreateOrganizationalUnitInput{ParentId: &o.root, Name: aws.String("u"), Tags: []types.Tag{tag("a", "0")}})).OrganizationalUnit.Id
	policy := apitest.Must[*sdk.CreatePolicyOutput](t)(o.CreatePolicy(ctx, &sdk.CreatePolicyInput{Name: aws.String("p"), Description: aws.String(""), Type: scp, Content: aws.String(denyKMS), Tags: []types.Tag{tag("a", "0")}})).Policy.PolicySummary.Id
	apitest.Must[*sdk.TagResourceOutput](t)(o.TagResource(ctx, &sdk.TagResourceInput{ResourceId: &o.root, Tags: []types.Tag{tag("a", "0")}}))
	tags := func(id string) string {
		var all []string
		for _, tg := range apitest.Must[*sdk.ListTagsForResourceOutput](t)(o.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{ResourceId: &id})).Tags {
			all = append(all, *tg.Key+"="+*tg.Value)
		}
		return strings.Join(all, " ")
	}
	for _, id := range []string{*account, *unit, *policy, o.root} {
		if got := tags(id); got != "a=0" {
			t.Errorf("%s begins with %q", id, got)
		}
		apitest.Must[*sdk.TagResourceOutput](t)(o.TagResource(ctx, &sdk.TagResourceInput{ResourceId: &id, Tags: []types.Tag{tag("c", "3"), tag("a", "1"), tag("b", "")}}))
		if got := tags(id); got != "a=1 b= c=3" {
			t.Errorf("%s has %q", id, got)
		}
		apitest.Must[*sdk.UntagResourceOutput](t)(o.UntagResource(ctx, &sdk.UntagResourceInput{ResourceId: &id, TagKeys: []string{"b", "none"}}))
		if got := tags(id); got != "a=1 c=3" {
			t.Errorf("%s has %q", id, got)
		}
	}
	add := func(id string, tags ...types.Tag) error {
		_, err := o.TagResource(ctx, &sdk.TagResourceInput{ResourceId: &id, Tags: tags})
		return err
	}
	fails(t, add(*unit, tag("x", "1"), tag("x", "2")), "InvalidInputException", "DUPLICATE_TAG_KEY")
	fails(t, add(*unit, tag("AWS:x", "1")), "InvalidInputException", "INVALID_SYSTEM_TAGS_PARAMETER")
	fails(t, add("000000000000", tag("x", "1")), "TargetNotFoundException")
	fails(t, add(fullID, tag("x", "1")), "InvalidInputException", "TARGET_NOT_SUPPORTED")
	var many []types.Tag
	for i := range 49 {
		many = append(many, tag(fmt.Sprint("many", i), ""))
	}
	fails(t, add(*unit, many...), "ConstraintViolationException", "MAX_TAG_LIMIT_EXCEEDED")
	if err := add(*unit, many[1:]...); err != nil {
		t.Error(err)
	}
}

// TestRecords: names and e-mail addresses stay out of the audit records.
func TestRecords(t *testing.T) {
	o := start(t)
	id := o.account("confidential")
	for _, r := range o.srv.Records() {
		if r["eventName"] != "CreateAccount" {
			continue
		}
		text := fmt.Sprint(r)
		if strings.Contains(text, "confidential") || !strings.Contains(text, id) || r["eventSource"] != "organizations.amazonaws.com" {
			t.Errorf("record %s", text)
		}
		return
	}
	t.Error("no record of CreateAccount")
}
