package iam_test

import (
	"encoding/base32"
	"encoding/json"
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

	"github.com/kagimori/kagimori/internal/apitest"
	"github.com/kagimori/kagimori/internal/iam"
	"github.com/kagimori/kagimori/kagimoritest"
)

const account = "111122223333"

const (
	allowAll  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	allowList = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListUsers","Resource":"*"}]}`
	trustRoot = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`
)

// newUser makes a user with an access key.
func newUser(t *testing.T, srv *kagimoritest.Server, name string) (kagimoritest.Caller, *types.AccessKey) {
	t.Helper()
	c := srv.Root().IAM()
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: &name}))
	k := apitest.Must[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: &name})).AccessKey
	return srv.As(aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey}), k
}

func TestUsers(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	made := apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("Alice"), Path: aws.String("/div/"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}})).User
	if *made.Arn != "arn:aws:iam::"+account+":user/div/Alice" || len(*made.UserId) != 21 || !strings.HasPrefix(*made.UserId, "AIDA") || made.CreateDate == nil {
		t.Errorf("CreateUser answers %v %v", *made.Arn, *made.UserId)
	}
	_, err := c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("alice")})
	apitest.WantError(t, err, "EntityAlreadyExists", "User with name alice already exists.")
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("bob")})
	apitest.WantError(t, err, "NoSuchEntity", "The user with name bob cannot be found.")
	_, err = c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("a/b")})
	apitest.WantError(t, err, "ValidationError")

	// A new name is not a new user.
	_, err = c.UpdateUser(ctx, &sdk.UpdateUserInput{UserName: aws.String("Alice"), NewUserName: aws.String("Alicia"), NewPath: aws.String("/")})
	apitest.OK(t, err)
	got := apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("ALICIA")})).User
	if *got.UserId != *made.UserId || *got.Arn != "arn:aws:iam::"+account+":user/Alicia" || *got.Tags[0].Value != "red" {
		t.Errorf("after the renaming: %v %v", *got.Arn, got.Tags)
	}
	root := apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{})).User
	if *root.Arn != iam.RootARN(account) || *root.UserId != account {
		t.Errorf("the root is %v %v", *root.Arn, *root.UserId)
	}

	for i := range 5 {
		apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String(fmt.Sprint("u", i)), Path: aws.String("/batch/")}))
	}
	var names []string
	pages := 0
	for p := sdk.NewListUsersPaginator(c, &sdk.ListUsersInput{MaxItems: aws.Int32(2), PathPrefix: aws.String("/batch/")}); p.HasMorePages(); pages++ {
		for _, u := range apitest.Must[*sdk.ListUsersOutput](t)(p.NextPage(ctx)).Users {
			names = append(names, *u.UserName)
		}
	}
	if !slices.Equal(names, []string{"u0", "u1", "u2", "u3", "u4"}) || pages != 3 {
		t.Errorf("ListUsers gives %v in %d pages", names, pages)
	}
	_, err = c.ListUsers(ctx, &sdk.ListUsersInput{Marker: aws.String("nonsense")})
	apitest.WantError(t, err, "ValidationError")

	// What keeps a user from being deleted.
	name := aws.String("Alicia")
	apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
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
			apitest.WantError(t, err, "DeleteConflict", "Cannot delete entity, must remove users from group first.")
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
		apitest.OK(t, step.add())
		_, err := c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
		apitest.WantError(t, err, "DeleteConflict", "Cannot delete entity, must "+step.what+" first.")
		apitest.OK(t, step.remove())
	}
	_, err = c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: name})
	apitest.OK(t, err)
	_, err = c.GetUser(ctx, &sdk.GetUserInput{UserName: name})
	apitest.WantError(t, err, "NoSuchEntity")
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
		apitest.WantError(t, list(), "AccessDenied", "User: arn:aws:iam::"+account+":user/worker is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::"+account+":user/ "+reason)
	}
	none := "because no identity-based policy allows the iam:ListUsers action"
	denied(none)

	apitest.Must[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("p"), PolicyDocument: aws.String(allowList)}))
	apitest.OK(t, list())
	apitest.Must[*sdk.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("p")}))
	denied(none)

	// By a group's inline policy, by the managed policy of a group.
	apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
	apitest.Must[*sdk.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("g"), UserName: name}))
	denied(none)
	apitest.Must[*sdk.PutGroupPolicyOutput](t)(c.PutGroupPolicy(ctx, &sdk.PutGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("p"), PolicyDocument: aws.String(allowList)}))
	apitest.OK(t, list())
	apitest.Must[*sdk.DeleteGroupPolicyOutput](t)(c.DeleteGroupPolicy(ctx, &sdk.DeleteGroupPolicyInput{GroupName: aws.String("g"), PolicyName: aws.String("p")}))
	denied(none)
	arn := apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("Listing"), PolicyDocument: aws.String(allowList)})).Policy.Arn
	apitest.Must[*sdk.AttachGroupPolicyOutput](t)(c.AttachGroupPolicy(ctx, &sdk.AttachGroupPolicyInput{GroupName: aws.String("g"), PolicyArn: arn}))
	apitest.OK(t, list())

	// Another default version.
	none2 := strings.ReplaceAll(allowList, "iam:ListUsers", "iam:ListRoles")
	apitest.Must[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: &none2}))
	apitest.OK(t, list())
	apitest.Must[*sdk.SetDefaultPolicyVersionOutput](t)(c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v2")}))
	denied(none)
	apitest.Must[*sdk.SetDefaultPolicyVersionOutput](t)(c.SetDefaultPolicyVersion(ctx, &sdk.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")}))
	apitest.OK(t, list())

	// A boundary, a denial.
	apitest.Must[*sdk.PutUserPermissionsBoundaryOutput](t)(c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AWSKeyManagementServicePowerUser")}))
	apitest.OK(t, list()) // which that policy allows
	apitest.Must[*sdk.PutUserPermissionsBoundaryOutput](t)(c.PutUserPermissionsBoundary(ctx, &sdk.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/IAMUserChangePassword")}))
	denied("because no permissions boundary allows the iam:ListUsers action")
	apitest.Must[*sdk.DeleteUserPermissionsBoundaryOutput](t)(c.DeleteUserPermissionsBoundary(ctx, &sdk.DeleteUserPermissionsBoundaryInput{UserName: name}))
	apitest.OK(t, list())
	apitest.Must[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: name, PolicyName: aws.String("no"), PolicyDocument: aws.String(strings.ReplaceAll(allowList, "Allow", "Deny"))}))
	denied("with an explicit deny in an identity-based policy")
	apitest.Must[*sdk.DeleteUserPolicyOutput](t)(c.DeleteUserPolicy(ctx, &sdk.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("no")}))
	apitest.Must[*sdk.RemoveUserFromGroupOutput](t)(c.RemoveUserFromGroup(ctx, &sdk.RemoveUserFromGroupInput{GroupName: aws.String("g"), UserName: name}))
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
	apitest.OK(t, who(user))
	apitest.Must[*sdk.UpdateAccessKeyOutput](t)(c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeInactive}))
	apitest.WantError(t, who(user), "InvalidClientTokenId")
	listed := apitest.Must[*sdk.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: name})).AccessKeyMetadata
	if len(listed) != 1 || listed[0].Status != types.StatusTypeInactive || *listed[0].UserName != "worker" {
		t.Errorf("ListAccessKeys gives %v", listed)
	}
	apitest.Must[*sdk.UpdateAccessKeyOutput](t)(c.UpdateAccessKey(ctx, &sdk.UpdateAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeActive}))
	apitest.OK(t, who(user))

	second := apitest.Must[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})).AccessKey
	_, err := c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{UserName: name})
	apitest.WantError(t, err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	used := apitest.Must[*sdk.GetAccessKeyLastUsedOutput](t)(c.GetAccessKeyLastUsed(ctx, &sdk.GetAccessKeyLastUsedInput{AccessKeyId: second.AccessKeyId}))
	if *used.UserName != "worker" {
		t.Errorf("the key is %s's", *used.UserName)
	}
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId})
	apitest.OK(t, err)
	apitest.WantError(t, who(user), "InvalidClientTokenId")
	_, err = c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId})
	apitest.WantError(t, err, "NoSuchEntity", "The Access Key with id "+*key.AccessKeyId+" cannot be found.")

	// The root changes its key, and the old one is no more.
	next := apitest.Must[*sdk.CreateAccessKeyOutput](t)(c.CreateAccessKey(ctx, &sdk.CreateAccessKeyInput{})).AccessKey
	fresh := srv.As(aws.Credentials{AccessKeyID: *next.AccessKeyId, SecretAccessKey: *next.SecretAccessKey})
	apitest.Must[*sdk.DeleteAccessKeyOutput](t)(fresh.IAM().DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{AccessKeyId: aws.String(srv.AccessKeyID)}))
	apitest.WantError(t, who(srv.Root()), "InvalidClientTokenId")
	apitest.OK(t, who(fresh))
	// The secret of no key is in an audit record.
	text, err := json.Marshal(srv.Records())
	apitest.OK(t, err)
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
	p := apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("Decrypting"), Path: aws.String("/team/"), PolicyDocument: &text, Description: aws.String("d")})).Policy
	if *p.Arn != "arn:aws:iam::"+account+":policy/team/Decrypting" || *p.DefaultVersionId != "v1" || *p.AttachmentCount != 0 {
		t.Errorf("CreatePolicy answers %v", p)
	}
	v := apitest.Must[*sdk.GetPolicyVersionOutput](t)(c.GetPolicyVersion(ctx, &sdk.GetPolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v1")})).PolicyVersion
	if shown, err := url.PathUnescape(*v.Document); shown != text || err != nil || strings.Contains(*v.Document, "+") || !v.IsDefaultVersion {
		t.Errorf("the version is %q", *v.Document)
	}
	_, err := c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("decrypting"), PolicyDocument: &text})
	apitest.WantError(t, err, "EntityAlreadyExists", "A policy called decrypting already exists. Duplicate names are not allowed.")
	for _, bad := range []string{`{"Version":"2012-10-17"}`, `[]`, `{"Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*","Principal":"*"}}`} {
		_, err = c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("bad"), PolicyDocument: &bad})
		apitest.WantError(t, err, "MalformedPolicyDocument")
	}
	for i := 2; i <= 5; i++ {
		apitest.Must[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowList), SetAsDefault: i == 3}))
	}
	_, err = c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowList)})
	apitest.WantError(t, err, "LimitExceeded")
	_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v3")})
	apitest.WantError(t, err, "DeleteConflict", "Cannot delete the default version of a policy.")
	_, err = c.DeletePolicyVersion(ctx, &sdk.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v5")})
	apitest.OK(t, err)
	made := apitest.Must[*sdk.CreatePolicyVersionOutput](t)(c.CreatePolicyVersion(ctx, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowList)})).PolicyVersion
	if *made.VersionId != "v6" {
		t.Errorf("a version number was used again: %s", *made.VersionId)
	}
	var versions []string
	for _, v := range apitest.Must[*sdk.ListPolicyVersionsOutput](t)(c.ListPolicyVersions(ctx, &sdk.ListPolicyVersionsInput{PolicyArn: p.Arn})).Versions {
		versions = append(versions, *v.VersionId)
	}
	if !slices.Equal(versions, []string{"v6", "v4", "v3", "v2", "v1"}) {
		t.Errorf("versions %v", versions)
	}

	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trustRoot), PermissionsBoundary: p.Arn}))
	apitest.Must[*sdk.AttachRolePolicyOutput](t)(c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: p.Arn}))
	got := apitest.Must[*sdk.GetPolicyOutput](t)(c.GetPolicy(ctx, &sdk.GetPolicyInput{PolicyArn: p.Arn})).Policy
	if *got.AttachmentCount != 1 || *got.PermissionsBoundaryUsageCount != 1 {
		t.Errorf("attached %d times, a boundary %d times", *got.AttachmentCount, *got.PermissionsBoundaryUsageCount)
	}
	users := apitest.Must[*sdk.ListEntitiesForPolicyOutput](t)(c.ListEntitiesForPolicy(ctx, &sdk.ListEntitiesForPolicyInput{PolicyArn: p.Arn}))
	if len(users.PolicyRoles) != 1 || *users.PolicyRoles[0].RoleName != "r" || len(users.PolicyUsers)+len(users.PolicyGroups) != 0 {
		t.Errorf("ListEntitiesForPolicy gives %v", users.PolicyRoles)
	}
	_, err = c.DeletePolicy(ctx, &sdk.DeletePolicyInput{PolicyArn: p.Arn})
	apitest.WantError(t, err, "DeleteConflict", "Cannot delete a policy attached to entities.")
	ofAWS := 0
	for pages := sdk.NewListPoliciesPaginator(c, &sdk.ListPoliciesInput{MaxItems: aws.Int32(5)}); pages.HasMorePages(); {
		for _, p := range apitest.Must[*sdk.ListPoliciesOutput](t)(pages.NextPage(ctx)).Policies {
			if strings.HasPrefix(*p.Arn, "arn:aws:iam::aws:policy/") {
				ofAWS++
			}
		}
	}
	if ofAWS < 10 {
		t.Errorf("%d policies of AWS", ofAWS)
	}
	only := apitest.Must[*sdk.ListPoliciesOutput](t)(c.ListPolicies(ctx, &sdk.ListPoliciesInput{OnlyAttached: true})).Policies
	if len(only) != 1 || *only[0].Arn != *p.Arn {
		t.Errorf("attached policies: %v", only)
	}
	for _, bad := range []string{"arn:aws:iam::aws:policy/NoSuchPolicy", "arn:aws:iam::444455556666:policy/Foreign"} {
		_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: &bad})
		apitest.WantError(t, err, "NoSuchEntity", "Policy "+bad+" does not exist or is not attachable.")
	}
	_, err = c.AttachRolePolicy(ctx, &sdk.AttachRolePolicyInput{RoleName: aws.String("r"), PolicyArn: aws.String("arn:aws:iam::aws:policy/aws-service-role/AWSOrganizationsServiceTrustPolicy")})
	apitest.WantError(t, err, "PolicyNotAttachable")
}

func TestRoles(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	newUser(t, srv, "alice")
	trust := strings.Replace(trustRoot, ":root", ":user/alice", 1)
	role := apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("app"), Path: aws.String("/svc/"), AssumeRolePolicyDocument: &trust, MaxSessionDuration: aws.Int32(7200)})).Role
	if *role.Arn != "arn:aws:iam::"+account+":role/svc/app" || !strings.HasPrefix(*role.RoleId, "AROA") || *role.MaxSessionDuration != 7200 {
		t.Errorf("CreateRole answers %v", role)
	}
	_, err := c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("bad"), AssumeRolePolicyDocument: aws.String(strings.Replace(trustRoot, ":root", ":user/nobody", 1))})
	apitest.WantError(t, err, "MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/nobody"`)

	// Whom the trust policy means is shown by id once he is gone, and a namesake is
	// another one.
	alice := apitest.Must[*sdk.GetUserOutput](t)(c.GetUser(ctx, &sdk.GetUserInput{UserName: aws.String("alice")})).User
	key := apitest.Must[*sdk.ListAccessKeysOutput](t)(c.ListAccessKeys(ctx, &sdk.ListAccessKeysInput{UserName: aws.String("alice")})).AccessKeyMetadata[0]
	apitest.Must[*sdk.DeleteAccessKeyOutput](t)(c.DeleteAccessKey(ctx, &sdk.DeleteAccessKeyInput{UserName: aws.String("alice"), AccessKeyId: key.AccessKeyId}))
	apitest.Must[*sdk.DeleteUserOutput](t)(c.DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("alice")}))
	again, _ := newUser(t, srv, "alice")
	_, err = again.STS().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("sess")})
	apitest.WantError(t, err, "AccessDenied")
	shown, err := url.PathUnescape(*apitest.Must[*sdk.GetRoleOutput](t)(c.GetRole(ctx, &sdk.GetRoleInput{RoleName: aws.String("app")})).Role.AssumeRolePolicyDocument)
	apitest.OK(t, err)
	if want := strings.Replace(trust, *alice.Arn, *alice.UserId, 1); shown != want {
		t.Errorf("the trust policy is shown as %s", shown)
	}
	apitest.Must[*sdk.UpdateAssumeRolePolicyOutput](t)(c.UpdateAssumeRolePolicy(ctx, &sdk.UpdateAssumeRolePolicyInput{RoleName: aws.String("app"), PolicyDocument: &trust}))
	_, err = again.STS().AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("sess")})
	apitest.OK(t, err)

	slr := apitest.Must[*sdk.CreateServiceLinkedRoleOutput](t)(c.CreateServiceLinkedRole(ctx, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: aws.String("mrk.kms.amazonaws.com")})).Role
	_, err = c.DeleteRole(ctx, &sdk.DeleteRoleInput{RoleName: slr.RoleName})
	apitest.WantError(t, err, "UnmodifiableEntity")
	task := apitest.Must[*sdk.DeleteServiceLinkedRoleOutput](t)(c.DeleteServiceLinkedRole(ctx, &sdk.DeleteServiceLinkedRoleInput{RoleName: slr.RoleName})).DeletionTaskId
	if s := apitest.Must[*sdk.GetServiceLinkedRoleDeletionStatusOutput](t)(c.GetServiceLinkedRoleDeletionStatus(ctx, &sdk.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task})).Status; s != types.DeletionTaskStatusTypeSucceeded {
		t.Errorf("the deletion is %s", s)
	}
}

