package iam_test

import (
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/kagimoritest"
)

const account = "111122223333"

func do[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantError checks the code of a failed call, and its message if given.
func wantError(t *testing.T, err error, code string, message ...string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("error %v, want %s", err, code)
		return
	}
	if len(message) > 0 && e.ErrorMessage() != message[0] {
		t.Errorf("%s: message %q, want %q", code, e.ErrorMessage(), message[0])
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

const (
	allowAll  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	allowList = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}]}`
	trustRoot = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`
)

// newUser makes a user with an access key.
func newUser(t *testing.T, srv *kagimoritest.Server, name string) (kagimoritest.Caller, *types.AccessKey) {
	t.Helper()
	c := srv.Root().IAM()
	do[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: &name}))
	k := do[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: &name})).AccessKey
	return srv.As(aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey}), k
}

func TestUsers(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	made := do[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("Alice"), Path: aws.String("/div/"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}})).User
	if *made.Arn != "arn:aws:iam::"+account+":user/div/Alice" || len(*made.UserId) != 21 || !strings.HasPrefix(*made.UserId, "AIDA") || made.CreateDate == nil {
		t.Errorf("CreateUser answers %v %v", *made.Arn, *made.UserId)
	}
	_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("alice")})
	wantError(t, err, "EntityAlreadyExists", "User with name alice already exists.")
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("bob")})
	wantError(t, err, "NoSuchEntity", "The user with name bob cannot be found.")
	_, err = c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("a/b")})
	wantError(t, err, "ValidationError")

	// A new name is not a new user.
	_, err = c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: aws.String("Alice"), NewUserName: aws.String("Alicia"), NewPath: aws.String("/")})
	ok(t, err)
	got := do[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("ALICIA")})).User
	if *got.UserId != *made.UserId || *got.Arn != "arn:aws:iam::"+account+":user/Alicia" || *got.Tags[0].Value != "red" {
		t.Errorf("after the renaming: %v %v", *got.Arn, got.Tags)
	}
	root := do[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{})).User
	if *root.Arn != iam.RootARN(account) || *root.UserId != account {
		t.Errorf("the root is %v %v", *root.Arn, *root.UserId)
	}

	for i := range 5 {
		do[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String(fmt.Sprint("u", i)), Path: aws.String("/batch/")}))
	}
	var names []string
	pages := 0
	for p := sdk.NewListUsersPaginator(c, &sdk.ListUsersInput{MaxItems: aws.Int32(2), PathPrefix: aws.String("/batch/")}); p.HasMorePages(); pages++ {
		for _, u := range do[*sdk.ListUsersOutput](t)(p.NextPage(ctx)).Users {
			names = append(names, *u.UserName)
		}
	}
	if !slices.Equal(names, []string{"u0", "u1", "u2", "u3", "u4"}) || pages != 3 {
		t.Errorf("ListUsers gives %v in %d pages", names, pages)
	}
	_, err = c.ListUsers(ctx, &sdk.ListUsersInput{Marker: aws.String("nonsense")})
	wantError(t, err, "ValidationError")

	// What keeps a user from being deleted.
	name := aws.String("Alicia")
	do[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
	for _, step := range []struct {
		add, remove func() error
		what        string
	}{
		{func() error {
			_, err := c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: aws.String(allowAll)})
			return err
		}, func() error {
			_, err := c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("p")})
			return err
		}, "delete policies"},
		{func() error {
			_, err := c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")})
			return err
		}, func() error {
			_, err := c.DetachUserPolicy(ctx, &sdk.DetachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")})
			return err
		}, "detach all policies"},
		{func() error {
			_, err := c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{UserName: name, GroupName: aws.String("g")})
			return err
		}, func() error {
			_, err := c.DeleteGroup(ctx, &sdk.DeleteGroupInput{GroupName: aws.String("g")})
			wantError(t, err, "DeleteConflict", "Cannot delete entity, must remove users from group first.")
			_, err = c.RemoveUserFromGroup(ctx, &sdk.RemoveUserFromGroupInput{UserName: name, GroupName: aws.String("g")})
			return err
		}, "remove user from all groups"},
		{func() error {
			_, err := c.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: name, Password: aws.String("Correct-Horse-7")})
			return err
		}, func() error {
			_, err := c.DeleteLoginProfile(ctx, &sdk.DeleteLoginProfileInput{UserName: name})
			return err
		}, "delete login profile"},
	} {
		ok(t, step.add())
		_, err := c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
		wantError(t, err, "DeleteConflict", "Cannot delete entity, must "+step.what+" first.")
		ok(t, step.remove())
	}
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
	ok(t, err)
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: name})
	wantError(t, err, "NoSuchEntity")
}