// A code of an MFA device is good once, and two in a row prove that it is set up.
func TestMFA(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, _ := newUser(t, srv, "worker")
	name := aws.String("worker")
	dev := apitest.Must[*sdk.CreateVirtualMFADeviceOutput](t)(c.CreateVirtualMFADevice(ctx, &sdk.CreateVirtualMFADeviceInput{VirtualMFADeviceName: name})).VirtualMFADevice
	if *dev.SerialNumber != "arn:aws:iam::"+account+":mfa/worker" || !strings.HasPrefix(string(dev.QRCodePNG), "\x89PNG") {
		t.Errorf("the device is %s", *dev.SerialNumber)
	}
	seed, err := base32.StdEncoding.DecodeString(string(dev.Base32StringSeed))
	apitest.OK(t, err)
	code := func() *string { return aws.String(iam.TOTP(seed, srv.Now())) }
	enable := func(first, second *string) error {
		_, err := c.EnableMFADevice(ctx, &sdk.EnableMFADeviceInput{UserName: name, SerialNumber: dev.SerialNumber, AuthenticationCode1: first, AuthenticationCode2: second})
		return err
	}
	first := code()
	apitest.WantError(t, enable(first, first), "InvalidAuthenticationCode")
	srv.Advance(30 * time.Second)
	apitest.OK(t, enable(first, code()))
	apitest.WantError(t, enable(first, code()), "EntityAlreadyExists")
	login := func(c *string) error {
		_, err := user.STS().GetSessionToken(ctx, &sts.GetSessionTokenInput{SerialNumber: dev.SerialNumber, TokenCode: c})
		return err
	}
	apitest.WantError(t, login(code()), "AccessDenied") // it has been used
	srv.Advance(30 * time.Second)
	now := code()
	apitest.OK(t, login(now))
	apitest.WantError(t, login(now), "AccessDenied")
	for range 10 {
		apitest.WantError(t, login(aws.String("000000")), "AccessDenied")
	}
	next := aws.String(iam.TOTP(seed, srv.Now().Add(30*time.Second))) // from a clock that is a little ahead
	apitest.WantError(t, login(next), "AccessDenied")                 // there have been too many guesses
	srv.Advance(30 * time.Second)
	apitest.OK(t, login(next))

	_, err = c.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: dev.SerialNumber})
	apitest.WantError(t, err, "DeleteConflict")
	if all := apitest.Must[*sdk.ListMFADevicesOutput](t)(c.ListMFADevices(ctx, &sdk.ListMFADevicesInput{UserName: name})).MFADevices; len(all) != 1 {
		t.Errorf("%d devices", len(all))
	}
	all := apitest.Must[*sdk.ListVirtualMFADevicesOutput](t)(c.ListVirtualMFADevices(ctx, &sdk.ListVirtualMFADevicesInput{AssignmentStatus: types.AssignmentStatusTypeAssigned})).VirtualMFADevices
	if len(all) != 1 || *all[0].User.UserName != "worker" || all[0].Base32StringSeed != nil {
		t.Errorf("devices %v", all)
	}
	text, err := json.Marshal(srv.Records())
	apitest.OK(t, err)
	if strings.Contains(string(text), string(dev.Base32StringSeed)) {
		t.Error("the seed is in an audit record")
	}
	apitest.Must[*sdk.DeactivateMFADeviceOutput](t)(c.DeactivateMFADevice(ctx, &sdk.DeactivateMFADeviceInput{UserName: name, SerialNumber: dev.SerialNumber}))
	srv.Advance(30 * time.Second)
	apitest.WantError(t, login(code()), "AccessDenied")
	_, err = c.DeleteVirtualMFADevice(ctx, &sdk.DeleteVirtualMFADeviceInput{SerialNumber: dev.SerialNumber})
	apitest.OK(t, err)
}