// What a change acknowledged, the next call counts with.
func TestPoliciesInForce(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, _ := newUser(t, srv, "worker")
	name := aws.String("worker")
	list := func() error {
		_, err := user.IAM().ListUsers(ctx, &sdk.ListUsersInput{})
		return err
	}
	denied := func(reason string) {
		t.Helper()
		wantError(t, list(), "AccessDenied", "User: arn:aws:iam::"+account+":user/worker is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::"+account+":user/ "+reason)
	}
	none := "because no identity-based policy allows the iam:ListUsers action"
	denied(none)

	do[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: aws.String(allowList)}))
	ok(t, list())
	do[*sdk.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("p")}))
	denied(none)

	// By a group's inline policy, by the managed policy of a group.
	do[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
	do[*sdk.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("g"), UserName: name}))
	denied(none)
	do[*sdk.PutGroupPolicyOutput](t)(c.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("p"), PolicyDocument: aws.String(allowList)}))
	ok(t, list())
	do[*sdk.DeleteGroupPolicyOutput](t)(c.DeleteGroupPolicy(ctx, &sdk.DeleteGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("p")}))
	denied(none)
	arn := do[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("Listing"), PolicyDocument: aws.String(allowList)})).Policy.Arn
	do[*sdk.AttachGroupPolicyOutput](t)(c.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: aws.String("g"), PolicyArn: arn}))
	ok(t, list())

	// Another default version.
	none2 := strings.ReplaceAll(allowList, "iam:ListUsers", "iam:ListRoles")
	do[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: &none2}))
	ok(t, list())
	do[*sdk.SetDefaultPolicyVersionOutput](t)(c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v2")}))
	denied(none)
	do[*sdk.SetDefaultPolicyVersionOutput](t)(c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")}))
	ok(t, list())

	// A boundary, a denial.
	do[*sdk.PutUserPermissionsBoundaryOutput](t)(c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser")}))
	ok(t, list()) // which that policy allows
	do[*sdk.PutUserPermissionsBoundaryOutput](t)(c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/IAMUserChangePassword")}))
	denied("because no permissions boundary allows the iam:ListUsers action")
	do[*sdk.DeleteUserPermissionsBoundaryOutput](t)(c.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: name}))
	ok(t, list())
	do[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("no"), PolicyDocument: aws.String(strings.ReplaceAll(allowList, "Allow", "Deny"))}))
	denied("with an explicit deny in an identity-based policy")
	do[*sdk.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("no")}))
	do[*sdk.RemoveUserFromGroupOutput](t)(c.RemoveUserFromGroup(ctx, &sdk.RemoveUserFromGroupInput{GroupName: aws.String("g"), UserName: name}))
	denied(none)
}

func TestAccessKeys(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, key := newUser(t, srv, "worker")
	name := aws.String("worker")
	who := func(c kagimoritest.Caller) error {
		_, err := c.STS().GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	}
	ok(t, who(user))
	do[*sdk.UpdateAccessKeyOutput](t)(c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeInactive}))
	wantError(t, who(user), "InvalidClientTokenId")
	listed := do[*sdk.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: name})).AccessKeyMetadata
	if len(listed) != 1 || listed[0].Status != types.StatusTypeInactive || *listed[0].UserName != "worker" {
		t.Errorf("ListAccessKeys gives %v", listed)
	}
	do[*sdk.UpdateAccessKeyOutput](t)(c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeActive}))
	ok(t, who(user))

	second := do[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})).AccessKey
	_, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	wantError(t, err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	used := do[*sdk.GetAccessKeyLastUsedOutput](t)(c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: second.AccessKeyId}))
	if *used.UserName != "worker" {
		t.Errorf("the key is %s's", *used.UserName)
	}
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId})
	ok(t, err)
	wantError(t, who(user), "InvalidClientTokenId")
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId})
	wantError(t, err, "NoSuchEntity", "The Access Key with id "+*key.AccessKeyId+" cannot be found.")

	// The root changes its key, and the old one is no more.
	next := do[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{})).AccessKey
	fresh := srv.As(aws.Credentials{AccessKeyID: *next.AccessKeyId, SecretAccessKey: *next.SecretAccessKey})
	do[*sdk.DeleteAccessKeyOutput](t)(fresh.IAM().DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{AccessKeyId: aws.String(srv.AccessKeyID)}))
	wantError(t, who(srv.Root()), "InvalidClientTokenId")
	ok(t, who(fresh))
	// The secret of no key is in an audit record.
	text, err := json.Marshal(srv.Records())
	ok(t, err)
	for _, k := range []*types.AccessKey{key, second, next} {
		if strings.Contains(string(text), *k.SecretAccessKey) {
			t.Error("a secret access key is in an audit record")
		}
	}
}

func TestManagedPolicies(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	text := "{\n \"Version\": \"2012-10-17\", \"Statement\": {\"Effect\": \"Allow\", \"Action\": \"kms:Decrypt\", \"Resource\": \"arn:aws:kms:*:111122223333:key/*\"} }"
	p := do[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("Decrypting"), Path: aws.String("/team/"), PolicyDocument: &text, Description: aws.String("d")})).Policy
	if *p.Arn != "arn:aws:iam::"+account+":policy/team/Decrypting" || *p.DefaultVersionId != "v1" || *p.AttachmentCount != 0 {
		t.Errorf("CreatePolicy answers %v", p)
	}
	v := do[*sdk.GetPolicyVersionOutput](t)(c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v1")})).PolicyVersion
	if shown, err := url.PathUnescape(*v.Document); shown != text || err != nil || strings.Contains(*v.Document, "+") || !v.IsDefaultVersion {
		t.Errorf("the version is %q", *v.Document)
	}
	_, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("decrypting"), PolicyDocument: &text})
	wantError(t, err, "EntityAlreadyExists", "A policy called decrypting already exists. Duplicate names are not allowed.")
	for _, bad := range []string{`{"Version":"2012-10-17"}`, `[]`, `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":"*"}}`} {
		_, err = c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("bad"), PolicyDocument: &bad})
		wantError(t, err, "MalformedPolicyDocument")
	}
	for i := 2; i <= 5; i++ {
		do[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowList), SetAsDefault: i == 3}))
	}
	_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowList)})
	wantError(t, err, "LimitExceeded")
	_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v3")})
	wantError(t, err, "DeleteConflict", "Cannot delete the default version of a policy.")
	_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v5")})
	ok(t, err)
	made := do[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowList)})).PolicyVersion
	if *made.VersionId != "v6" {
		t.Errorf("a version number was used again: %s", *made.VersionId)
	}
	var versions []string
	for _, v := range do[*sdk.ListPolicyVersionsOutput](t)(c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: p.Arn})).Versions {
		versions = append(versions, *v.VersionId)
	}
	if !slices.Equal(versions, []string{"v6", "v4", "v3", "v2", "v1"}) {
		t.Errorf("versions %v", versions)
	}

	do[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trustRoot), PermissionsBoundary: p.Arn}))
	do[*sdk.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: p.Arn}))
	got := do[*sdk.GetPolicyOutput](t)(c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: p.Arn})).Policy
	if *got.AttachmentCount != 1 || *got.PermissionsBoundaryUsageCount != 1 {
		t.Errorf("attached %d times, a boundary %d times", *got.AttachmentCount, *got.PermissionsBoundaryUsageCount)
	}
	users := do[*sdk.ListEntitiesForPolicyOutput](t)(c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: p.Arn}))
	if len(users.PolicyRoles) != 1 || *users.PolicyRoles[0].RoleName != "r" || len(users.PolicyUsers)+len(users.PolicyGroups) != 0 {
		t.Errorf("ListEntitiesForPolicy gives %v", users.PolicyRoles)
	}
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: p.Arn})
	wantError(t, err, "DeleteConflict", "Cannot delete a policy attached to entities.")
	ofAWS := 0
	for pages := sdk.NewListPoliciesPaginator(c, &sdk.ListPoliciesInput{MaxItems: aws.Int32(5)}); pages.HasMorePages(); {
		for _, p := range do[*sdk.ListPoliciesOutput](t)(pages.NextPage(ctx)).Policies {
			if strings.HasPrefix(*p.Arn, "arn:aws:iam::aws:policy/") {
				ofAWS++
			}
		}
	}
	if ofAWS < 10 {
		t.Errorf("%d policies of AWS", ofAWS)
	}
	only := do[*sdk.ListPoliciesOutput](t)(c.ListPolicies(ctx, &sdk.ListPoliciesInput{OnlyAttached: true})).Policies
	if len(only) != 1 || *only[0].Arn != *p.Arn {
		t.Errorf("attached policies: %v", only)
	}
	for _, bad := range []string{"arn:aws:iam::aws:policy/NoSuchPolicy", "arn:aws:iam::444455556666:policy/Foreign"} {
		_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &bad})
		wantError(t, err, "NoSuchEntity", "Policy "+bad+" does not exist or is not attachable.")
	}
	_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String("arn:aws:iam::aws:policy/aws-service-role/AWSOrganizationsServiceTrustPolicy")})
	wantError(t, err, "PolicyNotAttachable")
}