func TestSimulate(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	newUser(t, srv, "worker")
	doc := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:key/a*"},
		{"Effect":"Deny","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"false"}}},
		{"Effect":"Deny","Action":"kms:ScheduleKeyDeletion","Resource":"*","Condition":{"NumericLessThan":{"kms:ScheduleKeyDeletionPendingWindowInDays":"14"}}}]}`
	apitest.Must[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("worker"), PolicyName: aws.String("p"), PolicyDocument: &doc}))
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
		custom := apitest.Must[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{doc}, ActionNames: []string{s.action}, ResourceArns: []string{s.resource}, ContextEntries: s.context}))
		own := apitest.Must[*sdk.SimulatePrincipalPolicyOutput](t)(c.SimulatePrincipalPolicy(ctx, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::" + account + ":user/worker"), ActionNames: []string{s.action}, ResourceArns: []string{s.resource}, ContextEntries: s.context}))
		for _, r := range append(custom.EvaluationResults, own.EvaluationResults...) {
			if r.EvalDecision != s.want {
				t.Errorf("%s on %s with %v: %s, want %s", s.action, s.resource, s.context, r.EvalDecision, s.want)
			}
			if (s.want == "implicitDeny") != (len(r.MatchedStatements) == 0) {
				t.Errorf("%s on %s: %d statements matched", s.action, s.resource, len(r.MatchedStatements))
			}
		}
	}
	missing := apitest.Must[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{doc}, ActionNames: []string{"kms:Decrypt"}})).EvaluationResults[0].MissingContextValues
	if !slices.Contains(missing, "aws:SecureTransport") {
		t.Errorf("missing values %v", missing)
	}
	keys := apitest.Must[*sdk.GetContextKeysForPrincipalPolicyOutput](t)(c.GetContextKeysForPrincipalPolicy(ctx, &sdk.GetContextKeysForPrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::" + account + ":user/worker")})).ContextKeyNames
	if !slices.Equal(keys, []string{"aws:SecureTransport", "kms:ScheduleKeyDeletionPendingWindowInDays"}) {
		t.Errorf("context keys %v", keys)
	}
	bounded := apitest.Must[*sdk.SimulateCustomPolicyOutput](t)(c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowAll}, PermissionsBoundaryPolicyInputList: []string{allowList}, ActionNames: []string{"kms:Encrypt", "iam:ListUsers"}})).EvaluationResults
	if bounded[0].EvalDecision != "implicitDeny" || bounded[0].PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary || bounded[1].EvalDecision != "allowed" {
		t.Errorf("with a boundary: %v", bounded)
	}
	_, err := c.SimulateCustomPolicy(ctx, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{"{"}, ActionNames: []string{"kms:Encrypt"}})
	apitest.WantError(t, err, "InvalidInput")
}

func TestAccountDetails(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	newUser(t, srv, "alice")
	apitest.Must[*sdk.CreateGroupOutput](t)(c.CreateGroup(ctx, &sdk.CreateGroupInput{GroupName: aws.String("g")}))
	apitest.Must[*sdk.AddUserToGroupOutput](t)(c.AddUserToGroup(ctx, &sdk.AddUserToGroupInput{GroupName: aws.String("g"), UserName: aws.String("alice")}))
	apitest.Must[*sdk.CreateRoleOutput](t)(c.CreateRole(ctx, &sdk.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(trustRoot)}))
	apitest.Must[*sdk.CreatePolicyOutput](t)(c.CreatePolicy(ctx, &sdk.CreatePolicyInput{PolicyName: aws.String("p"), PolicyDocument: aws.String(allowList)}))
	apitest.Must[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: aws.String("inline"), PolicyDocument: aws.String(allowList)}))

	var users, groups, roles, policies int
	pages := 0
	for p := sdk.NewGetAccountAuthorizationDetailsPaginator(c, &sdk.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(1), Filter: []types.EntityType{types.EntityTypeUser, types.EntityTypeGroup, types.EntityTypeRole, types.EntityTypeLocalManagedPolicy}}); p.HasMorePages(); pages++ {
		out := apitest.Must[*sdk.GetAccountAuthorizationDetailsOutput](t)(p.NextPage(ctx))
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
	sum := apitest.Must[*sdk.GetAccountSummaryOutput](t)(c.GetAccountSummary(ctx, &sdk.GetAccountSummaryInput{})).SummaryMap
	if sum["Users"] != 1 || sum["Roles"] != 1 || sum["AccountAccessKeysPresent"] != 1 || sum["AccountMFAEnabled"] != 0 {
		t.Errorf("summary %v", sum)
	}

	apitest.Must[*sdk.CreateAccountAliasOutput](t)(c.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: aws.String("first")}))
	apitest.Must[*sdk.CreateAccountAliasOutput](t)(c.CreateAccountAlias(ctx, &sdk.CreateAccountAliasInput{AccountAlias: aws.String("second")}))
	if got := apitest.Must[*sdk.ListAccountAliasesOutput](t)(c.ListAccountAliases(ctx, &sdk.ListAccountAliasesInput{})).AccountAliases; !slices.Equal(got, []string{"second"}) {
		t.Errorf("aliases %v", got)
	}
	_, err := c.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String("first")})
	apitest.WantError(t, err, "NoSuchEntity")
	_, err = c.DeleteAccountAlias(ctx, &sdk.DeleteAccountAliasInput{AccountAlias: aws.String("second")})
	apitest.OK(t, err)
}

func TestPasswords(t *testing.T) {
	srv := kagimoritest.Start(t)
	c := srv.Root().IAM()
	user, _ := newUser(t, srv, "worker")
	name := aws.String("worker")
	apitest.Must[*sdk.AttachUserPolicyOutput](t)(c.AttachUserPolicy(ctx, &sdk.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/IAMUserChangePassword")}))
	for _, weak := range []string{"short1A", "alllowercase", "1234567890"} {
		_, err := c.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: name, Password: &weak})
		apitest.WantError(t, err, "PasswordPolicyViolation")
	}
	apitest.Must[*sdk.CreateLoginProfileOutput](t)(c.CreateLoginProfile(ctx, &sdk.CreateLoginProfileInput{UserName: name, Password: aws.String("Correct-Horse-7"), PasswordResetRequired: true}))
	change := func(from, to string) error {
		_, err := user.IAM().ChangePassword(ctx, &sdk.ChangePasswordInput{OldPassword: &from, NewPassword: &to})
		return err
	}
	apitest.WantError(t, change("Wrong-Horse-7", "Battery-Staple-8"), "AccessDenied", "The old password was incorrect.")
	apitest.OK(t, change("Correct-Horse-7", "Battery-Staple-8"))
	apitest.WantError(t, change("Correct-Horse-7", "Battery-Staple-9"), "AccessDenied", "The old password was incorrect.")
	if p := apitest.Must[*sdk.GetLoginProfileOutput](t)(c.GetLoginProfile(ctx, &sdk.GetLoginProfileInput{UserName: name})).LoginProfile; p.PasswordResetRequired {
		t.Error("the password must still be changed")
	}
	text, err := json.Marshal(srv.Records())
	apitest.OK(t, err)
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
	apitest.Must[*sdk.PutUserPolicyOutput](t)(c.PutUserPolicy(ctx, &sdk.PutUserPolicyInput{UserName: aws.String("admin"), PolicyName: aws.String("p"), PolicyDocument: &doc}))
	apitest.Must[*sdk.TagUserOutput](t)(c.TagUser(ctx, &sdk.TagUserInput{UserName: aws.String("admin"), Tags: []types.Tag{{Key: aws.String("Team"), Value: aws.String("red")}}}))
	create := func(name, team string) error {
		_, err := admin.IAM().CreateUser(ctx, &sdk.CreateUserInput{UserName: &name, Tags: []types.Tag{{Key: aws.String("team"), Value: &team}}})
		return err
	}
	apitest.OK(t, create("one", "red"))
	apitest.WantError(t, create("two", "blue"), "AccessDenied")
	apitest.Must[*sdk.CreateUserOutput](t)(c.CreateUser(ctx, &sdk.CreateUserInput{UserName: aws.String("other")}))
	_, err := admin.IAM().DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("other")})
	apitest.WantError(t, err, "AccessDenied")
	_, err = admin.IAM().DeleteUser(ctx, &sdk.DeleteUserInput{UserName: aws.String("one")})
	apitest.OK(t, err)
	_, err = c.TagUser(ctx, &sdk.TagUserInput{UserName: aws.String("admin"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("")}, {Key: aws.String("A"), Value: aws.String("")}}})
	apitest.WantError(t, err, "InvalidInput")
	_, err = c.UntagUser(ctx, &sdk.UntagUserInput{UserName: aws.String("admin"), TagKeys: []string{"TEAM"}})
	apitest.OK(t, err)
	if tags := apitest.Must[*sdk.ListUserTagsOutput](t)(c.ListUserTags(ctx, &sdk.ListUserTagsInput{UserName: aws.String("admin")})).Tags; len(tags) != 0 {
		t.Errorf("tags %v", tags)
	}
}