func TestRoles(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	newUser(t, srv, "alice")
	trust := strings.Replace(trustRoot, ":root", ":user/alice", 1)
	role := do[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("app"), Path: aws.String("/svc/"), AssumeRolePolicyDocument: &trust, MaxSessionDuration: aws.Int32(7200)})).Role
	if *role.Arn != "arn:aws:iam::"+account+":role/svc/app" || !strings.HasPrefix(*role.RoleId, "AROA") || *role.MaxSessionDuration != 7200 {
		t.Errorf("CreateRole answers %v", role)
	}
	_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("bad"), AssumeRolePolicyDocument: aws.String(strings.Replace(trustRoot, ":root", ":user/nobody", 1))})
	wantError(t, err, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/nobody"`)

	// Whom the trust policy means is shown by id once he is gone, and a namesake is
	// another one.
	alice := do[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("alice")})).User
	key := do[*sdk.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: aws.String("alice")})).AccessKeyMetadata[0]
	do[*sdk.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: aws.String("alice"), AccessKeyId: key.AccessKeyId}))
	do[*sdk.DeleteUserOutput](t)(c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("alice")}))
	again, _ := newUser(t, srv, "alice")
	_, err = again.STS().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("sess")})
	wantError(t, err, "AccessDenied")
	shown, err := url.PathUnescape(*do[*sdk.GetRoleOutput](t)(c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("app")})).Role.AssumeRolePolicyDocument)
	ok(t, err)
	if want := strings.Replace(trust, *alice.Arn, *alice.UserId, 1); shown != want {
		t.Errorf("the trust policy is shown as %s", shown)
	}
	do[*sdk.UpdateAssumeRolePolicyOutput](t)(c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("app"), PolicyDocument: &trust}))
	_, err = again.STS().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("sess")})
	ok(t, err)

	slr := do[*sdk.CreateServiceLinkedRoleOutput](t)(c.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("mrk.kms.amazonaws.com")})).Role
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: slr.RoleName})
	wantError(t, err, "UnmodifiableEntity")
	task := do[*sdk.DeleteServiceLinkedRoleOutput](t)(c.DeleteServiceLinkedRole(ctx, &sdk.DeleteServiceLinkedRoleInput{RoleName: slr.RoleName})).DeletionTaskId
	if s := do[*sdk.GetServiceLinkedRoleDeletionStatusOutput](t)(c.GetServiceLinkedRoleDeletionStatus(ctx, &sdk.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task})).Status; s != types.DeletionTaskStatusTypeSucceeded {
		t.Errorf("the deletion is %s", s)
	}
}

// A code of an MFA device is good once, and two in a row prove that it is set up.
func TestMFA(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, _ := newUser(t, srv, "worker")
	name := aws.String("worker")
	dev := do[*sdk.CreateVirtualMFADeviceOutput](t)(c.CreateVirtualMFADevice(ctx, &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: name})).VirtualMFADevice
	if *dev.SerialNumber != "arn:aws:iam::"+account+":mfa/worker" || !strings.HasPrefix(string(dev.QRCodePNG), "\x89PNG") {
		t.Errorf("the device is %s", *dev.SerialNumber)
	}
	seed, err := base32.StdEncoding.DecodeString(string(dev.Base32StringSeed))
	ok(t, err)
	code := func() *string { return aws.String(iam.TOTP(seed, srv.Now())) }
	enable := func(first, second *string) error {
		_, err := c.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: name, SerialNumber: dev.SerialNumber, AuthenticationCode1: first, AuthenticationCode2: second})
		return err
	}
	first := code()
	wantError(t, enable(first, first), "InvalidAuthenticationCode")
	srv.Advance(30 * time.Second)
	ok(t, enable(first, code()))
	wantError(t, enable(first, code()), "EntityAlreadyExists")
	login := func(c *string) error {
		_, err := user.STS().GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: dev.SerialNumber, TokenCode: c})
		return err
	}
	wantError(t, login(code()), "AccessDenied") // it has been used
	srv.Advance(30 * time.Second)
	now := code()
	ok(t, login(now))
	wantError(t, login(now), "AccessDenied")
	for range 10 {
		wantError(t, login(aws.String("000000")), "AccessDenied")
	}
	next := aws.String(iam.TOTP(seed, srv.Now().Add(30*time.Second))) // from a clock that is a little ahead
	wantError(t, login(next), "AccessDenied")                         // there have been too many guesses
	srv.Advance(30 * time.Second)
	ok(t, login(next))

	_, err = c.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: dev.SerialNumber})
	wantError(t, err, "DeleteConflict")
	if all := do[*sdk.ListMFADevicesOutput](t)(c.ListMFADevices(ctx, &sdk.ListMFADevicesInput{UserName: name})).MFADevices; len(all) != 1 {
		t.Errorf("%d devices", len(all))
	}
	all := do[*sdk.ListVirtualMFADevicesOutput](t)(c.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{AssignmentStatus: types.AssignmentStatusTypeAssigned})).VirtualMFADevices
	if len(all) != 1 || *all[0].User.UserName != "worker" || all[0].Base32StringSeed != nil {
		t.Errorf("devices %v", all)
	}
	text, err := json.Marshal(srv.Records())
	ok(t, err)
	if strings.Contains(string(text), string(dev.Base32StringSeed)) {
		t.Error("the seed is in an audit record")
	}
	do[*sdk.DeactivateMFADeviceOutput](t)(c.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: name, SerialNumber: dev.SerialNumber}))
	srv.Advance(30 * time.Second)
	wantError(t, login(code()), "AccessDenied")
	_, err = c.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: dev.SerialNumber})
	ok(t, err)
}

func TestSimulate(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	newUser(t, srv, "worker")
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/a*"},
		{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}},
		{"Effect":"Deny","Action":"kms:ScheduleKeyDeletion","Resource":"*","Condition":{"NumericLessThan":{"kms:ScheduleKeyDeletionPendingWindowInDays":"14"}}}]}`
	do[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("worker"), PolicyName: aws.String("p"), PolicyDocument: &doc}))
	entry := func(name string, kind types.ContextKeyTypeEnum, value string) types.ContextEntry {
		return types.ContextEntry{ContextKeyName: &name, ContextKeyType: kind, ContextKeyValues: []string{value}}
	}
	for _, s := range []struct {
		action, resource string
		context          []types.ContextEntry
		want             types.PolicyEvaluationDecisionType
	}{
		{"kms:Encrypt", "arn:aws:kms:eu-central-1:111122223333:key/abc", nil, "allowed"},
		{"kms:Encrypt", "arn:aws:kms:eu-central-1:111122223333:key/xyz", nil, "implicitDeny"},
		{"kms:Decrypt", "arn:aws:kms:eu-central-1:111122223333:key/abc", []types.ContextEntry{entry("aws:SecureTransport", "boolean", "false")}, "explicitDeny"},
		{"kms:Decrypt", "arn:aws:kms:eu-central-1:111122223333:key/abc", []types.ContextEntry{entry("aws:SecureTransport", "boolean", "true")}, "allowed"},
		{"kms:ScheduleKeyDeletion", "arn:aws:kms:eu-central-1:111122223333:key/abc", []types.ContextEntry{entry("kms:ScheduleKeyDeletionPendingWindowInDays", "numeric", "7")}, "explicitDeny"},
		{"kms:ScheduleKeyDeletion", "arn:aws:kms:eu-central-1:111122223333:key/abc", []types.ContextEntry{entry("kms:ScheduleKeyDeletionPendingWindowInDays", "numeric", "30")}, "allowed"},
	} {
		custom := do[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{doc}, ActionNames: []string{s.action}, ResourceArns: []string{s.resource}, ContextEntries: s.context}))
		own := do[*sdk.SimulatePrincipalPolicyOutput](t)(c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::" + account + ":user/worker"), ActionNames: []string{s.action}, ResourceArns: []string{s.resource}, ContextEntries: s.context}))
		for _, r := range append(custom.EvaluationResults, own.EvaluationResults...) {
			if r.EvalDecision != s.want {
				t.Errorf("%s on %s with %v: %s, want %s", s.action, s.resource, s.context, r.EvalDecision, s.want)
			}
			if (s.want == "implicitDeny") != (len(r.MatchedStatements) == 0) {
				t.Errorf("%s on %s: %d statements matched", s.action, s.resource, len(r.MatchedStatements))
			}
		}
	}
	missing := do[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{doc}, ActionNames: []string{"kms:Decrypt"}})).EvaluationResults[0].MissingContextValues
	if !slices.Contains(missing, "aws:SecureTransport") {
		t.Errorf("missing values %v", missing)
	}
	keys := do[*sdk.GetContextKeysForPrincipalPolicyOutput](t)(c.GetContextKeysForPrincipalPolicy(ctx, &sdk.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::" + account + ":user/worker")})).ContextKeyNames
	if !slices.Equal(keys, []string{"aws:SecureTransport", "kms:ScheduleKeyDeletionPendingWindowInDays"}) {
		t.Errorf("context keys %v", keys)
	}
	bounded := do[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, PermissionsBoundaryPolicyInputList: []string{allowList}, ActionNames: []string{"kms:Encrypt", "iam:ListUsers"}})).EvaluationResults
	if bounded[0].EvalDecision != "implicitDeny" || bounded[0].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary || bounded[1].EvalDecision != "allowed" {
		t.Errorf("with a boundary: %v", bounded)
	}
	_, err := c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{"{"}, ActionNames: []string{"kms:Encrypt"}})
	wantError(t, err, "InvalidInput")
}

func TestAccountDetails(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	newUser(t, srv, "alice")
	do[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
	do[*sdk.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("g"), UserName: aws.String("alice")}))
	do[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trustRoot)}))
	do[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(allowList)}))
	do[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("inline"), PolicyDocument: aws.String(allowList)}))

	var users, groups, roles, policies int
	pages := 0
	for p := sdk.NewGetAccountAuthorizationDetailsPaginator(c, &sdk.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(1), Filter: []types.EntityType{types.EntityTypeUser, types.EntityTypeGroup, types.EntityTypeRole, types.EntityTypeLocalManagedPolicy}}); p.HasMorePages(); pages++ {
		out := do[*sdk.GetAccountAuthorizationDetailsOutput](t)(p.NextPage(ctx))
		for _, u := range out.UserDetailList {
			users++
			if !slices.Equal(u.GroupList, []string{"g"}) || *u.UserPolicyList[0].PolicyName != "inline" {
				t.Errorf("user %v", u)
			}
		}
		groups, roles, policies = groups+len(out.GroupDetailList), roles+len(out.RoleDetailList), policies+len(out.Policies)
	}
	if users != 1 || groups != 1 || roles != 1 || policies != 1 || pages != 4 {
		t.Errorf("%d users, %d groups, %d roles, %d policies in %d pages", users, groups, roles, policies, pages)
	}
	sum := do[*sdk.GetAccountSummaryOutput](t)(c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})).SummaryMap
	if sum["Users"] != 1 || sum["Roles"] != 1 || sum["AccountAccessKeysPresent"] != 1 || sum["AccountMFAEnabled"] != 0 {
		t.Errorf("summary %v", sum)
	}

	do[*sdk.CreateAccountAliasOutput](t)(c.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: aws.String("first")}))
	do[*sdk.CreateAccountAliasOutput](t)(c.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: aws.String("second")}))
	if got := do[*sdk.ListAccountAliasesOutput](t)(c.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})).AccountAliases; !slices.Equal(got, []string{"second"}) {
		t.Errorf("aliases %v", got)
	}
	_, err := c.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String("first")})
	wantError(t, err, "NoSuchEntity")
	_, err = c.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String("second")})
	ok(t, err)
}

func TestPasswords(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, _ := newUser(t, srv, "worker")
	name := aws.String("worker")
	do[*sdk.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMUserChangePassword")}))
	for _, weak := range []string{"short1A", "alllowercase", "1234567890"} {
		_, err := c.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: name, Password: &weak})
		wantError(t, err, "PasswordPolicyViolation")
	}
	do[*sdk.CreateLoginProfileOutput](t)(c.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: name, Password: aws.String("Correct-Horse-7"), PasswordResetRequired: true}))
	change := func(from, to string) error {
		_, err := user.IAM().ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: &from, NewPassword: &to})
		return err
	}
	wantError(t, change("Wrong-Horse-7", "Battery-Staple-8"), "AccessDenied", "The old password was incorrect.")
	ok(t, change("Correct-Horse-7", "Battery-Staple-8"))
	wantError(t, change("Correct-Horse-7", "Battery-Staple-9"), "AccessDenied", "The old password was incorrect.")
	if p := do[*sdk.GetLoginProfileOutput](t)(c.GetLoginProfile(ctx, &sdk.GetLoginProfileInput{UserName: name})).LoginProfile; p.PasswordResetRequired {
		t.Error("the password must still be changed")
	}
	text, err := json.Marshal(srv.Records())
	ok(t, err)
	if strings.Contains(string(text), "-Horse-7") || strings.Contains(string(text), "Battery-") {
		t.Error("a password is in an audit record")
	}
}

// Tags go into decisions.
func TestTagConditions(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	admin, _ := newUser(t, srv, "admin")
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"${aws:PrincipalTag/team}"}}},
		{"Effect":"Allow","Action":"iam:DeleteUser","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}}]}`
	do[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("admin"), PolicyName: aws.String("p"), PolicyDocument: &doc}))
	do[*sdk.TagUserOutput](t)(c.TagUser(ctx, &sdk.TagUserInput{UserName: aws.String("admin"), Tags: []types.Tag{{Key: aws.String("Team"), Value: aws.String("red")}}}))
	create := func(name, team string) error {
		_, err := admin.IAM().CreateUser(ctx, &sdk.CreateUserInput{UserName: &name, Tags: []types.Tag{{Key: aws.String("team"), Value: &team}}})
		return err
	}
	ok(t, create("one", "red"))
	wantError(t, create("two", "blue"), "AccessDenied")
	do[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("other")}))
	_, err := admin.IAM().DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("other")})
	wantError(t, err, "AccessDenied")
	_, err = admin.IAM().DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("one")})
	ok(t, err)
	_, err = c.TagUser(ctx, &sdk.TagUserInput{UserName: aws.String("admin"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("")}, {Key: aws.String("A"), Value: aws.String("")}}})
	wantError(t, err, "InvalidInput")
	_, err = c.UntagUser(ctx, &sdk.UntagUserInput{UserName: aws.String("admin"), TagKeys: []string{"TEAM"}})
	ok(t, err)
	if tags := do[*sdk.ListUserTagsOutput](t)(c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: aws.String("admin")})).Tags; len(tags) != 0 {
		t.Errorf("tags %v", tags)
	}
}
